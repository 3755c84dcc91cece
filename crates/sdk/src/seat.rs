//! A seat that is held: in the background, until it is released, dropped, or cannot be held any longer.
//!
//! The program's own clock decides how long it may go on without contact. The n-th beat of a stream proves that the
//! server held the seat n intervals after the stream was asked for; from that moment the program may work for the
//! reconnect grace less a tenth. The server gives the seat to nobody else before the grace and a tenth are over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_clock::{SharedClock, Timestamp};
use lictor_licensing::error::ErrorCode;
use lictor_signing::{GrantStatement, PublicKey};
use tokio::sync::{broadcast, oneshot, watch};
use tonic::Streaming;

use crate::Address;
use crate::client::{Inner, may_retry};
use crate::connection::Connection;
use crate::error::Reason;
use crate::program::Link;

/// Events that a slow reader may be behind before it misses some.
const EVENTS: usize = 64;
/// A stream that is this far behind its own count is opened anew: the server slept, or its beats were stuck.
const MAX_LAG: Duration = Duration::from_secs(5);
/// How often the clock is looked at while waiting: timers stand still while the machine sleeps, this clock does not.
const LOOK: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A server that restarts is back within this; a seat that was not given back would stay taken for its grace.
const RELEASE_TIME: Duration = Duration::from_secs(8);

/// What happens to a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeatEvent {
    /// Contact is lost. The program may go on while the SDK tries to get it back.
    Lost,
    /// Contact is back; it is the same seat.
    Restored,
    /// The seat is gone: the program must stop what it is for. Nothing comes after this.
    Ended(EndReason),
}

/// Why a seat ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The server could not be reached before the deadline.
    NoContact,
    /// The server ended it.
    ByServer(Reason),
    /// The program gave it back.
    Released,
}

/// How a seat stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeatState {
    /// The server holds it for this program.
    Held,
    /// There is no contact; the seat is still this program's until its deadline.
    Lost,
    /// It is gone.
    Ended(EndReason),
}

/// A seat. Keep it as long as the program works; [`Seat::release`] it afterwards. Dropping it gives it back too, as far
/// as that can be done without waiting.
#[derive(Debug)]
pub struct Seat {
    session_id: String,
    statement: GrantStatement,
    entry: Entry,
    state: watch::Receiver<SeatState>,
    events: broadcast::Sender<SeatEvent>,
    release: Option<oneshot::Sender<oneshot::Sender<()>>>,
    deadline: Arc<Deadline>,
    clock: SharedClock,
    pub(crate) link: Link,
}

/// Until when nobody else can have the seat, in microseconds of the boot clock. It only rises.
#[derive(Debug)]
struct Deadline(AtomicU64);

impl Deadline {
    fn at(time: Duration) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(micros(time))))
    }

    fn raise(&self, time: Duration) {
        self.0.fetch_max(micros(time), Ordering::AcqRel);
    }

    fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Acquire))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The licence entry that serves, as far as it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The product.
    pub product_code: u32,
    /// All features of the entry, also those that were not asked for.
    pub feature_map: u32,
    /// The vendor's text.
    pub text: String,
    /// The vendor's id of the licence.
    pub license_id: String,
}

impl Seat {
    /// The session's id, the same at the server.
    #[must_use]
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The container that serves.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.statement.serial
    }

    /// Firm and product, as the server signed them.
    pub(crate) const fn product(&self) -> (u32, u32) {
        (self.statement.firm_code, self.statement.product_code)
    }

    /// Seats taken; 0 when the entry is not counted.
    #[must_use]
    pub const fn units(&self) -> u32 {
        self.statement.units
    }

    /// The features of the entry, as the server signed them.
    #[must_use]
    pub const fn feature_map(&self) -> u32 {
        self.statement.feature_map
    }

    /// When the licence ends, if it ends by date.
    #[must_use]
    pub const fn ends_at(&self) -> Option<Timestamp> {
        self.statement.ends_at
    }

    /// What the server tells of the entry. Not signed: for showing, not for deciding.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// How the seat stands now.
    #[must_use]
    pub fn state(&self) -> SeatState {
        self.state.borrow().clone()
    }

    /// Whether the program may go on. Looks at the clock: a machine that wakes after its time without contact is over has
    /// no valid seat from the first moment on, though the state says so only after the next look of the background.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !matches!(*self.state.borrow(), SeatState::Ended(_)) && self.clock.boottime() <= self.deadline.get()
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<SeatEvent> {
        self.events.subscribe()
    }

    /// Waits until the seat is gone, and says why.
    pub async fn ended(&self) -> EndReason {
        let mut state = self.state.clone();
        let ended = state.wait_for(|state| matches!(state, SeatState::Ended(_))).await;
        match ended.as_deref() {
            Ok(SeatState::Ended(reason)) => reason.clone(),
            // The holder is gone with its runtime.
            _ => EndReason::NoContact,
        }
    }

    /// Gives the seat back and waits until the server knows, at most eight seconds. What the server does not hear it
    /// finds out by itself when the reconnect grace is over.
    pub async fn release(mut self) {
        if let Some(release) = self.release.take() {
            let (done, when_done) = oneshot::channel();
            if release.send(done).is_ok() {
                let _ = when_done.await;
            }
        }
    }
}

