//! The writer without its thread: whoever holds it lets it take its turns one by one. For simulations, in which nothing
//! happens that the seed does not say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use super::handle::{Command, Ledger};
use super::{Parts, Writer};

/// A writer that does nothing by itself.
#[derive(Debug)]
pub struct Turns {
    writer: Writer,
    receiver: Receiver<Command>,
    waiting: Arc<AtomicUsize>,
}

impl Turns {
    /// The writer, and the handle by which it is asked.
    #[must_use]
    pub fn new(parts: Parts) -> (Self, Ledger) {
        let (writer, receiver, waiting, ledger) = Writer::prepare(parts);
        (Self { writer, receiver, waiting }, ledger)
    }

    /// Does everything that it was asked until now, as one batch. Gives the reason when it had to give up.
    pub fn turn(&mut self) -> Option<&str> {
        let mut moment = self.writer.moment();
        while self.writer.fatal.is_none()
            && let Ok(command) = self.receiver.try_recv()
        {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            moment = self.writer.moment();
            if let Some(done) = self.writer.take(command, moment) {
                // Whoever asked may have left.
                let _ = done.send(());
            }
        }
        if self.writer.fatal.is_none() {
            self.writer.commit(moment);
        }
        self.writer.fatal.as_deref()
    }

    /// Does what happens every quarter of a second. Gives the reason when it had to give up.
    pub fn tick(&mut self) -> Option<&str> {
        if self.writer.fatal.is_none() {
            self.writer.tick();
        }
        self.writer.fatal.as_deref()
    }
}
