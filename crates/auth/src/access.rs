//! The table of who may call what, and the gate that holds to it.

use std::{collections::HashMap, sync::Arc};

use http::{header::AUTHORIZATION, request::Parts};
use lictor_api::error::status;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_runtime::Gate;
use tonic::{Request, Status};

use crate::{AuthError, Caller, Role, Verifier};

/// Who may call an RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody; a good token is still read, so a handler may tell a vendor's caller from a customer.
    Public,
    /// Callers with at least one of these roles.
    AnyOf(&'static [Role]),
}

/// All RPCs of a service: `("/package.Service/Method", access)`. What is not in it is refused to everybody.
pub type AccessTable = &'static [(&'static str, Access)];

/// The gate for `lictor_runtime::Frame::serve`. Puts `Arc<Caller>` into the request's extensions.
pub fn gate(table: AccessTable, verifier: Verifier) -> Gate {
    let table: Arc<HashMap<&'static str, Access>> = Arc::new(table.iter().copied().collect());
    Arc::new(move |parts| {
        let table = Arc::clone(&table);
        let verifier = verifier.clone();
        Box::pin(async move { decide(parts, &table, &verifier).await })
    })
}

/// Who calls. Behind `Access::AnyOf` this never fails.
pub fn caller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    request.extensions().get::<Arc<Caller>>().map(AsRef::as_ref).ok_or_else(no_token)
}

async fn decide(mut parts: Parts, table: &HashMap<&'static str, Access>, verifier: &Verifier) -> Result<Parts, Status> {
    let Some(access) = table.get(parts.uri.path()) else {
        return Err(forbidden("this call is not offered to anybody"));
    };
    // Nobody but this function may say who calls.
    parts.extensions.remove::<Arc<Caller>>();
    let token = bearer(&parts)?;
    let caller = match token {
        None => None,
        Some(token) => match verifier.verify(token).await {
            Ok(caller) => Some(caller),
            // A stale token must not keep anybody from a public call.
            Err(_) if *access == Access::Public => None,
            Err(AuthError::KeysUnavailable) => {
                return Err(status(&Problem::new(
                    ErrorCode::Unavailable,
                    "tokens cannot be checked at the moment",
                    "try again in a moment",
                )));
            }
            Err(error) => {
                tracing::info!(%error, path = parts.uri.path(), "token refused");
                return Err(bad_token(&error));
            }
        },
    };
    match (access, &caller) {
        (Access::Public, _) => {}
        (Access::AnyOf(_), None) => return Err(no_token()),
        (Access::AnyOf(roles), Some(caller)) => {
            if !roles.iter().any(|role| caller.is(*role)) {
                return Err(forbidden("none of your roles may make this call"));
            }
        }
    }
    if let Some(caller) = caller {
        parts.extensions.insert(caller);
    }
    Ok(parts)
}

/// The bearer token, if the header is there; a second header or another scheme is refused.
fn bearer(parts: &Parts) -> Result<Option<&str>, Status> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let token = match (first.to_str(), values.next()) {
        (Ok(text), None) => text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")),
        _ => None,
    };
    token.map(|(_, token)| Some(token.trim())).ok_or_else(|| {
        status(&Problem::new(
            ErrorCode::Unauthenticated,
            "the authorization header is not one bearer token",
            "send: authorization: Bearer TOKEN",
        ))
    })
}

fn no_token() -> Status {
    status(&Problem::new(ErrorCode::Unauthenticated, "this call needs a token", "send: authorization: Bearer TOKEN"))
}

/// An honest caller needs to hear of a late token; anything finer would only help to guess.
fn bad_token(error: &AuthError) -> Status {
    let (message, next) = match error {
        AuthError::Expired => ("the token has expired", "get a new one"),
        AuthError::NotYet => ("the token is not valid yet", "check the clocks"),
        AuthError::Audience => ("the token is for another audience", "get one for this installation"),
        _ => ("the token is not accepted", "get a new one from this installation's issuer"),
    };
    status(&Problem::new(ErrorCode::Unauthenticated, message, next))
}

fn forbidden(message: &str) -> Status {
    status(&Problem::new(ErrorCode::PermissionDenied, message, "ask an administrator for a role that may"))
}
