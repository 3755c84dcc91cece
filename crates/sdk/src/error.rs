//! Why there is no seat.

use lictor_api::types::v1 as wire;
use lictor_clock::Timestamp;
use lictor_licensing::error::Problem;

use crate::Address;

/// Why [`Client::acquire`](crate::Client::acquire) gave no seat.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// A licence server that is trusted looked and refused. The program may not run this feature now.
    #[error("{0}")]
    Refused(Refusal),
    /// No licence server answered.
    #[error("no licence server answers: {}", list(.0))]
    Unreachable(Vec<(Address, String)>),
    /// A server answered, but cannot prove that the vendor lets it hand out seats. Nothing it says was believed.
    #[error("the licence server at {address} is not trusted: {reason}")]
    NotTrusted {
        /// Where it is.
        address: Address,
        /// What did not hold.
        reason: TrustError,
    },
    /// The server could not deal with the request.
    #[error("the licence server at {address} answers: {problem}")]
    Failed {
        /// Where it is.
        address: Address,
        /// What it says.
        problem: Problem,
    },
}

fn list(tried: &[(Address, String)]) -> String {
    tried.iter().map(|(address, reason)| format!("{address}: {reason}")).collect::<Vec<_>>().join("; ")
}

/// What kept a server from being believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The program was given no root of this firm.
    #[error("this program knows no root key of firm {0}")]
    UnknownFirm(u32),
    /// The server shows no certificate for this firm.
    #[error("it has no certificate of firm {0}")]
    NoCertificate(u32),
    /// The firm's keys did not sign what it shows.
    #[error("its certificate does not lead to the firm's root: {0}")]
    Chain(String),
    /// It does not hold the key that the certificate names, or somebody stands between.
    #[error("it does not prove that this connection ends at its key")]
    Proof,
    /// The answer is not a grant for this program's request: forged, replayed, or for somebody else.
    #[error("its grant is not for this request: {0}")]
    Grant(&'static str),
    /// The answer to a call with a seat does not hold: forged, replayed, or for somebody else.
    #[error("its answer does not hold: {0}")]
    Answer(&'static str),
    /// The answer has not the promised form.
    #[error("its answer is malformed: {0}")]
    Malformed(&'static str),
}

/// A refusal with one reason for each candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// At least one.
    pub reasons: Vec<Reason>,
}

/// Why one candidate did not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The container; empty when none was involved.
    pub serial: String,
    /// The product that was looked at.
    pub product_code: u32,
    /// The number that old integrations know, such as 212 for "no more licences".
    pub code: u32,
    /// One sentence.
    pub reason: String,
    /// Who holds the seats, as far as the server may tell.
    pub holders: Vec<String>,
    /// Earliest time at which a seat may come free.
    pub free_at: Option<Timestamp>,
    /// What would work instead.
    pub instead: String,
    /// The licence server that says so, as the search list names it; behind it another one, when that lends seats.
    pub server: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the licence refuses: ")?;
        for (place, reason) in self.reasons.iter().enumerate() {
            if place > 0 {
                f.write_str("; ")?;
            }
            if !reason.server.is_empty() {
                write!(f, "{}: ", reason.server)?;
            }
            write!(f, "{} ({})", reason.reason, reason.code)?;
        }
        Ok(())
    }
}

impl From<wire::Refusal> for Refusal {
    fn from(refusal: wire::Refusal) -> Self {
        Self { reasons: refusal.reasons.into_iter().map(Reason::from).collect() }
    }
}

impl From<wire::RefusalReason> for Reason {
    fn from(reason: wire::RefusalReason) -> Self {
        Self {
            serial: reason.serial,
            product_code: reason.product_code,
            code: reason.code,
            reason: reason.reason,
            holders: reason.holders,
            free_at: reason.free_at.as_ref().and_then(lictor_api::convert::from_timestamp),
            instead: reason.instead,
            server: reason.server,
        }
    }
}
