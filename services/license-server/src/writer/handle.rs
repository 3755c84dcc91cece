//! How the rest of the process talks to the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::id::SessionId;
use tokio::sync::oneshot;

use super::Writer;
use super::events::Events;
use super::waiting::Newcomer;
use crate::domain::ask::{Answer, Ask, Attached, Moment};
use crate::domain::keeper::Keeper;
use crate::domain::session::RequestId;
use crate::domain::units::{UnitsAnswer, UnitsWish};
use crate::listen::Channel;

/// Wishes that may wait for the writer; more are told to come again.
pub const MAX_WAITING: usize = 65_536;

/// A look at the state as it is durable.
pub(super) type Look = Box<dyn FnOnce(&Keeper, Moment) + Send>;
/// A change of the container.
pub(super) type Change = Box<dyn FnOnce(&mut Writer, Moment) + Send>;
/// What a wish is answered.
pub(super) type Answered = Result<Answer, Problem>;

/// What the writer is asked to do.
pub(super) enum Command {
    Acquire {
        ask: Box<Ask>,
        first: bool,
        reply: oneshot::Sender<Answered>,
    },
    Wait(Box<Newcomer>),
    Leave {
        request: RequestId,
        visit: u64,
    },
    Attach {
        session: SessionId,
        channel: Channel,
        ledger: Ledger,
        reply: oneshot::Sender<Result<Option<Held>, Problem>>,
    },
    Detach {
        session: SessionId,
        generation: u64,
    },
    Revalidate {
        session: SessionId,
        channel: Channel,
        reply: oneshot::Sender<Result<bool, Problem>>,
    },
    Release {
        session: SessionId,
        channel: Channel,
        reply: oneshot::Sender<()>,
    },
    TakeUnits {
        wish: UnitsWish,
        channel: Channel,
        reply: oneshot::Sender<Result<UnitsAnswer, Problem>>,
    },
    Read(Look),
    Change(Change),
    Stop(oneshot::Sender<()>),
}

/// A session that is held. Dropping it, wherever it is on its way, begins the reconnect grace: a seat that is held by nobody
/// would never come free.
#[derive(Debug)]
pub struct Held {
    /// Its stream.
    pub attached: Attached,
    session: SessionId,
    ledger: Ledger,
}

impl Held {
    pub(super) const fn new(attached: Attached, session: SessionId, ledger: Ledger) -> Self {
        Self { attached, session, ledger }
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ledger.detach(self.session, self.attached.generation);
    }
}

/// A handle to the writer. Clones talk to the same one.
#[derive(Clone)]
pub struct Ledger {
    sender: mpsc::Sender<Command>,
    waiting: Arc<AtomicUsize>,
    events: Events,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("waiting", &self.waiting.load(Ordering::Relaxed)).finish()
    }
}

/// The writer has ended, and the process is about to.
fn gone() -> Problem {
    Problem::new(
        ErrorCode::Unavailable,
        "the licence server is stopping",
        "ask again in a moment; the seats that are held stay reserved meanwhile",
    )
}

fn busy() -> Problem {
    Problem::new(ErrorCode::Overloaded, "the licence server has too much to do", "ask again in a moment")
}

impl Ledger {
    pub(super) fn new(sender: mpsc::Sender<Command>, waiting: Arc<AtomicUsize>, events: Events) -> Self {
        Self { sender, waiting, events }
    }

    /// What happens at the server.
    #[must_use]
    pub const fn events(&self) -> &Events {
        &self.events
    }

    /// Whether the writer takes on more.
    pub(super) fn has_time(&self) -> Result<(), Problem> {
        if self.waiting() >= MAX_WAITING { Err(busy()) } else { Ok(()) }
    }

