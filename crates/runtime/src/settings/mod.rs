//! Settings: fields, the reader, and the groups that every service has.

mod field;
mod groups;
mod key;
mod reader;
mod secret;

pub use field::Field;
pub(crate) use groups::HTTP_LISTEN;
pub use groups::{HeldListeners, ListenSettings, LogSettings};
pub use key::KeySource;
pub use reader::{Reader, SettingsError};
pub use secret::Secret;
