//! Why a caller would get a seat, or would not: every entry with its verdict, the rules, the queue.

use std::time::Duration;

use lictor_api::server::v1 as wire;

use super::view;
use crate::domain::ask::{Ask, Moment};
use crate::domain::keeper::Keeper;
use crate::domain::rules::{Caller, Effect, Rules, Wish};

/// The whole explanation.
pub(super) fn explained(keeper: &Keeper, ask: &Ask, serial: String, moment: Moment) -> wire::ExplainResponse {
    let entry = |id, place: usize| {
        let license = keeper.state.license(ask.firm_code, id)?;
        Some(view::entry(id, license, license.entries.get(place)?))
    };
    let verdicts = keeper.verdicts(ask, moment).into_iter().map(|verdict| wire::Verdict {
        entry: entry(verdict.found.0, verdict.found.1),
        serves: verdict.refusal.is_none(),
        reason: verdict.refusal.as_ref().map(view::reason),
    });
    let mut response = wire::ExplainResponse {
        verdicts: verdicts.collect(),
        rules: Some(decision(keeper, keeper.rules(), &ask.caller(), ask.wish())),
        ..wire::ExplainResponse::default()
    };
    match keeper.explain(ask, moment) {
        Ok((id, place)) => {
            response.granted = true;
            response.entry = entry(id, place);
            response.serial = serial;
        }
        Err(refusal) => {
            response.refusal = Some(view::refusal(&refusal));
            if let Some(standing) = keeper.would_stand(ask, moment) {
                response.position = u32::try_from(standing.position).unwrap_or(u32::MAX);
                let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                response.estimated_ms = standing.estimate.map(millis);
            }
        }
    }
    response
}

/// What rules say of a caller; how many seats are held under a reservation is as it is now.
pub(super) fn decision(keeper: &Keeper, rules: &Rules, caller: &Caller<'_>, wish: Wish) -> wire::RuleDecision {
    let decision = rules.decide(caller, wish);
    let reservations = rules.reservations(caller, wish).map(|(rule, seats, fits)| wire::RuleReservation {
        rule: rule.to_owned(),
        seats,
        held: keeper.state.reserved(rule),
        fits,
    });
    wire::RuleDecision {
        allowed: decision.effect == Effect::Allow,
        rule: decision.rule.unwrap_or_default(),
        reservations: reservations.collect(),
    }
}
