//! license-central: what a vendor sells, to whom, and where each license lies. The source of truth for entitlement.
//!
//! - [`domain`]: the rules, without I/O: catalogue, orders, states of licenses, allocations and reservations.
//! - [`store`]: the tables, the same statements on PostgreSQL and SQLite.
//! - [`grpc`]: the RPCs of `lictor.central.v1` and the event feed.
//! - [`events`]: what is announced, in the transaction of the change.
//! - [`sweeper`]: announces ends of licenses when their time comes.

pub mod domain;
pub mod events;
pub mod failure;
pub mod grpc;
pub mod ids;
pub mod metrics;
pub mod present;
pub mod settings;
pub mod store;
pub mod sweeper;

use domain::ticket_key::TicketKey;
use lictor_clock::SharedClock;
use lictor_runtime::{Frame, Running, StartError};
use lictor_storage::keeping::{Readers, keep_tidy};

pub use domain::policy::NoticeDays;
pub use settings::Settings;

/// Name of the service in events, tokens and logs.
pub const NAME: &str = "license-central";
/// Its schema on PostgreSQL.
pub const SCHEMA: &str = "license_central";

/// Starts the service: takes its ports, opens and migrates its database, relays its events, answers its RPCs.
///
/// # Errors
/// One sentence with the next step: a port that is taken, a database that is down, a setting that is wrong.
pub async fn start(settings: Settings, clock: SharedClock) -> Result<Running, StartError> {
    let frame = Frame::bind(NAME, &settings.listen).await?;
    let gate = lictor_auth::gate(grpc::ACCESS, settings.auth.verifier(clock.clone())?);
    let key = TicketKey::new(settings.ticket_key.key("ticket key", ids::random)?);
    tracing::info!(key = %key.id(), "tickets are made from this key");
    let db = settings.database.open(SCHEMA, store::MIGRATIONS, clock.now()).await?;

    let ready = db.clone();
    frame.readiness().add("database", move || {
        let db = ready.clone();
        async move { db.ping().await.map_err(|_| "the database does not answer".to_owned()) }
    });
    let (stop, relayed, told) = (frame.lifecycle().soft(), db.clone(), frame.metrics().clone());
    let (broker, time) = (settings.broker, clock.clone());
    frame
        .lifecycle()
        .spawn("relay", async move { lictor_broker::relay(relayed, broker, NAME, time, &told, stop).await });
    let soft = frame.lifecycle().soft().cancelled_owned();
    let tidied = keep_tidy(db.clone(), settings.database.keep, Readers::Broker, clock.clone(), soft);
    frame.lifecycle().spawn("tidy", tidied);
    let metrics = metrics::Metrics::new(frame.metrics());
    let (store, leads) = (store::Store::new(db.clone()), settings.expiry_notice_days);
    let (stop, time, announced) = (frame.lifecycle().soft(), clock.clone(), metrics.ends_announced.clone());
    frame.lifecycle().spawn("sweeper", async move { sweeper::sweep(store, leads, time, announced, stop).await });
    let closing = db.clone();
    frame.lifecycle().on_stop(async move { closing.close().await });

    let desk = grpc::Desk { store: store::Store::new(db), key, clock, metrics };
    Ok(frame.serve(grpc::routes(desk), gate))
}
