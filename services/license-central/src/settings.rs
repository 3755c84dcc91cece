//! What license-central can be told.

use lictor_auth::AuthSettings;
use lictor_broker::Broker;
use lictor_runtime::{Field, KeySource, ListenSettings, Reader};
use lictor_storage::DatabaseSettings;

use crate::domain::policy::NoticeDays;

/// Usual port of the RPCs.
pub const GRPC_PORT: u16 = 7010;
/// Usual port of health and metrics.
pub const HTTP_PORT: u16 = 7011;

const TICKET_KEY: Field = Field::optional(
    "ticket_key",
    "LICTOR_TICKET_KEY",
    "64 hexadecimal digits from which all ticket codes are derived; keep a copy of it",
)
.secret();
const TICKET_KEY_PATH: Field = Field::optional(
    "ticket_key_path",
    "LICTOR_TICKET_KEY_PATH",
    "file with the ticket key instead; made on first start when it is missing",
);

const EXPIRY_NOTICE_DAYS: Field = Field::with_default(
    "expiry_notice_days",
    "LICTOR_EXPIRY_NOTICE_DAYS",
    "30,7,1",
    "how many days ahead the end of a license is announced, up to 8 numbers with commas; an item of the catalogue may \
     say otherwise",
);

/// The settings of one license-central.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens.
    pub listen: ListenSettings,
    /// Whom it trusts.
    pub auth: AuthSettings,
    /// Where its tables are.
    pub database: DatabaseSettings,
    /// Where its events go.
    pub broker: Broker,
    /// What tickets are made from.
    pub ticket_key: KeySource,
    /// How many days ahead ends are announced.
    pub expiry_notice_days: NoticeDays,
}

impl Settings {
    /// Reads them all; mistakes are collected in the reader.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            listen: ListenSettings::read(reader, GRPC_PORT, HTTP_PORT),
            auth: AuthSettings::read(reader),
            database: DatabaseSettings::read(reader),
            broker: Broker::read_or_in_process(reader),
            ticket_key: KeySource::read(reader, &TICKET_KEY, &TICKET_KEY_PATH),
            expiry_notice_days: expiry_notice_days(reader),
        }
    }
}

fn expiry_notice_days(reader: &mut Reader) -> NoticeDays {
    let text = reader.text(&EXPIRY_NOTICE_DAYS);
    let numbers = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::parse);
    let days = numbers.collect::<Result<Vec<u32>, _>>().ok().and_then(|days| NoticeDays::try_from(days).ok());
    days.unwrap_or_else(|| {
        reader.mistake(&EXPIRY_NOTICE_DAYS, "is up to 8 numbers of 1 to 365 with commas between them");
        NoticeDays::USUAL
    })
}
