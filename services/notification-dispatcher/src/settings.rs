//! Settings of the notification dispatcher.

mod ways;

use std::time::Duration;

use lictor_auth::AuthSettings;
use lictor_broker::Broker;
use lictor_clock::duration;
use lictor_runtime::{Field, KeySource, ListenSettings, Reader};
use lictor_storage::DatabaseSettings;

use crate::{
    domain::{allow::AllowList, destination::GiveUp, schedule::Schedule},
    events::producer::ProducerList,
};

pub use ways::{ReportSettings, WaySettings};

const GRPC_PORT: u16 = 7080;
const HTTP_PORT: u16 = 7081;

const PRODUCERS: Field = Field::with_default(
    "producers",
    "LICTOR_PRODUCERS",
    "",
    "services whose events are taken, `license-central=http://HOST:PORT,activation=…`",
);
const PRODUCERS_CA: Field =
    Field::optional("producers_ca", "LICTOR_PRODUCERS_CA", "PEM file with the CA of the producers, for `https://`");
const PULL_EVERY: Field = Field::with_default(
    "pull_every",
    "LICTOR_PULL_EVERY",
    "15s",
    "how often each producer's feed is read when nothing seems to be missing, 100ms to 1d",
);
const DESTINATION_KEY: Field = Field::optional(
    "destination_key",
    "LICTOR_DESTINATION_KEY",
    "64 hexadecimal digits with which secrets and credentials of destinations are sealed in the tables; keep a copy of it",
)
.secret();
const DESTINATION_KEY_PATH: Field = Field::optional(
    "destination_key_path",
    "LICTOR_DESTINATION_KEY_PATH",
    "file with the destination key instead; made on first start when it is missing",
);
const KEEP_EVENTS: Field = Field::with_default(
    "keep_events",
    "LICTOR_KEEP_EVENTS",
    "90d",
    "how long events, taken deliveries and their attempts are kept, 1d to 3650d; what no receiver took is kept anyway",
);
const WEBHOOK_ALLOW: Field = Field::with_default(
    "webhook_allow",
    "LICTOR_WEBHOOK_ALLOW",
    "",
    "blocks of addresses and names of hosts that webhooks may reach beyond the public internet, also by plain http",
);
const WEBHOOK_CA: Field = Field::optional(
    "webhook_ca",
    "LICTOR_WEBHOOK_CA",
    "PEM file with further CAs of receivers, beside the public ones",
);
const WEBHOOK_DEADLINE: Field = Field::with_default(
    "webhook_deadline",
    "LICTOR_WEBHOOK_DEADLINE",
    "15s",
    "longest time of one call from the name look-up to the last byte of the answer, 100ms to 60s",
);
const RETRY_WAITS: Field = Field::with_default(
    "retry_waits",
    "LICTOR_RETRY_WAITS",
    "5s,5m,30m,2h,5h,8h",
    "waits after the first, second … failure of a delivery; the last one repeats",
);
const RETRY_FOR: Field =
    Field::with_default("retry_for", "LICTOR_RETRY_FOR", "7d", "how long a delivery is tried before it is parked");
const DISABLE_AFTER: Field = Field::with_default(
    "disable_after",
    "LICTOR_DISABLE_AFTER",
    "5d",
    "a destination that took nothing for so long is disabled",
);
const IN_FLIGHT_PER_DESTINATION: Field = Field::with_default(
    "in_flight_per_destination",
    "LICTOR_IN_FLIGHT_PER_DESTINATION",
    "16",
    "calls at once to one destination, 1 to 256",
);
const IN_FLIGHT: Field =
    Field::with_default("in_flight", "LICTOR_IN_FLIGHT", "1024", "calls at once in all, 1 to 8192");
