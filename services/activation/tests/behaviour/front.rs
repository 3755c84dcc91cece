//! One process of the activation service, and everything that customers and staff call on it.

use lictor_activation::{events::take_page, saga::Runner};
use lictor_api::{
    activation::v1::{
        ActivateRequest, ActivateResponse, Activation, CreateChallengeRequest, CreatePushRequest, CreatePushResponse,
        GetActivationRequest, GetPendingUpdateRequest, GetTransferRequest, InspectTicketRequest, InspectTicketResponse,
        ListActivationsRequest, PullUpdateRequest, PullUpdateResponse, RebaseContainerRequest, RebaseContainerResponse,
        ReplaceContainerRequest, ReplaceContainerResponse, RetryActivationRequest, ReturnLicensesRequest,
        ReturnLicensesResponse, SubmitContextRequest, SubmitContextResponse, Transfer, TransferLicenseRequest,
        TransferLicenseResponse, WithdrawLicenseRequest, WithdrawLicenseResponse,
        activation_service_client::ActivationServiceClient, push_service_client::PushServiceClient,
    },
    central::v1::Ticket,
};
use lictor_auth::{LocalIssuer, Role};
use lictor_clock::ManualClock;
use lictor_runtime::{
    Running,
    client::{self, ServiceChannel},
};
use lictor_test_support::device::TestDevice;
use tonic::{Code, Status};

use crate::world::{FIRM, channel, url};

/// One process of the activation service. Nothing runs in its background: tests say when.
pub(crate) struct Front {
    pub(crate) running: Running,
    pub(crate) runner: Runner,
    pub(crate) clock: ManualClock,
    pub(crate) issuer: LocalIssuer,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.running.shutdown();
    }
}

impl Front {
    pub(crate) fn public(&self) -> ActivationServiceClient<ServiceChannel> {
        let channel = client::channel(&url(&self.running), None, None).expect("a channel");
        ActivationServiceClient::new(channel).max_encoding_message_size(8 << 20)
    }

    pub(crate) fn staff(&self) -> PushServiceClient<ServiceChannel> {
        PushServiceClient::new(channel(&url(&self.running), &self.issuer, &self.clock, &[Role::Support]))
    }

    pub(crate) async fn activate(
        &self,
        request_id: &str,
        ticket: &str,
        context: Vec<u8>,
    ) -> Result<ActivateResponse, Status> {
        let request = ActivateRequest {
            request_id: request_id.to_owned(),
            ticket: ticket.to_owned(),
            license_ids: Vec::new(),
            context,
            quantities: Vec::new(),
        };
        self.activate_as(request).await
    }

    pub(crate) async fn activate_as(&self, request: ActivateRequest) -> Result<ActivateResponse, Status> {
        Ok(self.public().activate(request).await?.into_inner())
    }

    pub(crate) async fn inspect(&self, ticket: &str) -> Result<InspectTicketResponse, Status> {
        let request = InspectTicketRequest { ticket: ticket.to_owned() };
        Ok(self.public().inspect_ticket(request).await?.into_inner())
    }

    pub(crate) async fn submit(&self, context: Vec<u8>) -> Result<SubmitContextResponse, Status> {
        let request = SubmitContextRequest { context };
        Ok(repeated(async || self.public().submit_context(request.clone()).await).await?.into_inner())
    }

    pub(crate) async fn activation(&self, activation_id: &str) -> Activation {
        let request = GetActivationRequest { activation_id: activation_id.to_owned() };
        let answer = self.public().get_activation(request).await.expect("an activation").into_inner();
        answer.activation.expect("an activation")
    }

    pub(crate) async fn push(
        &self,
        request_id: &str,
        device: &TestDevice,
        ticket: &str,
        withdraw: &[&str],
    ) -> Result<CreatePushResponse, Status> {
        let request = CreatePushRequest {
            request_id: request_id.to_owned(),
            firm_code: FIRM,
            serial: device.serial.clone(),
            ticket: ticket.to_owned(),
            withdraw: withdraw.iter().map(|license| (*license).to_owned()).collect(),
        };
        Ok(self.staff().create_push(request).await?.into_inner())
    }

