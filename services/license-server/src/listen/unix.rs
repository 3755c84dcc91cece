//! The Unix socket: for programs of this machine, and for administration without a token, because only the server's
//! user and group may open it.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use lictor_licensing::access::Origin;
use lictor_runtime::{StartError, Stream};
use lictor_signing::CHANNEL_BINDING_BYTES;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};

use super::PAUSE;
use super::connection::{Channel, Connection, Peer, Place};
use crate::metrics::Metrics;

/// Takes the place of the socket that an earlier server left; the lock of the folder says that it is gone.
///
/// # Errors
/// One sentence when the path cannot be taken.
pub(crate) fn bind(path: &Path) -> Result<UnixListener, StartError> {
    let refused = |error: &dyn std::fmt::Display| {
        StartError::unreachable(format!(
            "the socket {} cannot be made ({error}); next: set LICTOR_SOCKET to a path of at most 100 characters that this user may write",
            path.display()
        ))
    };
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path).map_err(|error| refused(&error))?,
        Ok(_) => return Err(refused(&"something else is there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(refused(&error)),
    }
    let listener = UnixListener::bind(path).map_err(|error| refused(&error))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(|error| refused(&error))?;
    Ok(listener)
}

/// Accepts for ever.
pub(crate) async fn accept(
    listener: UnixListener,
    places: Arc<Semaphore>,
    metrics: Metrics,
    sender: mpsc::Sender<io::Result<Connection>>,
) {
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let mut binding = [0; CHANNEL_BINDING_BYTES];
        if getrandom::fill(&mut binding).is_err() {
            metrics.turned_away();
            continue;
        }
        let channel = Channel::new(Peer::Unix, Origin::Local, binding, None);
        let place = Place::new(place, metrics.connected());
        let connection = Connection::new(Stream::Unix(stream), channel, place);
        if sender.send(Ok(connection)).await.is_err() {
            return;
        }
    }
}