const DELIVERY_LEASE: Field = Field::with_default(
    "delivery_lease",
    "LICTOR_DELIVERY_LEASE",
    "5s",
    "how long a call's claim holds without being renewed: what a crash costs; 300ms to 60s",
);

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Ports.
    pub listen: ListenSettings,
    /// Whose tokens are accepted.
    pub auth: AuthSettings,
    /// Where its tables are.
    pub database: DatabaseSettings,
    /// The broker; nothing means that only feeds are read. Services of one process share theirs.
    pub broker: Option<Broker>,
    /// Whose events are taken.
    pub producers: ProducerList,
    /// PEM text of the CA of the producers.
    pub producers_ca: Option<String>,
    /// How often each feed is read.
    pub pull_every: Duration,
    /// What the secrets of destinations are sealed with.
    pub destination_key: KeySource,
    /// How long events, taken deliveries and their attempts are kept.
    pub keep_events: Duration,
    /// What webhooks may reach beyond the public internet.
    pub webhook_allow: AllowList,
    /// PEM text of further CAs of receivers.
    pub webhook_ca: Option<String>,
    /// Longest time of one call.
    pub webhook_deadline: Duration,
    /// What the ways beside webhooks may do.
    pub ways: WaySettings,
    /// Which reports are made.
    pub reports: ReportSettings,
    /// When failed deliveries are tried again.
    pub schedule: Schedule,
    /// When a destination is disabled.
    pub give_up: GiveUp,
    /// Calls at once to one destination.
    pub in_flight_per_destination: usize,
    /// Calls at once in all.
    pub in_flight: usize,
    /// How long a claim holds without being renewed.
    pub lease: Duration,
    /// How often the clock is looked at when nothing happens; tests that move time by hand make it short.
    pub sweep_every: Duration,
}

impl Settings {
    /// Reads them.
    pub fn read(reader: &mut Reader) -> Self {
        let listen = ListenSettings::read(reader, GRPC_PORT, HTTP_PORT);
        let auth = AuthSettings::read(reader);
        let database = DatabaseSettings::read(reader);
        let broker = Broker::read(reader);
        let mut schedule: Schedule = reader.parsed(&RETRY_WAITS);
        schedule.give_up_after = reader.duration(&RETRY_FOR);
        let ways = WaySettings::read(reader);
        let reports = ReportSettings::read(reader, &ways);
        Self {
            auth,
            database,
            broker,
            producers: reader.parsed(&PRODUCERS),
            producers_ca: reader.optional_file(&PRODUCERS_CA),
            pull_every: bounded(reader, &PULL_EVERY, Duration::from_millis(100), Duration::from_secs(86_400)),
            destination_key: KeySource::read(reader, &DESTINATION_KEY, &DESTINATION_KEY_PATH),
            keep_events: bounded(reader, &KEEP_EVENTS, duration::days(1), duration::days(3_650)),
            webhook_allow: reader.parsed(&WEBHOOK_ALLOW),
            webhook_ca: reader.optional_file(&WEBHOOK_CA),
            webhook_deadline: bounded(reader, &WEBHOOK_DEADLINE, Duration::from_millis(100), Duration::from_secs(60)),
            ways,
            reports,
            schedule,
            give_up: GiveUp { after: reader.duration(&DISABLE_AFTER), ..GiveUp::default() },
            in_flight_per_destination: count(reader, &IN_FLIGHT_PER_DESTINATION, 256),
            in_flight: count(reader, &IN_FLIGHT, 8_192),
            lease: bounded(reader, &DELIVERY_LEASE, Duration::from_millis(300), Duration::from_secs(60)),
            listen,
            ..Self::embedded(ListenSettings::loopback(), DatabaseSettings::at(""))
        }
    }

    /// Defaults over a database, for tests; nobody is trusted yet, nothing comes in, and the destination key is no secret.
    pub fn embedded(listen: ListenSettings, database: DatabaseSettings) -> Self {
        Self {
            listen,
            auth: AuthSettings { audience: "lictor".to_owned(), issuers: Vec::new(), service_issuer: None },
            database,
            broker: None,
            producers: ProducerList::default(),
            producers_ca: None,
            pull_every: Duration::from_secs(15),
            destination_key: KeySource::Given([0; 32]),
            keep_events: duration::days(90),
            webhook_allow: AllowList::default(),
            webhook_ca: None,
            webhook_deadline: Duration::from_secs(15),
            ways: WaySettings::default(),
            reports: ReportSettings::default(),
            schedule: Schedule::default(),
            give_up: GiveUp::default(),
            in_flight_per_destination: 16,
            in_flight: 1_024,
            lease: Duration::from_secs(5),
            sweep_every: Duration::from_secs(1),
        }
    }
}

fn bounded(reader: &mut Reader, field: &Field, least: Duration, most: Duration) -> Duration {
    let span = reader.duration(field);
    if !(least..=most).contains(&span) {
        let format = lictor_clock::duration::format;
        reader.mistake(field, format!("must lie between {} and {}", format(least), format(most)));
    }
    span.clamp(least, most)
}

fn count(reader: &mut Reader, field: &Field, most: u64) -> usize {
    usize::try_from(reader.number(field, 1..=most)).unwrap_or(1)
}
