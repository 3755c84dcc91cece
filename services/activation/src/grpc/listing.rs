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
use crate::{failure::Failure, store::Wanted};

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
        let id: ActivationId = edge::id(&request.activation_id)?;
        let runner = self.0.runner.clone();
        let saga = self.0.outlive(async move { runner.retry(id).await }).await.map_err(status)?;
        Ok(RetryActivationResponse { activation: Some(present::activation(&saga)) })
    }
}
