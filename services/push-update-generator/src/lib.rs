//! push-update-generator: owns every container's chain and is the only holder of firm keys.
//!
//! Contexts come in and prove what a container took; segments go out, each signed once and kept for ever. [`start`] is
//! the whole service, in its own process, inside `lictor up`, and in tests.

mod access;
pub mod domain;
pub mod events;
mod failure;
mod grpc;
pub mod issue;
pub mod keys;
pub mod metrics;
mod problem;
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
use lictor_key_store::{FileKeyStore, KeyStoreError};
use lictor_runtime::{Frame, MESSAGE_BYTES, Running, StartError};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use access::ACCESS;
pub use failure::Failure;
pub use settings::{GRPC_PORT, HTTP_PORT, Settings};

use crate::{events::EventFeed, issue::Issuer, keys::Keys, metrics::Counters};

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
    let counters = Counters::register(frame.metrics());
    let issuer = Issuer::new(db.clone(), keys, clock.clone(), counters);

    let lifecycle = frame.lifecycle().clone();
    let (relay_db, broker, metrics) = (db.clone(), settings.broker.clone(), frame.metrics().clone());
    let (relay_clock, soft) = (clock.clone(), lifecycle.soft());
    lifecycle
        .spawn("relay", async move { lictor_broker::relay(relay_db, broker, NAME, relay_clock, &metrics, soft).await });
    lifecycle.spawn("resume", keep_finishing(issuer.clone(), lifecycle.soft()));
    let closing = db.clone();
    lifecycle.on_stop(async move { closing.close().await });

    let checked = db.clone();
    frame.readiness().add("database", move || {
        let db = checked.clone();
        async move { db.ping().await.map_err(|error| error.to_string()) }
    });
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

fn open_keys(settings: &Settings) -> Result<FileKeyStore, StartError> {
    FileKeyStore::open(&settings.keys_dir, settings.keys_mode).map_err(|error| match error {
        KeyStoreError::Production => StartError::settings(
            "private keys in files are refused in production; next: set LICTOR_ALLOW_KEYS_IN_FILES=true if you accept \
             that a copied folder is a copied vendor",
        ),
        other => StartError::settings(format!("{other}; next: correct LICTOR_KEYS_DIR")),
    })
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
