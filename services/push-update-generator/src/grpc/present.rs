//! From the domain's types to the wire.

use lictor_api::{convert, types::v1 as types, update::v1 as wire};
use lictor_license_file::{FileError, state::VendorState};
use lictor_licensing::{EffectiveEntry, OptionKind, ProductItem, Source, id::LicenseId, item::Part};

use crate::{domain::container::Chain, store::segment::SegmentLine};

/// Options that answers never show: data of programs and customers, and secrets.
const HIDDEN: [OptionKind; 5] = [
    OptionKind::UserData,
    OptionKind::CustomerInfo,
    OptionKind::ProtectedData,
    OptionKind::HiddenData,
    OptionKind::SecretData,
];

pub(crate) fn container(chain: &Chain) -> wire::Container {
    wire::Container {
        serial: chain.identity.serial.clone(),
        container_id: chain.identity.key.container.to_string(),
        firm_code: chain.identity.key.firm.get(),
        kind: types::ContainerKind::from(chain.identity.profile.kind).into(),
        epoch: chain.epoch,
        confirmed: chain.confirmed,
        latest: chain.issued,
        suspicion: chain.suspicions.iter().map(|suspicion| suspicion.name().to_owned()).collect(),
        first_seen_at: Some(convert::timestamp(chain.first_seen_at)),
        last_contact_at: Some(convert::timestamp(chain.last_contact_at)),
        virtual_machine: chain.identity.profile.virtual_machine,
        blocked: chain.blocked.is_some(),
    }
}

pub(crate) fn segment(line: SegmentLine) -> wire::Segment {
    wire::Segment {
        from: line.from,
        to: line.to,
        issued_at: line.issued_at.map(convert::timestamp),
        confirmed_at: line.confirmed_at.map(convert::timestamp),
        summary: line.summary,
        reference: line.reference,
    }
}

/// What the container will hold, every product item followed by its modules.
pub(crate) fn entries(state: &VendorState) -> Result<Vec<types::Entry>, FileError> {
    let mut entries = Vec::new();
    for (license, entry) in &state.entries {
        let item = entry.product_item()?;
        // The document gives each option the words that people wrote it with.
        let document = serde_json::to_value(&item).unwrap_or_default();
        for effective in EffectiveEntry::all_of(&item) {
            entries.push(one(*license, &item, &effective, &document));
        }
    }
    Ok(entries)
}

fn one(license: LicenseId, item: &ProductItem, entry: &EffectiveEntry, document: &serde_json::Value) -> types::Entry {
    let seats = entry.options().license_quantity.map(|quantity| quantity.count());
    types::Entry {
        product_code: entry.product_code().get(),
        feature_map: entry.feature_map().bits(),
        text: entry.options().text.as_ref().map(ToString::to_string).unwrap_or_default(),
        quantity: seats.unwrap_or(0),
        // Who uses seats is known by the license server alone.
        free: seats.unwrap_or(0),
        counted: seats.is_some(),
        module_of: (entry.part() != Part::Parent).then(|| item.product_code().get()),
        effective: options(entry, document),
        license_id: license.to_string(),
        units_left: None,
    }
}

fn options(entry: &EffectiveEntry, document: &serde_json::Value) -> Vec<types::EffectiveOption> {
    let own = match entry.part() {
        Part::Parent => document,
        Part::Module(place) => &document["modules"][usize::from(place)],
    };
    let shown = OptionKind::ALL.iter().filter(|kind| !HIDDEN.contains(kind));
    shown
        .filter_map(|kind| {
            let (place, source) = match entry.source(*kind)? {
                Source::Own => (own, "own"),
                Source::Parent => (document, "parent"),
            };
            let value = match &place[kind.name()] {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Some(types::EffectiveOption { name: kind.name().to_owned(), value, source: source.to_owned() })
        })
        .collect()
}
