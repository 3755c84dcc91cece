//! The state as messages show it.

use lictor_api::convert::timestamp;
use lictor_api::server::v1 as wire;
use lictor_api::types::v1 as types;
use lictor_licensing::binding::ContainerKind;
use lictor_licensing::decide::check_validity;
use lictor_licensing::effective::{EffectiveEntry, Source};
use lictor_licensing::id::LicenseId;
use lictor_licensing::item::Part;
use lictor_licensing::options::OptionKind;
use lictor_licensing::refusal::{Reason, Refusal, RefusalLine};

use crate::domain::ask::Moment;
use crate::domain::firm::License;
use crate::domain::keeper::Keeper;
use crate::domain::session::Session;
use crate::domain::state::State;

/// All containers with their entries.
pub(super) fn containers(state: &State, container_id: &str, kind: ContainerKind) -> Vec<wire::ServerContainer> {
    let Some(container) = &state.container else { return Vec::new() };
    let firms = state.firms.values().map(|firm| wire::FirmEntries {
        firm_code: firm.code().get(),
        counter: firm.vendor.counter,
        entries: firm
            .licenses
            .iter()
            .flat_map(|(id, license)| license.entries.iter().map(|part| entry(*id, license, part)))
            .collect(),
    });
    vec![wire::ServerContainer {
        serial: container.serial.clone(),
        container_id: container_id.to_owned(),
        kind: types::ContainerKind::from(kind).into(),
        firms: firms.collect(),
    }]
}

/// One entry, effective values with their sources.
pub(super) fn entry(id: LicenseId, license: &License, part: &EffectiveEntry) -> types::Entry {
    let options = part.options();
    let pool = license.seats.pool(part.places().pool);
    types::Entry {
        product_code: part.product_code().get(),
        feature_map: part.feature_map().bits(),
        text: options.text.as_ref().map(|text| text.as_str().to_owned()).unwrap_or_default(),
        quantity: options.license_quantity.map_or(0, |quantity| quantity.count()),
        free: pool.free().unwrap_or(0),
        counted: options.license_quantity.is_some(),
        module_of: (part.part() != Part::Parent).then(|| part.parent_code().get()),
        effective: effective(license, part),
        license_id: id.to_string(),
        units_left: license.units_left(part),
    }
}

