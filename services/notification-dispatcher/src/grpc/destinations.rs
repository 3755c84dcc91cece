//! `DestinationService`: who gets notifications.

use std::{collections::HashMap, str::FromStr};

use lictor_api::{
    convert::timestamp,
    notification::v1::{
        self as wire, AddDestinationRequest, AddDestinationResponse, DisableDestinationRequest,
        DisableDestinationResponse, EnableDestinationRequest, EnableDestinationResponse, ListDestinationsRequest,
        ListDestinationsResponse, destination_service_server::DestinationService,
    },
};
use lictor_clock::Timestamp;
use lictor_licensing::{error::ErrorCode, id::DestinationId};
use lictor_storage::{
    StorageError,
    command::{self, Begun, Command},
    retry,
};
use prost::Message;
use tonic::{Request, Response, Status};

use super::{Desk, answer};
use crate::{
    domain::{
        destination::{Destination, DestinationState, Health, NOTE_BYTES},
        filter::TypeFilter,
        secret::SigningSecret,
        target::Target,
    },
    events::own,
    random,
    store::{delivery, destination, ledger, measure},
};

pub(super) struct Destinations(pub(super) Desk);

/// What became of a command.
enum Outcome<T> {
    Done(T),
    Reused,
    Missing,
    Full,
}

#[tonic::async_trait]
impl DestinationService for Destinations {
    async fn add_destination(
        &self,
        request: Request<AddDestinationRequest>,
    ) -> Result<Response<AddDestinationResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let request = request.into_inner();
        if !command::is_request_id(&request.request_id) {
            return Err(answer::invalid(
                "the request id is not 1 to 64 printable characters",
                "make one at random and keep it for repetitions",
            ));
        }
        let target = Target::new(&request.url, &self.0.allow)
            .map_err(|error| answer::invalid(error, "give an https URL, or have the operator open the host"))?;
        let filter = TypeFilter::new(request.types.iter().map(String::as_str))
            .map_err(|error| answer::invalid(error, "name event types, or none for all"))?;
        let now = self.0.clock.now();
        let new = Destination {
            id: DestinationId::new(now, random::bytes()),
            target,
            filter,
            state: DestinationState::Enabled,
            created_at: now,
            note: String::new(),
            health: Health::default(),
        };
        let secret = SigningSecret::new(random::bytes());
        let body = request.encode_to_vec();
        let added = retry(|| async {
            let mut tx = self.0.db.begin().await?;
            let command =
                Command { caller: &caller, method: "AddDestination", request_id: &request.request_id, body: &body };
            let open = match command::begin(&mut tx, &command, now).await? {
                Begun::Replay(stored) => return Ok(Outcome::Done(stored)),
                Begun::Conflict => return Ok(Outcome::Reused),
                Begun::Fresh(open) => open,
            };
            ledger::lock(&mut tx).await?;
            if destination::count(&mut tx).await? >= destination::DESTINATIONS as u64 {
                return Ok(Outcome::Full);
            }
            destination::insert(&mut tx, &new, &secret).await?;
            ledger::destinations_changed(&mut tx).await?;
            let response = AddDestinationResponse { destination: Some(shown(&new, 0)), secret: secret.expose() };
            let stored = response.encode_to_vec();
            command::finish(&mut tx, open, &stored).await?;
            tx.commit().await?;
            Ok::<_, StorageError>(Outcome::Done(stored))
        })
        .await
        .map_err(answer::storage)?;
        let stored = done(added)?;
        self.0.engine.destinations_changed();
        let response = AddDestinationResponse::decode(stored.as_slice())
            .map_err(|error| answer::storage(StorageError::inconsistent("command.answer", error.to_string())))?;
        Ok(Response::new(response))
    }

    async fn list_destinations(
        &self,
        _request: Request<ListDestinationsRequest>,
    ) -> Result<Response<ListDestinationsResponse>, Status> {
        let all = destination::all(&self.0.db).await.map_err(answer::storage)?;
        let backlog = measure::backlog(&self.0.db).await.map_err(answer::storage)?.per_destination;
        let destinations = all.iter().map(|one| shown(one, open_of(&backlog, one.id))).collect();
        Ok(Response::new(ListDestinationsResponse { destinations }))
    }

    async fn disable_destination(
        &self,
        request: Request<DisableDestinationRequest>,
    ) -> Result<Response<DisableDestinationResponse>, Status> {
        let request = request.into_inner();
        let id = destination_id(&request.destination_id)?;
        let reason = reason(&request.reason)?;
        let now = self.0.clock.now();
        let changed = retry(|| async {
            let mut tx = self.0.db.begin().await?;
            ledger::lock(&mut tx).await?;
            if destination::disable(&mut tx, id, &reason, now).await? {
                own::destination_disabled(&mut tx, id, &reason, now).await?;
                ledger::destinations_changed(&mut tx).await?;
            }
            let found = destination::find(&mut tx, id).await?;
            tx.commit().await?;
            Ok::<_, StorageError>(found.map_or(Outcome::Missing, Outcome::Done))
        })
        .await
        .map_err(answer::storage)?;
        let destination = self.changed(changed).await?;
        Ok(Response::new(DisableDestinationResponse { destination: Some(destination) }))
    }

    async fn enable_destination(
        &self,
        request: Request<EnableDestinationRequest>,
    ) -> Result<Response<EnableDestinationResponse>, Status> {
        let id = destination_id(&request.into_inner().destination_id)?;
        let now = self.0.clock.now();
        let changed = retry(|| async {
            let mut tx = self.0.db.begin().await?;
            ledger::lock(&mut tx).await?;
            let Some(found) = destination::find(&mut tx, id).await? else {
                return Ok(Outcome::Missing);
            };
            if let DestinationState::Disabled { since } = found.state {
                destination::enable(&mut tx, id).await?;
                delivery::stand_still(&mut tx, id, now.since(since)).await?;
                delivery::hurry(&mut tx, id, now).await?;
                ledger::destinations_changed(&mut tx).await?;
            }
            let found = destination::find(&mut tx, id).await?;
            tx.commit().await?;
            Ok::<_, StorageError>(found.map_or(Outcome::Missing, Outcome::Done))
        })
        .await
        .map_err(answer::storage)?;
        let destination = self.changed(changed).await?;
        Ok(Response::new(EnableDestinationResponse { destination: Some(destination) }))
    }
}

