//! The other services as sagas see them. Every call has a deadline that is shorter than a run's own time.

use std::{future::Future, time::Duration};

use lictor_api::{
    central::v1::{
        BeginWithdrawalRequest, BeginWithdrawalResponse, CommitRequest, ConfirmRequest, KeepReservationRequest,
        ReleaseRequest, ReserveRequest, ReserveResponse, ResolveTicketRequest, ResolveTicketResponse,
        allocation_service_client::AllocationServiceClient,
    },
    event::v1::{Event, ListEventsRequest, event_feed_service_client::EventFeedServiceClient},
    types::v1::ContainerKind as WireKind,
    update::v1::{
        GetContainerRequest, GetContainerResponse, GetPendingUpdateRequest, GetPendingUpdateResponse,
        InspectContextRequest, InspectContextResponse, IssueUpdateRequest, IssueUpdateResponse, Operation,
        TakeContextRequest, TakeContextResponse, container_service_client::ContainerServiceClient,
        update_service_client::UpdateServiceClient,
    },
};
use lictor_licensing::{ContainerKind, error::ErrorCode};
use lictor_runtime::{MESSAGE_BYTES, client::ServiceChannel};
use tonic::{Response, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::{
    domain::saga::{Saga, is_final},
    failure::Failure,
};

/// Longest time of one call.
const CALL_TIME: Duration = Duration::from_secs(10);
/// Most bytes of a reason that license-central takes.
const REASON_BYTES: usize = 256;

/// Channels to license-central and the push update generator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers {
    central: ServiceChannel,
    update: ServiceChannel,
}

async fn within<T>(what: &'static str, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
    match tokio::time::timeout(CALL_TIME, call).await {
        Ok(answer) => Ok(answer.map_err(|status| named(what, status))?.into_inner()),
        Err(_) => Err(Failure::refused(
            ErrorCode::DeadlineExceeded,
            format!("{what} did not answer in time"),
            "repeat the same request in a moment",
        )),
    }
}

/// A connection that could not be made says which one.
fn named(what: &str, status: Status) -> Failure {
    let problem = lictor_api::error::problem(&status);
    match problem.code {
        ErrorCode::Unavailable | ErrorCode::DeadlineExceeded if !has_origin(&status) => Failure::refused(
            ErrorCode::Unavailable,
            format!("{what} cannot be reached"),
            "repeat the same request in a moment",
        ),
        // Our own token is refused: nothing that our caller could put right.
        ErrorCode::Unauthenticated | ErrorCode::PermissionDenied => {
            tracing::error!(what, %status, "another service refuses this service's token");
            Failure::refused(
                ErrorCode::Internal,
                format!("{what} does not accept this service"),
                "check service_key_file and service_jwks_file of both",
            )
        }
        // Not the service's own word but that of something in between, or of a service without this call: what an
        // earlier attempt did may stand, so it must not end a saga.
        code if is_final(code) && !has_origin(&status) => {
            tracing::warn!(what, %status, "an answer that the other service did not make");
            Failure::refused(
                ErrorCode::Unavailable,
                format!("something else answers in place of {what}"),
                "check its address, and that both services have the same version",
            )
        }
        _ => Failure::Refused(problem),
    }
}

/// Whether a service of Lictor made this status.
fn has_origin(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.domain == lictor_api::error::ERROR_DOMAIN)
}

impl Peers {
    /// Over these channels.
    #[must_use]
    pub fn new(central: ServiceChannel, update: ServiceChannel) -> Self {
        Self { central, update }
    }

    fn allocations(&self) -> AllocationServiceClient<ServiceChannel> {
        AllocationServiceClient::new(self.central.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }

    fn updates(&self) -> UpdateServiceClient<ServiceChannel> {
        UpdateServiceClient::new(self.update.clone())
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES)
    }

    /// What a ticket holds.
    pub async fn resolve_ticket(&self, ticket: String) -> Result<ResolveTicketResponse, Failure> {
        within("license-central", self.allocations().resolve_ticket(ResolveTicketRequest { ticket })).await
    }

    /// Sets licenses aside; gives the same answer for the same saga.
    pub async fn reserve(&self, saga: &Saga) -> Result<ReserveResponse, Failure> {
        let container = saga.container.as_ref();
        let kind = container.and_then(|container| container.kind).map_or(WireKind::Unspecified, wire_kind);
        let request = ReserveRequest {
            activation_id: saga.id.to_string(),
            ticket_id: saga.ticket.map(|ticket| ticket.to_string()).unwrap_or_default(),
            license_ids: saga.wanted.iter().map(ToString::to_string).collect(),
            container_id: container.map(|container| container.id.clone()).unwrap_or_default(),
            serial: container.map(|container| container.serial.clone()).unwrap_or_default(),
            kind: kind.into(),
        };
        within("license-central", self.allocations().reserve(request)).await
    }

    /// Lifts the time limit.
    pub async fn keep(&self, saga: &Saga) -> Result<(), Failure> {
        let request = KeepReservationRequest { activation_id: saga.id.to_string() };
        within("license-central", self.allocations().keep_reservation(request)).await.map(|_| ())
    }

