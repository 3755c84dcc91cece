//! Events and usage: what has happened, what happens, and how much each product was used.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lictor_api::convert::timestamp;
use lictor_api::server::v1 as wire;
use lictor_api::server::v1::event_service_server::EventService;
use lictor_licensing::error::{ErrorCode, Problem};
use tokio_stream::Stream;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tonic::{Request, Response, Status};

use super::seats::Identity;
use super::{channel, local_only, status};
use crate::domain::ask::Moment;
use crate::domain::event::{Event, EventFilter, EventType};
use crate::domain::keeper::Keeper;
use crate::domain::usage::{MAX_HOURS, hour_of};
use crate::writer::Ledger;

/// Most events of one answer.
const MAX_LISTED: u32 = 1_000;
/// Longest type in a filter.
const MAX_TYPE_BYTES: usize = 64;

/// The RPCs around events.
#[derive(Clone, Debug)]
pub(crate) struct EventDesk {
    pub(crate) identity: Arc<Identity>,
    pub(crate) ledger: Ledger,
}

fn filter(firm_code: u32, product_code: u32, name: String) -> Result<EventFilter, Status> {
    if name.len() > MAX_TYPE_BYTES {
        return Err(status(&Problem::new(
            ErrorCode::InvalidArgument,
            format!("a type of events has at most {MAX_TYPE_BYTES} bytes"),
            "name one like seat.denied, or its first word",
        )));
    }
    Ok(EventFilter { firm_code, product_code, name })
}

fn on_the_wire(event: &Event) -> wire::ServerEvent {
    wire::ServerEvent {
        sequence: event.sequence,
        at: Some(timestamp(event.at)),
        r#type: event.name.clone().into_owned(),
        firm_code: event.firm_code,
        product_code: event.product_code,
        license_id: event.license_id.clone(),
        session_id: event.session_id.clone(),
        client: event.client.clone(),
        station: event.station.clone(),
        units: event.units,
        code: event.code,
        reason: event.reason.clone(),
        count: event.count.unwrap_or(0),
    }
}

#[tonic::async_trait]
impl EventService for EventDesk {
    async fn list_events(
        &self,
        request: Request<wire::ListEventsRequest>,
    ) -> Result<Response<wire::ListEventsResponse>, Status> {
        local_only(&channel(&request)?, self.identity.network_server)?;
        let wire::ListEventsRequest { limit, firm_code, product_code, r#type } = request.into_inner();
        let limit = if limit == 0 { 100 } else { limit.min(MAX_LISTED) };
        let filter = filter(firm_code, product_code, r#type)?;
        let events = self.ledger.events().newest(limit as usize, &filter);
        Ok(Response::new(wire::ListEventsResponse { events: events.iter().map(|event| on_the_wire(event)).collect() }))
    }

    type WatchEventsStream = Watching;

    async fn watch_events(&self, request: Request<wire::WatchEventsRequest>) -> Result<Response<Watching>, Status> {
        local_only(&channel(&request)?, self.identity.network_server)?;
        let wire::WatchEventsRequest { firm_code, product_code, r#type } = request.into_inner();
        let filter = filter(firm_code, product_code, r#type)?;
        let events = self.ledger.events().watch().ok_or_else(|| {
            status(&Problem::new(
                ErrorCode::Overloaded,
                "as many watch the events of this licence server as can",
                "end another watcher, or list the events",
            ))
        })?;
        Ok(Response::new(Watching { events: BroadcastStream::new(events), filter, last: None }))
    }

    async fn get_usage(
        &self,
        request: Request<wire::GetUsageRequest>,
    ) -> Result<Response<wire::GetUsageResponse>, Status> {
        local_only(&channel(&request)?, self.identity.network_server)?;
        let asked = request.into_inner();
        let look = move |keeper: &Keeper, moment| usage(keeper, &asked, moment);
        self.ledger.read(look).await.map(Response::new).map_err(|problem| status(&problem))
    }
}

fn usage(keeper: &Keeper, asked: &wire::GetUsageRequest, moment: Moment) -> wire::GetUsageResponse {
    let hours = if asked.hours == 0 { 24 } else { u64::from(asked.hours).min(MAX_HOURS as u64) };
    let from = hour_of(keeper.state.effective(moment)).saturating_sub(hours - 1);
    let products = keeper.state.usage.products().filter(|(firm, product, _)| {
        (asked.firm_code == 0 || asked.firm_code == firm.get())
            && (asked.product_code == 0 || asked.product_code == product.0)
    });
    let products = products.map(|(firm, product, hours)| wire::ProductUsage {
        firm_code: firm.get(),
        product_code: product.0,
        quantity: keeper.seats_of(firm, product).1,
        hours: hours
            .iter()
            .filter(|hour| hour.number >= from)
            .map(|hour| wire::UsageHour {
                begins: Some(timestamp(hour.begins())),
                max_used: hour.max_used,
                granted: hour.granted,
                denied: hour.denied,
            })
            .collect(),
    });
    wire::GetUsageResponse { products: products.filter(|product| !product.hours.is_empty()).collect() }
}

/// Events for one watcher.
#[derive(Debug)]
pub(crate) struct Watching {
    events: BroadcastStream<Arc<Event>>,
    filter: EventFilter,
    /// The newest that was seen, wanted or not.
    last: Option<Arc<Event>>,
}

impl Stream for Watching {
    type Item = Result<wire::ServerEvent, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match Pin::new(&mut this.events).poll_next(cx) {
                Poll::Ready(Some(Ok(event))) => {
                    let wanted = this.filter.wants(&event).then(|| on_the_wire(&event));
                    this.last = Some(event);
                    if let Some(wanted) = wanted {
                        return Poll::Ready(Some(Ok(wanted)));
                    }
                }
                Poll::Ready(Some(Err(BroadcastStreamRecvError::Lagged(missed)))) => {
                    let at = this.last.as_ref().map(|event| event.at).unwrap_or_default();
                    let gap = Event { count: Some(missed), ..Event::new(EventType::EventsMissed, at) };
                    return Poll::Ready(Some(Ok(on_the_wire(&gap))));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
