//! The vendor's activation service, as customers reach it and as its staff does.

use std::time::Duration;

use lictor_api::activation::v1::activation_service_client::ActivationServiceClient;
use lictor_api::activation::v1::push_service_client::PushServiceClient;
use lictor_api::activation::v1::{
    ActivateRequest, ActivateResponse, Activation, ActivationState, CreateChallengeRequest, CreateChallengeResponse,
    GetActivationRequest, GetTransferRequest, InspectTicketRequest, InspectTicketResponse, ListActivationsRequest,
    ListActivationsResponse, PullUpdateRequest, PullUpdateResponse, RebaseContainerRequest, RebaseContainerResponse,
    ReplaceContainerRequest, ReplaceContainerResponse, RetryActivationRequest, RetryActivationResponse,
    ReturnLicensesRequest, ReturnLicensesResponse, SignTimeRequest, SubmitContextRequest, SubmitContextResponse,
    Transfer, TransferLicenseRequest, TransferLicenseResponse,
};
use lictor_licensing::error::ErrorCode;
use lictor_licensing::ticket::TicketCode;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::connect::{Caller, Link, MAX_ANSWER_BYTES, Service};
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};

/// Longest wait for the word that a receipt was counted. The change is done also without it.
const SETTLE_TIME: Duration = Duration::from_secs(5);
const SETTLE_STEP: Duration = Duration::from_millis(50);

/// A way to the activation service.
#[derive(Clone, Debug)]
pub(crate) struct Vendor {
    link: Link,
    client: ActivationServiceClient<InterceptedService<Channel, Caller>>,
    staff: PushServiceClient<InterceptedService<Channel, Caller>>,
}

/// One call each: the request goes out, a failure becomes words.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident by $client:ident.$call:ident($request:ty) -> $answer:ty;)*) => {
        $($(#[$doc])*
        pub(crate) async fn $name(&self, request: $request) -> Outcome<$answer> {
            let answer = self.$client.clone().$call(request).await;
            Ok(answer.map_err(|status| self.link.failed(status))?.into_inner())
        })*
    };
}

impl Vendor {
    pub(crate) fn open(environment: &Environment) -> Outcome<Self> {
        let link = environment.link(Service::Activation)?;
        let client = ActivationServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let staff = PushServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
        Ok(Self { link, client, staff })
    }

    calls! {
        activate by client.activate(ActivateRequest) -> ActivateResponse;
        return_licenses by client.return_licenses(ReturnLicensesRequest) -> ReturnLicensesResponse;
        transfer_license by client.transfer_license(TransferLicenseRequest) -> TransferLicenseResponse;
        replace_container by client.replace_container(ReplaceContainerRequest) -> ReplaceContainerResponse;
        rebase_container by client.rebase_container(RebaseContainerRequest) -> RebaseContainerResponse;
        /// As staff: from the modified context, without a ticket.
        transfer_by_hand by staff.transfer_license(TransferLicenseRequest) -> TransferLicenseResponse;
        /// As staff: also where the rule leaves it to them.
        replace_by_hand by staff.replace_container(ReplaceContainerRequest) -> ReplaceContainerResponse;
        /// As staff: beyond the customer's number.
        rebase_by_hand by staff.rebase_container(RebaseContainerRequest) -> RebaseContainerResponse;
        retry by staff.retry_activation(RetryActivationRequest) -> RetryActivationResponse;
        list by staff.list_activations(ListActivationsRequest) -> ListActivationsResponse;
    }

    /// What a ticket holds.
    pub(crate) async fn inspect(&self, ticket: &TicketCode) -> Outcome<InspectTicketResponse> {
        let request = InspectTicketRequest { ticket: ticket.reveal() };
        Ok(self.client.clone().inspect_ticket(request).await.map_err(|status| self.link.failed(status))?.into_inner())
    }

    /// Bytes that prove that the context which carries them is fresh.
    pub(crate) async fn challenge(&self, firm_code: u32) -> Outcome<CreateChallengeResponse> {
        let request = CreateChallengeRequest { firm_code };
        let answer = self.client.clone().create_challenge(request).await;
        let answer = answer.map_err(|status| self.link.failed(status))?.into_inner();
        if answer.challenge.len() == 32 { Ok(answer) } else { Err(self.incomplete()) }
    }

