//! Giving events to a handler: the span, the trials in place, the verdict. The same for both brokers, for one event and
//! for several that are taken or left together.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use lictor_api::event::v1::Event;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::Refused;

/// How long an event is tried in place before it goes back to its queue.
const IN_PLACE: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Takes what arrived together; never called with nothing.
pub(crate) type Handler =
    Arc<dyn Fn(Vec<Event>) -> Pin<Box<dyn Future<Output = Result<(), Refused>> + Send>> + Send + Sync>;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its effect is durable.
    Taken,
    /// Back to the queue.
    Again,
    /// To the dead-letter queue.
    Dead,
}

/// Tries until the handler takes the events, refuses them for good, or the time in place is over. A panic counts as
/// "later": after the delivery limit the message is dead.
pub(crate) async fn hand_over(handler: &Handler, events: Vec<Event>, stop: &CancellationToken) -> Verdict {
    let Some(first) = events.first() else {
        return Verdict::Taken;
    };
    // Several events are of several traces; their own spans begin where each is worked on.
    let span = if events.len() == 1 {
        let span = tracing::info_span!(
            "event",
            otel.name = %first.r#type,
            otel.kind = "consumer",
            event.id = %first.id,
            event.subject = %first.subject,
        );
        lictor_telemetry::set_parent(&span, Some(&first.traceparent));
        span
    } else {
        tracing::debug_span!("events", first.id = %first.id, count = events.len())
    };
    trials(handler, &events, first, stop).instrument(span).await
}

/// `first` stands for all of them in the log.
async fn trials(handler: &Handler, events: &[Event], first: &Event, stop: &CancellationToken) -> Verdict {
    let end = Instant::now() + IN_PLACE;
    let count = events.len();
    let mut pause = FIRST_PAUSE;
    loop {
        let outcome = std::panic::AssertUnwindSafe(handler(events.to_vec())).catch_unwind().await;
        let reason = match outcome {
            Ok(Ok(())) => return Verdict::Taken,
            Ok(Err(Refused::Poison(reason))) => {
                tracing::error!(event = %first.id, kind = %first.r#type, count, reason, "event refused for good");
                return Verdict::Dead;
            }
            Ok(Err(Refused::Later(reason))) => reason,
            Err(_) => {
                tracing::error!(event = %first.id, kind = %first.r#type, count, "the handler panicked");
                return Verdict::Again;
            }
        };
        if Instant::now() + pause >= end {
            tracing::warn!(event = %first.id, kind = %first.r#type, count, reason, "event not taken, back to its queue");
            return Verdict::Again;
        }
        tracing::debug!(event = %first.id, count, reason, "event not taken yet");
        tokio::select! {
            () = stop.cancelled() => return Verdict::Again,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
