//! `DestinationService`: who gets notifications.

use std::sync::Arc;

use lictor_api::{
    convert::timestamp,
    notification::v1::{
        self as wire, AddDestinationRequest, AddDestinationResponse, DeleteDestinationRequest,
        DeleteDestinationResponse, DisableDestinationRequest, DisableDestinationResponse, EnableDestinationRequest,
        EnableDestinationResponse, GetDestinationRequest, GetDestinationResponse, ListDestinationsRequest,
        ListDestinationsResponse, RotateSecretRequest, RotateSecretResponse, TestDestinationRequest,
        TestDestinationResponse, UpdateDestinationRequest, UpdateDestinationResponse,
        destination_service_server::DestinationService,
    },
};
use lictor_licensing::id::DestinationId;
use lictor_storage::{StorageError, retry};
use tonic::{Request, Response, Status};

use super::{
    Desk, answer,
    commanded::{Answer, Refusal, commanded},
    shown::{attempt, shown},
};
use crate::{
    domain::{
        destination::{Destination, DestinationState, Health, NOTE_BYTES},
        kind::Kind,
        options::Options,
        secret::{KEEP_OLD_AT_MOST, KEEP_OLD_FOR, KEYS, SigningKind},
    },
    events::own,
    random,
    store::{delivery, destination, ledger, measure},
    transmission::{Transmission, way},
};

pub(super) struct Destinations(pub(super) Desk);

