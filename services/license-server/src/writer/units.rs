//! Units of pay-per-use in the writer: taken with the batch of their moment, answered when it is durable.

use lictor_licensing::error::{ErrorCode, Problem};
use tokio::sync::oneshot;

use super::Writer;
use crate::domain::ask::Moment;
use crate::domain::units::{UnitsAnswer, UnitsError, UnitsWish};
use crate::listen::Channel;

/// An answer that waits for the batch to be durable.
pub(super) struct Waiting {
    answer: Result<UnitsAnswer, Problem>,
    reply: oneshot::Sender<Result<UnitsAnswer, Problem>>,
}

impl Waiting {
    /// The batch is durable. Whoever asked may have left, and comes back under the same request id.
    pub(super) fn answer(self) {
        let _ = self.reply.send(self.answer);
    }

    /// The batch was taken back, and with it all that was taken.
    pub(super) fn answer_unless(self, problem: Problem) {
        let _ = self.reply.send(match self.answer {
            // A repeated one may have been durable before, and finds that out when it comes again.
            Ok(UnitsAnswer::Taken { .. }) => Err(problem),
            other => other,
        });
    }
}

impl Writer {
    pub(super) fn take_units(
        &mut self,
        wish: UnitsWish,
        channel: &Channel,
        reply: oneshot::Sender<Result<UnitsAnswer, Problem>>,
        moment: Moment,
    ) {
        let answer = match self.keeper.take_units(&wish, |key| channel.proved_key(key), moment) {
            Ok((answer, taken)) => {
                if let Some((record, undo)) = taken {
                    self.batch.records.push(record.to_bytes());
                    self.batch.undo.push(undo);
                }
                Ok(answer)
            }
            Err(UnitsError::RequestIdReused) => Err(Problem::new(
                ErrorCode::RequestIdReused,
                "this request id came before with another wish",
                "make a fresh request id for each wish",
            )),
            Err(UnitsError::NoSession) => Err(no_session()),
        };
        self.batch.units.push(Waiting { answer, reply });
    }
}

/// The sentence for everybody who does not hold the session.
pub(crate) fn no_session() -> Problem {
    Problem::new(
        ErrorCode::NotFound,
        "the session is not there, or this client has not proved that it is its own",
        "take a seat again",
    )
}
