//! The frame every service process stands in: settings, sockets, health, life cycle. A service brings its RPCs and rules.
//!
//! # How a service uses it
//!
//! `main.rs`:
//! ```no_run
//! # mod service {
//! #   pub struct Settings { pub listen: lictor_runtime::ListenSettings, pub database_url: lictor_runtime::Secret }
//! #   impl Settings { pub fn read(reader: &mut lictor_runtime::Reader) -> Self {
//! #     Settings { listen: lictor_runtime::ListenSettings::read(reader, 7010, 7011), database_url: reader.secret(&DATABASE_URL) } } }
//! #   const DATABASE_URL: lictor_runtime::Field = lictor_runtime::Field::required("database_url", "DATABASE_URL", "where the tables are").secret();
//! #   pub async fn start(_: Settings, _: lictor_clock::SharedClock) -> Result<lictor_runtime::Running, lictor_runtime::StartError> { unreachable!() }
//! # }
//! # use service::{Settings, start};
//! use lictor_runtime::{Program, run};
//!
//! fn main() -> std::process::ExitCode {
//!     let program = Program { name: "license-central", version: "0.1.0", about: "customers, orders, tickets, licenses" };
//!     run(program, Settings::read, start)
//! }
//! ```
//!
//! `lib.rs`, the same function for the own process, for `lictor up` and for tests (port 0):
//! ```no_run
//! use lictor_clock::SharedClock;
//! use lictor_runtime::{Frame, Gate, ListenSettings, Running, StartError};
//!
//! pub struct Settings { pub listen: ListenSettings }
//!
//! pub async fn start(settings: Settings, clock: SharedClock, gate: Gate) -> Result<Running, StartError> {
//!     let frame = Frame::bind("license-central", &settings.listen).await?; // ports are taken first
//!     frame.readiness().add("database", || async { Ok(()) });               // Err("reason") while not able to work
//!     frame.lifecycle().spawn("relay", async { Ok::<(), StartError>(()) }); // its end before shutdown ends the process
//!     frame.lifecycle().on_stop(async { /* db.close().await */ });
//!     let routes = tonic::service::Routes::default();                        // .add_service(OrderServiceServer::new(…))
//!     Ok(frame.serve(routes, gate))
//! }
//! ```
//!
//! # Settings
//! A [`Field`] names the key in the TOML file, the environment variable, the default and the meaning. [`Reader`] collects
//! every mistake before the start is refused, and remembers the fields it was asked for, so `--settings-doc` prints the
//! table of `docs/settings.md` without a second list. A secret may come from `NAME_FILE` too, and prints as `***`.
//!
//! # Command line of every service
//! `--config FILE`, `--check-config`, `--settings-doc`, `--version`, `--help`, `health` (exit code 0 when `/ready` says so;
//! for images without a shell).
//!
//! Exit codes: 0 stopped on request, 1 a part failed, 2 wrong settings or usage, 6 something it needs cannot be reached or
//! a port is taken.
//!
//! # Calling other services
//! [`client::channel`] gives a lazily connected channel that carries the trace and the service's token.

mod accept;
mod admin;
pub mod client;
mod connection;
mod error;
mod frame;
mod grpc;
mod health;
mod lifecycle;
mod program;
mod readiness;
mod settings;
mod tls;

pub use accept::{Peer, SESSION_EXPORTER_LABEL};
pub use connection::{Connection, GREETING_TIME, Stream};
pub use error::{RunError, StartError};
pub use frame::{Addresses, Frame};
pub use grpc::{Gate, MESSAGE_BYTES, open_gate};
pub use lifecycle::{Lifecycle, Running};
pub use program::{Program, run};
pub use readiness::{Readiness, Report};
pub use settings::{Field, HeldListeners, KeySource, ListenSettings, LogSettings, Reader, Secret, SettingsError};
pub use tls::{install_crypto_provider, server_config};
