//! Reading raw fields into the domain's types, and failures into statuses: the edge of the service.

use lictor_api::{error::status, types::v1::PageRequest};
use lictor_licensing::{
    FirmCode, TicketCode,
    error::{ErrorCode, Problem},
};
use lictor_storage::{StorageError, command};
use tonic::Status;

use crate::{domain::page::Page, failure::Failure};

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(problem) => status(&problem),
            Failure::Storage(error) => broken(&error),
        }
    }
}

/// A fault of the store: logged here, once, and told outside without its cause.
pub(super) fn broken(error: &StorageError) -> Status {
    if error.is_unavailable() || error.is_transient() {
        tracing::warn!(%error, cause = ?std::error::Error::source(error), "the database does not answer");
        return status(&Problem::new(
            ErrorCode::Unavailable,
            "the database of license-central does not answer",
            "try again in a moment",
        ));
    }
    tracing::error!(%error, cause = ?std::error::Error::source(error), "the store failed");
    status(&Problem::new(ErrorCode::Internal, "license-central failed", "look into its log"))
}

pub(super) fn invalid(message: impl Into<String>, next: impl Into<String>) -> Status {
    status(&Problem::new(ErrorCode::InvalidArgument, message, next))
}

pub(super) fn not_found(message: impl Into<String>, next: impl Into<String>) -> Status {
    status(&Problem::new(ErrorCode::NotFound, message, next))
}

pub(super) fn ticket_unknown() -> Status {
    status(&Problem::new(ErrorCode::TicketUnknown, "no ticket has this code", "check the ticket for typing errors"))
}

/// A firm code.
pub(super) fn firm(code: u32) -> Result<FirmCode, Status> {
    FirmCode::new(code).map_err(|error| invalid(error.to_string(), "name the firm code"))
}

/// An id of one kind.
pub(super) fn id<T>(text: &str) -> Result<T, Status>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| invalid(error.to_string(), "give the id as it was shown"))
}

/// Several ids of one kind, each once; at most `most`.
pub(super) fn ids<T>(texts: &[String], most: usize) -> Result<Vec<T>, Status>
where
    T: std::str::FromStr + Ord,
    T::Err: std::fmt::Display,
{
    if texts.len() > most {
        return Err(status(&Problem::new(
            ErrorCode::LimitExceeded,
            format!("at most {most} ids are taken at once"),
            "use several requests",
        )));
    }
    let mut ids = texts.iter().map(|text| id(text)).collect::<Result<Vec<T>, Status>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// A ticket as typed.
pub(super) fn ticket(typed: &str) -> Result<TicketCode, Status> {
    typed.parse().map_err(|error: lictor_licensing::ticket::TicketCodeError| {
        invalid(error.to_string(), "check the ticket for typing errors")
    })
}

/// A request id.
pub(super) fn request_id(text: &str) -> Result<&str, Status> {
    if command::is_request_id(text) {
        Ok(text)
    } else {
        Err(invalid(
            "a request id is 1 to 64 printable characters without spaces",
            "make a fresh one for every new request and keep it for repeats",
        ))
    }
}

/// A page of a listing of ids with this prefix.
pub(super) fn page(request: Option<&PageRequest>, prefix: &str) -> Result<Page, Status> {
    let (size, token) = request.map_or((0, ""), |page| (page.size, page.token.as_str()));
    Page::read(size, token, prefix).map_err(|problem| status(&problem))
}

/// Cuts a listing that has one row more than the page, and gives the token of the next page.
pub(super) fn cut<T>(rows: &mut Vec<T>, page: &Page, id: impl Fn(&T) -> String) -> String {
    if rows.len() <= page.size as usize {
        return String::new();
    }
    rows.truncate(page.size as usize);
    rows.last().map(|last| Page::token_after(&id(last))).unwrap_or_default()
}

/// A container id: 64 lower-case hexadecimal digits.
pub(super) fn container_id(text: &str) -> Result<String, Status> {
    let hex = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if hex { Ok(text.to_owned()) } else { Err(invalid("a container id is 64 lower-case hexadecimal digits", "")) }
}

/// One line of text of at most `most` bytes.
pub(super) fn line(what: &str, text: &str, most: usize) -> Result<String, Status> {
    if text.len() > most || text.chars().any(char::is_control) {
        return Err(invalid(format!("{what} is one line of at most {most} bytes"), "shorten it"));
    }
    Ok(text.to_owned())
}
