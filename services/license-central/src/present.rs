//! How the service's nouns look on the wire, in answers and in events alike.

use lictor_api::{convert::timestamp, types::v1 as wire};

use crate::domain::license::{Allocation, License, LicenseState};

/// A license with the allocations that containers may hold.
#[must_use]
pub fn license(license: &License) -> wire::License {
    wire::License {
        license_id: license.id.to_string(),
        firm_code: license.firm.get(),
        ticket: license.ticket_masked.clone(),
        item: license.item.clone(),
        product_code: license.product_code.get(),
        quantity: license.quantity,
        state: state(license.state()).into(),
        allocations: license
            .allocations
            .iter()
            .filter(|allocation| allocation.state.may_be_in_container())
            .map(allocation)
            .collect(),
        expires_at: license.expires_at.map(timestamp),
        order_id: license.order.to_string(),
        customer: license.customer_name.clone(),
        created_at: Some(timestamp(license.created_at)),
        ..wire::License::default()
    }
}

fn allocation(allocation: &Allocation) -> wire::Allocation {
    wire::Allocation {
        allocation_id: allocation.id.to_string(),
        serial: allocation.serial.clone(),
        quantity: allocation.quantity,
        state: state(LicenseState::of(false, [allocation.state])).into(),
        container_id: allocation.container.clone(),
        ..wire::Allocation::default()
    }
}

/// A state of a license.
#[must_use]
pub const fn state(state: LicenseState) -> wire::LicenseState {
    match state {
        LicenseState::Available => wire::LicenseState::Available,
        LicenseState::Collected => wire::LicenseState::Collected,
        LicenseState::Confirmed => wire::LicenseState::Confirmed,
        LicenseState::Returning => wire::LicenseState::Returning,
        LicenseState::Withdrawn => wire::LicenseState::Withdrawn,
    }
}

/// The state that a filter names; nothing for "any".
#[must_use]
pub const fn state_of_wire(state: wire::LicenseState) -> Option<LicenseState> {
    match state {
        wire::LicenseState::Unspecified | wire::LicenseState::Merged => None,
        wire::LicenseState::Available => Some(LicenseState::Available),
        wire::LicenseState::Collected => Some(LicenseState::Collected),
        wire::LicenseState::Confirmed => Some(LicenseState::Confirmed),
        wire::LicenseState::Returning => Some(LicenseState::Returning),
        wire::LicenseState::Withdrawn => Some(LicenseState::Withdrawn),
    }
}
