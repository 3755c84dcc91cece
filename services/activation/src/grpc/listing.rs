//! Sagas that are not finished, for people who look after them.

use lictor_api::activation::v1::{
    ListActivationsRequest, ListActivationsResponse, RetryActivationRequest, RetryActivationResponse,
};
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::ActivationId,
};
use tonic::Status;

use super::{Counter, edge, present, status};
use crate::{domain::purpose::Purpose, failure::Failure, store::Wanted};

/// Sagas of a page when the caller does not say.
const USUAL: u32 = 100;
/// Most sagas of a page.
const MOST: u32 = 1_000;

impl Counter {
    pub(super) async fn listed(&self, request: ListActivationsRequest) -> Result<ListActivationsResponse, Status> {
        let page = request.page.unwrap_or_default();
        if page.size > MOST {
            return Err(lictor_api::error::status(&Problem::new(
                ErrorCode::LimitExceeded,
                format!("a page has at most {MOST} rows"),
                "ask for fewer rows and follow next_page_token",
            )));
        }
        let limit = if page.size == 0 { USUAL } else { page.size };
        // Ids grow with time, so the last one of a page is where the next one starts.
        let after: Option<ActivationId> = (!page.token.is_empty()).then(|| edge::id(&page.token)).transpose()?;
        let wanted = Wanted { firm: edge::firm(request.firm_code)?, all: request.all, after, limit };
        let sagas = self.0.runner.store().list(&wanted).await.map_err(|error| status(Failure::from(error)))?;
        let full = sagas.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let next = sagas.last().filter(|_| full).map(|saga| saga.id.to_string());
        Ok(ListActivationsResponse {
            activations: sagas.iter().map(present::activation).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }

    pub(super) async fn retried(&self, request: RetryActivationRequest) -> Result<RetryActivationResponse, Status> {
        let mut id: ActivationId = edge::id(&request.activation_id)?;
        if !request.to_serial.is_empty() {
            id = self.redirected(id, edge::serial(&request.to_serial)?).await.map_err(status)?;
        }
        let runner = self.0.runner.clone();
        let saga = self.0.outlive(async move { runner.retry(id).await }).await.map_err(status)?;
        Ok(RetryActivationResponse { activation: Some(present::activation(&saga)) })
    }

    /// Sends the seats of a transfer elsewhere; gives the saga that carries them in.
    async fn redirected(&self, id: ActivationId, serial: String) -> Result<ActivationId, Failure> {
        let runner = &self.0.runner;
        let saga = runner.store().saga(id).await?.ok_or_else(|| {
            Failure::refused(ErrorCode::NotFound, "there is no such activation", "check the activation id")
        })?;
        let Purpose::Arrive { transfer } = saga.purpose else {
            return Err(Failure::refused(
                ErrorCode::InvalidArgument,
                "only seats that are on their way into a container can be sent elsewhere",
                "name the second leg of a transfer, or leave the container out",
            ));
        };
        let target = self.known(saga.firm, serial, true).await?;
        runner.peers().redirect(transfer, &target).await?;
        runner.arrival_of(transfer, &target).await
    }
}