/// Starts to hold a granted seat.
pub(crate) fn hold(
    client: Arc<Inner>,
    address: Address,
    connection: Arc<Connection>,
    statement: GrantStatement,
    grant: &wire::Grant,
    asked_at: Duration,
) -> Seat {
    let (state, watch_state) = watch::channel(SeatState::Held);
    let (events, _) = broadcast::channel(EVENTS);
    let (release, released) = oneshot::channel();
    let entry = grant.entry.clone().unwrap_or_default();
    let clock = client.clock.clone();
    let deadline = Deadline::at(asked_at + less_a_tenth(Duration::from_millis(statement.revalidate_within_ms)));
    let link = Link { client: Arc::clone(&client), address: address.clone(), lease_key: connection.lease_key };
    let holder = Holder {
        client,
        address,
        lease_key: connection.lease_key,
        session_id: grant.session_id.clone(),
        grace: Duration::from_millis(statement.reconnect_grace_ms),
        deadline: Arc::clone(&deadline),
        state,
        events: events.clone(),
    };
    tokio::spawn(holder.run(connection, released));
    Seat {
        session_id: grant.session_id.clone(),
        statement,
        entry: Entry {
            product_code: entry.product_code,
            feature_map: entry.feature_map,
            text: entry.text,
            license_id: entry.license_id,
        },
        state: watch_state,
        events,
        release: Some(release),
        deadline,
        clock,
        link,
    }
}

fn less_a_tenth(span: Duration) -> Duration {
    span - span / 10
}

/// The background half of a seat.
struct Holder {
    client: Arc<Inner>,
    address: Address,
    lease_key: PublicKey,
    session_id: String,
    grace: Duration,
    deadline: Arc<Deadline>,
    state: watch::Sender<SeatState>,
    events: broadcast::Sender<SeatEvent>,
}

/// How one stream came to its end.
enum StreamEnd {
    /// Contact is gone, or the stream should be opened anew.
    Again,
    /// The server says that the session is over.
    Over(EndReason),
}

