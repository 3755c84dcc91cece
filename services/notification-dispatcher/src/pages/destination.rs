//! One destination: how it fares, what it gets, what waits; to stop and start it, and to send again what was given up.

use std::{fmt::Write, sync::Arc};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use lictor_api::notification::v1::{
    Destination, DestinationState, DisableDestinationRequest, EnableDestinationRequest, GetDestinationRequest,
    ListDeliveriesRequest, ReplayKind, StartReplayRequest, delivery_service_server::DeliveryService,
    destination_service_server::DestinationService, replay_service_server::ReplayService, transmission::Kind,
};
use lictor_auth::{Caller, Role};
use tonic::{Request, Status};

use super::{Pages, delivery, escape::escape, session, shell};
use crate::{grpc, random, report::chart::grouped};

const DELIVERIES_SHOWN: u32 = 50;

/// The page.
pub(super) async fn show(State(pages): State<Arc<Pages>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let caller = match session::reader(&pages, &headers).await {
        Ok(caller) => caller,
        Err(instead) => return instead,
    };
    match live(&pages, &caller, &id).await {
        Ok((title, live)) => shell::page(&caller, "", &title, "", &live),
        Err(status) => shell::refused(&status),
    }
}

async fn live(pages: &Pages, caller: &Caller, id: &str) -> Result<(String, String), Status> {
    let wanted = GetDestinationRequest { destination_id: id.to_owned() };
    let found = grpc::destinations(&pages.desk).get_destination(Request::new(wanted)).await?.into_inner();
    let found = found.destination.unwrap_or_default();
    let wanted = ListDeliveriesRequest {
        destination_id: id.to_owned(),
        limit: DELIVERIES_SHOWN,
        ..ListDeliveriesRequest::default()
    };
    let deliveries = grpc::deliveries(&pages.desk).list_deliveries(Request::new(wanted)).await?.into_inner().deliveries;
    let now = pages.desk.clock.now();
    let mut html = format!(
        "<h1>{}</h1><p class=\"lead\">{} <span class=\"id\">{}</span></p>",
        escape(&found.url),
        shell::destination_state(&found),
        escape(&found.destination_id)
    );
    if !found.note.is_empty() {
        let _ = write!(html, "<p class=\"note\">{}</p>", escape(&found.note));
    }
    html.push_str("<section><h2>How it is reached</h2><table><tbody>");
    for (name, value) in facts(&found) {
        let _ = write!(html, "<tr><td class=\"fact\">{name}</td><td>{}</td></tr>", escape(&value));
    }
    html.push_str("</tbody></table>");
    if caller.is(Role::Admin) {
        html.push_str(&buttons(&found));
    }
    html.push_str("</section><section><h2>Latest deliveries</h2>");
    if deliveries.is_empty() {
        html.push_str(&shell::empty("Nothing was announced to it yet", "Deliveries show here as events come."));
    } else {
        html.push_str(&delivery::table(&deliveries, now));
    }
    html.push_str("</section>");
    Ok((found.url, html))
}

fn facts(found: &Destination) -> Vec<(&'static str, String)> {
    let kind = match found.transmission.as_ref().and_then(|one| one.kind.as_ref()) {
        Some(Kind::Webhook(_)) => "webhook".to_owned(),
        Some(Kind::Sap(sap)) => format!("SAP over OData, entity set {}", sap.entity_set),
        Some(Kind::Custom(custom)) if custom.target.contains("://") => "gRPC Transmitter".to_owned(),
        Some(Kind::Custom(custom)) => format!("program {}", custom.target),
        Some(Kind::Email(email)) => format!("mail to {}", email.to.join(", ")),
        Some(Kind::File(file)) => format!("file {}", file.name),
        None => "unknown".to_owned(),
    };
    let options = found.options.clone().unwrap_or_default();
    let all = |list: &[String], nothing: &str| if list.is_empty() { nothing.to_owned() } else { list.join(", ") };
    let mut facts = vec![
        ("way", kind),
        ("types", all(&options.types, "all")),
        ("waiting", grouped(found.backlog)),
        ("given up", grouped(found.parked)),
        ("added", shell::when(found.created_at.as_ref())),
    ];
    if !options.items.is_empty() {
        facts.insert(2, ("items", options.items.join(", ")));
    }
    if !options.customers.is_empty() {
        facts.insert(2, ("customers", options.customers.join(", ")));
    }
    if found.failing_since.is_some() {
        facts.push(("failing since", shell::when(found.failing_since.as_ref())));
    }
    facts
}

fn buttons(found: &Destination) -> String {
    let place = |action: &str| format!("/destinations/{}/{action}", found.destination_id);
    let mut html = "<p>".to_owned();
    if found.state() == DestinationState::Disabled {
        html.push_str(&shell::button(&place("enable"), "Enable"));
    } else {
        html.push_str(&shell::button(&place("disable"), "Disable"));
    }
    if found.parked > 0 {
        html.push(' ');
        html.push_str(&shell::button(&place("replay"), "Send again what was given up"));
    }
    html.push_str("</p>");
    html
}

/// Carries an action out.
pub(super) async fn act(
    State(pages): State<Arc<Pages>>,
    Path((id, action)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let caller = match session::actor(&pages, &headers).await {
        Ok(caller) => caller,
        Err(instead) => return instead,
    };
    let done = match action.as_str() {
        "enable" => {
            let request = Request::new(EnableDestinationRequest { destination_id: id.clone() });
            grpc::destinations(&pages.desk).enable_destination(grpc::by(&caller, request)).await.map(drop)
        }
        "disable" => {
            let reason = format!("disabled on the page by {}", caller.subject);
            let request = Request::new(DisableDestinationRequest { destination_id: id.clone(), reason });
            grpc::destinations(&pages.desk).disable_destination(grpc::by(&caller, request)).await.map(drop)
        }
        "replay" => {
            let request = Request::new(StartReplayRequest {
                request_id: random::hex(),
                kind: ReplayKind::Failed.into(),
                destination_id: id.clone(),
                // Everything that is still kept.
                since: Some(prost_types::Timestamp::default()),
                ..StartReplayRequest::default()
            });
            grpc::replays(&pages.desk).start_replay(grpc::by(&caller, request)).await.map(drop)
        }
        _ => return shell::refusal(StatusCode::NOT_FOUND, "There is no such action", "Go back."),
    };
    match done {
        Ok(()) => session::to(&format!("/destinations/{id}"), None),
        Err(status) => shell::refused(&status),
    }
}
