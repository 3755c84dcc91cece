//! Giving one event to a handler: the span, the trials in place, the verdict. The same for both brokers.

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

pub(crate) type Handler = Arc<dyn Fn(Event) -> Pin<Box<dyn Future<Output = Result<(), Refused>> + Send>> + Send + Sync>;

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

/// Tries until the handler takes the event, refuses it for good, or the time in place is over. A panic counts as "later":
/// after the delivery limit the message is dead.
pub(crate) async fn hand_over(handler: &Handler, event: Event, stop: &CancellationToken) -> Verdict {
    let span = tracing::info_span!(
        "event",
        otel.name = %event.r#type,
        otel.kind = "consumer",
        event.id = %event.id,
        event.subject = %event.subject,
    );
    lictor_telemetry::set_parent(&span, Some(&event.traceparent));
    trials(handler, event, stop).instrument(span).await
}

async fn trials(handler: &Handler, event: Event, stop: &CancellationToken) -> Verdict {
    let end = Instant::now() + IN_PLACE;
    let mut pause = FIRST_PAUSE;
    loop {
        let outcome = std::panic::AssertUnwindSafe(handler(event.clone())).catch_unwind().await;
        let reason = match outcome {
            Ok(Ok(())) => return Verdict::Taken,
            Ok(Err(Refused::Poison(reason))) => {
                tracing::error!(event = %event.id, kind = %event.r#type, reason, "event refused for good");
                return Verdict::Dead;
            }
            Ok(Err(Refused::Later(reason))) => reason,
            Err(_) => {
                tracing::error!(event = %event.id, kind = %event.r#type, "the handler panicked");
                return Verdict::Again;
            }
        };
        if Instant::now() + pause >= end {
            tracing::warn!(event = %event.id, kind = %event.r#type, reason, "event not taken, back to its queue");
            return Verdict::Again;
        }
        tracing::debug!(event = %event.id, reason, "event not taken yet");
        tokio::select! {
            () = stop.cancelled() => return Verdict::Again,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
