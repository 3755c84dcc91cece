//! The stream of somebody who waits for a seat: how he stands, then the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::wait_event::Event;
use tokio::sync::oneshot;
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::Status;

use super::seats::Seats;
use super::{status, view};
use crate::domain::ask::Answer;
use crate::domain::waiting::Standing;
use crate::writer::Visit;

type Answered = Result<Answer, lictor_licensing::error::Problem>;

/// Messages for one waiter. Dropping it, which a lost connection does, leaves the queue.
pub(crate) struct WaitStream {
    seats: Arc<Seats>,
    standing: WatchStream<Option<Standing>>,
    answer: Option<oneshot::Receiver<Answered>>,
    _visit: Option<Box<dyn Send + Sync>>,
}

impl std::fmt::Debug for WaitStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitStream").field("over", &self.answer.is_none()).finish_non_exhaustive()
    }
}

impl WaitStream {
    pub(super) fn new(seats: Arc<Seats>, visit: Visit) -> Self {
        let (standing, answer, leaving) = visit.into_parts();
        Self { seats, standing: WatchStream::new(standing), answer: Some(answer), _visit: Some(Box::new(leaving)) }
    }

    /// The whole answer of a caller who may not even ask.
    pub(super) fn refused(seats: Arc<Seats>, answer: Answer) -> Self {
        let (standing, watch) = tokio::sync::watch::channel(None);
        drop(standing);
        let (reply, receiver) = oneshot::channel();
        // The other end is right here.
        let _ = reply.send(Ok(answer));
        Self { seats, standing: WatchStream::new(watch), answer: Some(receiver), _visit: None }
    }

    fn last(&self, answered: Answered) -> Result<wire::WaitEvent, Status> {
        let event = match answered.map_err(|problem| status(&problem))? {
            Answer::Granted(given) => Event::Grant(self.seats.grant(*given)),
            Answer::Refused(refusal) => Event::Refusal(view::refusal(&refusal)),
        };
        Ok(wire::WaitEvent { event: Some(event) })
    }
}

impl Stream for WaitStream {
    type Item = Result<wire::WaitEvent, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(answer) = &mut this.answer else { return Poll::Ready(None) };
        if let Poll::Ready(answered) = Pin::new(answer).poll(cx) {
            this.answer = None;
            // Without an answer the server stops, or the same wish waits on another stream: the client knows, or comes again.
            return Poll::Ready(answered.ok().map(|answered| this.last(answered)));
        }
        loop {
            match Pin::new(&mut this.standing).poll_next(cx) {
                Poll::Ready(Some(Some(standing))) => return Poll::Ready(Some(Ok(waiting(standing)))),
                Poll::Ready(Some(None)) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn waiting(standing: Standing) -> wire::WaitEvent {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let waiting = wire::Waiting {
        position: count(standing.position),
        waiting: count(standing.waiting),
        estimated_ms: standing.estimate.map(millis),
    };
    wire::WaitEvent { event: Some(Event::Waiting(waiting)) }
}
