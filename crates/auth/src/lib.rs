//! Who may call what: bearer tokens (JWT), roles, and the check before every RPC.
//!
//! # How a service uses it
//!
//! ```no_run
//! use lictor_auth::{Access, AccessTable, AuthSettings, Caller, Role, gate};
//! use lictor_clock::SharedClock;
//! use lictor_runtime::{Gate, StartError};
//!
//! /// Every RPC of the service stands here; one that does not is refused to everybody.
//! static ACCESS: AccessTable = &[
//!     ("/lictor.central.v1.OrderService/CreateOrder", Access::AnyOf(&[Role::Admin, Role::BackOffice])),
//!     ("/lictor.activation.v1.ActivationService/Activate", Access::Public),
//! ];
//!
//! fn front_door(settings: &AuthSettings, clock: SharedClock) -> Result<Gate, StartError> {
//!     let verifier = settings.verifier(clock)?;
//!     Ok(gate(ACCESS, verifier)) // for Frame::serve
//! }
//!
//! fn service_token(settings: &AuthSettings, clock: SharedClock) -> Result<Option<lictor_runtime::client::TokenSource>, StartError> {
//!     settings.service_tokens("license-central", clock) // for client::channel
//! }
//!
//! // In a handler: who calls. Behind `AnyOf` there is always a caller; behind `Public` only with a good token.
//! async fn create_order(request: tonic::Request<()>) -> Result<(), tonic::Status> {
//!     let caller: &Caller = lictor_auth::caller(&request)?;
//!     tracing::info!(subject = %caller.subject, "order created");
//!     Ok(())
//! }
//! ```
//!
//! `lictor up` makes a [`LocalIssuer`] on first start ([`LocalIssuer::load_or_create`]) and gives its settings to all
//! services with [`AuthSettings::local`]; it mints the admin's token with [`LocalIssuer::mint`].
//!
//! # Rules
//! - One algorithm per issuer; the token's own `alg` only has to agree. `jku`, `x5u`, `jwk` and `x5c` are ignored, a
//!   `crit` header is refused.
//! - `iss`, `aud`, `sub`, `exp`, `nbf` must all be there with exactly the right JSON type: a string where a number
//!   belongs makes the token malformed, never "without expiry".
//! - An issuer can only give the roles that the settings let it give: the people's issuer cannot make a service.
//! - Deny by default: a path that is not in the table is refused.

mod access;
mod claims;
mod error;
mod issuer;
mod keys;
mod role;
mod service_token;
mod settings;
mod verifier;

pub use access::{Access, AccessTable, caller, gate};
pub use error::AuthError;
pub use issuer::LocalIssuer;
pub use keys::KeySource;
pub use role::{Caller, Role};
pub use service_token::ServiceTokens;
pub use settings::AuthSettings;
pub use verifier::{Issuer, TokenAlgorithm, Verifier};
