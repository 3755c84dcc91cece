//! The notification dispatcher: takes every event in, keeps it, and delivers it as a signed webhook until the receiver has
//! taken it.
//!
//! Events come from the broker for speed and from each producer's feed for truth ([`events`]). They are stored once, and
//! the [`engine`] turns them into deliveries and calls. [`domain`] holds the rules, [`store`] the tables,
//! [`transmission`] the ways out.

pub mod domain;
pub mod engine;
pub mod events;
pub mod grpc;
pub mod http;
mod jobs;
mod measuring;
pub mod metrics;
pub mod pages;
mod random;
mod reading;
pub mod report;
pub mod settings;
pub mod store;
pub mod transmission;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lictor_clock::SharedClock;
use lictor_runtime::{Frame, Running, StartError};
use lictor_storage::{Database, keeping};
use lictor_telemetry::prometheus_client::metrics::counter::Counter;
use tokio::sync::{Notify, Semaphore};

use crate::{
    domain::seal::Seal,
    engine::{Engine, EngineHandle, EngineOptions, Gaps},
    events::{SOURCE, producer::Feed, pull, speed},
    metrics::DispatcherMetrics,
    store::{MIGRATIONS, SCHEMA},
    transmission::{
        Carrier, Ways,
        executable::ExecutableSender,
        file::FileSender,
        guard::SystemNames,
        mailer::Mailer,
        sap::SapSender,
        transmitter::TransmitterSender,
        webhook::{Sender, WebhookOptions},
    },
};

pub use settings::Settings;

/// Test deliveries at once.
const TRIALS: usize = 8;
/// Readers of events at once, over gRPC.
const READERS: usize = 64;

/// Starts the service.
///
/// # Errors
/// A port is taken, the database cannot be reached or migrated, or a setting cannot work.
pub async fn start(settings: Settings, clock: SharedClock) -> Result<Running, StartError> {
    lictor_runtime::install_crypto_provider();
    let mut frame = Frame::bind(SOURCE, &settings.listen).await?;
    let seal = Seal::new(settings.destination_key.key("destination key", random::bytes)?);
    let verifier = settings.auth.verifier(clock.clone())?;
    let gate = lictor_auth::gate(grpc::ACCESS, verifier.clone());
    let allow = Arc::new(settings.webhook_allow.clone());
    let webhooks = WebhookOptions {
        deadline: settings.webhook_deadline,
        allow: Arc::clone(&allow),
        extra_ca: settings.webhook_ca.clone(),
    };
    let transmitters = TransmitterSender::new(&webhooks, Arc::new(SystemNames))?;
    let sender = Sender::new(webhooks, Arc::new(SystemNames))?;
    let mailer = Mailer::new(settings.ways.mail.clone())?;
    let ways = Ways {
        sap: SapSender::new(&sender),
        executables: ExecutableSender::new(settings.ways.executables.clone(), settings.webhook_deadline),
        transmitters,
        mailer: mailer.clone(),
        files: FileSender::new(settings.ways.files.clone()),
    };
    let carrier = Carrier::new(sender, ways, clock.clone());
    let feeds = remote_feeds(&settings, &clock)?;

    let db = settings.database.open(SCHEMA, MIGRATIONS, clock.now()).await?;

    check_seal(&db, &seal).await?;

    let gaps: Gaps = feeds
        .iter()
        .map(|(source, _)| source.clone())
        .chain([SOURCE.to_owned()])
        .map(|source| (source, Arc::new(Notify::new())))
        .collect();
    let metrics = DispatcherMetrics::new(frame.metrics());
    let (engine, handle) = Engine::new(
        db.clone(),
        clock.clone(),
        options(&settings, &seal),
        carrier.clone(),
        metrics.clone(),
        gaps.clone(),
    );
    let life = frame.lifecycle();
    life.spawn("engine", engine::run(engine, life.soft()));
    life.spawn("measuring", measuring::run(db.clone(), clock.clone(), metrics, life.soft()));
    let readings = take_in(&settings, &frame, feeds, &gaps, &db, &handle, &clock);
    let post = report::post::Post {
        db: db.clone(),
        clock: clock.clone(),
        mailer,
        settings: settings.reports.clone(),
        readings,
        pull_every: settings.pull_every,
        started: clock.now(),
        holder: random::hex(),
    };
    life.spawn("reports", report::post::run(post, life.soft()));

    let works = handle.clone();
    frame.readiness().add("deliveries", move || {
        let works = works.works();
        async move { if works { Ok(()) } else { Err("no deliveries can be written at the moment".to_owned()) } }
    });
    let closing = db.clone();
    life.on_stop(async move { closing.close().await });
    let readers = if settings.broker.is_some() { keeping::Readers::Broker } else { keeping::Readers::FeedOnly };
    let soft = frame.lifecycle().soft().cancelled_owned();
    let tidied = keeping::keep_tidy(db.clone(), settings.database.keep, readers, clock.clone(), soft);
    frame.lifecycle().spawn("tidy", tidied);
    let bells = run_jobs(&settings, &frame, &db, &handle, &clock, &seal);
    frame.pages(http::events::routes(db.clone(), gate.clone()));
    let desk = grpc::Desk {
        db,
        clock,
        engine: handle,
        allow,
        seal,
        carrier,
        trials: Arc::new(Semaphore::new(TRIALS)),
        readers: Arc::new(Semaphore::new(READERS)),
        replays: bells.replays,
        deletions: bells.deletions,
        stop: frame.lifecycle().soft(),
        report_offset: settings.reports.offset,
    };
    frame.pages(pages::router(desk.clone(), verifier));
    let routes = grpc::routes(&desk);
    Ok(frame.serve(routes, gate))
}

