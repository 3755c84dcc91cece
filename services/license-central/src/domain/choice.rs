//! Which licenses of a ticket an activation gets, and how many seats of each.

use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::LicenseId,
};

use super::{
    license::{License, LicenseState, Over},
    plan::{MAX_LICENSES, Pick, Sold},
};

/// Seats of a license that an activation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The license.
    pub license: LicenseId,
    /// Its seats; 0 when it is not counted.
    pub seats: u32,
}

/// Why a license gives nothing now.
#[derive(Clone, Copy)]
enum Hindrance {
    Reserved,
    Spent(LicenseState),
    RunOut,
}

/// Chooses among the licenses of a ticket; `picks` empty means all that are free. Plans whose time is over must have given
/// way before.
///
/// # Errors
/// A [`Problem`] when a wanted license is not on the ticket, not free or not free enough, may not be divided, or nothing
/// is free.
pub fn choose<'a>(licenses: impl Iterator<Item = &'a Sold>, picks: &[Pick]) -> Result<Vec<Taken>, Problem> {
    let licenses: Vec<&Sold> = licenses.collect();
    let taken = if picks.is_empty() { whatever_is_free(&licenses)? } else { picked(&licenses, picks)? };
    if taken.len() > MAX_LICENSES {
        return Err(Problem::new(
            ErrorCode::LimitExceeded,
            format!("one activation takes at most {MAX_LICENSES} licenses"),
            "name the licenses and activate in several steps",
        ));
    }
    Ok(taken)
}

fn whatever_is_free(licenses: &[&Sold]) -> Result<Vec<Taken>, Problem> {
    let mut taken = Vec::new();
    let mut hindrances = Vec::new();
    for sold in licenses {
        match free_of(sold) {
            Ok(seats) => taken.push(Taken { license: sold.license.id, seats }),
            Err(hindrance) => hindrances.push(hindrance),
        }
    }
    if !taken.is_empty() {
        return Ok(taken);
    }
    // One that may become free again is the better news.
    let best = hindrances.iter().find(|hindrance| matches!(hindrance, Hindrance::Reserved)).or(hindrances.first());
    Err(best.map_or_else(
        || Problem::new(ErrorCode::WrongState, "nothing lies on this ticket", "ask the vendor"),
        |hindrance| not_free("every license of this ticket", *hindrance),
    ))
}

fn picked(licenses: &[&Sold], picks: &[Pick]) -> Result<Vec<Taken>, Problem> {
    let mut taken: Vec<Taken> = Vec::with_capacity(picks.len());
    for pick in picks {
        let sold = licenses.iter().find(|sold| sold.license.id == pick.license).ok_or_else(|| {
            Problem::new(
                ErrorCode::NotFound,
                format!("the ticket has no license {}", pick.license),
                "ask what is on the ticket",
            )
        })?;
        if taken.iter().any(|one| one.license == pick.license) {
            return Err(Problem::new(
                ErrorCode::InvalidArgument,
                format!("the license {} is named twice", pick.license),
                "name it once, with all its seats",
            ));
        }
        let free = free_of(sold).map_err(|why| not_free(&format!("the license {}", pick.license), why))?;
        let seats = if pick.quantity == 0 { free } else { part_of(sold, pick.quantity, free)? };
        taken.push(Taken { license: pick.license, seats });
    }
    Ok(taken)
}

/// So many seats, out of those that are free.
fn part_of(sold: &Sold, wanted: u32, free: u32) -> Result<u32, Problem> {
    let id = sold.license.id;
    if sold.license.quantity == 0 {
        return Err(Problem::new(
            ErrorCode::InvalidArgument,
            format!("the license {id} is not counted, so no number of seats can be taken of it"),
            "leave the quantity out",
        ));
    }
    if wanted > free {
        return Err(Problem::new(
            ErrorCode::QuantityExhausted,
            format!("the license {id} has {free} free seats, not {wanted}"),
            "take fewer seats, or give some back elsewhere first",
        ));
    }
    if wanted < sold.license.quantity {
        may_be_divided(sold)?;
    }
    Ok(wanted)
}

/// Refuses to divide what must stay whole.
pub(super) fn may_be_divided(sold: &Sold) -> Result<(), Problem> {
    let splittable = sold.item.options().transfer.is_some_and(|rule| rule.splittable);
    if splittable && sold.license.subscription.is_none() {
        return Ok(());
    }
    Err(Problem::new(
        ErrorCode::LicenseForbids,
        format!("the license {} is one piece: its seats cannot be divided", sold.license.id),
        "leave the quantity out, or ask the vendor for a license that may be divided",
    ))
}

/// The seats of a license that are free; 0 when it is not counted. One that must stay whole is free only as a whole.
fn free_of(sold: &Sold) -> Result<u32, Hindrance> {
    let License { quantity, .. } = sold.license;
    let state = sold.license.state();
    if sold.license.over().is_some() {
        return Err(Hindrance::Spent(state));
    }
    if sold.license.remaining.is_some_and(|left| left.is_zero()) {
        return Err(Hindrance::RunOut);
    }
    let free = sold.license.free();
    let whole = free == sold.license.limit();
    if free > 0 && (whole || may_be_divided(sold).is_ok()) {
        return Ok(if quantity == 0 { 0 } else { free });
    }
    // Seats that only a plan holds may come free again.
    if sold.license.available() > 0 && (state == LicenseState::Available || may_be_divided(sold).is_ok()) {
        return Err(Hindrance::Reserved);
    }
    Err(Hindrance::Spent(state))
}

fn not_free(what: &str, hindrance: Hindrance) -> Problem {
    let refused = |text: String, next: &str| Problem::new(ErrorCode::WrongState, text, next);
    match hindrance {
        Hindrance::Reserved => Problem::new(
            ErrorCode::Conflict,
            format!("{what} is being activated by somebody else right now"),
            "try again in a few minutes",
        ),
        Hindrance::RunOut => {
            Problem::new(ErrorCode::LicenseForbids, format!("{what} has run out"), "order another one")
        }
        Hindrance::Spent(LicenseState::Withdrawn) => {
            refused(format!("{what} was withdrawn by the vendor"), "ask the vendor")
        }
        Hindrance::Spent(LicenseState::Merged) => {
            refused(format!("the days of {what} were added to another one"), "use the ticket that was activated last")
        }
        Hindrance::Spent(LicenseState::Returning) => refused(
            format!("{what} is being taken out of its container"),
            "wait until that container has taken its next update",
        ),
        Hindrance::Spent(_) => refused(
            format!("{what} is in a container already"),
            "use another ticket, or fetch the pending update of that container",
        ),
    }
}

/// Whether the days or seats of a license can be asked for at all; for purposes that take out.
///
/// # Errors
/// A [`Problem`] when the vendor took it back, or its days went to another one.
pub(super) fn in_trade(license: &License) -> Result<(), Problem> {
    match license.over() {
        None => Ok(()),
        Some(Over::Withdrawn) => Err(Problem::new(
            ErrorCode::WrongState,
            format!("the license {} was withdrawn by the vendor", license.id),
            "ask the vendor",
        )),
        Some(Over::Merged) => super::subscription::carries(license.id, license.merged_into),
    }
}
