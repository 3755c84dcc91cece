//! What license-central can be told.

use std::path::PathBuf;

use lictor_auth::AuthSettings;
use lictor_broker::Broker;
use lictor_runtime::{Field, ListenSettings, Reader, StartError};
use lictor_storage::DatabaseSettings;

use crate::{
    domain::{policy::NoticeDays, ticket_key::TicketKey},
    ids,
};

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

/// Where the ticket key comes from.
#[derive(Debug, Clone)]
pub enum TicketKeySource {
    /// This key.
    Given(TicketKey),
    /// The key in this file, which is made on first start.
    File(PathBuf),
}

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
    pub ticket_key: TicketKeySource,
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
            ticket_key: ticket_key(reader),
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

fn ticket_key(reader: &mut Reader) -> TicketKeySource {
    let given = reader.optional_secret(&TICKET_KEY);
    let file = reader.optional_path(&TICKET_KEY_PATH);
    match (given, file) {
        (Some(given), None) => match TicketKey::from_hex(given.expose()) {
            Ok(key) => return TicketKeySource::Given(key),
            Err(error) => reader.mistake(&TICKET_KEY, format!("is wrong: {error}")),
        },
        (None, Some(path)) => return TicketKeySource::File(path),
        (Some(_), Some(_)) => reader.mistake(&TICKET_KEY, "and ticket_key_path exclude each other"),
        (None, None) => reader.mistake(&TICKET_KEY, "or ticket_key_path is missing"),
    }
    TicketKeySource::File(PathBuf::new())
}

impl TicketKeySource {
    /// The key; a missing file is made, readable by the owner alone.
    ///
    /// # Errors
    /// A [`StartError`] when the file cannot be read or made, or holds no key.
    pub fn key(&self) -> Result<TicketKey, StartError> {
        let path = match self {
            Self::Given(key) => return Ok(key.clone()),
            Self::File(path) => path,
        };
        let shown = path.display();
        match std::fs::read_to_string(path) {
            Ok(text) => TicketKey::from_hex(&text).map_err(|error| {
                StartError::settings(format!(
                    "{shown} holds no ticket key: {error}; next: put the file back from its copy"
                ))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = TicketKey::new(ids::random());
                write_once(path, &key.to_hex()).map_err(|error| {
                    StartError::settings(format!("the ticket key cannot be written to {shown}: {error}"))
                })?;
                tracing::info!(path = %shown, key = %key.id(), "ticket key made; keep a copy of it");
                Ok(key)
            }
            Err(error) => Err(StartError::settings(format!("the ticket key in {shown} cannot be read: {error}"))),
        }
    }
}

/// Writes a file that did not exist, whole or not at all: a torn key would lose all tickets.
fn write_once(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};

    let aside = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // A link refuses to replace what another start has put there meanwhile.
    let linked = std::fs::hard_link(&aside, path);
    std::fs::remove_file(&aside)?;
    linked?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or_else(|| std::path::Path::new(".")))?.sync_all()
}
