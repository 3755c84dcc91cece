//! Answers on their way to those who asked.

use lictor_licensing::error::Problem;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::handle::{Answered, Held};

/// One answer, and who waits for it. Whoever asked may have left: a client that comes back asks under the same request id, and
/// a stream that nobody reads is dropped and detaches by itself.
pub(super) enum Reply {
    Wish(Answered, oneshot::Sender<Answered>),
    Held(Result<Option<Held>, Problem>, oneshot::Sender<Result<Option<Held>, Problem>>),
    Kept(Result<bool, Problem>, oneshot::Sender<Result<bool, Problem>>),
    Released(oneshot::Sender<()>),
}

impl Reply {
    fn send(self) {
        match self {
            Self::Wish(answer, to) => drop(to.send(answer)),
            Self::Held(answer, to) => drop(to.send(answer)),
            Self::Kept(answer, to) => drop(to.send(answer)),
            Self::Released(to) => drop(to.send(())),
        }
    }
}

/// Hands the answers of a batch over. Those of a crowd go to one task of the runtime, which wakes those who wait: from this
/// thread each of them would be a wake of its own.
pub(super) fn deliver(replies: Vec<Reply>, runtime: Option<&Handle>) {
    match runtime {
        Some(runtime) if replies.len() > 1 => {
            drop(runtime.spawn(async move { replies.into_iter().for_each(Reply::send) }));
        }
        _ => replies.into_iter().for_each(Reply::send),
    }
}
