//! How the service's nouns look on the wire, in answers and in events alike.

use lictor_api::{
    central::v1 as central,
    convert::{duration, timestamp},
    types::v1 as wire,
};

use crate::domain::{
    expiry,
    license::{Allocation, License, LicenseState},
    transfer::{Transfer, TransferState},
};

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
        expires_at: expiry::end_as_things_stand(license).map(timestamp),
        order_id: license.order.to_string(),
        customer: license.customer_name.clone(),
        created_at: Some(timestamp(license.created_at)),
        available: license.available(),
        subscription: license.subscription.clone().unwrap_or_default(),
        merged_into: license.merged_into.map(|id| id.to_string()).unwrap_or_default(),
        remaining: license.remaining.map(duration),
        renews: license.policy.renewal.is_some() && license.renewal_cancelled_at.is_none() && license.over().is_none(),
        renewal_cancelled_at: license.renewal_cancelled_at.map(timestamp),
    }
}

fn allocation(allocation: &Allocation) -> wire::Allocation {
    wire::Allocation {
        allocation_id: allocation.id.to_string(),
        serial: allocation.serial.clone(),
        quantity: allocation.quantity,
        state: state(LicenseState::of(None, [allocation.state])).into(),
        container_id: allocation.container.clone(),
        expires_at: allocation.expires_at.map(timestamp),
        lent_until: allocation.loan.as_ref().map(|loan| timestamp(loan.until)),
        // Whoever answers people asks for it; events tell of licenses alone.
        blocked: false,
        lent_by: allocation.loan.as_ref().map(|loan| loan.lender.clone()).unwrap_or_default(),
    }
}

/// A transfer.
#[must_use]
pub fn transfer(transfer: &Transfer) -> central::Transfer {
    central::Transfer {
        transfer_id: transfer.id.to_string(),
        firm_code: transfer.firm.get(),
        license_id: transfer.license.to_string(),
        quantity: transfer.quantity,
        from_serial: transfer.from_serial.clone(),
        to_serial: transfer.to_serial.clone(),
        state: transfer_state(transfer.state).into(),
        lend_until: transfer.lend_until.map(timestamp),
        created_at: Some(timestamp(transfer.created_at)),
        returns_transfer_id: transfer.returns.map(|loan| loan.to_string()).unwrap_or_default(),
    }
}

const fn transfer_state(state: TransferState) -> central::TransferState {
    match state {
        TransferState::Departing => central::TransferState::Departing,
        TransferState::Departed => central::TransferState::Departed,
        TransferState::Arriving => central::TransferState::Arriving,
        TransferState::Arrived => central::TransferState::Arrived,
        TransferState::CalledOff => central::TransferState::CalledOff,
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
        LicenseState::Merged => wire::LicenseState::Merged,
        LicenseState::Lost => wire::LicenseState::Lost,
    }
}

/// The state that a filter names; nothing for "any".
#[must_use]
pub const fn state_of_wire(state: wire::LicenseState) -> Option<LicenseState> {
    match state {
        wire::LicenseState::Unspecified => None,
        wire::LicenseState::Available => Some(LicenseState::Available),
        wire::LicenseState::Collected => Some(LicenseState::Collected),
        wire::LicenseState::Confirmed => Some(LicenseState::Confirmed),
        wire::LicenseState::Returning => Some(LicenseState::Returning),
        wire::LicenseState::Withdrawn => Some(LicenseState::Withdrawn),
        wire::LicenseState::Merged => Some(LicenseState::Merged),
        wire::LicenseState::Lost => Some(LicenseState::Lost),
    }
}
