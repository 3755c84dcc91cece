//! Which licenses of a ticket an activation gets.

use std::collections::{BTreeSet, HashMap};

use lictor_clock::Timestamp;
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::{ActivationId, LicenseId},
};

use super::{
    allocation::AllocationState,
    license::{License, LicenseState},
    reservation::ReservationState,
};

/// Most licenses that one activation takes.
pub const MAX_LICENSES: usize = 100;

/// What is known of a reservation that holds a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Where it stands.
    pub state: ReservationState,
    /// Its time limit.
    pub until: Timestamp,
}

/// What an activation gets.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Choice {
    /// Places of the licenses that it takes, in their order.
    pub licenses: Vec<usize>,
    /// Reservations whose time is over and that give way.
    pub lapsed: BTreeSet<ActivationId>,
}

enum Standing {
    Free(Option<ActivationId>),
    Reserved,
    Taken(LicenseState),
}

/// Chooses among all licenses of a ticket; `wanted` empty means all that are free. `holders` knows the reservations of
/// reserved allocations.
///
/// # Errors
/// A [`Problem`] when a wanted license is not on the ticket or not free, or nothing is free.
pub fn choose(
    licenses: &[License],
    holders: &HashMap<ActivationId, Holder>,
    wanted: &[LicenseId],
    now: Timestamp,
) -> Result<Choice, Problem> {
    if let Some(foreign) = wanted.iter().find(|id| licenses.iter().all(|license| license.id != **id)) {
        return Err(Problem::new(
            ErrorCode::NotFound,
            format!("the ticket has no license {foreign}"),
            "ask what is on the ticket",
        ));
    }
    let mut choice = Choice::default();
    let mut blocked = Vec::new();
    for (place, license) in licenses.iter().enumerate() {
        if !wanted.is_empty() && !wanted.contains(&license.id) {
            continue;
        }
        match standing(license, holders, now) {
            Standing::Free(lapsed) => {
                choice.licenses.push(place);
                choice.lapsed.extend(lapsed);
            }
            other => blocked.push((license.id, other)),
        }
    }
    match blocked.first() {
        Some((id, standing)) if !wanted.is_empty() => Err(not_free(&format!("the license {id}"), standing)),
        Some((_, standing)) if choice.licenses.is_empty() => {
            // One that may become free again is the better news.
            let best = blocked.iter().map(|(_, standing)| standing).find(|other| matches!(other, Standing::Reserved));
            Err(not_free("every license of this ticket", best.unwrap_or(standing)))
        }
        None if choice.licenses.is_empty() => {
            Err(Problem::new(ErrorCode::WrongState, "nothing lies on this ticket", "ask the vendor"))
        }
        _ if choice.licenses.len() > MAX_LICENSES => Err(Problem::new(
            ErrorCode::LimitExceeded,
            format!("one activation takes at most {MAX_LICENSES} licenses"),
            "name the licenses and activate in several steps",
        )),
        _ => Ok(choice),
    }
}

fn standing(license: &License, holders: &HashMap<ActivationId, Holder>, now: Timestamp) -> Standing {
    let state = license.state();
    if state != LicenseState::Available {
        return Standing::Taken(state);
    }
    let reserved = license.allocations.iter().find(|allocation| allocation.state == AllocationState::Reserved);
    match reserved.map(|allocation| (allocation.activation, holders.get(&allocation.activation))) {
        None => Standing::Free(None),
        Some((activation, Some(holder))) if holder.state.has_lapsed(holder.until, now) => {
            Standing::Free(Some(activation))
        }
        Some(_) => Standing::Reserved,
    }
}

fn not_free(what: &str, standing: &Standing) -> Problem {
    match standing {
        Standing::Reserved | Standing::Free(_) => Problem::new(
            ErrorCode::Conflict,
            format!("{what} is being activated by somebody else right now"),
            "try again in a few minutes",
        ),
        Standing::Taken(LicenseState::Withdrawn) => {
            Problem::new(ErrorCode::WrongState, format!("{what} was withdrawn by the vendor"), "ask the vendor")
        }
        Standing::Taken(LicenseState::Returning) => Problem::new(
            ErrorCode::WrongState,
            format!("{what} is being taken back from its container"),
            "wait until that container has taken its next update",
        ),
        Standing::Taken(_) => Problem::new(
            ErrorCode::WrongState,
            format!("{what} is in a container already"),
            "use another ticket, or fetch the pending update of that container",
        ),
    }
}

