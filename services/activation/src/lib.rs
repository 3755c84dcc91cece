//! activation: carries out every change of a container.
//!
//! - [`domain`]: the rules, without I/O: what a saga is for, its states and what comes next; limits on the public.
//! - [`saga`]: carries sagas out over license-central and the push update generator, resumes them after a crash, and
//!   begins what the time brings.
//! - [`store`]: the tables, the same statements on PostgreSQL and SQLite.
//! - [`limit`]: how often wrong tickets may be tried, and how much the public may ask; shared by replicas in Redis.
//! - [`grpc`]: the RPCs of `lictor.activation.v1` and the event feed.
//! - [`events`]: what is announced, and the proofs of the generator that are taken in.

pub mod domain;
pub mod events;
pub mod failure;
pub mod grpc;
mod ids;
pub mod limit;
pub mod metrics;
pub mod saga;
pub mod settings;
pub mod store;

use lictor_clock::SharedClock;
use lictor_runtime::{Frame, Running, StartError, client};
use lictor_storage::{
    Database,
    keeping::{Readers, keep_tidy},
};

pub use settings::Settings;

use crate::{
    limit::Limiter,
    saga::{Peers, Runner},
};

/// Name of the service in events, tokens and logs.
pub const NAME: &str = "activation";
/// Its schema on PostgreSQL.
pub const SCHEMA: &str = "activation";

/// Starts the service: takes its ports, opens and migrates its database, goes on with unfinished sagas, answers its RPCs.
/// The other services may start later.
///
/// # Errors
/// One sentence with the next step: a port that is taken, a database that is down, a setting that is wrong.
pub async fn start(settings: Settings, clock: SharedClock) -> Result<Running, StartError> {
    let frame = Frame::bind(NAME, &settings.listen).await?;
    let gate = lictor_auth::gate(grpc::ACCESS, settings.auth.verifier(clock.clone())?);
    let peers = peers(&settings, &clock)?;
    let limiter = match &settings.redis_url {
        Some(url) => Limiter::shared(url.expose(), "lictor", settings.limits, clock.clone())?,
        None => Limiter::in_memory(settings.limits, clock.clone()),
    };
    let db = settings.database.open(SCHEMA, store::MIGRATIONS, clock.now()).await?;
    let metrics = metrics::Metrics::new(frame.metrics());
    let name = settings.instance.clone().unwrap_or_else(|| instance(&frame));
    let runner = Runner::new(store::Store::new(db.clone()), peers.clone(), clock.clone(), name, metrics.clone());

    watch_readiness(&frame, &db, &peers);
    let freed = runner.take_over().await.map_err(|failure| StartError::failed("the sagas cannot be read", failure))?;
    if freed > 0 {
        tracing::info!(freed, "sagas that an earlier process left are taken up");
    }
    let tidied = keep_tidy(
        runner.store().db().clone(),
        settings.database.keep,
        Readers::Broker,
        clock.clone(),
        frame.lifecycle().soft().cancelled_owned(),
    );
    frame.lifecycle().spawn("tidy", tidied);
    run_in_background(&frame, &runner, settings.broker, &clock);

    let desk =
        grpc::Desk { runner, limiter, proxies: settings.proxies, clock, metrics, lifecycle: frame.lifecycle().clone() };
    Ok(frame.serve(grpc::routes(desk), gate))
}

fn peers(settings: &Settings, clock: &SharedClock) -> Result<Peers, StartError> {
    let token = settings.auth.service_tokens(NAME, clock.clone())?;
    let ca = settings.peers_ca.as_deref();
    Ok(Peers::new(
        client::channel(&settings.central_url, ca, token.clone())?,
        client::channel(&settings.update_url, ca, token)?,
    ))
}

/// What tells this replica from others on this host and elsewhere, and stays the same when it is started again.
fn instance(frame: &Frame) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), frame.addresses().grpc.port())
}

fn watch_readiness(frame: &Frame, db: &Database, peers: &Peers) {
    let ready = db.clone();
    frame.readiness().add("database", move || {
        let db = ready.clone();
        async move { db.ping().await.map_err(|_| "the database does not answer".to_owned()) }
    });
    let central = peers.clone();
    frame.readiness().add("license-central", move || {
        let peers = central.clone();
        async move { peers.central_serves().await }
    });
    let update = peers.clone();
    frame.readiness().add("push-update-generator", move || {
        let peers = update.clone();
        async move { peers.update_serves().await }
    });
}

fn run_in_background(frame: &Frame, runner: &Runner, broker: lictor_broker::Broker, clock: &SharedClock) {
    let lifecycle = frame.lifecycle();
    let (stop, relayed, told) = (lifecycle.soft(), runner.store().db().clone(), frame.metrics().clone());
    let (out, time) = (broker.clone(), clock.clone());
    lifecycle.spawn("relay", async move { lictor_broker::relay(relayed, out, NAME, time, &told, stop).await });
    lifecycle.spawn("resumer", saga::keep_resuming(runner.clone(), lifecycle.soft()));
    lifecycle.spawn("scheduler", saga::keep_scheduling(runner.clone(), lifecycle.soft()));
    lifecycle.spawn("proofs", events::follow_updates(runner.clone(), broker, clock.clone(), lifecycle.soft()));
    let closing = runner.store().db().clone();
    lifecycle.on_stop(async move { closing.close().await });
}
