//! Seats that are kept free.

/// One reservation of a product's seats, and how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Seats that are kept free for those who fit.
    pub seats: u32,
    /// Seats that those who fit hold now.
    pub held: u32,
    /// Whether the one who asks fits.
    pub fits: bool,
}

/// How many of the `free` seats a caller may take beside the reservations of others.
///
/// What one caller fits of several reservations adds up for him; what is held counts against every reservation that its
/// holder fits.
#[must_use]
pub fn room_beside(free: u32, reservations: &[Reservation]) -> u32 {
    let kept = reservations.iter().filter(|one| !one.fits).map(|one| one.seats.saturating_sub(one.held));
    free.saturating_sub(kept.fold(0, u32::saturating_add))
}
