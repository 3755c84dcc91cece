//! Subscriptions: when a ticket's days begin and end in a container.
//!
//! One subscription per firm, display name and container. A ticket adds its days to the one that runs there, and then the
//! two cannot be separated again; or it starts now, and what expired there is taken out. A gap is not paid for. The last
//! ticket carries the whole: with it the subscription is given back, and its remaining days start again elsewhere.
//!
//! For whoever plans: hold a lock of the container before reading what is present, so that two tickets for one container
//! come one after the other. `present` are the entries of this display name that the container may hold,
//! expired ones too. Leave out those whose taking out was issued already, and refuse (conflict) while another plan puts
//! one in or takes one out without having issued it. The merged license becomes `merged` with the commit; a released plan
//! leaves no trace.

use std::time::Duration;

use lictor_clock::{Timestamp, duration};
use lictor_licensing::{
    FeatureMap, ProductItem,
    error::{ErrorCode, Problem},
    id::LicenseId,
    options::Subscription,
};

/// What has to be equal in two subscriptions for one to extend the other: the features of the product item, and the
/// modules with theirs. Its product code, text and all else may differ, and come from the newer one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Features {
    own: FeatureMap,
    /// Own product code, features and own seats of each module, in no order of theirs.
    modules: Vec<(Option<u32>, FeatureMap, Option<u32>)>,
}

impl Features {
    /// Those of an item.
    #[must_use]
    pub fn of(item: &ProductItem) -> Self {
        let own = item.options().feature_map.unwrap_or_default();
        let mut modules: Vec<_> = item
            .modules()
            .iter()
            .map(|module| {
                let options = &module.options;
                (
                    options.product_code.map(|code| code.get()),
                    options.feature_map.unwrap_or(own),
                    options.license_quantity.map(|quantity| quantity.count()),
                )
            })
            .collect();
        modules.sort_unstable();
        Self { own, modules }
    }
}

/// A ticket of a subscription that goes into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining<'a> {
    /// The license on the ticket.
    pub license: LicenseId,
    /// Its option.
    pub subscription: &'a Subscription,
    /// Its features.
    pub features: Features,
    /// Seats that go in; 0 when it is not counted.
    pub quantity: u32,
    /// What is left of it when it ran before, in another container.
    pub remaining: Option<Duration>,
}

/// A license of the same subscription that lies in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The license.
    pub license: LicenseId,
    /// Its features.
    pub features: Features,
    /// Its seats there; 0 when it is not counted.
    pub quantity: u32,
    /// When it ends; may have passed.
    pub ends_at: Timestamp,
}

/// What becomes of a ticket of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// When the new entry ends.
    pub ends_at: Timestamp,
    /// The license whose remaining days it takes over; its entry comes out in the same segment, for good.
    pub merges: Option<LicenseId>,
    /// Expired entries that come out in the same segment.
    pub leftovers: Vec<LicenseId>,
}

/// Decides what becomes of a ticket of a subscription in a container.
///
/// # Errors
/// A [`Problem`] when what runs there has other features or another quantity, when nothing is left of the ticket's own
/// time, when the license lies there already, or when the end would be beyond the calendar.
pub fn join(new: &Joining<'_>, present: &[Running], now: Timestamp) -> Result<Joined, Problem> {
    let name = new.subscription.display_name();
    if present.iter().any(|entry| entry.license == new.license) {
        return Err(Problem::new(
            ErrorCode::WrongState,
            format!("the subscription {name} of this ticket lies in the container already"),
            "use another ticket to add days",
        ));
    }
    let own = new.remaining.unwrap_or_else(|| duration::days(u64::from(new.subscription.days())));
    if own.is_zero() {
        return Err(Problem::new(
            ErrorCode::LicenseForbids,
            format!("the subscription {name} had run out before it was given back"),
            "order another one",
        ));
    }
    let (running, expired): (Vec<&Running>, Vec<&Running>) = present.iter().partition(|entry| entry.ends_at > now);
    let one = match running.as_slice() {
        [] => None,
        [one] => Some(*one),
        // Nothing makes two of them; whoever finds two must not guess which days count.
        [..] => {
            return Err(Problem::new(
                ErrorCode::Conflict,
                format!("the subscription {name} runs in this container more than once"),
                "withdraw all but one of them",
            ));
        }
    };
    if let Some(other) = one {
        same_kind(new, other)?;
    }
    let ends_at = one.map_or(now, |entry| entry.ends_at).saturating_add(own);
    if ends_at >= Timestamp::MAX {
        return Err(Problem::new(
            ErrorCode::LimitExceeded,
            format!("the subscription {name} would run beyond the year 9999"),
            "use another container",
        ));
    }
    Ok(Joined {
        ends_at,
        merges: one.map(|entry| entry.license),
        leftovers: expired.iter().map(|entry| entry.license).collect(),
    })
}

fn same_kind(new: &Joining<'_>, other: &Running) -> Result<(), Problem> {
    let differs = match (other.features == new.features, other.quantity == new.quantity) {
        (true, true) => return Ok(()),
        (false, _) => "other features".to_owned(),
        (true, false) => format!("{} seats, not {}", other.quantity, new.quantity),
    };
    Err(Problem::new(
        ErrorCode::LicenseForbids,
        format!("the subscription {} runs in this container with {differs}", new.subscription.display_name()),
        "wait until it has ended, or use another container",
    ))
}

/// What is left of a subscription that leaves its container. `proven` is when the container proved that it is gone: until
/// then it could be used, so until then its days pass.
#[must_use]
pub fn remaining(ends_at: Timestamp, proven: Timestamp) -> Duration {
    ends_at.since(proven)
}

/// Whether a subscription may leave its container with this license: only with that of the last activation.
///
/// # Errors
/// A [`Problem`] that names the license which carries the days now.
pub fn carries(license: LicenseId, merged_into: Option<LicenseId>) -> Result<(), Problem> {
    match merged_into {
        None => Ok(()),
        Some(carrier) => Err(Problem::new(
            ErrorCode::WrongState,
            format!("the days of {license} were added to {carrier} and cannot be separated again"),
            "use the ticket that was activated last",
        )),
    }
}

#[cfg(test)]
mod tests;
