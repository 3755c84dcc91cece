//! The stream that holds a session: beats, until one side ends it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_clock::SharedClock;
use tokio::time::Interval;
use tokio_stream::Stream;
use tonic::Status;

use super::view;
use crate::domain::ask::StreamEnd;
use crate::writer::Held;

/// Beats for one session. Dropping it, which a lost connection does, begins the reconnect grace.
pub(crate) struct HoldStream {
    held: Held,
    over: bool,
    interval: Interval,
    clock: SharedClock,
    pause: Duration,
    number: u64,
}

impl std::fmt::Debug for HoldStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HoldStream")
            .field("session", &self.held.session())
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl HoldStream {
    pub(super) fn new(held: Held, pause: Duration, clock: SharedClock) -> Self {
        Self {
            held,
            over: false,
            // Missed ticks come in a burst: the n-th is never early, and the count catches up.
            interval: tokio::time::interval(pause),
            clock,
            pause,
            number: 0,
        }
    }
}

impl Stream for HoldStream {
    type Item = Result<wire::HoldEvent, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(ended) = Pin::new(&mut this.held.attached.end).poll(cx) {
            this.over = true;
            return Poll::Ready(match ended {
                Ok(StreamEnd::Over(line)) => {
                    let ended = wire::Ended { reason: Some(view::reason(&line)) };
                    Some(Ok(wire::HoldEvent { event: Some(wire::hold_event::Event::Ended(ended)) }))
                }
                // Replaced, given back, or the server stops: the client knows, or comes back and learns.
                Ok(StreamEnd::Replaced | StreamEnd::Released) | Err(_) => None,
            });
        }
        if this.interval.poll_tick(cx).is_pending() {
            return Poll::Pending;
        }
        // Whatever keeps the writer from ending this stream: a beat is a promise, and its time is over.
        if this.held.attached.until.as_ref().is_some_and(|until| until.is_over(this.clock.boottime())) {
            this.over = true;
            return Poll::Ready(None);
        }
        let interval_ms = u64::try_from(this.pause.as_millis()).unwrap_or(u64::MAX);
        let beat = wire::Beat { number: this.number, interval_ms };
        this.number += 1;
        Poll::Ready(Some(Ok(wire::HoldEvent { event: Some(wire::hold_event::Event::Beat(beat)) })))
    }
}
