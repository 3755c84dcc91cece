//! The broker inside one process: a bounded queue per consumer. The outbox is the durable truth, so a full queue or a
//! crash loses speed and nothing else: the consumer's cursor brings the rest.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use lictor_api::event::v1::Event;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    BrokerError,
    consumer::{Handler, Verdict, hand_over},
    topology::{QUEUES, matches},
};

/// Events that wait for one consumer.
const QUEUE_EVENTS: usize = 4_096;

#[derive(Debug)]
pub(crate) struct InProcess {
    queues: HashMap<&'static str, Queue>,
}

#[derive(Debug)]
struct Queue {
    sender: mpsc::Sender<Event>,
    patterns: &'static [&'static str],
    /// Taken by the consumer, given back when it stops.
    receiver: Mutex<Option<mpsc::Receiver<Event>>>,
}

impl InProcess {
    pub(crate) fn new() -> Self {
        let queues = QUEUES
            .iter()
            .map(|spec| {
                let (sender, receiver) = mpsc::channel(QUEUE_EVENTS);
                let receiver = Mutex::new(Some(receiver));
                (spec.consumer, Queue { sender, patterns: spec.patterns, receiver })
            })
            .collect();
        Self { queues }
    }

    pub(crate) fn publish(&self, events: &[Event]) {
        for event in events {
            for (consumer, queue) in &self.queues {
                if queue.patterns.iter().any(|pattern| matches(pattern, &event.r#type))
                    && queue.sender.try_send(event.clone()).is_err()
                {
                    tracing::debug!(consumer, event = %event.id, "queue full, the cursor will bring it");
                }
            }
        }
    }

    pub(crate) async fn consume(
        &self,
        consumer: &'static str,
        most: usize,
        handler: Handler,
        stop: CancellationToken,
    ) -> Result<(), BrokerError> {
        let queue = self
            .queues
            .get(consumer)
            .ok_or_else(|| BrokerError::Consumer(format!("{consumer} is no consumer of the topology")))?;
        let taken = queue.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut receiver = taken.ok_or_else(|| BrokerError::Consumer(format!("{consumer} has a handler already")))?;
        loop {
            let mut events = Vec::new();
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                received = receiver.recv_many(&mut events, most) => received,
            };
            // The sender lives in `self`, so the channel never closes before.
            let Some(first) = events.first().map(|event| event.id.clone()) else { break };
            if hand_over(&handler, events, &stop).await == Verdict::Again && !stop.is_cancelled() {
                // No delivery count here: the cursor will bring it again and again until it is taken.
                tracing::warn!(consumer, event = %first, count = received, "event left to the cursor");
            }
        }
        *queue.receiver.lock().unwrap_or_else(PoisonError::into_inner) = Some(receiver);
        Ok(())
    }
}
