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
//! - **Every refusal has its reasons**, one for each licence that was looked at: see [`Refusal`].
//!
//! # Where servers are found
//! [`ClientBuilder::server`], else `CODEMETER_HOST` (`name[:port][,name2…]`, port 22350, `unix:/path`), else the socket
//! `/var/lib/lictor/lictor.sock`, else this machine's port 22350. All are asked in their order until one has a seat.
//!
//! The SDK needs a running tokio runtime with time and I/O.

mod address;
mod client;
mod connection;
pub mod content;
mod error;
mod key;
mod program;
mod request;
mod seat;
pub mod tls;
mod trust;

pub use address::{Address, AddressError, DEFAULT_PORT, DEFAULT_SOCKET, HOST_VARIABLE, MAX_ADDRESSES};
pub use client::{BuildError, Client, ClientBuilder};
pub use error::{AcquireError, Reason, Refusal, TrustError};
pub use key::{KeyChoice, KeysError, Plain, ProgramKeys};
pub use program::UseError;
pub use request::{AccessMode, Request};
pub use seat::{EndReason, Entry, Seat, SeatEvent, SeatState};
pub use trust::Trust;