#[tonic::async_trait]
impl DestinationService for Destinations {
    async fn add_destination(
        &self,
        request: Request<AddDestinationRequest>,
    ) -> Result<Response<AddDestinationResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let request = &request.into_inner();
        let desk = &self.0;
        let wanted = request.transmission.clone().unwrap_or_default();
        self.check_way(&wanted)?;
        let options = options(request.options.clone().unwrap_or_default())?;
        let kind = signing_kind(request.signing)?;
        let now = desk.clock.now();
        let new = Destination {
            id: DestinationId::new(now, random::bytes()),
            transmission: Arc::new(wanted),
            options: Arc::new(options),
            revision: 1,
            state: DestinationState::Enabled,
            created_at: now,
            note: String::new(),
            health: Health::default(),
        };
        let new = &new;
        let signs = Kind::of(&new.transmission) == Some(Kind::Webhook);
        if !signs && kind.is_some() {
            return Err(answer::invalid("only webhooks are signed", "leave the kind of signature out"));
        }
        let key = &signs.then(|| kind.unwrap_or(SigningKind::Hmac).make(random::bytes()));
        let answered = commanded(desk, &caller, "AddDestination", &request.request_id, request, |mut tx| async move {
            ledger::lock(&mut tx).await?;
            if destination::count(&mut tx).await? >= destination::DESTINATIONS as u64 {
                return Ok((tx, Answer::Refused(Refusal::Full)));
            }
            destination::insert(&mut tx, new, &desk.seal).await?;
            if let Some(key) = key {
                destination::add_key(&mut tx, new.id, key, now, &desk.seal).await?;
            }
            ledger::destinations_changed(&mut tx).await?;
            let keys = destination::keys(&mut tx, new.id, now, &desk.seal).await?;
            Ok((
                tx,
                Answer::Done(AddDestinationResponse {
                    destination: Some(shown(new, &keys, now)),
                    secret: key.as_ref().map(|key| key.secret_text()).unwrap_or_default(),
                    public_key: key.as_ref().map(|key| key.public_text()).unwrap_or_default(),
                }),
            ))
        })
        .await?;
        desk.engine.destinations_changed();
        Ok(Response::new(answered))
    }

    async fn list_destinations(
        &self,
        _request: Request<ListDestinationsRequest>,
    ) -> Result<Response<ListDestinationsResponse>, Status> {
        let destinations = self.all().await?;
        Ok(Response::new(ListDestinationsResponse { destinations }))
    }

    async fn get_destination(
        &self,
        request: Request<GetDestinationRequest>,
    ) -> Result<Response<GetDestinationResponse>, Status> {
        let id = destination_id(&request.into_inner().destination_id)?;
        Ok(Response::new(GetDestinationResponse { destination: Some(self.one(id).await?) }))
    }

    async fn update_destination(
        &self,
        request: Request<UpdateDestinationRequest>,
    ) -> Result<Response<UpdateDestinationResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let request = &request.into_inner();
        let desk = &self.0;
        let id = destination_id(&request.destination_id)?;
        let options = &request.options.clone().map(options).transpose()?;
        let now = desk.clock.now();
        let answered: Result<UpdateDestinationResponse, Status> =
            commanded(desk, &caller, "UpdateDestination", &request.request_id, request, |mut tx| async move {
                ledger::lock(&mut tx).await?;
                let Some(mut found) = destination::find(&mut tx, id, &desk.seal).await? else {
                    return Ok((tx, Answer::Refused(Refusal::Missing)));
                };
                if request.revision != 0 && request.revision != found.revision {
                    return Ok((tx, Answer::Refused(Refusal::Changed)));
                }
                if let Some(mut wanted) = request.transmission.clone() {
                    if Kind::of(&wanted) != Kind::of(&found.transmission) {
                        return Ok((tx, Answer::Refused(Refusal::OtherKind)));
                    }
                    way::keep_credentials(&mut wanted, &found.transmission);
                    if let Err(status) = self.check_way(&wanted) {
                        return Ok((tx, Answer::Refused(Refusal::Told(Box::new(status)))));
                    }
                    found.transmission = Arc::new(wanted);
                }
                if let Some(options) = options {
                    found.options = Arc::new(options.clone());
                }
                found.revision += 1;
                destination::update(&mut tx, &found, &desk.seal).await?;
                ledger::destinations_changed(&mut tx).await?;
                let keys = destination::keys(&mut tx, id, now, &desk.seal).await?;
                Ok((tx, Answer::Done(UpdateDestinationResponse { destination: Some(shown(&found, &keys, now)) })))
            })
            .await;
        let answered = answered?;
        desk.engine.destinations_changed();
        Ok(Response::new(answered))
    }

    async fn delete_destination(
        &self,
        request: Request<DeleteDestinationRequest>,
    ) -> Result<Response<DeleteDestinationResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let request = &request.into_inner();
        let desk = &self.0;
        let id = destination_id(&request.destination_id)?;
        let answered =
            commanded(desk, &caller, "DeleteDestination", &request.request_id, request, |mut tx| async move {
                ledger::lock(&mut tx).await?;
                if destination::find(&mut tx, id, &desk.seal).await?.is_none() {
                    return Ok((tx, Answer::Refused(Refusal::Missing)));
                }
                if !request.with_backlog && delivery::any_open(&mut tx, id).await? {
                    return Ok((tx, Answer::Refused(Refusal::Backlog)));
                }
                destination::delete(&mut tx, id).await?;
                ledger::destinations_changed(&mut tx).await?;
                Ok((tx, Answer::Done(DeleteDestinationResponse {})))
            })
            .await?;
        desk.engine.destinations_changed();
        desk.deletions.notify_one();
        Ok(Response::new(answered))
    }

    async fn rotate_secret(
        &self,
        request: Request<RotateSecretRequest>,
    ) -> Result<Response<RotateSecretResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let request = &request.into_inner();
        let desk = &self.0;
        let id = destination_id(&request.destination_id)?;
        let kind = signing_kind(request.signing)?;
        let keep = match &request.keep_old_for {
            None => KEEP_OLD_FOR,
            Some(span) => std::time::Duration::try_from(*span)
                .ok()
                .filter(|span| *span <= KEEP_OLD_AT_MOST)
                .ok_or_else(|| answer::invalid("the old key may sign for 0 to 7 days", "give a time of at most 7d"))?,
        };
        let now = desk.clock.now();
        let random = random::bytes();
        let answered = commanded(desk, &caller, "RotateSecret", &request.request_id, request, |mut tx| async move {
            ledger::lock(&mut tx).await?;
            let Some(found) = destination::find(&mut tx, id, &desk.seal).await? else {
                return Ok((tx, Answer::Refused(Refusal::Missing)));
            };
            if Kind::of(&found.transmission) != Some(Kind::Webhook) {
                return Ok((tx, Answer::Refused(Refusal::NotSigned)));
            }
            let current = destination::keys(&mut tx, id, now, &desk.seal).await?;
            let usual = current.first().map_or(SigningKind::Hmac, |held| held.key.kind());
            let key = kind.unwrap_or(usual).make(random);
            let until = now.saturating_add(keep);
            destination::retire_keys(&mut tx, id, until, KEYS - 1).await?;
            destination::add_key(&mut tx, id, &key, now, &desk.seal).await?;
            ledger::destinations_changed(&mut tx).await?;
            Ok((
                tx,
                Answer::Done(RotateSecretResponse {
                    secret: key.secret_text(),
                    public_key: key.public_text(),
                    old_until: Some(timestamp(until)),
                }),
            ))
        })
        .await?;
        desk.engine.destinations_changed();
        Ok(Response::new(answered))
    }

    async fn test_destination(
        &self,
        request: Request<TestDestinationRequest>,
    ) -> Result<Response<TestDestinationResponse>, Status> {
        let id = destination_id(&request.into_inner().destination_id)?;
        let (event_id, made) = super::trial::make(&self.0, id).await?;
        Ok(Response::new(TestDestinationResponse { attempt: Some(attempt(1, &made)), event_id }))
    }

    async fn disable_destination(
        &self,
        request: Request<DisableDestinationRequest>,
    ) -> Result<Response<DisableDestinationResponse>, Status> {
        let request = request.into_inner();
        let id = destination_id(&request.destination_id)?;
        let reason = reason(&request.reason)?;
        let (desk, now) = (&self.0, self.0.clock.now());
        let found = retry(|| async {
            let mut tx = desk.db.begin().await?;
            ledger::lock(&mut tx).await?;
            if destination::disable(&mut tx, id, &reason, now).await? {
                own::destination_disabled(&mut tx, id, &reason, now).await?;
                ledger::destinations_changed(&mut tx).await?;
            }
            let found = destination::find(&mut tx, id, &desk.seal).await?.is_some();
            tx.commit().await?;
            Ok::<_, StorageError>(found)
        })
        .await
        .map_err(answer::storage)?;
        let destination = Some(self.changed(id, found).await?);
        Ok(Response::new(DisableDestinationResponse { destination }))
    }

    async fn enable_destination(
        &self,
        request: Request<EnableDestinationRequest>,
    ) -> Result<Response<EnableDestinationResponse>, Status> {
        let id = destination_id(&request.into_inner().destination_id)?;
        let (desk, now) = (&self.0, self.0.clock.now());
        let found = retry(|| async {
            let mut tx = desk.db.begin().await?;
            ledger::lock(&mut tx).await?;
            let Some(found) = destination::find(&mut tx, id, &desk.seal).await? else {
                return Ok(false);
            };
            if let DestinationState::Disabled { since } = found.state {
                destination::enable(&mut tx, id).await?;
                delivery::stand_still(&mut tx, id, now.since(since)).await?;
                delivery::hurry(&mut tx, id, now).await?;
                ledger::destinations_changed(&mut tx).await?;
            }
            tx.commit().await?;
            Ok::<_, StorageError>(true)
        })
        .await
        .map_err(answer::storage)?;
        let destination = Some(self.changed(id, found).await?);
        Ok(Response::new(EnableDestinationResponse { destination }))
    }
}

