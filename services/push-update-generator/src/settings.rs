//! What can be set, and what holds when it is not.

use std::path::PathBuf;

use lictor_auth::AuthSettings;
use lictor_broker::Broker;
use lictor_key_store::Mode;
use lictor_runtime::{Field, ListenSettings, Reader};
use lictor_storage::DatabaseSettings;

/// Usual port of the RPCs.
pub const GRPC_PORT: u16 = 7030;
/// Usual port of health and metrics.
pub const HTTP_PORT: u16 = 7031;

const KEYS_DIR: Field = Field::optional(
    "keys_dir",
    "LICTOR_KEYS_DIR",
    "folder of the firms' private keys, open to this user alone; this or `LICTOR_KEYS_AGENT`",
);
const KEYS_AGENT: Field = Field::optional(
    "keys_agent",
    "LICTOR_KEYS_AGENT",
    "socket of the key agent that holds the firms' keys in a PKCS#11 token; takes the place of `LICTOR_KEYS_DIR`",
);
const DEVELOPMENT: Field = Field::with_default(
    "development",
    "LICTOR_DEVELOPMENT",
    "false",
    "`true` on a developer's machine: allows what production refuses",
);
const KEYS_IN_FILES: Field = Field::with_default(
    "allow_keys_in_files",
    "LICTOR_ALLOW_KEYS_IN_FILES",
    "false",
    "`true` accepts private keys in files although this is production: a copied folder is a copied vendor",
);

const ARCHIVE: Field = Field::optional(
    "archive_url",
    "ARCHIVE_URL",
    "where everything issued is written once: `postgres://…` or `sqlite:///…`, another database than `DATABASE_URL`, best \
     on another machine; required but on a developer's machine",
)
.secret();

/// Where the firms' private keys are. One place, chosen by the operator; nothing falls back to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// Files in this folder.
    Folder(PathBuf),
    /// A PKCS#11 token behind the agent at this socket.
    Agent(PathBuf),
}

/// The settings of this service.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: ListenSettings,
    /// Where its tables are.
    pub database: DatabaseSettings,
    /// Where the archive is; nothing in development only.
    pub archive: Option<DatabaseSettings>,
    /// Where events go.
    pub broker: Broker,
    /// Whom it trusts.
    pub auth: AuthSettings,
    /// Where the private keys are.
    pub keys: KeyPlace,
    /// Whether keys in files are accepted here.
    pub keys_mode: Mode,
}

impl Settings {
    /// Reads all of them; every mistake is collected in `reader`.
    pub fn read(reader: &mut Reader) -> Self {
        let listen = ListenSettings::read(reader, GRPC_PORT, HTTP_PORT);
        let database = DatabaseSettings::read(reader);
        let archive = reader.optional_secret(&ARCHIVE).map(|url| DatabaseSettings { url, ..database.clone() });
        let broker = Broker::read_or_in_process(reader);
        let auth = AuthSettings::read(reader);
        let keys = match (reader.optional_path(&KEYS_DIR), reader.optional_path(&KEYS_AGENT)) {
            (Some(folder), None) => KeyPlace::Folder(folder),
            (None, Some(socket)) => KeyPlace::Agent(socket),
            (folder, _) => {
                let both = folder.is_some();
                let what = if both { "excludes LICTOR_KEYS_DIR" } else { "or LICTOR_KEYS_DIR must be set" };
                reader.mistake(&KEYS_AGENT, what);
                KeyPlace::Folder(PathBuf::new())
            }
        };
        let keys_mode = match (reader.flag(&DEVELOPMENT), reader.flag(&KEYS_IN_FILES)) {
            (true, _) => Mode::Development,
            (false, true) => Mode::ProductionForced,
            (false, false) => Mode::Production,
        };
        Self { listen, database, archive, broker, auth, keys, keys_mode }
    }
}