    /// Marks licenses as withdrawn.
    pub async fn begin_withdrawal(
        &self,
        saga: &Saga,
        container: Option<&str>,
    ) -> Result<BeginWithdrawalResponse, Failure> {
        let request = BeginWithdrawalRequest {
            activation_id: saga.id.to_string(),
            license_ids: saga.withdrawn.iter().map(ToString::to_string).collect(),
            reason: saga.withdrawn_for.clone(),
            container_id: container.unwrap_or_default().to_owned(),
        };
        within("license-central", self.allocations().begin_withdrawal(request)).await
    }

    /// Tells that the update was issued.
    pub async fn commit(&self, saga: &Saga) -> Result<(), Failure> {
        let request = CommitRequest { activation_id: saga.id.to_string(), counter: saga.to };
        within("license-central", self.allocations().commit(request)).await.map(|_| ())
    }

    /// Tells that the container proved it.
    pub async fn confirm(&self, saga: &Saga) -> Result<(), Failure> {
        let request = ConfirmRequest { activation_id: saga.id.to_string() };
        within("license-central", self.allocations().confirm(request)).await.map(|_| ())
    }

    /// Gives back what was set aside; nothing was issued.
    pub async fn release(&self, saga: &Saga, reason: &str) -> Result<(), Failure> {
        let reason: String = reason.chars().filter(|symbol| !symbol.is_control()).collect();
        let mut end = reason.len().min(REASON_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let request =
            ReleaseRequest { activation_id: saga.id.to_string(), reason: reason[..end].to_owned(), not_issued: true };
        within("license-central", self.allocations().release(request)).await.map(|_| ())
    }

    /// Has a segment issued; gives the same answer for the same saga.
    pub async fn issue(&self, saga: &Saga, operations: Vec<Operation>) -> Result<IssueUpdateResponse, Failure> {
        let request = IssueUpdateRequest {
            reference: saga.id.to_string(),
            firm_code: saga.firm,
            container_id: saga.container.as_ref().map(|container| container.id.clone()).unwrap_or_default(),
            operations,
            changes: Vec::new(),
        };
        within("the push update generator", self.updates().issue_update(request)).await
    }

    /// Reads a context without changing anything.
    pub async fn inspect_context(&self, context: Vec<u8>) -> Result<InspectContextResponse, Failure> {
        within("the push update generator", self.updates().inspect_context(InspectContextRequest { context })).await
    }

    /// Takes a context or receipt in.
    pub async fn take_context(&self, context: Vec<u8>) -> Result<TakeContextResponse, Failure> {
        within("the push update generator", self.updates().take_context(TakeContextRequest { context })).await
    }

    /// The file with everything unproven.
    pub async fn pending_update(&self, firm_code: u32, serial: String) -> Result<GetPendingUpdateResponse, Failure> {
        let request = GetPendingUpdateRequest { firm_code, serial };
        within("the push update generator", self.updates().get_pending_update(request)).await
    }

    /// A container by its serial.
    pub async fn container(&self, firm_code: u32, serial: String) -> Result<GetContainerResponse, Failure> {
        let request = GetContainerRequest { firm_code, serial };
        let mut client = ContainerServiceClient::new(self.update.clone()).max_decoding_message_size(MESSAGE_BYTES);
        within("the push update generator", client.get_container(request)).await
    }

    /// The generator's events after a number.
    pub async fn update_events(&self, after_sequence: u64, limit: u32) -> Result<Vec<Event>, Status> {
        let mut client = EventFeedServiceClient::new(self.update.clone()).max_decoding_message_size(MESSAGE_BYTES);
        Ok(client.list_events(ListEventsRequest { after_sequence, limit }).await?.into_inner().events)
    }

    /// Whether license-central can do its job.
    pub async fn central_serves(&self) -> Result<(), String> {
        serves("license-central", self.central.clone()).await
    }

    /// Whether the generator can do its job.
    pub async fn update_serves(&self) -> Result<(), String> {
        serves("the push update generator", self.update.clone()).await
    }
}

async fn serves(what: &str, channel: ServiceChannel) -> Result<(), String> {
    let answer = HealthClient::new(channel).check(HealthCheckRequest { service: String::new() }).await;
    match answer.map(|answer| answer.into_inner().status()) {
        Ok(ServingStatus::Serving) => Ok(()),
        Ok(_) => Err(format!("{what} is not ready")),
        Err(_) => Err(format!("{what} cannot be reached")),
    }
}

/// A kind on the wire.
#[must_use]
const fn wire_kind(kind: ContainerKind) -> WireKind {
    match kind {
        ContainerKind::Folder => WireKind::Folder,
        ContainerKind::Machine => WireKind::Machine,
        ContainerKind::Volume => WireKind::Volume,
        ContainerKind::Kubernetes => WireKind::Kubernetes,
        ContainerKind::Token => WireKind::Token,
        ContainerKind::Cloud => WireKind::Cloud,
    }
}

#[cfg(test)]
mod tests {
    use lictor_licensing::error::Problem;
    use tonic::Code;

    use super::*;

    #[test]
    fn what_no_service_of_ours_answered_never_ends_a_saga() {
        for code in (1..=16).map(Code::from_i32) {
            let foreign = named("the push update generator", Status::new(code, "from a proxy")).problem();
            assert!(!is_final(foreign.code), "{code:?} became {}", foreign.code);
        }
        let own = Problem::new(ErrorCode::NotFound, "the firm knows no such container", "");
        let read = named("the push update generator", lictor_api::error::status(&own)).problem();
        assert!(is_final(read.code), "a service's own refusal stands");
    }
}