impl Destinations {
    /// Whether the operator allows a way, and this program is set up for it.
    fn check_way(&self, wanted: &wire::Transmission) -> Result<(), Status> {
        let checked = Transmission::read(wanted, Some(&self.0.allow))
            .map_err(|error| answer::invalid(error, "give an https URL, or have the operator open the place"))?;
        self.0
            .carrier
            .accepts(&checked)
            .map_err(|error| answer::invalid(error, "have the operator set it up, or choose another way"))
    }

    async fn all(&self) -> Result<Vec<wire::Destination>, Status> {
        let (desk, now) = (&self.0, self.0.clock.now());
        let read = async {
            let mut tx = desk.db.begin().await?;
            let all = destination::all_with_keys(&mut tx, now, &desk.seal).await?;
            tx.rollback().await?;
            Ok::<_, StorageError>((all, measure::backlog(&desk.db).await?))
        };
        let (all, backlog) = read.await.map_err(answer::storage)?;
        let count = |of: &std::collections::HashMap<String, u64>, id: &str| of.get(id).copied().unwrap_or(0);
        let shown = |with: destination::WithKeys| {
            let mut one = shown(&with.destination, &with.keys, now);
            one.backlog = count(&backlog.per_destination, &one.destination_id);
            one.parked = count(&backlog.parked, &one.destination_id);
            one
        };
        Ok(all.into_iter().map(shown).collect())
    }

    async fn one(&self, id: DestinationId) -> Result<wire::Destination, Status> {
        let id = id.to_string();
        self.all().await?.into_iter().find(|one| one.destination_id == id).ok_or_else(|| Refusal::Missing.into())
    }

    /// Wakes the engine and shows the destination as it is now.
    async fn changed(&self, id: DestinationId, found: bool) -> Result<wire::Destination, Status> {
        if !found {
            return Err(Refusal::Missing.into());
        }
        self.0.engine.destinations_changed();
        self.one(id).await
    }
}

fn options(wanted: wire::DestinationOptions) -> Result<Options, Status> {
    Options::try_from(wanted).map_err(|error| answer::invalid(error, "see lictor notify destination add --help"))
}

fn signing_kind(kind: i32) -> Result<Option<SigningKind>, Status> {
    match wire::SigningKind::try_from(kind) {
        Ok(wire::SigningKind::Unspecified) => Ok(None),
        Ok(wire::SigningKind::Hmac) => Ok(Some(SigningKind::Hmac)),
        Ok(wire::SigningKind::Ed25519) => Ok(Some(SigningKind::Ed25519)),
        Err(_) => Err(answer::invalid("this is no kind of signature", "choose hmac or ed25519")),
    }
}

pub(super) fn destination_id(text: &str) -> Result<DestinationId, Status> {
    text.parse().map_err(|error| answer::invalid(error, "list the destinations"))
}

fn reason(text: &str) -> Result<String, Status> {
    if text.len() > NOTE_BYTES || text.chars().any(char::is_control) {
        return Err(answer::invalid("the reason is not one line of at most 512 bytes", "shorten it"));
    }
    let text = if text.is_empty() { "disabled by an administrator" } else { text };
    Ok(text.to_owned())
}
