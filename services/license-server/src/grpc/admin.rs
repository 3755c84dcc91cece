//! Who may change the container: whoever can open the Unix socket, or shows the admin token.

use std::sync::Arc;

use lictor_licensing::error::{ErrorCode, Problem};
use subtle::ConstantTimeEq as _;
use tonic::Status;
use tonic::metadata::MetadataMap;
use zeroize::Zeroizing;

use super::status;
use crate::listen::{Channel, Peer};

/// The admin token of this folder. Cheap to clone, never printed.
#[derive(Clone)]
pub(crate) struct AdminToken(Arc<Zeroizing<String>>);

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(***)")
    }
}

impl AdminToken {
    /// Takes the token.
    #[must_use]
    pub(crate) fn new(token: &str) -> Self {
        Self(Arc::new(Zeroizing::new(token.to_owned())))
    }

    /// Lets administrators pass.
    pub(super) fn require(&self, channel: &Channel, metadata: &MetadataMap) -> Result<(), Status> {
        if channel.peer() == Peer::Unix {
            return Ok(());
        }
        let shown = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let Some(shown) = shown.and_then(|value| value.strip_prefix("Bearer ")) else {
            return Err(status(&Problem::new(
                ErrorCode::Unauthenticated,
                "changing a container needs the admin token of the licence server",
                "give the content of admin-token in its state folder, or use its Unix socket",
            )));
        };
        if bool::from(shown.as_bytes().ct_eq(self.0.as_bytes())) {
            return Ok(());
        }
        Err(status(&Problem::new(
            ErrorCode::PermissionDenied,
            "this is not the admin token of the licence server",
            "give the content of admin-token in its state folder, or use its Unix socket",
        )))
    }
}
