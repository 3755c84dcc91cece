//! What a protected program links: find the licence server, take a seat, hold it, give it back.
//!
//! ```no_run
//! use lictor_sdk::{AcquireError, Client, Request};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // The vendor's root document, compiled into the program: nobody but this vendor can let a server hand out seats.
//! # const VENDOR_ROOT: &[u8] = &[];
//! let client = Client::builder().trust_root(VENDOR_ROOT).build()?; // finds servers by CODEMETER_HOST
//!
//! let seat = match client.acquire(Request::new(5_010, 201).features(0b101)).await {
//!     Ok(seat) => seat,
//!     Err(AcquireError::Refused(refusal)) => {
//!         for reason in &refusal.reasons {
//!             eprintln!("{} ({}): {}", reason.reason, reason.code, reason.instead);
//!         }
//!         return Ok(());
//!     }
//!     Err(error) => return Err(error.into()),
//! };
//!
//! tokio::select! {
//!     () = work() => seat.release().await,
//!     reason = seat.ended() => eprintln!("the licence is gone: {reason:?}"),
//! }
//! # Ok(())
//! # }
//! # async fn work() {}
//! ```
//!
//! # What holds
//! - **A fake server cannot grant.** A grant is believed only when the vendor's root, through its documents and the lease
//!   certificate, leads to the key that signed it, and when it names this client's key and this request's random bytes.
//!   The connection is TLS 1.3; the server proves over the channel's exporter that the connection ends at that key, so
//!   nobody stands between.
//! - **A lost answer costs nothing.** The same request id is the same seat, also after the server was killed.
//! - **Two programs never hold one seat.** A [`Seat`] that lost contact tries to come back and ends by itself a tenth
//!   before its time is over; the server waits a tenth longer. Both count in time since boot, sleep included.
//! - **Whoever waits is not passed.** With [`Request::wait`] a program stands in the server's queue, first come, first
//!   served, and is told its place by [`Client::acquire_telling`]; it need not ask again and again.
//! - **A server without the product's key is found out.** [Sealed content](content) opens with its own key or not at all, and
//!   [`Seat::prove`] has the server sign bytes that nobody saw before.
//! - **Units are taken exactly once**, whatever happens to the answer, and are on disk before it leaves.
//! - **Every refusal has its reasons**, one for each licence that was looked at: see [`Refusal`].
//!
//! # Content that opens with a seat alone
//! Whoever takes the question for a seat out of a program still has not what the seat opens. The vendor's build seals what the
//! program cannot do without:
//!
//! ```text
//! lictor content keys --product-code 201 -o product-201.keys                      (once)
//! lictor content seal --keys product-201.keys levels.dat -o levels.sealed         (in every build)
//! ```
//!
//! ```no_run
//! use lictor_sdk::content::SealedContent;
//! use lictor_sdk::{ProgramKeys, Seat};
//!
//! # async fn example(seat: &Seat) -> Result<(), Box<dyn std::error::Error>> {
//! # const LEVELS: &[u8] = &[];
//! # const KEYS: &[u8] = &[];
//! // LEVELS and KEYS: include_bytes!("levels.sealed"), include_bytes!("product-201.keys")
//! seat.prove(&ProgramKeys::from_bytes(KEYS)?).await?; // the server behind the seat has the product's key
//! let levels = seat.open(&SealedContent::read(LEVELS)?).await?; // wiped from memory when dropped
//! # let _ = &levels[..];
//! # Ok(())
//! # }
//! ```
//!
//! `examples/sealed.rs` is a whole program. What two programs with seats write for each other goes through [`Seat::encrypt`]
//! and [`Seat::decrypt`]; pay-per-use through [`Seat::consume_units`]:
//!
//! ```no_run
//! use lictor_sdk::{KeyChoice, Seat, UseError};
//!
//! # async fn example(seat: &Seat) -> Result<(), UseError> {
//! let saves = KeyChoice::new(1).code(b"save games");
//! let saved = seat.encrypt(&saves, b"level 3", b"slot 1").await?;
//! assert_eq!(&seat.decrypt(&saves, &saved, b"slot 1").await?[..], b"level 3");
//!
//! match seat.consume_units(10).await {
//!     Ok(left) => println!("{left} units are left"),
//!     Err(UseError::Refused(refusal)) => println!("{refusal}"), // none were taken
//!     Err(error) => return Err(error),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Errors, and what to do
//! | error | what it means | what to do |
//! |---|---|---|
//! | [`AcquireError::Refused`] | a trusted server looked and has no seat | show the reasons; each says what would work |
//! | [`AcquireError::Unreachable`] | nobody answers | check `CODEMETER_HOST` and that the server runs; try again |
//! | [`AcquireError::NotTrusted`] | somebody answers who is not this vendor's server | check which root the program has, and who answers there |
//! | [`AcquireError::Failed`] | the server could not deal with it | its sentence and its next step |
//! | [`UseError::SeatGone`] | the seat ended | stop what it is for; ask for a new one |
//! | [`UseError::Content`] | not for this program, or changed | ship the content again |
//! | [`EndReason`] | why a seat ended by itself | save the work, tell the user |
//!
//! # Where servers are found
//! [`ClientBuilder::server`], else `CODEMETER_HOST` (`name[:port][,name2…]`, port 22350, `unix:/path`), else the socket
//! `/var/lib/lictor/lictor.sock`, else this machine's port 22350. Servers of this machine come first, then the others in the
//! order of the list, until one has a seat. A server that does not answer is asked last for ten seconds; all together have the
//! time of [`ClientBuilder::time_limit`]. When none has a seat, every reason says which server gave it.
//!
//! The SDK needs a running tokio runtime with time and I/O.

mod address;
mod client;
mod connection;
pub mod content;
mod error;
mod key;
pub mod link;
mod program;
mod request;
mod search;
mod seat;
pub mod tls;
mod trust;
mod wait;

pub use address::{Address, AddressError, DEFAULT_PORT, DEFAULT_SOCKET, HOST_VARIABLE, MAX_ADDRESSES};
pub use client::{BuildError, Client, ClientBuilder};
pub use error::{AcquireError, Reason, Refusal, TrustError};
pub use key::{KeyChoice, KeysError, Plain, ProgramKeys};
pub use program::UseError;
pub use request::{AccessMode, Request};
pub use seat::{EndReason, Entry, Seat, SeatEvent, SeatState};
pub use trust::Trust;
pub use wait::Standing;
