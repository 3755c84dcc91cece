//! From an error of the HTTP client to the class that goes on record.

use std::{error::Error, io};

use super::guard::GuardError;
use crate::domain::outcome::AttemptResult;

/// The class of a call that brought no whole answer.
pub(super) fn class_of(error: &reqwest::Error) -> AttemptResult {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(class) = of_cause(current) {
            return class;
        }
        next = current.source();
    }
    if error.is_timeout() {
        AttemptResult::Timeout
    } else if error.is_connect() {
        AttemptResult::Connect
    } else {
        AttemptResult::Truncated
    }
}

fn of_cause(cause: &(dyn Error + 'static)) -> Option<AttemptResult> {
    if let Some(guard) = cause.downcast_ref::<GuardError>() {
        return Some(match guard {
            GuardError::NoAddress(..) => AttemptResult::Dns,
            GuardError::Blocked(_) => AttemptResult::Blocked,
        });
    }
    if cause.is::<rustls::Error>() {
        return Some(AttemptResult::Tls);
    }
    if let Some(http) = cause.downcast_ref::<hyper::Error>()
        && (http.is_parse() || http.is_parse_too_large())
    {
        return Some(AttemptResult::Protocol);
    }
    // An I/O error hides the error that it was made from behind its own source.
    cause.downcast_ref::<io::Error>()?.get_ref().and_then(|inner| of_cause(inner))
}

/// One line for the record: the innermost cause, which says most. It names no secret: bodies and headers are not in it.
pub(super) fn text_of(error: &reqwest::Error) -> String {
    let mut last: &(dyn Error + 'static) = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