/// The options that count, by name, without those whose values are nobody's business.
fn effective(license: &License, part: &EffectiveEntry) -> Vec<types::EffectiveOption> {
    // An applied update rules both failures out; a list without options is better than none.
    let item = license.source.product_item().ok().and_then(|item| serde_json::to_value(item).ok()).unwrap_or_default();
    let own = match part.part() {
        Part::Parent => Some(&item),
        Part::Module(place) => item.get("modules").and_then(|modules| modules.get(usize::from(place))),
    };
    let shown = OptionKind::ALL.iter().filter(|kind| !matches!(kind, OptionKind::HiddenData | OptionKind::SecretData));
    shown
        .filter_map(|kind| {
            let (source, values) = match part.source(*kind)? {
                Source::Own => ("own", own?),
                Source::Parent => ("parent", &item),
            };
            let value = match values.get(kind.name())? {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Some(types::EffectiveOption { name: kind.name().to_owned(), value, source: source.to_owned() })
        })
        .collect()
}

/// All live sessions, the oldest first.
pub(super) fn sessions(keeper: &Keeper) -> Vec<wire::Session> {
    let mut sessions: Vec<_> = keeper.state.sessions.values().collect();
    sessions.sort_by_key(|session| session.id);
    sessions.into_iter().map(|one| session(keeper, one)).collect()
}

/// One session.
pub(super) fn session(keeper: &Keeper, session: &Session) -> wire::Session {
    let lender = keeper.state.block(session.license).and_then(|block| block.terms.as_ref());
    let own = || keeper.state.container.as_ref().map(|container| container.serial.clone()).unwrap_or_default();
    let serial = lender.map_or_else(own, |terms| terms.serial.clone());
    wire::Session {
        session_id: session.id.to_string(),
        serial,
        firm_code: session.firm_code.get(),
        product_code: session.product_code.get(),
        client: session.names.to_string(),
        station: session.station.to_string(),
        since: Some(timestamp(session.since)),
        mode: mode(session.mode).into(),
        units: session.units(),
        state: if keeper.is_held(session.id) { "held" } else { "reserved" }.to_owned(),
        container: keeper.container(session.id).map(|container| wire::PeerContainer {
            id: container.id.clone(),
            name: container.name.clone(),
            image: container.image.clone(),
        }),
    }
}

fn mode(mode: lictor_licensing::access::AccessMode) -> wire::AccessMode {
    use lictor_licensing::access::AccessMode;
    match mode {
        AccessMode::UserLimit => wire::AccessMode::UserLimit,
        AccessMode::StationShare => wire::AccessMode::StationShare,
        AccessMode::Exclusive => wire::AccessMode::Exclusive,
        AccessMode::NoUserLimit => wire::AccessMode::NoUserLimit,
    }
}

/// A refusal with all its lines.
pub(super) fn refusal(refusal: &Refusal) -> types::Refusal {
    types::Refusal { reasons: refusal.lines().iter().map(reason).collect() }
}

/// A refusal with what other servers said after it.
pub(super) fn refusal_beside(own: &Refusal, beyond: Vec<types::RefusalReason>) -> types::Refusal {
    // That there is nothing here is no news when another server says more.
    let alone = beyond.is_empty();
    let lines = own.lines().iter().filter(|line| alone || line.reason != Reason::EntryNotFound);
    types::Refusal { reasons: lines.map(reason).chain(beyond).collect() }
}

/// One line of a refusal.
pub(super) fn reason(line: &RefusalLine) -> types::RefusalReason {
    types::RefusalReason {
        serial: line.serial.clone().unwrap_or_default(),
        product_code: line.product_code.get(),
        code: u32::from(line.reason.code()),
        reason: line.reason.to_string(),
        holders: line
            .holders
            .iter()
            .map(|holder| {
                format!("{} ({}, {} seats, since {})", holder.station, holder.mode, holder.seats, holder.since)
            })
            .collect(),
        free_at: line.free_at.map(timestamp),
        instead: line.instead.clone().unwrap_or_default(),
        server: String::new(),
    }
}

/// The chains by which programs check the lease key, one for each firm that has certified it.
pub(super) fn lease_chains(state: &State) -> Vec<wire::LeaseChain> {
    let firms = state.firms.values();
    firms
        .filter_map(|firm| {
            Some(wire::LeaseChain {
                firm_code: firm.code().get(),
                root_documents: firm.roots.clone(),
                lease_certificate: firm.vendor.lease_certificate.clone()?,
                delegation: Vec::new(),
            })
        })
        .collect()
}

/// Whether some licence could be handed out now, to somebody who asks in the right way; else why none.
///
/// # Errors
/// A phrase for `/ready`.
pub(crate) fn could_grant(state: &State, moment: Moment) -> Result<(), String> {
    let now = state.effective(moment);
    if state.container.is_none() {
        return Err("there is no container yet: create one with a vendor's licence information file".to_owned());
    }
    let mut why = None;
    for firm in state.firms.values() {
        for license in firm.licenses.values() {
            for entry in &license.entries {
                if !entry.is_enabled() {
                    why.get_or_insert_with(|| "every licence is disabled".to_owned());
                    continue;
                }
                if firm.vendor.lease_certificate.is_none() {
                    why.get_or_insert_with(|| format!("firm {} has not certified this server yet", firm.code()));
                    continue;
                }
                match check_validity(entry, &license.state, now) {
                    Ok(()) => return Ok(()),
                    Err(reason) => {
                        why.get_or_insert_with(|| format!("no licence is valid now: {reason}"));
                    }
                }
            }
        }
    }
    Err(why.unwrap_or_else(|| "the container holds no licence yet: import an update".to_owned()))
}