/// Starts what brings events in: the broker's queue and one reader per feed, the own outbox included. Gives how far these
/// have read.
fn take_in(
    settings: &Settings,
    frame: &Frame,
    feeds: Vec<(String, Feed)>,
    gaps: &Gaps,
    db: &Database,
    handle: &EngineHandle,
    clock: &SharedClock,
) -> pull::Readings {
    let life = frame.lifecycle();
    if let Some(broker) = settings.broker.clone() {
        life.spawn("broker", speed::consume(broker.clone(), handle.clone(), life.soft()));
        let (db, clock, metrics, soft) = (db.clone(), clock.clone(), frame.metrics().clone(), life.soft());
        life.spawn("relay", async move { lictor_broker::relay(db, broker, SOURCE, clock, &metrics, soft).await });
    }
    let own = (SOURCE.to_owned(), Feed::Own(db.clone()));
    let (mut reached, mut ways_back) = (HashMap::new(), Vec::new());
    let mut readings = pull::Readings::default();
    let feeds_restored = frame.metrics().register(
        "feeds_restored",
        "times that a producer's feed ended before what had been read of it: its database was restored",
        Counter::default(),
    );
    let missed = frame.metrics().register(
        "events_missed",
        "events that their producer kept no longer when they were asked for",
        Counter::default(),
    );
    for (source, feed) in feeds.into_iter().chain([own]) {
        let Some(gap) = gaps.get(&source).cloned() else {
            continue;
        };
        let end = Arc::new(AtomicBool::new(false));
        reached.insert(source.clone(), Arc::clone(&end));
        let went_back = Arc::new(AtomicBool::new(false));
        ways_back.push((source.clone(), Arc::clone(&went_back)));
        let (every, feeds_restored, missed) = (settings.pull_every, feeds_restored.clone(), missed.clone());
        let (read_at, clock) = (readings.of(&source), clock.clone());
        let puller =
            pull::Puller { source, feed, every, gap, reached: end, read_at, clock, went_back, feeds_restored, missed };
        life.spawn("feed", pull::pull(puller, db.clone(), handle.clone(), life.soft()));
    }
    // A producer that is down keeps nobody from working; when none can be read, nothing comes in.
    reached.remove(SOURCE);
    frame.readiness().add("events", move || {
        let some = reached.is_empty() || reached.values().any(|end| end.load(Ordering::Relaxed));
        async move { if some { Ok(()) } else { Err("no producer's events can be read".to_owned()) } }
    });
    frame.readiness().add("feeds", move || {
        let back = ways_back.iter().find(|(_, back)| back.load(Ordering::Relaxed)).map(|(source, _)| source.clone());
        async move {
            match back {
                None => Ok(()),
                Some(source) => Err(format!(
                    "the feed of {source} ends before what was read of it, so its database was restored from a backup; \
                     next: see docs/guide/restored-database.md"
                )),
            }
        }
    });
    readings
}

fn remote_feeds(settings: &Settings, clock: &SharedClock) -> Result<Vec<(String, Feed)>, StartError> {
    let token = settings.auth.service_tokens(SOURCE, clock.clone())?;
    let ca = settings.producers_ca.as_deref();
    settings
        .producers
        .0
        .iter()
        .map(|(source, address)| Ok((source.clone(), Feed::remote(address, ca, token.clone())?)))
        .collect()
}

/// With another destination key nothing could be signed and every secret would look damaged.
async fn check_seal(db: &Database, seal: &Seal) -> Result<(), StartError> {
    match store::destination::opens(db, seal).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(StartError::settings(
            "the destination key is not the one that the secrets in the database were sealed with; next: give the old one",
        )),
        Err(error) => Err(StartError::failed("the destinations cannot be read", error)),
    }
}

/// Starts what runs beside the deliveries, and gives what the RPCs need of it.
fn run_jobs(
    settings: &Settings,
    frame: &Frame,
    db: &Database,
    handle: &EngineHandle,
    clock: &SharedClock,
    seal: &Seal,
) -> Bells {
    let bells = Bells { replays: Arc::new(Notify::new()), deletions: Arc::new(Notify::new()) };
    let jobs = jobs::Jobs {
        db: db.clone(),
        clock: clock.clone(),
        engine: handle.clone(),
        seal: seal.clone(),
        keep: settings.keep_events,
        replays: Arc::clone(&bells.replays),
        deletions: Arc::clone(&bells.deletions),
    };
    let life = frame.lifecycle();
    life.spawn("replays", jobs::replay(jobs.clone(), life.soft()));
    life.spawn("retention", jobs::forget(jobs, life.soft()));
    bells
}

/// How the RPCs wake the jobs.
struct Bells {
    replays: Arc<Notify>,
    deletions: Arc<Notify>,
}

fn options(settings: &Settings, seal: &Seal) -> EngineOptions {
    EngineOptions {
        schedule: settings.schedule.clone(),
        give_up: settings.give_up,
        in_flight_per_destination: settings.in_flight_per_destination,
        in_flight: settings.in_flight,
        lease: settings.lease,
        sweep_every: settings.sweep_every,
        // The rest of the grace is for writing results and giving leases back.
        drain: settings.listen.shutdown_grace.mul_f64(0.7),
        seal: seal.clone(),
    }
}
