//! Deliveries: the list with its search, and one with all of its attempts.

use std::{collections::HashSet, fmt::Write, sync::Arc};

use axum::{
    extract::{Path, RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use lictor_api::notification::v1::{
    Delivery, DeliveryState, GetDeliveryRequest, GetDeliveryResponse, ListDeliveriesRequest, ReplayKind,
    StartReplayRequest, delivery_service_server::DeliveryService, replay_service_server::ReplayService,
};
use lictor_auth::{Caller, Role};
use lictor_clock::Timestamp;
use tonic::{Request, Status};

use super::{Pages, escape::escape, form::Form, session, shell};
use crate::{grpc, random, report::chart::grouped, store::page};

const SHOWN: u32 = 100;
const STATES: [(&str, DeliveryState); 4] = [
    ("due", DeliveryState::Due),
    ("leased", DeliveryState::Leased),
    ("done", DeliveryState::Done),
    ("parked", DeliveryState::Parked),
];

/// The list.
pub(super) async fn list(State(pages): State<Arc<Pages>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let caller = match session::reader(&pages, &headers).await {
        Ok(caller) => caller,
        Err(instead) => return instead,
    };
    let form = Form::read(query.as_deref().unwrap_or_default());
    match found(&pages, &form).await {
        Ok(deliveries) => {
            let live = if deliveries.is_empty() {
                shell::empty("Nothing was found", "Search for the id of an order, a license, an event, or a container.")
            } else {
                table(&deliveries, pages.desk.clock.now())
            };
            let fixed =
                format!("<h1>Deliveries</h1><p class=\"lead\">Newest first, times in UTC.</p>{}", search(&form));
            shell::page(&caller, "/deliveries", "Deliveries", &fixed, &format!("<section>{live}</section>"))
        }
        Err(status) => shell::refused(&status),
    }
}

fn search(form: &Form) -> String {
    let mut states = String::new();
    for (name, _) in STATES {
        let selected = if form.value("state") == name { " selected" } else { "" };
        let _ = write!(states, "<option value=\"{name}\"{selected}>{name}</option>");
    }
    format!(
        "<form class=\"search\" method=\"get\" action=\"/deliveries\">\
         <label class=\"grow\">Order, license, container or event\
         <input name=\"about\" value=\"{}\" maxlength=\"256\" placeholder=\"ord_\u{2026}, lic_\u{2026}, evt_\u{2026}\" spellcheck=\"false\"></label>\
         <label>State<select name=\"state\"><option value=\"\">any</option>{states}</select></label>\
         <button>Search</button></form>",
        escape(form.value("about"))
    )
}

async fn found(pages: &Pages, form: &Form) -> Result<Vec<Delivery>, Status> {
    let state = STATES.iter().find(|(name, _)| *name == form.value("state")).map_or(0, |(_, state)| (*state).into());
    let about = form.value("about").to_owned();
    let mut subjects = vec![about.clone()];
    if !about.is_empty() {
        // Of an order one wants to see what became of its licenses too.
        let licenses = page::licenses_of_order(&pages.desk.db, &about).await.map_err(grpc::answer::storage)?;
        subjects.extend(licenses);
    }
    let mut deliveries = Vec::new();
    let mut seen = HashSet::new();
    for event in subjects {
        let request = ListDeliveriesRequest { event, state, limit: SHOWN, ..ListDeliveriesRequest::default() };
        let listed = grpc::deliveries(&pages.desk).list_deliveries(Request::new(request)).await?.into_inner();
        deliveries.extend(listed.deliveries.into_iter().filter(|one| seen.insert(one.delivery_id.clone())));
    }
    // Ids begin with their time.
    deliveries.sort_by(|one, two| two.delivery_id.cmp(&one.delivery_id));
    deliveries.truncate(usize::try_from(SHOWN).unwrap_or(usize::MAX));
    Ok(deliveries)
}

/// Deliveries as a table.
pub(super) fn table(deliveries: &[Delivery], now: Timestamp) -> String {
    let mut html = "<div class=\"scroll\"><table><thead><tr><th>event</th><th>state</th><th>about</th>\
         <th class=\"n\">attempts</th><th>last attempt</th><th>next</th><th>made</th></tr></thead><tbody>"
        .to_owned();
    for one in deliveries {
        let last = one.last_attempt.as_ref();
        let last = last.map_or_else(|| "\u{2013}".to_owned(), |last| shell::result(&last.result, last.status));
        let next = match one.state() {
            DeliveryState::Due => shell::distance(one.next_attempt_at.as_ref(), now),
            _ => "\u{2013}".to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = write!(
            html,
            "<tr><td class=\"keep\"><a href=\"/deliveries/{}\">{}</a></td><td>{}</td>\
             <td class=\"wide\"><a class=\"id\" href=\"/deliveries?about={}\">{}</a></td>\
             <td class=\"n\">{}</td><td>{last}</td><td class=\"keep soft\">{next}</td>\
             <td class=\"keep soft\">{}</td></tr>",
            escape(&one.delivery_id),
            escape(short(&one.event_type)),
            shell::delivery_state(one.state),
            super::escape::in_query(&one.subject),
            escape(&one.subject),
            grouped(u64::from(one.attempts)),
            shell::when(one.created_at.as_ref()),
        );
    }
    html.push_str("</tbody></table></div>");
    html
}

/// `license.created` of `lictor.license.created.v1`.
fn short(kind: &str) -> &str {
    kind.strip_prefix("lictor.").and_then(|rest| rest.strip_suffix(".v1")).unwrap_or(kind)
}

/// One delivery.
pub(super) async fn show(State(pages): State<Arc<Pages>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let caller = match session::reader(&pages, &headers).await {
        Ok(caller) => caller,
        Err(instead) => return instead,
    };
    let wanted = Request::new(GetDeliveryRequest { delivery_id: id });
    match grpc::deliveries(&pages.desk).get_delivery(wanted).await {
        Ok(found) => {
            let found = found.into_inner();
            let title = short(&found.delivery.clone().unwrap_or_default().event_type).to_owned();
            shell::page(&caller, "/deliveries", &title, "", &whole(&caller, &found, pages.desk.clock.now()))
        }
        Err(status) => shell::refused(&status),
    }
}

fn whole(caller: &Caller, found: &GetDeliveryResponse, now: Timestamp) -> String {
    let one = found.delivery.clone().unwrap_or_default();
    let mut html = format!(
        "<h1>{}</h1><p class=\"lead\">{} about <a class=\"id\" href=\"/deliveries?about={}\">{}</a></p>\
         <section><table><tbody>",
        escape(short(&one.event_type)),
        shell::delivery_state(one.state),
        super::escape::in_query(&one.subject),
        escape(&one.subject),
    );
    let destination = format!("<a class=\"id\" href=\"/destinations/{0}\">{0}</a>", escape(&one.destination_id));
    for (name, value) in [
        ("destination", destination),
        ("message id", format!("<span class=\"id\">{}</span>", escape(&one.message_id))),
        ("delivery", format!("<span class=\"id\">{}</span>", escape(&one.delivery_id))),
        (
            "made",
            format!("{} ({})", shell::when(one.created_at.as_ref()), shell::distance(one.created_at.as_ref(), now)),
        ),
        ("next attempt", shell::when(one.next_attempt_at.as_ref())),
    ] {
        let _ = write!(html, "<tr><td class=\"fact\">{name}</td><td>{value}</td></tr>");
    }
    html.push_str("</tbody></table>");
    if caller.is(Role::Admin) && matches!(one.state(), DeliveryState::Done | DeliveryState::Parked) {
        let _ =
            write!(html, "<p>{}</p>", shell::button(&format!("/deliveries/{}/replay", one.delivery_id), "Send again"));
    }
    html.push_str("</section><section><h2>Attempts</h2>");
    if found.attempts.is_empty() {
        html.push_str(&shell::empty(
            "It was not tried yet",
            "Each attempt is listed here with what the receiver said.",
        ));
    } else {
        html.push_str(
            "<div class=\"scroll\"><table><thead><tr><th class=\"n\">no.</th><th>at</th><th>result</th>\
             <th class=\"n\">ms</th><th>answer</th></tr></thead><tbody>",
        );
        for attempt in found.attempts.iter().rev() {
            let _ = write!(
                html,
                "<tr><td class=\"n\">{}</td><td class=\"keep\">{}</td><td>{}</td><td class=\"n\">{}</td>\
                 <td class=\"wide small\">{}</td></tr>",
                attempt.number,
                shell::when(attempt.at.as_ref()),
                shell::result(&attempt.result, attempt.status),
                grouped(u64::from(attempt.latency_ms)),
                escape(&attempt.answer),
            );
        }
        html.push_str("</tbody></table></div>");
    }
    let _ =
        write!(html, "</section><section><h2>What is sent</h2><pre>{}</pre></section>", escape(&pretty(&found.body)));
    html
}

/// A body with line breaks, if it is JSON.
fn pretty(body: &[u8]) -> String {
    serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|json| serde_json::to_string_pretty(&json).ok())
        .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned())
}

/// Sends one delivery again.
pub(super) async fn replay(State(pages): State<Arc<Pages>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let caller = match session::actor(&pages, &headers).await {
        Ok(caller) => caller,
        Err(instead) => return instead,
    };
    let request = Request::new(StartReplayRequest {
        request_id: random::hex(),
        kind: ReplayKind::One.into(),
        delivery_id: id.clone(),
        ..StartReplayRequest::default()
    });
    match grpc::replays(&pages.desk).start_replay(grpc::by(&caller, request)).await {
        Ok(_) => session::to(&format!("/deliveries/{id}"), None),
        Err(status) => shell::refused(&status),
    }
}
