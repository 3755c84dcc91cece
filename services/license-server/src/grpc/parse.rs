//! Requests become the domain's types, or a sentence about what is wrong with them.

use lictor_api::server::v1 as wire;
use lictor_api::types::v1::ContainerKind as WireKind;
use lictor_licensing::access::{AccessMode, Seats, Station};
use lictor_licensing::binding::ContainerKind;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::feature::FeatureMap;
use lictor_licensing::id::{FirmCode, ProductCode, SessionId};
use lictor_signing::{KeyChoice, MAX_CODE_BYTES, PublicKey};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::domain::MAX_NAME_BYTES;
use crate::domain::ask::Ask;
use crate::domain::session::ClientNames;
use crate::domain::units::UnitsWish;
use crate::listen::Channel;

/// Most seats in one access.
const MAX_UNITS: u32 = 10_000;
/// Most parent sessions in one request.
const MAX_PARENTS: usize = 16;

pub(super) fn invalid(what: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::InvalidArgument, what, "correct the request; the rules are in the comments of server.proto")
}

pub(super) fn exactly<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N], Problem> {
    bytes.try_into().map_err(|_| invalid(format!("{what} must have {N} bytes, not {}", bytes.len())))
}

/// A vendor's challenge, when there is one.
pub(super) fn challenge(bytes: &[u8]) -> Result<Option<[u8; 32]>, Problem> {
    if bytes.is_empty() { Ok(None) } else { exactly(bytes, "challenge").map(Some) }
}

pub(super) fn name(text: String, what: &str) -> Result<String, Problem> {
    if text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) {
        return Err(invalid(format!("{what} must be one plain line of at most {MAX_NAME_BYTES} bytes")));
    }
    Ok(text)
}

/// A wish. `explaining` leaves out what only a real wish must have.
pub(super) fn ask(
    mut request: wire::AcquireRequest,
    station: Station,
    channel: &Channel,
    explaining: bool,
) -> Result<Ask, Problem> {
    if explaining {
        request.request_id = vec![0; 16];
        request.nonce = vec![0; 32];
    }
    request.proof.clear();
    let asked = Sha256::digest(request.encode_to_vec()).into();
    let client_key = match exactly::<32>(&request.client_key, "client_key") {
        Ok(bytes) => match channel.proved_key(&bytes) {
            Some(known) => known,
            None => PublicKey::from_bytes(&bytes).map_err(|error| invalid(format!("client_key: {error}")))?,
        },
        Err(_) if explaining => stand_in_key(),
        Err(problem) => return Err(problem),
    };
    if request.parent_sessions.len() > MAX_PARENTS {
        return Err(invalid(format!("at most {MAX_PARENTS} parent_sessions can be named")));
    }
    for parent in &request.parent_sessions {
        session_id(parent)?;
    }
    if request.units > MAX_UNITS {
        return Err(invalid(format!("units must be 1 to {MAX_UNITS}")));
    }
    let mode = match request.mode() {
        wire::AccessMode::UserLimit | wire::AccessMode::Unspecified => AccessMode::UserLimit,
        wire::AccessMode::StationShare => AccessMode::StationShare,
        wire::AccessMode::Exclusive => AccessMode::Exclusive,
        wire::AccessMode::NoUserLimit => AccessMode::NoUserLimit,
    };
    let release_date = match &request.release_date {
        None => None,
        Some(date) => {
            Some(lictor_api::convert::from_timestamp(date).ok_or_else(|| invalid("release_date is no time"))?)
        }
    };
    Ok(Ask {
        request_id: exactly(&request.request_id, "request_id")?,
        asked,
        client_key,
        nonce: exactly(&request.nonce, "nonce")?,
        firm_code: firm_code(request.firm_code)?,
        product_code: ProductCode(request.product_code),
        feature_map: FeatureMap(request.feature_map),
        mode,
        seats: Seats::new(request.units.max(1)).map_err(|error| invalid(error.to_string()))?,
        release_date,
        names: ClientNames {
            program: name(request.program, "program")?,
            user: name(request.user, "user")?,
            host: name(request.host, "host")?,
        },
        station,
        origin: channel.origin(),
        address: channel.address(),
        container: channel.container().cloned(),
    })
}

/// A wish for units.
pub(super) fn units(request_id: &[u8], session: &str, units: u64) -> Result<UnitsWish, Problem> {
    if units == 0 {
        return Err(invalid("units must be 1 or more"));
    }
    Ok(UnitsWish { request_id: exactly(request_id, "request_id")?, session: session_id(session)?, units })
}

/// Which of a product's keys.
pub(super) fn key_choice(choice: wire::KeyChoice) -> Result<KeyChoice, Problem> {
    let wire::KeyChoice { selector, code, secret, of_container, of_protected_data, of_units } = choice;
    let secret = secret.map(u8::try_from).transpose().map_err(|_| invalid("secret must be 0 to 127"))?;
    let choice = KeyChoice { selector, code, secret, of_container, of_protected_data, of_units };
    if choice.is_possible() {
        Ok(choice)
    } else {
        Err(invalid(format!("code may have at most {MAX_CODE_BYTES} bytes, and secret must be 0 to 127")))
    }
}

/// Whoever asks only for an explanation may have no key; he holds nothing either.
fn stand_in_key() -> PublicKey {
    use lictor_signing::Signer as _;
    lictor_key_store::MemorySigner::from_seed(&[0; 32]).public_key()
}

/// A firm code.
pub(super) fn firm_code(code: u32) -> Result<FirmCode, Problem> {
    FirmCode::new(code).map_err(|error| invalid(error.to_string()))
}

/// A session's id.
pub(super) fn session_id(text: &str) -> Result<SessionId, Problem> {
    text.parse().map_err(|_| invalid("this is not the id of a session"))
}

/// A kind of container; none when it is not specified.
pub(super) fn kind(kind: WireKind) -> Option<ContainerKind> {
    kind.known()
}
