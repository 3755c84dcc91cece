//! push-update-generator: owns every container's chain and is the only holder of firm keys.
//!
//! Contexts come in and prove what a container took; segments go out, each signed once and kept for ever. [`start`] is
//! the whole service, in its own process, inside `lictor up`, and in tests.

mod access;
pub mod archive;
pub mod domain;
pub mod events;
mod failure;
mod gather;
mod grpc;
pub mod issue;
pub mod keys;
pub mod metrics;
mod problem;
pub mod replay;
pub mod rotate;
mod settings;
pub mod store;
pub mod take;
pub mod vendor;

use std::{convert::Infallible, time::Duration};

use lictor_api::{
    event::v1::event_feed_service_server::EventFeedServiceServer,
    update::v1::{
        container_service_server::ContainerServiceServer, update_service_server::UpdateServiceServer,
        vendor_service_server::VendorServiceServer,
    },
};
use lictor_clock::SharedClock;
use lictor_key_store::{AgentKeyStore, FileKeyStore, KeyStore, KeyStoreError, Mode, agent::USUAL_PATIENCE};
use lictor_runtime::{Frame, MESSAGE_BYTES, Running, StartError};
use lictor_storage::keeping::{Readers, keep_tidy};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use access::ACCESS;
pub use failure::Failure;
pub use settings::{GRPC_PORT, HTTP_PORT, KeyPlace, Settings};

use crate::{archive::Archive, events::EventFeed, issue::Issuer, keys::Keys, metrics::Counters};

/// The name of the service.
pub const NAME: &str = "push-update-generator";
/// One day.
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// How often interrupted segments are looked for; a request for their container finishes them at once.
const RESUME_PAUSE: Duration = Duration::from_secs(5);

/// Starts the service. It answers when this returns, and what an earlier process left half done is being finished.
///
/// # Errors
/// With one sentence that says what to correct.
pub async fn start(settings: Settings, clock: SharedClock) -> Result<Running, StartError> {
    let frame = Frame::bind(NAME, &settings.listen).await?;
    let keys = Keys::new(open_keys(&settings)?);
    let db = settings.database.open(store::SCHEMA, store::MIGRATIONS, clock.now()).await?;
    let archive = open_archive(&settings, &clock).await?;
    let counters = Counters::register(frame.metrics());
    let issuer = Issuer::new(db.clone(), archive.clone(), keys, clock.clone(), counters);
    if let Some(archive) = &archive {
        let level = archive.compare(&db).await;
        level.map_err(|failure| StartError::settings(format!("archive_url: {}", failure.problem())))?;
    }

    let lifecycle = frame.lifecycle().clone();
    let (relay_db, broker, metrics) = (db.clone(), settings.broker.clone(), frame.metrics().clone());
    let (relay_clock, soft) = (clock.clone(), lifecycle.soft());
    lifecycle
        .spawn("relay", async move { lictor_broker::relay(relay_db, broker, NAME, relay_clock, &metrics, soft).await });
    let soft = lifecycle.soft().cancelled_owned();
    let tidied = keep_tidy(db.clone(), settings.database.keep, Readers::Broker, clock.clone(), soft);
    lifecycle.spawn("tidy", tidied);
    lifecycle.spawn("resume", keep_finishing(issuer.clone(), lifecycle.soft()));
    let (closing, closing_archive) = (db.clone(), archive.clone());
    lifecycle.on_stop(async move {
        closing.close().await;
        if let Some(archive) = closing_archive {
            archive.close().await;
        }
    });

    let checked = db.clone();
    frame.readiness().add("database", move || {
        let db = checked.clone();
        async move { db.ping().await.map_err(|error| error.to_string()) }
    });
    if let Some(archive) = archive {
        let tables = db.clone();
        frame.readiness().add("archive", move || {
            let (archive, tables) = (archive.clone(), tables.clone());
            async move { archive.readiness(&tables).await }
        });
    }
    let checked = issuer.clone();
    frame.readiness().add("keys", move || {
        let issuer = checked.clone();
        async move { issuer.can_issue().await }
    });

    let gate = lictor_auth::gate(ACCESS, settings.auth.verifier(clock)?);
    Ok(frame.serve(routes(&issuer), gate))
}

fn routes(issuer: &Issuer) -> Routes {
    let db = issuer.db.clone();
    Routes::new(VendorServiceServer::new(grpc::Vendors::new(issuer.clone())))
        .add_service(ContainerServiceServer::new(grpc::Containers::new(db.clone())))
        .add_service(
            UpdateServiceServer::new(grpc::Updates::new(issuer.clone()))
                .max_decoding_message_size(MESSAGE_BYTES)
                .max_encoding_message_size(MESSAGE_BYTES),
        )
        .add_service(EventFeedServiceServer::new(EventFeed::new(db)))
}

fn open_keys(settings: &Settings) -> Result<KeyStore, StartError> {
    let folder = match &settings.keys {
        KeyPlace::Folder(folder) => folder,
        // It may come later than this service: until then requests are refused as unavailable, and /ready says why.
        KeyPlace::Agent(socket) => return Ok(AgentKeyStore::new(socket, USUAL_PATIENCE).into()),
    };
    let opened = FileKeyStore::open(folder, settings.keys_mode).map(KeyStore::from);
    opened.map_err(|error| match error {
        KeyStoreError::Production => StartError::settings(
            "private keys in files are refused in production; next: set LICTOR_ALLOW_KEYS_IN_FILES=true if you accept \
             that a copied folder is a copied vendor",
        ),
        other => StartError::settings(format!("{other}; next: correct LICTOR_KEYS_DIR")),
    })
}

/// The archive, which production does not do without: after a restored backup every chain would fork.
async fn open_archive(settings: &Settings, clock: &SharedClock) -> Result<Option<Archive>, StartError> {
    let Some(archive) = &settings.archive else {
        if settings.keys_mode == Mode::Development {
            return Ok(None);
        }
        return Err(StartError::settings(
            "production needs an archive of what was issued, outside of the database; next: set ARCHIVE_URL",
        ));
    };
    if archive::same_place(archive.url.expose(), settings.database.url.expose()) {
        return Err(StartError::settings(
            "the archive lies in the database that it has to outlive; next: give ARCHIVE_URL a database of its own",
        ));
    }
    let db = archive.open(archive::SCHEMA, archive::MIGRATIONS, clock.now()).await?;
    Ok(Some(Archive::new(db, clock.clone())))
}

/// Finishes what was interrupted, at start and from time to time. While the key store does not answer it tries on.
async fn keep_finishing(issuer: Issuer, stop: CancellationToken) -> Result<(), Infallible> {
    loop {
        match issuer.resume().await {
            Ok(0) => {}
            Ok(finished) => tracing::info!(finished, "segments finished that were interrupted"),
            Err(failure) => {
                let problem = failure.problem();
                tracing::warn!(problem = %problem, "interrupted segments cannot be finished at the moment");
            }
        }
        issuer.measure().await;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(RESUME_PAUSE) => {}
        }
    }
}
