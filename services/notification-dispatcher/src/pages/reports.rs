//! Reports: those of the schedule, and one on demand for each period.

use std::{fmt::Write, sync::Arc};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};

use super::{Pages, escape::escape, session, shell};
use crate::{
    grpc,
    report::{
        make,
        period::{Period, Span},
    },
    store::report,
};

/// A report carries its own style; everything else stays closed.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";
const SHOWN: u32 = 100;

/// The list.
pub(super) async fn list(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response {
    let caller = match session::reader(&pages, &headers).await {
        Ok(caller) => caller,
        Err(instead) => return instead,
    };
    let runs = match report::list(&pages.desk.db, SHOWN).await {
        Ok(runs) => runs,
        Err(error) => return shell::refused(&grpc::answer::storage(error)),
    };
    let fixed = "<h1>Reports</h1><p class=\"lead\">New licenses and transactions of a period, counted from the events here.</p>\
         <section><h2>The last period that is over</h2>\
         <p><a href=\"/reports/daily\">Yesterday</a> \u{b7} <a href=\"/reports/weekly\">Last week</a> \u{b7} \
         <a href=\"/reports/monthly\">Last month</a></p></section>";
    let mut html = "<section><h2>Made by schedule</h2>".to_owned();
    if runs.is_empty() {
        html.push_str(&shell::empty(
            "No report was due yet",
            "The operator chooses them: <code>LICTOR_REPORTS=daily,weekly</code> with <code>LICTOR_REPORT_MAIL</code> or \
             <code>LICTOR_REPORT_FOLDER</code>.",
        ));
    } else {
        html.push_str(
            "<div class=\"scroll\"><table><thead><tr><th>report</th><th>until</th><th>state</th>\
             <th class=\"n\">attempts</th><th>last word</th></tr></thead><tbody>",
        );
        for run in &runs {
            let state = match run.sent_at {
                Some(_) => "<span class=\"badge good\">sent</span>",
                None => "<span class=\"badge warn\">due</span>",
            };
            // Writing to a string cannot fail.
            let _ = write!(
                html,
                "<tr><td class=\"keep\">{}</td><td class=\"keep soft\">{}</td><td>{state}</td><td class=\"n\">{}</td>\
                 <td class=\"soft small\">{}</td></tr>",
                escape(&run.name),
                shell::when(Some(&lictor_api::convert::timestamp(run.until))),
                run.attempts,
                escape(&run.note)
            );
        }
        html.push_str("</tbody></table></div>");
    }
    html.push_str("</section>");
    shell::page(&caller, "/reports", "Reports", fixed, &html)
}

/// The report of the last period that is over.
pub(super) async fn show(State(pages): State<Arc<Pages>>, Path(period): Path<String>, headers: HeaderMap) -> Response {
    if let Err(instead) = session::reader(&pages, &headers).await {
        return instead;
    }
    let Ok(period) = period.parse::<Period>() else {
        return shell::refusal(
            StatusCode::NOT_FOUND,
            "There is no such report",
            "Reports are daily, weekly or monthly.",
        );
    };
    let now = pages.desk.clock.now();
    let span = Span::last_over(period, now, pages.desk.report_offset);
    match make::make(&pages.desk.db, span, now).await {
        Ok(made) => {
            let mut response = Html(made.html).into_response();
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            response
        }
        Err(error) => shell::refused(&grpc::answer::storage(error)),
    }
}
