//! The RPCs: requests are checked and turned into the domain's types here, and answers back into messages.

mod admin;
mod blocks;
mod containers;
mod crypto;
mod events;
mod explain;
mod health;
mod hold;
mod parse;
mod rules;
mod seats;
mod units;
mod view;
mod wait;

use lictor_licensing::access::Origin;
use lictor_licensing::error::{ErrorCode, Problem};
use tonic::{Request, Status};

pub(crate) use admin::AdminToken;
pub(crate) use blocks::BlockDesk;
pub(crate) use containers::Containers;
pub(crate) use crypto::Crypto;
pub(crate) use events::EventDesk;
pub(crate) use health::HealthDesk;
pub(crate) use rules::RuleDesk;
pub(crate) use seats::{Identity, Seats};
pub(crate) use units::Units;
pub(crate) use view::could_grant;

use crate::listen::Channel;

/// Most bytes of a message that a program may send.
pub(crate) const CLIENT_MESSAGE_BYTES: usize = 16 * 1024;
/// Most bytes of a message that an administrator may send: an update file and what surrounds it.
pub(crate) const ADMIN_MESSAGE_BYTES: usize = 4 * 1024 * 1024 + 1024;

/// The connection that a request came on.
fn channel<T>(request: &Request<T>) -> Result<Channel, Status> {
    request.extensions().get::<Channel>().cloned().ok_or_else(|| Status::internal("a request without a connection"))
}

/// Refuses callers of the network on what only local ones may see.
fn local_only(channel: &Channel, network_server: bool) -> Result<(), Status> {
    if channel.origin() == Origin::Local || network_server {
        return Ok(());
    }
    Err(status(&Problem::new(
        ErrorCode::PermissionDenied,
        "this licence server answers local callers only",
        "ask it from its own machine or container network, or let it serve the network with CM_NETWORK_SERVER=1",
    )))
}

fn status(problem: &Problem) -> Status {
    lictor_api::error::status(problem)
}