impl Destinations {
    /// Wakes the engine and shows the destination as it is now.
    async fn changed(&self, outcome: Outcome<Destination>) -> Result<wire::Destination, Status> {
        let destination = done(outcome)?;
        self.0.engine.destinations_changed();
        let backlog = measure::backlog(&self.0.db).await.map_err(answer::storage)?.per_destination;
        Ok(shown(&destination, open_of(&backlog, destination.id)))
    }
}

fn done<T>(outcome: Outcome<T>) -> Result<T, Status> {
    match outcome {
        Outcome::Done(done) => Ok(done),
        Outcome::Reused => Err(answer::refuse(
            ErrorCode::RequestIdReused,
            "this request id was used for another request",
            "make a new one",
        )),
        Outcome::Missing => {
            Err(answer::refuse(ErrorCode::NotFound, "there is no destination with this id", "list the destinations"))
        }
        Outcome::Full => Err(answer::refuse(
            ErrorCode::LimitExceeded,
            format!("there are {} destinations already", destination::DESTINATIONS),
            "let one receiver pass notifications on",
        )),
    }
}

fn destination_id(text: &str) -> Result<DestinationId, Status> {
    DestinationId::from_str(text).map_err(|error| answer::invalid(error, "list the destinations"))
}

fn reason(text: &str) -> Result<String, Status> {
    if text.len() > NOTE_BYTES || text.chars().any(char::is_control) {
        return Err(answer::invalid("the reason is not one line of at most 512 bytes", "shorten it"));
    }
    let text = if text.is_empty() { "disabled by an administrator" } else { text };
    Ok(text.to_owned())
}

fn open_of(backlog: &HashMap<String, u64>, id: DestinationId) -> u64 {
    backlog.get(&id.to_string()).copied().unwrap_or(0)
}

fn shown(destination: &Destination, backlog: u64) -> wire::Destination {
    let state = match destination.state {
        DestinationState::Enabled => wire::DestinationState::Enabled,
        DestinationState::Disabled { .. } => wire::DestinationState::Disabled,
    };
    let created_at: Timestamp = destination.created_at;
    wire::Destination {
        destination_id: destination.id.to_string(),
        url: destination.target.to_string(),
        state: state.into(),
        types: destination.filter.patterns(),
        created_at: Some(timestamp(created_at)),
        backlog,
        note: destination.note.clone(),
    }
}
