//! Wishes for seats and their answers, as the keeper takes and gives them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_licensing::access::{AccessMode, Origin, Seats, Station};
use lictor_licensing::feature::FeatureMap;
use lictor_licensing::id::{FirmCode, LicenseId, ProductCode, SessionId};
use lictor_licensing::item::Part;
use lictor_licensing::refusal::{Refusal, RefusalLine};
use lictor_licensing::state::PartState;
use lictor_signing::PublicKey;
use tokio::sync::oneshot;

use super::blocks::Terms;
use super::peer::PeerContainer;
use super::rules::{Caller, Wish};
use super::session::{ClientNames, RequestId, Session};
use super::users::List;

/// The time of one operation, read once.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Time of day.
    pub now: Timestamp,
    /// Time since boot; what deadlines count in.
    pub boottime: Duration,
}

/// A checked wish for a seat.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The client's name for it.
    pub request_id: RequestId,
    /// Digest of all that was asked.
    pub asked: [u8; 32],
    /// The client, which proved that it holds this key.
    pub client_key: PublicKey,
    /// Bytes that come back in the grant.
    pub nonce: [u8; 32],
    /// The vendor.
    pub firm_code: FirmCode,
    /// The product.
    pub product_code: ProductCode,
    /// Features that must be there.
    pub feature_map: FeatureMap,
    /// How it counts.
    pub mode: AccessMode,
    /// Seats at once.
    pub seats: Seats,
    /// When the program was released.
    pub release_date: Option<Timestamp>,
    /// What to show people.
    pub names: ClientNames,
    /// The station it counts for.
    pub station: Station,
    /// From where it comes.
    pub origin: Origin,
    /// The other end of the connection; none for the Unix socket.
    pub address: Option<std::net::IpAddr>,
    /// The container that the program runs in, when the container engine knows it.
    pub container: Option<Arc<PeerContainer>>,
}

impl Ask {
    /// Who asks, as access rules see him.
    #[must_use]
    pub fn caller(&self) -> Caller<'_> {
        Caller {
            address: self.address,
            container: self.container.as_deref(),
            host: &self.names.host,
            user: &self.names.user,
        }
    }

    /// What is asked for, as access rules see it.
    #[must_use]
    pub const fn wish(&self) -> Wish {
        Wish { firm_code: self.firm_code.get(), product_code: self.product_code.0 }
    }
}

/// Why a wish has no answer by licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskError {
    /// The request id came before with another wish.
    RequestIdReused,
    /// The session of this request id has ended; a late copy of the message must not take a seat.
    Ended,
    /// The seat is of a block that its lender has not confirmed yet.
    Unconfirmed,
}

/// The answer to a wish.
#[derive(Debug)]
pub enum Answer {
    /// A seat, new or the same as before.
    Granted(Box<Given>),
    /// None, and why.
    Refused(Refusal),
}

/// A seat that was given, with what to tell of its entry.
#[derive(Clone, Debug)]
pub struct Given {
    /// The session.
    pub session: Session,
    /// The vendor's text.
    pub text: String,
    /// Seats of the pool; none when it is not counted.
    pub quantity: Option<u32>,
    /// The parent's product code when a module serves.
    pub module_of: Option<ProductCode>,
    /// Whose seat it is, when it is out of a block that another server lends.
    pub terms: Option<Arc<Terms>>,
    /// What the client believes; empty until the writer has signed it.
    pub signed: Signed,
}

/// A grant that was signed together with others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// The grant statement, encoded.
    pub statement: Vec<u8>,
    /// The proof that it was signed, encoded.
    pub proof: Vec<u8>,
}

/// How the server ends a stream.
#[derive(Debug)]
pub enum StreamEnd {
    /// A newer stream of the same session took its place.
    Replaced,
    /// The session is over.
    Over(RefusalLine),
    /// The client gave the seat back.
    Released,
}

/// A stream that holds a session.
#[derive(Debug)]
pub struct Attached {
    /// Which of the session's streams this is.
    pub generation: u64,
    /// Tells when the server ends it.
    pub end: oneshot::Receiver<StreamEnd>,
    /// Until when beats may be sent, when the seat is out of a block.
    pub until: Option<Until>,
}

/// Until when the seats of a block can be promised; rises with every answer of its lender.
#[derive(Clone, Debug)]
pub struct Until(pub(crate) Arc<AtomicU64>);

impl Until {
    /// The time since boot.
    #[must_use]
    pub fn at(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Acquire))
    }

    /// Whether that is over at this time since boot.
    #[must_use]
    pub fn is_over(&self, boottime: Duration) -> bool {
        boottime >= self.at()
    }
}

/// A grant that waits for its record to be durable: the record's bytes, and the way back.
pub type Unwritten = (Vec<u8>, Undo);

/// What must be taken back when a grant cannot be written.
#[derive(Debug)]
pub struct Undo {
    pub(super) session: Option<SessionId>,
    pub(super) units: Option<RequestId>,
    /// What a part was before.
    pub(super) usage: Option<(FirmCode, LicenseId, Part, PartState)>,
    /// A user who was named by it.
    pub(super) named: Option<(List, String)>,
}