impl Holder {
    async fn run(self, connection: Arc<Connection>, mut released: oneshot::Receiver<oneshot::Sender<()>>) {
        let done = tokio::select! {
            reason = self.hold(connection) => {
                self.end(reason);
                // Nothing is left to give back.
                if let Ok(done) = released.await {
                    let _ = done.send(());
                }
                return;
            }
            done = &mut released => done.ok(),
        };
        self.release().await;
        self.end(EndReason::Released);
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    fn end(&self, reason: EndReason) {
        self.state.send_replace(SeatState::Ended(reason.clone()));
        // Nobody listening is no fault.
        let _ = self.events.send(SeatEvent::Ended(reason));
    }

    /// Holds until the end, over as many connections as it takes.
    async fn hold(&self, connection: Arc<Connection>) -> EndReason {
        let mut connection = Some(connection);
        let mut pause = FIRST_PAUSE;
        loop {
            let Some(left) = self.left() else {
                return EndReason::NoContact;
            };
            let live = match connection.take() {
                Some(connection) => Some(connection),
                None => self.reconnect(left).await,
            };
            if let Some(live) = live {
                match self.stream(&live).await {
                    StreamEnd::Over(reason) => return reason,
                    StreamEnd::Again => {}
                }
                if self.is_held() {
                    pause = FIRST_PAUSE;
                }
            }
            self.lost();
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn reconnect(&self, left: Duration) -> Option<Arc<Connection>> {
        let connecting = tokio::time::timeout(left, self.client.connection(&self.address)).await;
        // A server with another key is not the one that gave this seat.
        connecting.ok()?.ok().filter(|connection| connection.lease_key == self.lease_key)
    }

    /// Opens a stream and follows its beats.
    async fn stream(&self, connection: &Connection) -> StreamEnd {
        let opened_at = self.client.clock.boottime();
        let request = wire::HoldRequest { session_id: self.session_id.clone(), proof: connection.proof() };
        let mut seats = connection.seats.clone();
        let opening = self.before_deadline(seats.hold(request)).await;
        let mut beats = match opening {
            Some(Ok(answer)) => answer.into_inner(),
            Some(Err(status)) if may_retry(&status) => {
                connection.give_up();
                return StreamEnd::Again;
            }
            // The seat is still there, and cannot be promised at the moment.
            Some(Err(status)) if lictor_api::error::problem(&status).code == ErrorCode::Unavailable => {
                return StreamEnd::Again;
            }
            Some(Err(status)) => return StreamEnd::Over(EndReason::ByServer(refused(&status))),
            None => return StreamEnd::Again,
        };
        connection.proved();
        loop {
            match self.next(&mut beats).await {
                Some(Ok(Some(wire::HoldEvent { event: Some(wire::hold_event::Event::Beat(beat)) }))) => {
                    if self.beat(&beat, opened_at) {
                        return StreamEnd::Again;
                    }
                }
                Some(Ok(Some(wire::HoldEvent { event: Some(wire::hold_event::Event::Ended(ended)) }))) => {
                    let reason = ended.reason.unwrap_or_default();
                    return StreamEnd::Over(EndReason::ByServer(reason.into()));
                }
                // Closed by the server without a word, such as at its stop: come again.
                Some(Ok(None | Some(wire::HoldEvent { event: None }))) => return StreamEnd::Again,
                Some(Err(_)) => {
                    connection.give_up();
                    return StreamEnd::Again;
                }
                None => {
                    connection.give_up();
                    return StreamEnd::Over(EndReason::NoContact);
                }
            }
        }
    }

    /// Takes a beat in; true when the stream lags so much that it should be opened anew.
    fn beat(&self, beat: &wire::Beat, opened_at: Duration) -> bool {
        let now = self.client.clock.boottime();
        let span = Duration::from_millis(beat.interval_ms.saturating_mul(beat.number));
        // A count that runs ahead of time is no proof of anything.
        let proved = opened_at.saturating_add(span).min(now);
        self.deadline.raise(proved + less_a_tenth(self.grace));
        if self.deadline.get() > now {
            self.restored();
        }
        now - proved > MAX_LAG.min(self.grace / 2).max(Duration::from_millis(beat.interval_ms))
    }

    /// The next message; nothing once the deadline is over.
    async fn next(
        &self,
        beats: &mut Streaming<wire::HoldEvent>,
    ) -> Option<Result<Option<wire::HoldEvent>, tonic::Status>> {
        self.before_deadline(beats.message()).await
    }

    async fn before_deadline<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            let left = self.left()?;
            if let Ok(done) = tokio::time::timeout(left.min(LOOK), &mut work).await {
                return Some(done);
            }
        }
    }

    /// What is left of the time without contact; nothing once it is over.
    fn left(&self) -> Option<Duration> {
        self.deadline.get().checked_sub(self.client.clock.boottime())
    }

    fn is_held(&self) -> bool {
        *self.state.borrow() == SeatState::Held
    }

    fn lost(&self) {
        if self.is_held() {
            self.state.send_replace(SeatState::Lost);
            let _ = self.events.send(SeatEvent::Lost);
        }
    }

    fn restored(&self) {
        if !self.is_held() {
            self.state.send_replace(SeatState::Held);
            let _ = self.events.send(SeatEvent::Restored);
        }
    }

    /// Gives the seat back, over a new connection if need be.
    async fn release(&self) {
        let giving_back = async {
            let mut pause = FIRST_PAUSE;
            loop {
                if let Ok(connection) = self.client.connection(&self.address).await {
                    let request =
                        wire::ReleaseRequest { session_id: self.session_id.clone(), proof: connection.proof() };
                    match connection.seats.clone().release(request).await {
                        Err(status) if may_retry(&status) => connection.give_up(),
                        _ => return,
                    }
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        let _ = tokio::time::timeout(RELEASE_TIME, giving_back).await;
    }
}

/// A session that the server does not hold for this client is over, whatever the server calls it.
fn refused(status: &tonic::Status) -> Reason {
    let problem = lictor_api::error::problem(status);
    Reason {
        serial: String::new(),
        product_code: 0,
        code: 0,
        reason: problem.message,
        holders: Vec::new(),
        free_at: None,
        instead: problem.next,
        server: String::new(),
    }
}
