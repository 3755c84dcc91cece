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

const KEYS_DIR: Field =
    Field::required("keys_dir", "LICTOR_KEYS_DIR", "folder of the firms' private keys, open to this user alone");
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

/// The settings of this service.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: ListenSettings,
    /// Where its tables are.
    pub database: DatabaseSettings,
    /// Where events go.
    pub broker: Broker,
    /// Whom it trusts.
    pub auth: AuthSettings,
    /// Folder of the private keys.
    pub keys_dir: PathBuf,
    /// Whether keys in files are accepted here.
    pub keys_mode: Mode,
}

impl Settings {
    /// Reads all of them; every mistake is collected in `reader`.
    pub fn read(reader: &mut Reader) -> Self {
        let listen = ListenSettings::read(reader, GRPC_PORT, HTTP_PORT);
        let database = DatabaseSettings::read(reader);
        let broker = Broker::read_or_in_process(reader);
        let auth = AuthSettings::read(reader);
        let keys_dir = reader.path(&KEYS_DIR);
        let keys_mode = match (reader.flag(&DEVELOPMENT), reader.flag(&KEYS_IN_FILES)) {
            (true, _) => Mode::Development,
            (false, true) => Mode::ProductionForced,
            (false, false) => Mode::Production,
        };
        Self { listen, database, broker, auth, keys_dir, keys_mode }
    }
}
