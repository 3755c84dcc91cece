//! How large a block should be.

/// What a server knows about the demand for one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Seats in use.
    pub used: u32,
    /// Most seats in use lately.
    pub peak: u32,
    /// Seats that somebody waits for.
    pub waiting: u32,
}

/// Smallest block that is worth a question.
const SMALLEST: u32 = 4;

/// Seats that a block of `size` should have. It doubles while it is full, so that any size is reached in few questions, and
/// falls to a quarter above its peak when much of it was idle; in between it stays, so that no question is wasted.
#[must_use]
pub fn target(size: u32, demand: Demand) -> u32 {
    let needed = demand.used.saturating_add(demand.waiting);
    if needed == 0 && demand.peak == 0 {
        return 0;
    }
    if needed >= size {
        return needed.saturating_add(size.max(SMALLEST) / 2).max(size.saturating_mul(2)).max(SMALLEST);
    }
    let enough = demand.peak.max(needed).saturating_add(demand.peak / 4).max(SMALLEST);
    if enough < size / 2 { enough } else { size }
}