    pub(crate) async fn withdraw(&self, request_id: &str, license: &str) -> Result<WithdrawLicenseResponse, Status> {
        let request = WithdrawLicenseRequest {
            request_id: request_id.to_owned(),
            license_id: license.to_owned(),
            reason: "not paid".to_owned(),
        };
        Ok(self.staff().withdraw_license(request).await?.into_inner())
    }

    pub(crate) async fn pending(&self, device: &TestDevice) -> Vec<u8> {
        let request = GetPendingUpdateRequest { firm_code: FIRM, serial: device.serial.clone() };
        let answer = repeated(async || self.staff().get_pending_update(request.clone()).await).await;
        answer.expect("the pending update").into_inner().update
    }

    /// Seats of the ticket's first license into a device, proven.
    pub(crate) async fn put_in(&self, device: &mut TestDevice, ticket: &Ticket, seats: u32) -> String {
        let license = ticket.licenses[0].license_id.clone();
        let request = ActivateRequest {
            request_id: format!("put-{}-{}", device.serial, seats),
            ticket: ticket.ticket.clone(),
            license_ids: vec![license.clone()],
            context: device.context(),
            quantities: vec![seats],
        };
        let answer = self.activate_as(request).await.expect("activated");
        self.import(device, &answer.update).await;
        license
    }

    /// Bytes that make a context fresh.
    pub(crate) async fn challenge(&self) -> [u8; 32] {
        let request = CreateChallengeRequest { firm_code: FIRM };
        let answer = repeated(async || self.public().create_challenge(request).await).await;
        answer.expect("a challenge").into_inner().challenge.try_into().expect("32 bytes")
    }

    pub(crate) async fn fresh(&self, device: &mut TestDevice) -> Vec<u8> {
        let challenge = self.challenge().await;
        device.fresh_context(challenge)
    }

    pub(crate) async fn give_back(
        &self,
        request_id: &str,
        ticket: &Ticket,
        seats: u32,
        context: Vec<u8>,
    ) -> Result<ReturnLicensesResponse, Status> {
        let request = ReturnLicensesRequest {
            request_id: request_id.to_owned(),
            ticket: ticket.ticket.clone(),
            license_ids: vec![ticket.licenses[0].license_id.clone()],
            quantities: vec![seats],
            context,
        };
        Ok(self.public().return_licenses(request).await?.into_inner())
    }

    pub(crate) async fn transfer(&self, request: TransferLicenseRequest) -> Result<TransferLicenseResponse, Status> {
        Ok(self.public().transfer_license(request).await?.into_inner())
    }

    pub(crate) async fn transfer_by_staff(
        &self,
        request: TransferLicenseRequest,
    ) -> Result<TransferLicenseResponse, Status> {
        Ok(self.staff().transfer_license(request).await?.into_inner())
    }

    pub(crate) async fn transfer_now(&self, transfer_id: &str) -> Transfer {
        let request = GetTransferRequest { transfer_id: transfer_id.to_owned() };
        self.public().get_transfer(request).await.expect("a transfer").into_inner().transfer.expect("a transfer")
    }

    pub(crate) async fn replace(
        &self,
        request_id: &str,
        ticket: &Ticket,
        lost: &TestDevice,
        context: Vec<u8>,
    ) -> Result<ReplaceContainerResponse, Status> {
        Ok(self.public().replace_container(replacement(request_id, ticket, lost, context)).await?.into_inner())
    }

    pub(crate) async fn replace_by_staff(
        &self,
        request_id: &str,
        ticket: &Ticket,
        lost: &TestDevice,
        context: Vec<u8>,
    ) -> Result<ReplaceContainerResponse, Status> {
        Ok(self.staff().replace_container(replacement(request_id, ticket, lost, context)).await?.into_inner())
    }

