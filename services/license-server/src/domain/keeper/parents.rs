//! Modules that need their parent are used only by a client that holds the parent now: when its seat ends, so do theirs.

use std::collections::BTreeSet;

use lictor_licensing::access::ClientInstance;
use lictor_licensing::id::{FirmCode, LicenseId, SessionId};
use lictor_licensing::refusal::Reason;

use super::Keeper;
use crate::domain::ask::Moment;

impl Keeper {
    /// Ends the sessions of a client on modules that need the parent, once it holds no seat of the parent. What there is to
    /// write comes out of [`Keeper::take_unwritten`].
    pub(super) fn end_modules_without_parent(
        &mut self,
        firm: FirmCode,
        license: LicenseId,
        client: ClientInstance,
        moment: Moment,
    ) {
        let Some(found) = self.state.license(firm, license) else { return };
        if found.seats.holds_parent(client) {
            return;
        }
        let mut over = Vec::new();
        for entry in found.entries.iter().filter(|entry| entry.requires_parent()) {
            let pool = found.seats.pool(entry.places().pool);
            // Most clients hold none, and that is known without a search.
            if !pool.holds(client, entry.part()) {
                continue;
            }
            let parent = entry.parent_code();
            let own = pool.accesses().filter(|(_, access, _)| access.client == client && access.part == entry.part());
            over.extend(own.map(|(id, ..)| (SessionId::from_u128(id.0), parent)));
        }
        over.sort_unstable();
        for (id, parent) in over {
            let record = self.end_for(id, moment, Reason::ParentNotHeld { parent });
            self.unwritten.extend(record);
        }
    }

    /// The same for all clients: a crash may have come between the end of a parent and that of its modules.
    pub(super) fn end_all_modules_without_parent(&mut self, moment: Moment) {
        let modules = self.state.sessions.values().filter(|session| {
            let license = self.state.license(session.firm_code, session.license);
            license.and_then(|license| license.entry(session.part)).is_some_and(|entry| entry.requires_parent())
        });
        let clients: BTreeSet<(FirmCode, LicenseId, ClientInstance)> =
            modules.map(|session| (session.firm_code, session.license, session.access().client)).collect();
        for (firm, license, client) in clients {
            self.end_modules_without_parent(firm, license, client, moment);
        }
    }
}
