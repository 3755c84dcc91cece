//! What activation can be told.

use std::time::Duration;

use lictor_auth::AuthSettings;
use lictor_broker::Broker;
use lictor_runtime::{Field, ListenSettings, Reader, Secret};
use lictor_storage::DatabaseSettings;

use crate::domain::{
    limit::{Limit, Limits},
    proxy::Proxies,
};

/// Usual port of the RPCs.
pub const GRPC_PORT: u16 = 7020;
/// Usual port of health and metrics.
pub const HTTP_PORT: u16 = 7021;

const REDIS_URL: Field = Field::optional(
    "redis_url",
    "REDIS_URL",
    "Redis that all replicas share, `redis://HOST:PORT/`; without it limits are counted per process",
)
.secret();
const CENTRAL_URL: Field =
    Field::required("central_url", "CENTRAL_URL", "address of license-central, such as `http://license-central:7010`");
const UPDATE_URL: Field = Field::required(
    "update_url",
    "UPDATE_URL",
    "address of the push update generator, such as `http://push-update-generator:7030`",
);
const PEERS_CA: Field =
    Field::optional("peers_ca", "PEERS_CA", "PEM file with the CA of both services' certificates, for `https://`");
const INSTANCE: Field = Field::optional(
    "instance",
    "LICTOR_INSTANCE",
    "name of this replica, the same after a restart; without it host name and port",
);
const GUESSES: Field = Field::with_default(
    "ticket_guesses",
    "TICKET_GUESSES",
    "20",
    "wrong tickets that one address may try at once, 1 to 100000",
);
const GUESS_REFILL: Field = Field::with_default(
    "ticket_guess_refill",
    "TICKET_GUESS_REFILL",
    "1m",
    "time after which an address may try one more wrong ticket",
);
const ALL_GUESSES: Field = Field::with_default(
    "ticket_guesses_all",
    "TICKET_GUESSES_ALL",
    "1000",
    "wrong tickets that all addresses together may try at once, 1 to 100000",
);
const ALL_GUESS_REFILL: Field = Field::with_default(
    "ticket_guess_refill_all",
    "TICKET_GUESS_REFILL_ALL",
    "1s",
    "time after which all together may try one more",
);

const CALLS: Field = Field::with_default(
    "public_calls",
    "PUBLIC_CALLS",
    "2000",
    "calls without a ticket that one address may make at once, 1 to 100000",
);
const CALL_REFILL: Field = Field::with_default(
    "public_call_refill",
    "PUBLIC_CALL_REFILL",
    "50ms",
    "time after which an address may make one more",
);
const KIBIBYTES: Field = Field::with_default(
    "public_kib",
    "PUBLIC_KIB",
    "65536",
    "KiB that one address may send with such calls at once, 4096 to 100000",
);
const KIB_REFILL: Field = Field::with_default(
    "public_kib_refill",
    "PUBLIC_KIB_REFILL",
    "4ms",
    "time after which an address may send one more",
);
const PROXIES: Field = Field::optional(
    "trusted_proxies",
    "TRUSTED_PROXIES",
    "addresses or networks of proxies whose `x-forwarded-for` is believed, such as `10.0.0.0/8`, separated by commas; \
     limits then count whoever stands behind them",
);

/// The settings of one activation service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens.
    pub listen: ListenSettings,
    /// Whom it trusts, and how it proves itself to the others.
    pub auth: AuthSettings,
    /// Where its tables are.
    pub database: DatabaseSettings,
    /// Where its events go, and where those of others come from.
    pub broker: Broker,
    /// Where replicas share the count of wrong tickets; in this process without it.
    pub redis_url: Option<Secret>,
    /// Address of license-central.
    pub central_url: String,
    /// Address of the push update generator.
    pub update_url: String,
    /// PEM text of the CA of both.
    pub peers_ca: Option<String>,
    /// Name of this replica, the same after a restart.
    pub instance: Option<String>,
    /// Limits on what the public may do.
    pub limits: Limits,
    /// Proxies whose word about the caller's address is believed.
    pub proxies: Proxies,
}

/// The limits that hold when nothing else is set.
pub const LIMITS: Limits = Limits {
    peer: Limit { burst: 20, refill: Duration::from_secs(60) },
    all: Limit { burst: 1_000, refill: Duration::from_secs(1) },
    calls: Limit { burst: 2_000, refill: Duration::from_millis(50) },
    kibibytes: Limit { burst: 65_536, refill: Duration::from_millis(4) },
};

impl Settings {
    /// Reads them all; mistakes are collected in the reader.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            listen: ListenSettings::read(reader, GRPC_PORT, HTTP_PORT),
            auth: AuthSettings::read(reader),
            database: DatabaseSettings::read(reader),
            broker: Broker::read_or_in_process(reader),
            redis_url: reader.optional_secret(&REDIS_URL),
            central_url: reader.text(&CENTRAL_URL),
            update_url: reader.text(&UPDATE_URL),
            peers_ca: reader.optional_file(&PEERS_CA),
            instance: reader.optional_text(&INSTANCE),
            limits: Limits {
                peer: limit(reader, &GUESSES, &GUESS_REFILL),
                all: limit(reader, &ALL_GUESSES, &ALL_GUESS_REFILL),
                calls: limit(reader, &CALLS, &CALL_REFILL),
                kibibytes: limit(reader, &KIBIBYTES, &KIB_REFILL),
            },
            proxies: proxies(reader),
        }
    }
}

fn proxies(reader: &mut Reader) -> Proxies {
    let mut networks = Vec::new();
    for text in reader.list(&PROXIES) {
        match text.parse() {
            Ok(network) => networks.push(network),
            Err(error) => reader.mistake(&PROXIES, format!("is {text:?}; next: {error}")),
        }
    }
    Proxies(networks)
}

fn limit(reader: &mut Reader, burst: &Field, refill: &Field) -> Limit {
    Limit { burst: u32::try_from(reader.number(burst, 1..=100_000)).unwrap_or(1), refill: reader.duration(refill) }
}
