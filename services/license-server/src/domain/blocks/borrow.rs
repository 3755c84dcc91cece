//! The borrower's side: what is asked for, and until when what was lent may be used.
//!
//! Programs believe in a seat for as long as this server last promised. So a block's seats are promised only while even the
//! longest promise ends before the block does. After that, and after a restart, its sessions are paused: they keep their seats
//! and their time runs out, unless an answer of the lender comes before; nobody else gets those seats meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lictor_licensing::id::{FirmCode, LicenseId, ProductCode, SessionId};
use lictor_licensing::refusal::Reason;

use super::borrowed::{Asked, Open};
use super::{BlockId, Borrowed, Demand, MAX_BLOCK_SEATS, Question, Terms, Wish, target, usable_for};
use crate::domain::ask::Moment;
use crate::domain::deciding::Found;
use crate::domain::keeper::{Keeper, and_a_tenth};
use crate::domain::record::Record;
use crate::domain::session::Session;
use crate::domain::state::State;

/// Seats that were not in use for so long are given back.
const IDLE: Duration = Duration::from_secs(60);
/// For how long a lender that had less than was needed is not asked for more.
const SHORT: Duration = Duration::from_secs(2);

/// What a lender answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Number of the question.
    pub number: u64,
    /// Seats of the block from now on.
    pub seats: u32,
    /// For how long.
    pub time_to_live: Duration,
    /// What they are; none when there are no seats.
    pub terms: Option<Terms>,
    /// Whether the lender has few seats left.
    pub scarce: bool,
}

/// Seats that a block should have.
fn size_for(block: &Borrowed, waiting: u32) -> u32 {
    let used = block.used();
    let size = if block.scarce {
        used.saturating_add(waiting).max(block.peak)
    } else {
        target(block.seats, Demand { used, peak: block.peak, waiting })
    };
    size.max(used).min(MAX_BLOCK_SEATS)
}

impl State {
    /// The blocks that have seats of a product.
    pub fn blocks_of(&self, firm: FirmCode, product: ProductCode) -> impl Iterator<Item = &Borrowed> {
        let fits = move |block: &&Borrowed| block.wish.firm_code == firm && block.wish.product_code == product;
        self.blocks.values().filter(fits)
    }

    /// The block that a licence stands for.
    #[must_use]
    pub fn block(&self, license: LicenseId) -> Option<&Borrowed> {
        if self.blocks.is_empty() {
            return None;
        }
        self.blocks.get(&license.to_u128().to_be_bytes())
    }

    /// All entries of a product: of the container, then of blocks.
    #[must_use]
    pub fn places(&self, firm: FirmCode, product: ProductCode) -> Vec<Found> {
        let own = self.firms.get(&firm).map_or(&[][..], |firm| firm.of_product(product));
        let blocks = self.blocks_of(firm, product).filter(|block| block.license.is_some());
        own.iter().copied().chain(blocks.map(|block| (block.license_id(), 0))).collect()
    }
}

impl Keeper {
    /// What to ask about a block: the open question again, or the next one when the block should have another size or its
    /// time passes. The record must be durable before the question leaves, and then [`Keeper::asking`] be called. `waiting`
    /// are seats that somebody wants now.
    #[must_use]
    pub fn question(&self, id: &BlockId, waiting: u32, moment: Moment) -> Option<(Question, Option<Record>)> {
        let block = self.state.blocks.get(id)?;
        if let Some(open) = block.open {
            let Open { seats, needed, .. } = open;
            let question = Question { block: *id, number: block.number, seats, needed, wish: block.wish.clone() };
            return Some((question, None));
        }
        let waiting = if moment.boottime < block.short_until { 0 } else { waiting };
        let seats = size_for(block, waiting);
        // What the lender would not give in advance it is not asked for at once again.
        let needed = block.used().saturating_add(waiting).max(block.seats);
        let seats = if moment.boottime < block.advance_after { seats.min(needed) } else { seats };
        let confirmed = block.stop_at.is_some() && block.terms.is_some();
        let half = block.stop_at.unwrap_or_default().saturating_sub(block.asked_at) / 2;
        let passes = moment.boottime >= block.asked_at.saturating_add(half);
        if confirmed && seats == block.seats && !passes {
            return None;
        }
        let number = block.number + 1;
        let (wish, server) = (block.wish.clone(), block.server.clone());
        let asked = Asked { block: *id, server, wish: wish.clone(), number, seats: block.seats.min(seats) };
        let needed = block.used().saturating_add(waiting).min(seats);
        Some((Question { block: *id, number, seats, needed, wish }, Some(Record::BlockAsked(asked))))
    }

    /// A question is durable and leaves now. From now on no more than it asks for may be in use.
    pub fn asking(&mut self, question: &Question, moment: Moment) {
        if let Some(block) = self.state.blocks.get_mut(&question.block) {
            let Question { seats, needed, .. } = *question;
            let open = block.open.get_or_insert(Open { seats, needed, first_sent: None });
            open.first_sent.get_or_insert(moment.boottime);
        }
    }

