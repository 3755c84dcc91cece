//! `QuarantineService`: what could not be understood, and its second look.

use lictor_api::{
    convert::timestamp,
    event::v1 as wire,
    notification::v1::{
        ListQuarantinedRequest, ListQuarantinedResponse, QuarantinedEvent, ReprocessQuarantinedRequest,
        ReprocessQuarantinedResponse, quarantine_service_server::QuarantineService,
    },
};
use prost::Message;
use tonic::{Request, Response, Status};

use super::{Desk, answer};
use crate::{
    engine::Intake,
    events::pull::checked,
    store::quarantine::{self, KeptAside, Place},
};

/// Events in an answer when the caller names no number.
const USUAL: u32 = 100;
/// Most events in an answer.
const MOST: u32 = 1_000;
/// Most events that one call looks at again.
const LOOKS: u32 = 10_000;
/// Events that are looked at together.
const PAGE: u32 = 100;

pub(super) struct Quarantine(pub(super) Desk);

#[tonic::async_trait]
impl QuarantineService for Quarantine {
    async fn list_quarantined(
        &self,
        request: Request<ListQuarantinedRequest>,
    ) -> Result<Response<ListQuarantinedResponse>, Status> {
        let request = request.into_inner();
        let limit = if request.limit == 0 { USUAL } else { request.limit.min(MOST) };
        let found = quarantine::list(&self.0.db, &request.source, None, limit).await.map_err(answer::storage)?;
        let events = found
            .into_iter()
            .map(|one| QuarantinedEvent {
                source: one.place.source,
                sequence: one.place.sequence,
                digest: one.place.digest,
                reason: one.reason,
                quarantined_at: Some(timestamp(one.at)),
                size: u32::try_from(one.payload.len()).unwrap_or(u32::MAX),
            })
            .collect();
        Ok(Response::new(ListQuarantinedResponse { events }))
    }

    async fn reprocess_quarantined(
        &self,
        request: Request<ReprocessQuarantinedRequest>,
    ) -> Result<Response<ReprocessQuarantinedResponse>, Status> {
        let source = request.into_inner().source;
        let mut answered = ReprocessQuarantinedResponse::default();
        let mut after: Option<Place> = None;
        for _ in 0..LOOKS / PAGE {
            let page = quarantine::list(&self.0.db, &source, after.as_ref(), PAGE).await.map_err(answer::storage)?;
            let Some(last) = page.last() else { break };
            after = Some(last.place.clone());
            for one in &page {
                if self.looks_again(one).await? {
                    answered.taken += 1;
                } else {
                    answered.left += 1;
                }
            }
        }
        Ok(Response::new(answered))
    }
}

impl Quarantine {
    /// Tells whether it is understood now; then it is stored and its place in the quarantine is free. A crash between the
    /// two only means that it is looked at once more: an event is known by its id.
    async fn looks_again(&self, one: &KeptAside) -> Result<bool, Status> {
        let Ok(event) = wire::Event::decode(one.payload.as_slice()) else { return Ok(false) };
        let Ok(event) = checked(event, &one.place.source) else { return Ok(false) };
        let intake = Intake { events: vec![event], quarantined: Vec::new() };
        self.0.engine.take(intake).await.map_err(|error| Status::unavailable(error.to_string()))?;
        quarantine::forget(&self.0.db, &one.place).await.map_err(answer::storage)?;
        Ok(true)
    }
}
