//! Commands that may be repeated under their request id. Their answers may hold a fresh secret, so they are kept sealed.

use lictor_licensing::error::ErrorCode;
use lictor_storage::{
    StorageError, Tx,
    command::{self, Begun, Command},
    retry,
};
use prost::Message;
use tonic::Status;

use super::{Desk, answer};
use crate::{random, store::destination};

/// What became of a command.
pub(super) enum Answer<T> {
    /// This.
    Done(T),
    /// Nothing, and nothing was changed.
    Refused(Refusal),
}

/// Why a command is refused.
pub(super) enum Refusal {
    /// No such destination.
    Missing,
    /// Too many destinations.
    Full,
    /// Somebody else changed it.
    Changed,
    /// Another kind of transmission.
    OtherKind,
    /// Deliveries wait.
    Backlog,
    /// It signs nothing.
    NotSigned,
    /// No such delivery.
    NoDelivery,
    /// It is on its way already.
    StillOpen,
    /// Too many replays.
    Busy,
    /// For a reason that was found on the way.
    Told(Box<Status>),
}

/// Most replays that run at once.
pub(super) const REPLAYS: u64 = 32;

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (code, message, next) = match refusal {
            Refusal::Missing => {
                (ErrorCode::NotFound, "there is no destination with this id".to_owned(), "list the destinations")
            }
            Refusal::Full => (
                ErrorCode::LimitExceeded,
                format!("there are {} destinations already", destination::DESTINATIONS),
                "let one receiver pass notifications on",
            ),
            Refusal::Changed => (
                ErrorCode::Conflict,
                "the destination was changed since you looked at it".to_owned(),
                "look at it again, then change it",
            ),
            Refusal::OtherKind => (
                ErrorCode::InvalidArgument,
                "a destination keeps its kind of transmission".to_owned(),
                "add another destination",
            ),
            Refusal::Backlog => (
                ErrorCode::Conflict,
                "deliveries wait for this destination".to_owned(),
                "let them be taken, or say that they may be lost",
            ),
            Refusal::NotSigned => {
                (ErrorCode::InvalidArgument, "only webhooks are signed".to_owned(), "choose a webhook")
            }
            Refusal::NoDelivery => {
                (ErrorCode::NotFound, "there is no delivery with this id".to_owned(), "list the deliveries")
            }
            Refusal::StillOpen => (
                ErrorCode::Conflict,
                "this delivery has not ended and is tried anyway".to_owned(),
                "look at when it is tried next",
            ),
            Refusal::Busy => (
                ErrorCode::LimitExceeded,
                format!("{REPLAYS} replays run already"),
                "wait until one has ended, or cancel one",
            ),
            Refusal::Told(status) => return *status,
        };
        answer::refuse(code, message, next)
    }
}

/// Carries a command out once under its request id, and gives the first answer again to whoever repeats it.
///
/// `change` gets the transaction and gives it back: a refusal drops it, and nothing was changed.
pub(super) async fn commanded<R, T, F>(
    desk: &Desk,
    caller: &str,
    method: &'static str,
    request_id: &str,
    request: &R,
    change: impl Fn(Tx) -> F,
) -> Result<T, Status>
where
    R: Message,
    T: Message + Default,
    F: Future<Output = Result<(Tx, Answer<T>), StorageError>>,
{
    if !command::is_request_id(request_id) {
        return Err(answer::invalid(
            "the request id is not 1 to 64 printable characters",
            "make one at random and keep it for repetitions",
        ));
    }
    let body = request.encode_to_vec();
    let now = desk.clock.now();
    let place = format!("command/{caller}/{request_id}");
    let outcome = retry(|| async {
        let mut tx = desk.db.begin().await?;
        let command = Command { caller, method, request_id, body: &body };
        let open = match command::begin(&mut tx, &command, now).await? {
            Begun::Replay(sealed) => {
                let damaged = |what: String| StorageError::inconsistent("command.answer", what);
                let stored = desk.seal.open(&place, &sealed).map_err(|error| damaged(error.to_string()))?;
                let answer = T::decode(stored.as_slice()).map_err(|error| damaged(error.to_string()))?;
                return Ok(Some(Answer::Done(answer)));
            }
            Begun::Conflict => return Ok(None),
            Begun::Fresh(open) => open,
        };
        let (mut tx, answer) = change(tx).await?;
        if let Answer::Done(done) = &answer {
            let sealed = desk.seal.seal(&place, &done.encode_to_vec(), random::bytes());
            command::finish(&mut tx, open, &sealed).await?;
            tx.commit().await?;
        }
        Ok::<_, StorageError>(Some(answer))
    })
    .await
    .map_err(answer::storage)?;
    match outcome {
        Some(Answer::Done(done)) => Ok(done),
        Some(Answer::Refused(refusal)) => Err(refusal.into()),
        None => Err(answer::refuse(
            ErrorCode::RequestIdReused,
            "this request id was used for another request",
            "make a new one",
        )),
    }
}