    pub(crate) async fn rebase(&self, request_id: &str, context: Vec<u8>) -> Result<RebaseContainerResponse, Status> {
        Ok(self.public().rebase_container(rebasing(request_id, context)).await?.into_inner())
    }

    pub(crate) async fn rebase_by_staff(
        &self,
        request_id: &str,
        context: Vec<u8>,
    ) -> Result<RebaseContainerResponse, Status> {
        Ok(self.staff().rebase_container(rebasing(request_id, context)).await?.into_inner())
    }

    pub(crate) async fn pull(&self, context: Vec<u8>) -> Result<PullUpdateResponse, Status> {
        let request = PullUpdateRequest { context };
        Ok(repeated(async || self.public().pull_update(request.clone()).await).await?.into_inner())
    }

    pub(crate) async fn open(&self) -> Vec<Activation> {
        self.list(false).await
    }

    pub(crate) async fn list(&self, all: bool) -> Vec<Activation> {
        let request = ListActivationsRequest { firm_code: FIRM, all, page: None };
        self.staff().list_activations(request).await.expect("a list").into_inner().activations
    }

    pub(crate) async fn retry(&self, activation_id: &str) -> Activation {
        let request = RetryActivationRequest { activation_id: activation_id.to_owned(), to_serial: String::new() };
        self.staff().retry_activation(request).await.expect("tried").into_inner().activation.expect("it")
    }

    /// What the time brings, carried out.
    pub(crate) async fn time_passes(&self) -> u64 {
        let begun = self.runner.begin_due().await.expect("the due work");
        self.resume().await;
        begun
    }

    /// Reads the generator's feed and carries on what became due.
    pub(crate) async fn take_proofs(&self) {
        let events = self.runner.peers().update_events(0, 1_000).await.expect("the feed").events;
        take_page(self.runner.clone(), self.clock.shared(), events).await.expect("taken in");
        self.resume().await;
    }

    pub(crate) async fn resume(&self) {
        while self.runner.resume_due().await.expect("a store") > 0 {}
    }

    /// Imports an update and sends the receipt.
    pub(crate) async fn import(&self, device: &mut TestDevice, update: &[u8]) {
        let receipt = device.import(update).expect("a good update file");
        assert_eq!(self.submit(receipt).await.expect("taken").verdict, "ok");
        self.take_proofs().await;
    }
}

fn replacement(request_id: &str, ticket: &Ticket, lost: &TestDevice, context: Vec<u8>) -> ReplaceContainerRequest {
    ReplaceContainerRequest {
        request_id: request_id.to_owned(),
        ticket: ticket.ticket.clone(),
        lost_serial: lost.serial.clone(),
        context,
    }
}

fn rebasing(request_id: &str, context: Vec<u8>) -> RebaseContainerRequest {
    RebaseContainerRequest { request_id: request_id.to_owned(), context, reason: "restored".to_owned() }
}

/// A request to move seats of the ticket's first license.
pub(crate) fn moving(request_id: &str, ticket: &Ticket, seats: u32, context: Vec<u8>) -> TransferLicenseRequest {
    TransferLicenseRequest {
        request_id: request_id.to_owned(),
        firm_code: FIRM,
        ticket: ticket.ticket.clone(),
        license_id: ticket.licenses[0].license_id.clone(),
        quantity: seats,
        context,
        from_serial: String::new(),
        target_context: Vec::new(),
        to_serial: String::new(),
        lend_until: None,
        returns_transfer_id: String::new(),
    }
}

/// How often a call is repeated that had no answer in time.
const REPEATS: u32 = 6;

/// Repeats a call as every customer does when it had no answer: on a busy machine a service may take longer than another
/// one waits for it, and says so.
async fn repeated<T>(call: impl AsyncFn() -> Result<T, Status>) -> Result<T, Status> {
    for _ in 1..REPEATS {
        match call().await {
            Err(status) if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) => {}
            answer => return answer,
        }
    }
    call().await
}
