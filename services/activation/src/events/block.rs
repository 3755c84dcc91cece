//! `container.blocked` of the push update generator: license-central has to know, so that it plans nothing more for the
//! container. Staff may block one at the generator itself, past every activation.

use lictor_api::event::v1::{Event, event::Data};
use lictor_broker::Refused;

use crate::{failure::Failure, saga::Runner};

/// Tells license-central of a block; telling it twice changes nothing.
///
/// # Errors
/// When license-central does not answer: the event is read again then.
pub(super) async fn tell(runner: &Runner, event: &Event) -> Result<(), Refused> {
    let Some(Data::ContainerBlocked(blocked)) = &event.data else { return Ok(()) };
    match runner.peers().note_blocked(event.firm_code, blocked).await {
        Ok(()) => Ok(()),
        Err(Failure::Refused(problem)) if !problem.code.may_retry() => {
            // It will not take it another time either, and the proofs behind it must not wait for that.
            tracing::error!(%problem, container = blocked.serial, "license-central does not note a block");
            Ok(())
        }
        Err(failure) => Err(Refused::Later(failure.to_string())),
    }
}
