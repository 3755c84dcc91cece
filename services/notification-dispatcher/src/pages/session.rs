//! Who looks: the same tokens as for gRPC, kept by the browser in a cookie that no script can read and that no other
//! site's request carries.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use lictor_auth::{AuthError, Caller, Role};

use super::{Pages, escape::escape, form::Form, shell};

const COOKIE: &str = "lictor_token";
/// Browsers keep cookies of 4 KiB, name and attributes included.
const TOKEN_BYTES: usize = 3_800;

/// Who looks at a page, or the answer that he gets instead.
pub(super) async fn reader(pages: &Pages, headers: &HeaderMap) -> Result<Arc<Caller>, Response> {
    let Some(token) = token(headers) else {
        return Err(to_login());
    };
    match pages.verifier.verify(token).await {
        Ok(caller) if caller.is(Role::Admin) || caller.is(Role::Auditor) => Ok(caller),
        Ok(_) => Err(shell::refusal(
            StatusCode::FORBIDDEN,
            "None of your roles may look at this",
            "Ask an administrator for the role auditor or admin.",
        )),
        Err(AuthError::KeysUnavailable) => Err(shell::refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "Tokens cannot be checked at the moment",
            "Try again in a moment.",
        )),
        Err(_) => Err(to_login()),
    }
}

/// Who acts: an admin, by a form of these pages.
pub(super) async fn actor(pages: &Pages, headers: &HeaderMap) -> Result<Arc<Caller>, Response> {
    if !is_own_form(headers) {
        return Err(foreign_form());
    }
    let caller = reader(pages, headers).await?;
    if caller.is(Role::Admin) {
        return Ok(caller);
    }
    Err(shell::refusal(StatusCode::FORBIDDEN, "Auditors look, admins act", "Ask an administrator."))
}

/// The page with the form for a token.
pub(super) async fn show(RawQuery(query): RawQuery) -> Response {
    let next = next_of(&Form::read(query.as_deref().unwrap_or_default()));
    door(StatusCode::OK, "", &next)
}

/// Takes a token.
pub(super) async fn enter(State(pages): State<Arc<Pages>>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_own_form(&headers) {
        return foreign_form();
    }
    let form = Form::read(&String::from_utf8_lossy(&body));
    let (token, next) = (form.long("token"), next_of(&form));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'=');
    if token.len() > TOKEN_BYTES || token.is_empty() || !token.bytes().all(plain) {
        return door(StatusCode::BAD_REQUEST, "This is no token that a browser can keep.", &next);
    }
    match pages.verifier.verify(token).await {
        Ok(caller) if caller.is(Role::Admin) || caller.is(Role::Auditor) => {
            tracing::info!(caller = caller.subject, "somebody looks at the operators' pages");
            // A proxy that says it speaks TLS can only make the cookie stricter.
            let tls = headers.get("x-forwarded-proto").is_some_and(|value| value.as_bytes() == b"https");
            let secure = if tls { "; Secure" } else { "" };
            let cookie = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{secure}");
            to(&next, Some(&cookie))
        }
        Ok(_) => door(StatusCode::FORBIDDEN, "This token has neither the role auditor nor admin.", &next),
        Err(AuthError::Expired) => door(StatusCode::UNAUTHORIZED, "This token has expired; get a new one.", &next),
        Err(AuthError::KeysUnavailable) => {
            door(StatusCode::SERVICE_UNAVAILABLE, "Tokens cannot be checked at the moment; try again.", &next)
        }
        Err(_) => door(StatusCode::UNAUTHORIZED, "This token is not accepted here.", &next),
    }
}

/// Forgets the token.
pub(super) async fn leave(headers: HeaderMap) -> Response {
    if !is_own_form(&headers) {
        return foreign_form();
    }
    to("/login", Some(&format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")))
}

/// A way on after a form: the browser asks anew, so that reloading sends nothing twice.
pub(super) fn to(place: &str, cookie: Option<&str>) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let place = HeaderValue::from_str(place).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, place);
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn to_login() -> Response {
    to("/login", None)
}

/// A place of ours to go on to; anything else is the first page.
fn next_of(form: &Form) -> String {
    let next = form.value("next");
    let ours = next.starts_with('/') && !next.starts_with("//") && next.bytes().all(|byte| byte.is_ascii_graphic());
    if ours && !next.contains('\\') { next.to_owned() } else { "/".to_owned() }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, token)| token).filter(|token| !token.is_empty())
}

/// Only forms of these pages may act: the browser says where a form came from.
fn is_own_form(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin"), text("host")) {
        (Some(site), ..) if site != "same-origin" => false,
        (_, Some(origin), Some(host)) => {
            let named = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            named.is_some_and(|named| named.eq_ignore_ascii_case(host))
        }
        _ => false,
    }
}

fn foreign_form() -> Response {
    shell::refusal(StatusCode::FORBIDDEN, "This form came from another site", "Open the page anew and try again.")
}

fn door(status: StatusCode, problem: &str, next: &str) -> Response {
    let problem =
        if problem.is_empty() { String::new() } else { format!("<p class=\"note bad\">{}</p>", escape(problem)) };
    let body = format!(
        "<section class=\"door\"><h1>Notifications</h1>\
         <p class=\"lead\">Sign in with a token of this installation: auditors see, admins act.</p>{problem}\
         <form method=\"post\" action=\"/login\" autocomplete=\"off\"><input type=\"hidden\" name=\"next\" value=\"{}\">\
         <label>Token<textarea name=\"token\" required autofocus spellcheck=\"false\"></textarea></label>\
         <button>Sign in</button></form></section>",
        escape(next)
    );
    shell::bare(status, "Sign in", &body)
}