    pub(super) fn send(&self, command: Command) -> Result<(), Problem> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.sender.send(command).map_err(|_| gone())
    }

    /// Messages that wait for the writer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Asks for a seat. The answer comes after it is durable.
    ///
    /// # Errors
    /// When the wish cannot be dealt with; a refusal by licence is no error.
    pub async fn acquire(&self, ask: Ask) -> Result<Answer, Problem> {
        self.try_acquire(ask, false).await
    }

    /// The same. A refusal of the `first` of several tries is not told as one: the last of them is.
    ///
    /// # Errors
    /// As for [`Ledger::acquire`].
    pub async fn try_acquire(&self, ask: Ask, first: bool) -> Result<Answer, Problem> {
        if self.waiting() >= MAX_WAITING {
            return Err(busy());
        }
        let (reply, answer) = oneshot::channel();
        self.send(Command::Acquire { ask: Box::new(ask), first, reply })?;
        answer.await.map_err(|_| gone())?
    }

    /// Holds a session by a stream; none when it is not there for a client that proved itself
    /// on this connection.
    ///
    /// # Errors
    /// When the writer is gone, or the seat's lender has not confirmed it.
    pub async fn attach(&self, session: SessionId, channel: Channel) -> Result<Option<Held>, Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Attach { session, channel, ledger: self.clone(), reply })?;
        answer.await.map_err(|_| gone())?
    }

    /// Tells that a stream is gone. Never refused: a seat would stay taken for ever.
    pub fn detach(&self, session: SessionId, generation: u64) {
        // Without a writer there are no seats either.
        let _ = self.send(Command::Detach { session, generation });
    }

    /// Keeps a session without a stream; false when it is not there for a client that proved
    /// itself on this connection.
    ///
    /// # Errors
    /// When the writer is gone, or the seat's lender has not confirmed it.
    pub async fn revalidate(&self, session: SessionId, channel: Channel) -> Result<bool, Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Revalidate { session, channel, reply })?;
        answer.await.map_err(|_| gone())?
    }

    /// Gives a seat back; a session that is gone is no error.
    ///
    /// # Errors
    /// When the writer is gone.
    pub async fn release(&self, session: SessionId, channel: Channel) -> Result<(), Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Release { session, channel, reply })?;
        answer.await.map_err(|_| gone())
    }

    /// Takes units for a client that proved itself on this connection. The answer comes after they are durably taken.
    ///
    /// # Errors
    /// When the wish cannot be dealt with; a refusal by licence is no error.
    pub async fn take_units(&self, wish: UnitsWish, channel: Channel) -> Result<UnitsAnswer, Problem> {
        if self.waiting() >= MAX_WAITING {
            return Err(busy());
        }
        let (reply, answer) = oneshot::channel();
        self.send(Command::TakeUnits { wish, channel, reply })?;
        answer.await.map_err(|_| gone())?
    }

    /// Looks at the state as it is durable.
    ///
    /// # Errors
    /// When the writer is gone or has too much to do.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Keeper, Moment) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        if self.waiting() >= MAX_WAITING {
            return Err(busy());
        }
        let (reply, answer) = oneshot::channel();
        let look = move |keeper: &Keeper, moment: Moment| {
            // Whoever asked may have left.
            let _ = reply.send(look(keeper, moment));
        };
        self.send(Command::Read(Box::new(look)))?;
        answer.await.map_err(|_| gone())
    }

    /// Does something that changes the container.
    ///
    /// # Errors
    /// What the change answers, or that the writer is gone.
    pub async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Writer, Moment) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        let change = move |writer: &mut Writer, moment: Moment| {
            // Whoever asked may have left; what was done stays done.
            let _ = reply.send(change(writer, moment));
        };
        self.send(Command::Change(Box::new(change)))?;
        answer.await.map_err(|_| gone())?
    }

    /// Writes what is left and ends the writer.
    pub async fn stop(&self) {
        let (reply, done) = oneshot::channel();
        if self.send(Command::Stop(reply)).is_ok() {
            let _ = done.await;
        }
    }
}
