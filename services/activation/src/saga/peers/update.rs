//! What is asked of the push update generator.

use lictor_api::{
    event::v1::{ListEventsRequest, ListEventsResponse, event_feed_service_client::EventFeedServiceClient},
    types::v1::LicenseChange,
    update::v1::{
        BlockContainerRequest, Container, CreateChallengeRequest, CreateChallengeResponse, GetContainerRequest,
        GetPendingUpdateRequest, GetPendingUpdateResponse, InspectContextRequest, InspectContextResponse,
        IssueRebaseRequest, IssueRebaseResponse, IssueUpdateRequest, IssueUpdateResponse, SignTimeRequest,
        SignTimeResponse, TakeContextRequest, TakeContextResponse, container_service_client::ContainerServiceClient,
    },
};
use lictor_licensing::error::ErrorCode;
use lictor_runtime::MESSAGE_BYTES;
use tonic::Status;

use super::{Peers, within};
use crate::{domain::saga::Saga, failure::Failure};

const GENERATOR: &str = "the push update generator";

impl Peers {
    /// Has an update issued; gives the same bytes for the same saga.
    pub async fn issue(&self, saga: &Saga, changes: Vec<LicenseChange>) -> Result<IssueUpdateResponse, Failure> {
        let request = IssueUpdateRequest {
            reference: saga.id.to_string(),
            firm_code: saga.firm,
            container_id: saga.container.as_ref().map(|container| container.id.clone()).unwrap_or_default(),
            changes,
        };
        within(GENERATOR, self.updates().issue_update(request)).await
    }

    /// Has a rebase issued; gives the same bytes for the same saga.
    pub async fn issue_rebase(
        &self,
        saga: &Saga,
        context: Vec<u8>,
        reason: String,
    ) -> Result<IssueRebaseResponse, Failure> {
        let request = IssueRebaseRequest { reference: saga.id.to_string(), firm_code: saga.firm, context, reason };
        within(GENERATOR, self.updates().issue_rebase(request)).await
    }

    /// Blocks a lost container for good.
    pub async fn block(&self, saga: &Saga, serial: String) -> Result<(), Failure> {
        let request = BlockContainerRequest {
            firm_code: saga.firm,
            serial,
            reason: format!("lost, replaced by {}", saga.id),
            reference: format!("{}:block", saga.id),
        };
        within(GENERATOR, self.updates().block_container(request)).await.map(|_| ())
    }

    /// Reads a context without changing anything.
    pub async fn inspect_context(&self, context: Vec<u8>) -> Result<InspectContextResponse, Failure> {
        within(GENERATOR, self.updates().inspect_context(InspectContextRequest { context })).await
    }

    /// Takes a context or receipt in.
    pub async fn take_context(&self, context: Vec<u8>) -> Result<TakeContextResponse, Failure> {
        within(GENERATOR, self.updates().take_context(TakeContextRequest { context })).await
    }

    /// The file with everything unproven.
    pub async fn pending_update(&self, firm_code: u32, serial: String) -> Result<GetPendingUpdateResponse, Failure> {
        let request = GetPendingUpdateRequest { firm_code, serial };
        within(GENERATOR, self.updates().get_pending_update(request)).await
    }

    /// A container by its serial or id.
    pub async fn container(&self, firm_code: u32, serial: String) -> Result<Container, Failure> {
        let request = GetContainerRequest { firm_code, serial: serial.clone() };
        let mut client = ContainerServiceClient::new(self.update.clone()).max_decoding_message_size(MESSAGE_BYTES);
        let found = within(GENERATOR, client.get_container(request)).await?.container;
        found.ok_or_else(|| {
            Failure::refused(ErrorCode::NotFound, format!("there is no container {serial}"), "list the containers")
        })
    }

    /// Bytes that make a context fresh.
    pub async fn challenge(&self, firm_code: u32) -> Result<CreateChallengeResponse, Failure> {
        within(GENERATOR, self.updates().create_challenge(CreateChallengeRequest { firm_code })).await
    }

    /// The time, signed.
    pub async fn sign_time(&self, firm_code: u32, nonce: Vec<u8>) -> Result<SignTimeResponse, Failure> {
        within(GENERATOR, self.updates().sign_time(SignTimeRequest { firm_code, nonce })).await
    }

    /// The generator's events after a number.
    pub async fn update_events(&self, after_sequence: u64, limit: u32) -> Result<ListEventsResponse, Status> {
        let mut client = EventFeedServiceClient::new(self.update.clone()).max_decoding_message_size(MESSAGE_BYTES);
        Ok(client.list_events(ListEventsRequest { after_sequence, limit }).await?.into_inner())
    }
}