    /// The record of an answer, when it is the one to the open question; it must be durable before [`Keeper::answered`].
    /// Answers to anything else are of the past and change nothing.
    #[must_use]
    pub fn answer_record(&self, id: &BlockId, answer: &Answered) -> Option<Record> {
        let block = self.state.blocks.get(id)?;
        if answer.number != block.number || block.open.and_then(|open| open.first_sent).is_none() {
            return None;
        }
        if answer.seats == 0 {
            return Some(Record::BlockDropped { block: *id });
        }
        let terms = answer.terms.clone()?;
        Some(Record::BlockHeld { block: *id, number: answer.number, seats: answer.seats, terms: Arc::new(terms) })
    }

    /// An answer is durable: its seats may be used.
    pub fn answered(&mut self, id: &BlockId, answer: &Answered, moment: Moment) {
        let promise = self.longest_promise();
        let Some(block) = self.state.blocks.get_mut(id) else { return };
        let Some(open) = block.open.take() else { return };
        let Some(sent) = open.first_sent else { return };
        if answer.seats < open.needed {
            block.short_until = moment.boottime.saturating_add(SHORT);
        }
        if answer.seats < open.seats {
            block.advance_after = moment.boottime.saturating_add(IDLE);
        }
        let stop_at = sent.saturating_add(usable_for(answer.time_to_live));
        (block.stop_at, block.asked_at, block.paused) = (Some(stop_at), sent, false);
        block.scarce = answer.scarce;
        let promised = u64::try_from(stop_at.saturating_sub(promise).as_micros()).unwrap_or(u64::MAX);
        block.promised_until.store(promised, Ordering::Release);
        block.peak = block.peak.max(block.used());
        let (firm, license) = (block.wish.firm_code, block.license_id());
        self.seats_may_be_free(firm, license);
    }

    /// The lender knows nothing of a block any more, or it is given up: its sessions end. Gives the records.
    pub fn drop_block(&mut self, id: &BlockId, moment: Moment) -> Vec<Record> {
        let Some(block) = self.state.blocks.get(id) else { return Vec::new() };
        let license = block.license_id();
        let of_block = self.state.sessions.values().filter(|session| session.license == license);
        let mut sessions: Vec<SessionId> = of_block.map(|session| session.id).collect();
        sessions.sort_unstable();
        let mut records: Vec<Record> =
            sessions.into_iter().filter_map(|id| self.end_for(id, moment, Reason::NoNetworkServer)).collect();
        self.state.blocks.remove(id);
        records.push(Record::BlockDropped { block: *id });
        records
    }

    /// Stops promising seats of blocks whose time passes: streams end, and what is left of the time runs out.
    pub fn pause_blocks(&mut self, moment: Moment) {
        let over = |block: &&mut Borrowed| {
            !block.paused && block.stop_at.is_some() && block.promised_until() <= moment.boottime
        };
        let mut paused = Vec::new();
        for block in self.state.blocks.values_mut().filter(over) {
            block.paused = true;
            let left = block.stop_at.unwrap_or_default().saturating_sub(moment.boottime);
            paused.push((block.license_id(), left));
        }
        for (license, left) in paused {
            let of_block = self.state.sessions.values().filter(|session| session.license == license);
            let sessions: Vec<SessionId> = of_block.map(|session| session.id).collect();
            sessions.into_iter().for_each(|id| self.pause(id, left, moment));
        }
    }

    /// Looks how many seats are in use; the most of it counts until the next question about the block.
    pub fn look_at_blocks(&mut self, moment: Moment) {
        for block in self.state.blocks.values_mut() {
            let used = block.used();
            let half = block.stop_at.unwrap_or_default().saturating_sub(block.asked_at) / 2;
            if moment.boottime.saturating_sub(block.peak_since) >= IDLE.min(half) {
                (block.peak, block.peak_since) = (used, moment.boottime);
            }
            block.peak = block.peak.max(used);
        }
    }

    /// Whether a session may be promised anything now: its seat is of this container, or of a block that is confirmed.
    pub(crate) fn is_confirmed(&self, session: &Session, moment: Moment) -> bool {
        self.state.block(session.license).is_none_or(|block| block.is_usable(moment.boottime))
    }

    /// The longest time for which a program may believe in a seat after this server's last word.
    pub(crate) fn longest_promise(&self) -> Duration {
        let times = self.times();
        and_a_tenth(times.revalidate_within.max(times.reconnect_grace))
    }

    /// How many wait for a product in the queue.
    #[must_use]
    pub fn waiting_for(&self, wish: &Wish) -> u32 {
        let waiting = self.queues().waiting(&(wish.firm_code, wish.product_code));
        u32::try_from(waiting).unwrap_or(u32::MAX)
    }

    /// The block that a wish is served from at a server, when there is one.
    #[must_use]
    pub fn block_at(&self, server: &str, wish: &Wish) -> Option<BlockId> {
        let fits = |block: &&Borrowed| block.server == server && block.wish == *wish;
        self.state.blocks.values().find(fits).map(|block| block.id)
    }

    /// Whether the lender gave the block for a wish fewer seats than were needed, a moment ago; also when it gave none at all, or
    /// the block has as many as one can have.
    #[must_use]
    pub fn is_short(&self, server: &str, wish: &Wish, moment: Moment) -> bool {
        let block = self.block_at(server, wish).and_then(|id| self.state.blocks.get(&id));
        block.is_none_or(|block| moment.boottime < block.short_until || block.seats >= MAX_BLOCK_SEATS)
    }
}
