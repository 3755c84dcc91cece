//! Fresh ids and keys: the one place of this service that asks the system for random bytes.

use lictor_clock::Timestamp;
use lictor_licensing::id::{AllocationId, CustomerId, EventId, ItemId, LicenseId, OrderId, TicketId};

/// Random bytes of the operating system.
#[must_use]
pub fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the kernel's random generator works once the system has started");
    bytes
}

/// `count` ids of one kind, all of the moment `now`, in ascending order.
fn many<Id: Ord>(count: usize, now: Timestamp, make: fn(Timestamp, [u8; 10]) -> Id) -> Vec<Id> {
    let mut ids: Vec<Id> = (0..count).map(|_| make(now, random())).collect();
    ids.sort_unstable();
    ids
}

/// The ids that one order needs.
#[derive(Debug, Clone)]
pub struct OrderIds {
    /// The order's.
    pub order: OrderId,
    /// Its ticket's.
    pub ticket: TicketId,
    /// The customer's, if it is new.
    pub customer: CustomerId,
    /// One per line.
    pub licenses: Vec<LicenseId>,
    /// One for the order, one for the ticket, one per license.
    pub events: Vec<EventId>,
}

impl OrderIds {
    /// Ids for an order of `lines` lines.
    #[must_use]
    pub fn fresh(lines: usize, now: Timestamp) -> Self {
        Self {
            order: OrderId::new(now, random()),
            ticket: TicketId::new(now, random()),
            customer: CustomerId::new(now, random()),
            licenses: many(lines, now, LicenseId::new),
            events: events(lines + 2, now),
        }
    }
}

/// Ids for events, in ascending order.
#[must_use]
pub fn events(count: usize, now: Timestamp) -> Vec<EventId> {
    many(count, now, EventId::new)
}

/// An id for an event.
#[must_use]
pub fn event(now: Timestamp) -> EventId {
    EventId::new(now, random())
}

/// An id for an allocation.
#[must_use]
pub fn allocation(now: Timestamp) -> AllocationId {
    AllocationId::new(now, random())
}

/// Ids for items.
#[must_use]
pub fn items(count: usize, now: Timestamp) -> Vec<ItemId> {
    many(count, now, ItemId::new)
}

/// An id for a customer.
#[must_use]
pub fn customer(now: Timestamp) -> CustomerId {
    CustomerId::new(now, random())
}