    /// Hands a context or receipt in.
    pub(crate) async fn submit(&self, context: Vec<u8>) -> Outcome<SubmitContextResponse> {
        let answer = self.client.clone().submit_context(SubmitContextRequest { context }).await;
        Ok(answer.map_err(|status| self.link.failed(status))?.into_inner())
    }

    /// Everything that waits for the container of this fresh context.
    pub(crate) async fn pull(&self, context: Vec<u8>) -> Outcome<PullUpdateResponse> {
        let answer = self.client.clone().pull_update(PullUpdateRequest { context }).await;
        Ok(answer.map_err(|status| self.link.failed(status))?.into_inner())
    }

    /// The time, signed for this nonce.
    pub(crate) async fn sign_time(&self, firm_code: u32, nonce: Vec<u8>) -> Outcome<Vec<u8>> {
        let answer = self.client.clone().sign_time(SignTimeRequest { firm_code, nonce }).await;
        Ok(answer.map_err(|status| self.link.failed(status))?.into_inner().statement)
    }

    pub(crate) async fn transfer(&self, transfer_id: &str) -> Outcome<Transfer> {
        let request = GetTransferRequest { transfer_id: transfer_id.to_owned() };
        let answer = self.client.clone().get_transfer(request).await.map_err(|status| self.link.failed(status))?;
        answer.into_inner().transfer.ok_or_else(|| self.incomplete())
    }

    pub(crate) async fn activation(&self, activation_id: &str) -> Outcome<Activation> {
        let request = GetActivationRequest { activation_id: activation_id.to_owned() };
        let answer = self.client.clone().get_activation(request).await.map_err(|status| self.link.failed(status))?;
        answer.into_inner().activation.ok_or_else(|| self.incomplete())
    }

    /// Waits a moment until the receipt is counted. Whether it was is told by the state.
    pub(crate) async fn settled(&self, activation: Activation) -> Activation {
        let mut latest = activation;
        let wait = async {
            while latest.state != i32::from(ActivationState::Confirmed) {
                match self.activation(&latest.activation_id).await {
                    Ok(fresh) => latest = fresh,
                    Err(_) => break,
                }
                if latest.state != i32::from(ActivationState::Confirmed) {
                    tokio::time::sleep(SETTLE_STEP).await;
                }
            }
        };
        // Over the time: the last known state is told.
        let _ = tokio::time::timeout(SETTLE_TIME, wait).await;
        latest
    }

    /// Waits a moment until the seats of a transfer have provably left and wait for their new container to fetch them, so
    /// that what the answer tells to do next can be done at once.
    pub(crate) async fn departed(&self, transfer: Transfer) -> Transfer {
        let mut latest = transfer;
        let wait = async {
            while on_the_way(&latest) {
                match self.transfer(&latest.transfer_id).await {
                    Ok(fresh) => latest = fresh,
                    Err(_) => break,
                }
                if on_the_way(&latest) {
                    tokio::time::sleep(SETTLE_STEP).await;
                }
            }
        };
        let _ = tokio::time::timeout(SETTLE_TIME, wait).await;
        latest
    }

    /// An answer that lacks what it must have.
    pub(crate) fn incomplete(&self) -> Failure {
        self.link.incomplete()
    }
}

/// Whether nothing can be fetched yet at the other end.
fn on_the_way(transfer: &Transfer) -> bool {
    matches!(transfer.state.as_str(), "departing" | "departed")
}

/// The two halves of an answer; a saga that is not that far says what it waits for.
pub(crate) fn opened(
    activation: Option<Activation>,
    update: Vec<u8>,
    vendor: &Vendor,
) -> Outcome<(Activation, Vec<u8>)> {
    let activation = activation.ok_or_else(|| vendor.incomplete())?;
    if update.is_empty() {
        return Err(Failure::new(
            // Not refused: the saga still waits for something.
            ErrorCode::Conflict,
            format!("activation {} gave no update file yet", activation.activation_id),
            if activation.reason.is_empty() { "repeat the command" } else { activation.reason.as_str() },
        ));
    }
    Ok((activation, update))
}