#[cfg(test)]
mod tests {
    use lictor_licensing::{
        FirmCode, ProductCode,
        id::{AllocationId, CustomerId, OrderId, TicketId},
    };

    use super::*;
    use crate::domain::license::Allocation;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn activation(number: u8) -> ActivationId {
        ActivationId::new(NOW, [number; 10])
    }

    fn license(number: u8, held: Option<(u8, AllocationState)>) -> License {
        let id = LicenseId::new(NOW, [number; 10]);
        let allocations = held.map(|(by, state)| Allocation {
            id: AllocationId::new(NOW, [number; 10]),
            license: id,
            activation: activation(by),
            withdrawn_by: None,
            container: "c".to_owned(),
            serial: "130-1".to_owned(),
            quantity: 1,
            state,
        });
        License {
            id,
            firm: FirmCode::new(6).expect("a firm"),
            ticket: TicketId::new(NOW, [0; 10]),
            ticket_masked: String::new(),
            order: OrderId::new(NOW, [0; 10]),
            customer: CustomerId::new(NOW, [0; 10]),
            customer_name: "c".to_owned(),
            item: "truck".to_owned(),
            item_id: "itm".to_owned(),
            item_version: 1,
            product_code: ProductCode(1),
            line: u32::from(number),
            quantity: 1,
            expires_at: None,
            withdrawn_at: None,
            version: 1,
            created_at: NOW,
            allocations: allocations.into_iter().collect(),
        }
    }

    fn holders(state: ReservationState, until: i64) -> HashMap<ActivationId, Holder> {
        HashMap::from([(activation(9), Holder { state, until: Timestamp::from_micros(until) })])
    }

    #[test]
    fn all_free_ones_are_taken_when_none_is_named() {
        let licenses = [license(1, None), license(2, Some((9, AllocationState::Confirmed))), license(3, None)];
        let choice = choose(&licenses, &HashMap::new(), &[], NOW).expect("two are free");
        assert_eq!(choice.licenses, [0, 2]);
    }

    #[test]
    fn a_named_license_that_is_not_free_is_refused() {
        let licenses = [license(1, None), license(2, Some((9, AllocationState::Collected)))];
        let problem = choose(&licenses, &HashMap::new(), &[licenses[1].id], NOW).expect_err("taken");
        assert_eq!(problem.code, ErrorCode::WrongState);
        let foreign = LicenseId::new(NOW, [77; 10]);
        assert_eq!(choose(&licenses, &HashMap::new(), &[foreign], NOW).expect_err("foreign").code, ErrorCode::NotFound);
    }

    #[test]
    fn a_reserved_license_is_a_conflict_until_its_time_is_over() {
        let licenses = [license(1, Some((9, AllocationState::Reserved)))];
        let running = holders(ReservationState::Reserved, 1_000_001);
        assert_eq!(choose(&licenses, &running, &[], NOW).expect_err("reserved").code, ErrorCode::Conflict);
        let over = holders(ReservationState::Reserved, 1_000_000);
        let choice = choose(&licenses, &over, &[], NOW).expect("lapsed");
        assert_eq!((choice.licenses, choice.lapsed.len()), (vec![0], 1));
        let kept = holders(ReservationState::Kept, 0);
        assert_eq!(choose(&licenses, &kept, &[], NOW).expect_err("kept").code, ErrorCode::Conflict);
    }

    #[test]
    fn a_spent_ticket_and_a_withdrawn_one_say_so() {
        let spent = [license(1, Some((9, AllocationState::Confirmed)))];
        let problem = choose(&spent, &HashMap::new(), &[], NOW).expect_err("spent");
        assert!(problem.message.contains("in a container already"), "{problem}");
        let mut withdrawn = license(1, None);
        withdrawn.withdrawn_at = Some(NOW);
        let problem = choose(&[withdrawn], &HashMap::new(), &[], NOW).expect_err("withdrawn");
        assert!(problem.message.contains("withdrawn"), "{problem}");
    }

    #[test]
    fn an_empty_ticket_gives_nothing() {
        assert_eq!(choose(&[], &HashMap::new(), &[], NOW).expect_err("empty").code, ErrorCode::WrongState);
    }
}
