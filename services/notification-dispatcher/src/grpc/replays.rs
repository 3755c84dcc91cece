//! `ReplayService`: sending again.

use lictor_api::{
    convert::{from_timestamp, timestamp},
    notification::v1::{
        self as wire, CancelReplayRequest, CancelReplayResponse, ListReplaysRequest, ListReplaysResponse,
        StartReplayRequest, StartReplayResponse, replay_service_server::ReplayService,
    },
};
use lictor_clock::Timestamp;
use lictor_licensing::{
    error::ErrorCode,
    id::{DeliveryId, ReplayId},
};
use lictor_storage::{StorageError, retry};
use tonic::{Request, Response, Status};

use super::{
    Desk, answer,
    commanded::{Answer, REPLAYS, Refusal, commanded},
    destinations::destination_id,
};
use crate::{
    domain::replay::{Kind, Replay, State},
    random,
    store::{delivery, destination, ledger, replay},
};

pub(super) struct Replays(pub(super) Desk);

/// What is wanted, before the delivery or destination is looked up.
enum Wanted {
    One(DeliveryId),
    Many(lictor_licensing::id::DestinationId, Kind, Timestamp, Timestamp),
}

#[tonic::async_trait]
impl ReplayService for Replays {
    async fn start_replay(
        &self,
        request: Request<StartReplayRequest>,
    ) -> Result<Response<StartReplayResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let request = &request.into_inner();
        let (desk, now) = (&self.0, self.0.clock.now());
        let wanted = &wanted(request, now)?;
        let id = ReplayId::new(now, random::bytes());
        let answered = commanded(desk, &caller, "StartReplay", &request.request_id, request, |mut tx| async move {
            ledger::lock(&mut tx).await?;
            if replay::running(&mut tx).await? >= REPLAYS {
                return Ok((tx, Answer::Refused(Refusal::Busy)));
            }
            let (destination, kind, since, until) = match *wanted {
                Wanted::One(delivery) => {
                    let Some((destination, state)) = delivery::place(&mut tx, delivery).await? else {
                        return Ok((tx, Answer::Refused(Refusal::NoDelivery)));
                    };
                    if state.is_open() {
                        return Ok((tx, Answer::Refused(Refusal::StillOpen)));
                    }
                    (destination, Kind::One(delivery), Timestamp::from_micros(0), Timestamp::MAX)
                }
                Wanted::Many(destination, kind, since, until) => (destination, kind, since, until),
            };
            if destination::find(&mut tx, destination, &desk.seal).await?.is_none() {
                return Ok((tx, Answer::Refused(Refusal::Missing)));
            }
            let job = Replay {
                id,
                destination,
                kind,
                state: State::Running,
                since,
                until,
                cursor: -1,
                replayed: 0,
                created_at: now,
                finished_at: None,
            };
            replay::insert(&mut tx, &job).await?;
            Ok((tx, Answer::Done(StartReplayResponse { replay: Some(shown(&job)) })))
        })
        .await?;
        desk.replays.notify_one();
        Ok(Response::new(answered))
    }

    async fn list_replays(
        &self,
        request: Request<ListReplaysRequest>,
    ) -> Result<Response<ListReplaysResponse>, Status> {
        let text = request.into_inner().destination_id;
        let destination = if text.is_empty() { None } else { Some(destination_id(&text)?) };
        let found = replay::newest(&self.0.db, destination).await.map_err(answer::storage)?;
        Ok(Response::new(ListReplaysResponse { replays: found.iter().map(shown).collect() }))
    }

    async fn cancel_replay(
        &self,
        request: Request<CancelReplayRequest>,
    ) -> Result<Response<CancelReplayResponse>, Status> {
        let id: ReplayId =
            request.into_inner().replay_id.parse().map_err(|error| answer::invalid(error, "list the replays"))?;
        let now = self.0.clock.now();
        let found = retry(|| async {
            let mut tx = self.0.db.begin().await?;
            ledger::lock(&mut tx).await?;
            let Some(mut job) = replay::find(&mut tx, id).await? else {
                return Ok(None);
            };
            if job.state == State::Running {
                (job.state, job.finished_at) = (State::Cancelled, Some(now));
                replay::write(&mut tx, &job).await?;
                tx.commit().await?;
            }
            Ok::<_, StorageError>(Some(job))
        })
        .await
        .map_err(answer::storage)?;
        let job = found.ok_or_else(|| {
            answer::refuse(ErrorCode::NotFound, "there is no replay with this id", "list the replays")
        })?;
        Ok(Response::new(CancelReplayResponse { replay: Some(shown(&job)) }))
    }
}

fn wanted(request: &StartReplayRequest, now: Timestamp) -> Result<Wanted, Status> {
    let time = |given: &Option<prost_types::Timestamp>, what: &str| {
        given
            .as_ref()
            .map(|at| {
                from_timestamp(at)
                    .ok_or_else(|| answer::invalid(format!("the {what} is no time"), "give a time in UTC"))
            })
            .transpose()
    };
    let kind = match wire::ReplayKind::try_from(request.kind) {
        Ok(wire::ReplayKind::One) => {
            if !request.destination_id.is_empty() || request.since.is_some() || request.until.is_some() {
                return Err(answer::invalid("one delivery is replayed by its id alone", "leave out the rest"));
            }
            let id = request.delivery_id.parse().map_err(|error| answer::invalid(error, "list the deliveries"))?;
            return Ok(Wanted::One(id));
        }
        Ok(wire::ReplayKind::Range) => Kind::Range,
        Ok(wire::ReplayKind::Failed) => Kind::Failed,
        Ok(wire::ReplayKind::NeverAttempted) => Kind::NeverAttempted,
        Ok(wire::ReplayKind::Unspecified) | Err(_) => {
            return Err(answer::invalid(
                "the request does not say what is replayed",
                "choose one, range, failed or never-attempted",
            ));
        }
    };
    if !request.delivery_id.is_empty() {
        return Err(answer::invalid("a delivery is named, but more than one is wanted", "leave the delivery out"));
    }
    let Some(since) = time(&request.since, "beginning")? else {
        return Err(answer::invalid("the beginning is missing", "say since when"));
    };
    let until = time(&request.until, "end")?.unwrap_or(now);
    if until <= since {
        return Err(answer::invalid("the end is not after the beginning", "give a later end"));
    }
    Ok(Wanted::Many(destination_id(&request.destination_id)?, kind, since, until))
}

fn shown(job: &Replay) -> wire::Replay {
    let kind = match job.kind {
        Kind::One(_) => wire::ReplayKind::One,
        Kind::Range => wire::ReplayKind::Range,
        Kind::Failed => wire::ReplayKind::Failed,
        Kind::NeverAttempted => wire::ReplayKind::NeverAttempted,
    };
    let state = match job.state {
        State::Running => wire::ReplayState::Running,
        State::Done => wire::ReplayState::Done,
        State::Cancelled => wire::ReplayState::Cancelled,
    };
    let many = !matches!(job.kind, Kind::One(_));
    wire::Replay {
        replay_id: job.id.to_string(),
        destination_id: job.destination.to_string(),
        kind: kind.into(),
        state: state.into(),
        since: many.then(|| timestamp(job.since)),
        until: many.then(|| timestamp(job.until)),
        replayed: job.replayed,
        created_at: Some(timestamp(job.created_at)),
        finished_at: job.finished_at.map(timestamp),
    }
}
