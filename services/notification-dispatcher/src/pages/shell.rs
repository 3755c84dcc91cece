//! The frame around each page, and small pieces that several share.

use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use lictor_api::notification::v1::{BreakerState, DeliveryState, Destination, DestinationState};
use lictor_auth::{Caller, Role};
use lictor_clock::Timestamp;
use prost_types::Timestamp as WireTime;
use tonic::{Code, Status};

use super::escape::escape;

const HEAD: &str = "<meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
     <link rel=\"stylesheet\" href=\"/assets/style.css\"><link rel=\"icon\" type=\"image/svg+xml\" href=\"/assets/icon.svg\">";
const PLACES: [(&str, &str); 3] = [("/", "Destinations"), ("/deliveries", "Deliveries"), ("/reports", "Reports")];

/// A whole page for somebody who signed in. What stands in `live` renews itself.
pub(super) fn page(caller: &Caller, here: &str, title: &str, fixed: &str, live: &str) -> Response {
    let links: String = PLACES
        .iter()
        .map(|(place, name)| {
            let current = if *place == here { " aria-current=\"page\"" } else { "" };
            format!("<a href=\"{place}\"{current}>{name}</a>")
        })
        .collect();
    let role = if caller.is(Role::Admin) { "admin" } else { "auditor" };
    Html(format!(
        "<!doctype html>\n<html lang=\"en\"><head>{HEAD}<title>{} \u{b7} Lictor</title>\
         <noscript><meta http-equiv=\"refresh\" content=\"15\"></noscript>\
         <script src=\"/assets/live.js\" defer></script></head><body>\
         <header class=\"top\"><span class=\"brand\">Lictor notifications</span><nav>{links}</nav>\
         <div class=\"who\"><span id=\"pulse\" class=\"badge\">still</span><span>{} ({role})</span>\
         <form class=\"inline\" method=\"post\" action=\"/logout\"><button class=\"plain\">Sign out</button></form></div>\
         </header><main>{fixed}<div id=\"live\">{live}</div></main></body></html>\n",
        escape(title),
        escape(&caller.subject),
    ))
    .into_response()
}

/// A page for nobody in particular.
pub(super) fn bare(status: StatusCode, title: &str, body: &str) -> Response {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head>{HEAD}<title>{} \u{b7} Lictor</title></head><body><main>{body}</main>\
         </body></html>\n",
        escape(title)
    );
    (status, Html(page)).into_response()
}

/// Why there is no page, and what to do.
pub(super) fn refusal(status: StatusCode, why: &str, next: &str) -> Response {
    let body = format!(
        "<section class=\"door\"><h1>{}</h1><p class=\"lead\">{}</p><p><a href=\"/\">To the destinations</a></p></section>",
        escape(why),
        escape(next)
    );
    bare(status, why, &body)
}

/// What an RPC refused, as a page.
pub(super) fn refused(status: &Status) -> Response {
    let code = match status.code() {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refusal(code, &sentence(status.message()), "Go back and try again.")
}

/// A sentence of ours with a capital letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `2026-11-22 16:15:43`, UTC; a dash for nothing.
pub(super) fn when(time: Option<&WireTime>) -> String {
    let Some(time) = time.and_then(lictor_api::convert::from_timestamp) else {
        return "\u{2013}".to_owned();
    };
    time.to_string().replace('T', " ").chars().take(19).collect()
}

/// How long ago something was, or how far ahead it is.
pub(super) fn distance(time: Option<&WireTime>, now: Timestamp) -> String {
    let Some(time) = time.and_then(lictor_api::convert::from_timestamp) else {
        return "\u{2013}".to_owned();
    };
    if time > now { format!("in {}", span(time.since(now))) } else { format!("{} ago", span(now.since(time))) }
}

fn span(length: std::time::Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A delivery's state in its color.
pub(super) fn delivery_state(state: i32) -> &'static str {
    match DeliveryState::try_from(state).unwrap_or_default() {
        DeliveryState::Due => "<span class=\"badge warn\">due</span>",
        DeliveryState::Leased => "<span class=\"badge\">sending</span>",
        DeliveryState::Done => "<span class=\"badge good\">done</span>",
        DeliveryState::Parked => "<span class=\"badge bad\">parked</span>",
        DeliveryState::Collapsed => "<span class=\"badge\">collapsed</span>",
        DeliveryState::Unspecified => "<span class=\"badge\">unknown</span>",
    }
}

/// How a destination fares, in its color.
pub(super) fn destination_state(destination: &Destination) -> &'static str {
    if destination.state() == DestinationState::Disabled {
        return "<span class=\"badge bad\">disabled</span>";
    }
    match destination.breaker() {
        BreakerState::Open => "<span class=\"badge bad\">held back</span>",
        BreakerState::HalfOpen => "<span class=\"badge warn\">probing</span>",
        _ if destination.failing_since.is_some() => "<span class=\"badge warn\">failing</span>",
        _ => "<span class=\"badge good\">working</span>",
    }
}

/// The result of an attempt in its color.
pub(super) fn result(word: &str, status: u32) -> String {
    let color = if word == "taken" { "good" } else { "bad" };
    let status = if status == 0 { String::new() } else { format!(" {status}") };
    format!("<span class=\"badge {color}\">{}{status}</span>", escape(word))
}

/// What stands where nothing is.
pub(super) fn empty(what: &str, next: &str) -> String {
    format!("<div class=\"empty\"><b>{what}</b>{next}</div>")
}

/// A button that acts.
pub(super) fn button(place: &str, name: &str) -> String {
    format!(
        "<form class=\"inline\" method=\"post\" action=\"{}\"><button class=\"plain\">{name}</button></form>",
        escape(place)
    )
}
