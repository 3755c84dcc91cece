//! Seat blocks: seats that one licence server lends to another for a time, to be handed out there.
//!
//! - `lend` is the side of the server that has the licence: a block is a session in its pool, whose seats grow and shrink.
//!   What is lent counts as taken until it is given back or its time is over.
//! - `borrow` is the side of the server that hands the seats out: [`Borrowed`] may be used only for as long as it is sure that
//!   the lender still counts its seats as lent.
//!
//! Both sides measure time on their own clock since boot and never compare clocks. The borrower counts from before it asked
//! and stops a tenth early; the lender counts from when it answered and waits a tenth longer. So clocks may differ in speed
//! by almost a fifth before a seat could exist twice.
//!
//! A borrower has one question open at a time and numbers them. The lender remembers the last number: a repeated question gets
//! the same answer, an overtaken one changes nothing. Before a borrower asks for less, it has stopped using what it gives
//! back; before it uses more, the answer is on its disk.

mod borrow;
mod borrowed;
mod demand;
mod lend;
mod witness;

use std::time::Duration;

use lictor_licensing::access::ClientInstance;

pub use borrow::Answered;
pub use borrowed::{Asked, Borrowed, Terms, Wish};
pub use demand::{Demand, target};
pub use lend::{Borrowing, LendError, Lent, shown};
pub use witness::Witness;

/// Identifies a block: random, made by the borrower. At the lender it is the request id of the block's session.
pub type BlockId = [u8; 16];

/// Most seats of one block.
pub const MAX_BLOCK_SEATS: u32 = 10_000;
/// Most blocks that one server borrows.
pub const MAX_BLOCKS: usize = 1_024;
/// What a lender waits longer and a borrower stops earlier: a tenth.
const MARGIN: u32 = 10;

/// What a borrower asks. Sent again unchanged until it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The block.
    pub block: BlockId,
    /// Number of the question, from 1.
    pub number: u64,
    /// Seats that the block shall have; 0 gives it back.
    pub seats: u32,
    /// How many of them are in use or waited for.
    pub needed: u32,
    /// What they are for.
    pub wish: Wish,
}

/// For how long the lender counts seats as taken after its last answer.
#[must_use]
pub fn lent_for(time_to_live: Duration) -> Duration {
    time_to_live + time_to_live / MARGIN
}

/// For how long the borrower may count on them after it asked.
#[must_use]
pub fn usable_for(time_to_live: Duration) -> Duration {
    time_to_live - time_to_live / MARGIN
}

/// The holder of a block's seats: every block its own, also those of one borrower.
#[must_use]
pub fn holder(block: &BlockId) -> ClientInstance {
    ClientInstance(u128::from_be_bytes(*block))
}
