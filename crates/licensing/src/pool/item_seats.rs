//! All pools of one product item: the parent's, and one for each module that sets its own quantity.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;

use super::{Access, Granted, Pool, PoolRefusal};
use crate::access::{AccessId, ClientInstance, Request};
use crate::effective::EffectiveEntry;
use crate::item::Part;

/// The seats of a product item with its modules.
#[derive(Clone, Debug, Default)]
pub struct ItemSeats {
    parent: Pool,
    modules: BTreeMap<Part, Pool>,
}

impl ItemSeats {
    /// Empty pools for the entries of one item, as [`EffectiveEntry::all_of`] gives them.
    #[must_use]
    pub fn new(entries: &[EffectiveEntry]) -> Self {
        let mut seats = Self::default();
        for entry in entries.iter().filter(|entry| entry.places().pool == entry.part()) {
            let pool = Pool::new(entry.options().license_quantity.map(|quantity| quantity.count()));
            match entry.part() {
                Part::Parent => seats.parent = pool,
                module @ Part::Module(_) => {
                    seats.modules.insert(module, pool);
                }
            }
        }
        seats
    }

    /// The same holders in the pools of a changed item. `moved` says which part of the new item a part of the old one
    /// became; accesses to parts that are gone are left out. Lingering seats are let go.
    #[must_use]
    pub fn reshaped(&self, entries: &[EffectiveEntry], moved: impl Fn(Part) -> Option<Part>) -> Self {
        let mut seats = Self::new(entries);
        for (id, access, since) in self.pools().flat_map(Pool::accesses) {
            let Some(part) = moved(access.part) else {
                continue;
            };
            if let Some(entry) = entries.iter().find(|entry| entry.part() == part) {
                let access = Access { part, ..access.clone() };
                seats.pool_mut(entry.places().pool).restore(id, access, since);
            }
        }
        seats
    }

    /// The pool that lives on a part; the parent's when the part has none of its own.
    #[must_use]
    pub fn pool(&self, part: Part) -> &Pool {
        self.modules.get(&part).unwrap_or(&self.parent)
    }

    /// The pool that lives on a part, to be changed.
    pub fn pool_mut(&mut self, part: Part) -> &mut Pool {
        self.modules.get_mut(&part).unwrap_or(&mut self.parent)
    }

    /// Every pool, the parent's first.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        std::iter::once(&self.parent).chain(self.modules.values())
    }

    /// Lets lingering seats go whose time has come; call it before deciding.
    pub fn advance(&mut self, now: Timestamp) {
        self.parent.advance(now);
        self.modules.values_mut().for_each(|pool| pool.advance(now));
    }

    /// Whether a client holds the product item itself now.
    #[must_use]
    pub fn holds_parent(&self, client: ClientInstance) -> bool {
        self.parent.holds(client, Part::Parent)
    }

    /// Says what a request would bring on an entry, and changes nothing.
    ///
    /// # Errors
    /// [`PoolRefusal`] when the pool would refuse.
    pub fn plan(&self, entry: &EffectiveEntry, request: &Request) -> Result<Granted, PoolRefusal> {
        self.pool(entry.places().pool).plan(request.access, &access(entry, request))
    }

    /// Takes the seats that a request wants of an entry.
    ///
    /// # Errors
    /// [`PoolRefusal`]; nothing is changed then.
    pub fn acquire(
        &mut self,
        entry: &EffectiveEntry,
        request: &Request,
        now: Timestamp,
    ) -> Result<Granted, PoolRefusal> {
        self.pool_mut(entry.places().pool).acquire(request.access, access(entry, request), now)
    }

    /// Gives an access back, wherever it is held. False when it was not held.
    pub fn release(&mut self, id: AccessId, now: Timestamp) -> bool {
        self.parent.release(id, now) || self.modules.values_mut().any(|pool| pool.release(id, now))
    }
}

/// The access that a request makes to an entry.
fn access(entry: &EffectiveEntry, request: &Request) -> Access {
    Access {
        part: entry.part(),
        client: request.client,
        station: request.station.clone(),
        mode: request.mode,
        seats: request.seats,
        linger: entry.options().linger_time.map(|linger| linger.get()).unwrap_or_default(),
    }
}
