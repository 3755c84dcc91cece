//! The first page: how all destinations fare, and what failed last.

use std::{fmt::Write, sync::Arc};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use lictor_api::notification::v1::{
    DeliveryState, Destination, DestinationState, ListDeliveriesRequest, ListDestinationsRequest,
    delivery_service_server::DeliveryService, destination_service_server::DestinationService,
};
use tonic::Request;

use super::{Pages, delivery, escape::escape, session, shell};
use crate::{grpc, report::chart::grouped};

const PARKED_SHOWN: u32 = 10;

/// The page.
pub(super) async fn show(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response {
    let caller = match session::reader(&pages, &headers).await {
        Ok(caller) => caller,
        Err(instead) => return instead,
    };
    match live(&pages).await {
        Ok(live) => {
            let fixed = "<h1>Destinations</h1><p class=\"lead\">Who gets notifications, and what waits for them.</p>";
            shell::page(&caller, "/", "Destinations", fixed, &live)
        }
        Err(status) => shell::refused(&status).into_response(),
    }
}

async fn live(pages: &Pages) -> Result<String, tonic::Status> {
    let listed = grpc::destinations(&pages.desk).list_destinations(Request::new(ListDestinationsRequest {})).await?;
    let destinations = listed.into_inner().destinations;
    let parked = ListDeliveriesRequest {
        state: DeliveryState::Parked.into(),
        limit: PARKED_SHOWN,
        ..ListDeliveriesRequest::default()
    };
    let parked = grpc::deliveries(&pages.desk).list_deliveries(Request::new(parked)).await?.into_inner().deliveries;
    let now = pages.desk.clock.now();
    let mut html = tiles(&destinations);
    html.push_str("<section>");
    if destinations.is_empty() {
        html.push_str(&shell::empty(
            "There are no destinations yet",
            "Add one: <code>lictor notify destination add --url https://erp.example/hooks/lictor</code>",
        ));
    } else {
        html.push_str(
            "<div class=\"scroll\"><table><thead><tr><th>destination</th><th>state</th><th class=\"n\">waiting</th>\
             <th class=\"n\">parked</th><th>last word</th></tr></thead><tbody>",
        );
        for one in &destinations {
            // Writing to a string cannot fail.
            let _ = write!(
                html,
                "<tr><td class=\"wide\"><a href=\"/destinations/{id}\">{}</a><div class=\"soft id\">{id}</div></td>\
                 <td class=\"keep\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td class=\"soft small wide\">{}</td></tr>",
                escape(&one.url),
                shell::destination_state(one),
                grouped(one.backlog),
                grouped(one.parked),
                escape(if one.note.is_empty() { "all is well" } else { &one.note }),
                id = escape(&one.destination_id),
            );
        }
        html.push_str("</tbody></table></div>");
    }
    html.push_str("</section><section><h2>Given up lately</h2>");
    if parked.is_empty() {
        html.push_str(&shell::empty(
            "Nothing was given up",
            "Deliveries that were tried for too long are listed here.",
        ));
    } else {
        html.push_str(&delivery::table(&parked, now));
    }
    html.push_str("</section>");
    Ok(html)
}

fn tiles(destinations: &[Destination]) -> String {
    let disabled = destinations.iter().filter(|one| one.state() == DestinationState::Disabled).count();
    let failing = destinations.iter().filter(|one| one.failing_since.is_some()).count();
    let sum = |of: fn(&Destination) -> u64| destinations.iter().map(of).fold(0, u64::saturating_add);
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let mut html = "<div class=\"tiles\">".to_owned();
    for (name, value) in [
        ("deliveries waiting", sum(|one| one.backlog)),
        ("deliveries given up", sum(|one| one.parked)),
        ("destinations failing", count(failing)),
        ("destinations disabled", count(disabled)),
    ] {
        let _ = write!(html, "<div class=\"tile\"><b>{}</b><span>{name}</span></div>", grouped(value));
    }
    html.push_str("</div>");
    html
}
