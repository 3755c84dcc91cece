//! Reading raw fields into the domain's types: the edge of the service.

use std::net::{IpAddr, Ipv4Addr};

use lictor_api::{error::status, types::v1::ContainerKind as WireKind};
use lictor_clock::Timestamp;
use lictor_license_file::limits::{MAX_FILE_BYTES, MAX_SERIAL_BYTES};
use lictor_licensing::{
    ContainerKind, TicketCode,
    error::{ErrorCode, Problem},
    id::LicenseId,
};
use lictor_runtime::Peer;
use lictor_storage::command;
use sha2::{Digest, Sha256};
use tonic::{Request, Status};

use crate::domain::{proxy::Proxies, purpose::Pick};

/// Most licenses of one request.
pub(super) const MAX_LICENSES: usize = 100;

pub(super) fn invalid(message: impl Into<String>, next: impl Into<String>) -> Status {
    status(&Problem::new(ErrorCode::InvalidArgument, message, next))
}

/// Address of the other end, or of whoever stands behind a trusted proxy.
pub(super) fn address<T>(request: &Request<T>, proxies: &Proxies) -> IpAddr {
    // Only a test without a socket has none; it is then counted like one address.
    let direct = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.remote.ip());
    let lines: Vec<&str> =
        request.metadata().get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    proxies.caller(direct, lines.into_iter())
}

/// A ticket as typed.
pub(super) fn ticket(typed: &str) -> Result<TicketCode, Status> {
    typed.parse().map_err(|error: lictor_licensing::ticket::TicketCodeError| {
        invalid(error.to_string(), "check the ticket for typing errors")
    })
}

/// An id of one kind.
pub(super) fn id<T>(text: &str) -> Result<T, Status>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| invalid(error.to_string(), "give the id as it was shown"))
}

/// Several ids, sorted, each once.
pub(super) fn ids<T>(texts: &[String]) -> Result<Vec<T>, Status>
where
    T: std::str::FromStr + Ord,
    T::Err: std::fmt::Display,
{
    if texts.len() > MAX_LICENSES {
        return Err(status(&Problem::new(
            ErrorCode::LimitExceeded,
            format!("at most {MAX_LICENSES} licenses are taken at once"),
            "use several requests",
        )));
    }
    let mut ids = texts.iter().map(|text| id(text)).collect::<Result<Vec<T>, Status>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Licenses with the seats that are wanted of each, sorted, each once.
pub(super) fn picks(licenses: &[String], quantities: &[u32]) -> Result<Vec<Pick>, Status> {
    if !quantities.is_empty() && quantities.len() != licenses.len() {
        return Err(invalid(
            "the request names other numbers of licenses and of quantities",
            "give one quantity for each license, or none at all",
        ));
    }
    let known: Vec<LicenseId> = ids(licenses)?;
    let mut picks = Vec::with_capacity(known.len());
    for (place, text) in licenses.iter().enumerate() {
        picks.push(Pick { license: id(text)?, quantity: quantities.get(place).copied().unwrap_or(0) });
    }
    picks.sort_unstable_by_key(|pick| (pick.license, pick.quantity));
    picks.dedup();
    if picks.len() > known.len() {
        return Err(invalid("a license is named twice with different quantities", "name each license once"));
    }
    Ok(picks)
}

/// A time that may be absent, as far as it could be read.
pub(super) fn time(read: Option<Option<Timestamp>>) -> Result<Option<Timestamp>, Status> {
    read.map(|at| at.ok_or_else(|| invalid("this is no time", "give a date that a calendar knows"))).transpose()
}

/// A request id.
pub(super) fn request_id(text: &str) -> Result<String, Status> {
    if command::is_request_id(text) {
        Ok(text.to_owned())
    } else {
        Err(invalid(
            "a request id is 1 to 64 printable characters without spaces",
            "make a fresh one for every new request and keep it for repeats",
        ))
    }
}

/// A file of remote programming.
pub(super) fn file(content: Vec<u8>) -> Result<Vec<u8>, Status> {
    if content.is_empty() {
        return Err(invalid("the request holds no context file", "create one with: lictor server context"));
    }
    if content.len() > MAX_FILE_BYTES {
        return Err(status(&Problem::new(
            ErrorCode::LimitExceeded,
            "a context file has at most 4 MiB",
            "give the file as the license server wrote it",
        )));
    }
    Ok(content)
}

/// A serial or container id.
pub(super) fn serial(text: &str) -> Result<String, Status> {
    let plain = !text.is_empty() && text.len() <= MAX_SERIAL_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { Ok(text.to_owned()) } else { Err(invalid("this is no serial of a container", "list the containers")) }
}

/// A firm code.
pub(super) fn firm(code: u32) -> Result<u32, Status> {
    if code == 0 {
        Err(invalid("a firm code is a number from 1 to 4294967295", "name the firm code"))
    } else {
        Ok(code)
    }
}

/// One line of text of at most 256 bytes.
pub(super) fn reason(text: &str) -> Result<String, Status> {
    if text.len() > 256 || text.chars().any(char::is_control) {
        return Err(invalid("a reason is one line of at most 256 bytes", "shorten it"));
    }
    Ok(text.to_owned())
}

/// A kind of container.
pub(super) fn kind(kind: WireKind) -> Result<ContainerKind, Status> {
    kind.known().ok_or_else(|| {
        status(&Problem::new(
            ErrorCode::Unsupported,
            "the container is of a kind that this service does not know",
            "update the service",
        ))
    })
}

/// What a repeated request has to equal: its parts, each with its length.
pub(super) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
