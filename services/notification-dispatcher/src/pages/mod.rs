//! Pages for operators on the HTTP listener: destinations, what waits for them, every attempt, search, replay, reports.
//!
//! They are a thin skin over the RPCs: the same handlers answer, after the same roles were checked (auditors see, admins
//! act). Nothing is fetched from elsewhere, no script or style stands in a page, and all text is escaped: events hold
//! whatever a customer typed. Without scripts everything works but the pages' own renewal.

mod delivery;
mod destination;
pub mod escape;
mod form;
mod overview;
mod reports;
mod session;
mod shell;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use lictor_auth::Verifier;

use crate::grpc::Desk;

/// The stylesheet of pages and reports.
pub const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("live.js");
const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\"><rect width=\"32\" height=\"32\" rx=\"8\" \
     fill=\"#2456c9\"/><path d=\"M11 8v16h11\" fill=\"none\" stroke=\"#fff\" stroke-width=\"4\"/></svg>";
/// Most bytes of a form.
const FORM_BYTES: usize = 16 * 1024;
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the pages share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    desk: Desk,
    verifier: Verifier,
}

/// All pages.
pub(crate) fn router(desk: Desk, verifier: Verifier) -> Router {
    let pages = Arc::new(Pages { desk, verifier });
    Router::new()
        .route("/", get(overview::show))
        .route("/login", get(session::show).post(session::enter))
        .route("/logout", post(session::leave))
        .route("/destinations/{id}", get(destination::show))
        .route("/destinations/{id}/{action}", post(destination::act))
        .route("/deliveries", get(delivery::list))
        .route("/deliveries/{id}", get(delivery::show))
        .route("/deliveries/{id}/replay", post(delivery::replay))
        .route("/reports", get(reports::list))
        .route("/reports/{period}", get(reports::show))
        .route("/assets/style.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
        .route("/assets/live.js", get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/assets/icon.svg", get(|| async { asset("image/svg+xml", ICON) }))
        .layer(DefaultBodyLimit::max(FORM_BYTES))
        .layer(middleware::from_fn(guarded))
        .with_state(pages)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

/// Puts the headers on every answer that bind the browser.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut put = |name: header::HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    put(header::CONTENT_SECURITY_POLICY, POLICY);
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::X_FRAME_OPTIONS, "DENY");
    // With no-referrer browsers would hide the origin of forms, which is what tells them from foreign ones.
    put(header::REFERRER_POLICY, "same-origin");
    put(header::CACHE_CONTROL, "no-store");
    put(header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    put(header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    response
}
