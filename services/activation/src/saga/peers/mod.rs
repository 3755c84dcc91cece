//! The other services as sagas see them. Every call has a deadline that is shorter than a run's own time.

mod central;
mod update;

pub(super) use central::question;

use std::{future::Future, time::Duration};

use lictor_api::{
    central::v1::allocation_service_client::AllocationServiceClient,
    update::v1::update_service_client::UpdateServiceClient,
};
use lictor_licensing::error::ErrorCode;
use lictor_runtime::{MESSAGE_BYTES, client::ServiceChannel};
use tonic::{Response, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::{domain::saga::is_final, failure::Failure};

/// Longest time of one call.
const CALL_TIME: Duration = Duration::from_secs(10);

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
