//! The facts that license-central announces, as rows for the outbox.
//!
//! An order's events are numbered 1 (order) and 2 (ticket); a license's event number is the license's version.

use lictor_api::{convert::timestamp, event::v1 as wire, event::v1::event::Data};
use lictor_clock::Timestamp;
use lictor_licensing::{
    FirmCode,
    id::{EventId, LicenseId},
};
use lictor_storage::outbox::NewEvent;
use prost::Message;

use crate::{
    domain::{
        license::{License, LicenseState},
        transfer::Transfer,
    },
    present,
    store::{OrderRow, TicketRow},
};

/// Name of this service in `source`.
pub const SOURCE: &str = "license-central";

/// When and in which trace something happened.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The time of the change.
    pub now: Timestamp,
    /// W3C traceparent of the call, if it is traced.
    pub traceparent: Option<String>,
}

impl Moment {
    /// This call's moment.
    #[must_use]
    pub fn of_call(now: Timestamp) -> Self {
        Self { now, traceparent: lictor_telemetry::current_traceparent() }
    }

    fn event(&self, id: EventId, subject: &str, number: u64, firm: FirmCode, data: Data) -> NewEvent {
        let kind = lictor_broker::event_type(&data);
        let event = wire::Event {
            id: id.to_string(),
            r#type: kind.to_owned(),
            source: SOURCE.to_owned(),
            subject: subject.to_owned(),
            aggregate_sequence: number,
            // Given after the commit; readers of the outbox fill it in.
            sequence: 0,
            time: Some(timestamp(self.now)),
            traceparent: self.traceparent.clone().unwrap_or_default(),
            firm_code: firm.get(),
            data: Some(data),
        };
        NewEvent {
            id: event.id.clone(),
            kind: kind.to_owned(),
            aggregate: subject.to_owned(),
            aggregate_sequence: number,
            payload: event.encode_to_vec(),
            traceparent: self.traceparent.clone(),
            occurred_at: self.now,
        }
    }

    /// `order.created`, `ticket.created`, and one `license.created` per license; `ids` has one id for each.
    #[must_use]
    pub fn order_made(&self, order: &OrderRow, ticket: &TicketRow, ids: &[EventId]) -> Vec<NewEvent> {
        let subject = order.id.to_string();
        let lines = ticket
            .licenses
            .iter()
            .map(|license| wire::order_created::OrderLine {
                item: license.item.clone(),
                quantity: license.quantity,
                license_ids: vec![license.id.to_string()],
            })
            .collect();
        let order_created = Data::OrderCreated(wire::OrderCreated {
            order_id: subject.clone(),
            customer: order.customer.clone(),
            lines,
            reference: order.reference.clone(),
        });
        let ticket_created = Data::TicketCreated(wire::TicketCreated {
            ticket_id: ticket.id.to_string(),
            ticket: ticket.masked.clone(),
            order_id: subject.clone(),
        });
        let of_licenses = ticket.licenses.iter().map(|license| {
            let data = Data::LicenseCreated(wire::LicenseCreated { license: Some(present::license(license)) });
            (license.id.to_string(), license.version, data)
        });
        [(subject.clone(), 1, order_created), (subject, 2, ticket_created)]
            .into_iter()
            .chain(of_licenses)
            .zip(ids)
            .map(|((subject, number, data), id)| self.event(*id, &subject, number, order.firm, data))
            .collect()
    }

    /// `license.changed`; the license's version must already be the new one.
    #[must_use]
    pub fn license_changed(&self, license: &License, previous: LicenseState, id: EventId) -> NewEvent {
        let data = Data::LicenseChanged(wire::LicenseChanged {
            license: Some(present::license(license)),
            previous: present::state(previous).into(),
        });
        self.event(id, &license.id.to_string(), license.version, license.firm, data)
    }

    /// `license.withdrawn`; the license's version must already be the new one.
    #[must_use]
    pub fn license_withdrawn(&self, license: &License, id: EventId) -> NewEvent {
        let data = Data::LicenseWithdrawn(wire::LicenseWithdrawn {
            license: Some(present::license(license)),
            pending_in_container: license.state() != LicenseState::Withdrawn,
        });
        self.event(id, &license.id.to_string(), license.version, license.firm, data)
    }

    /// `license.expiring`: `days_ahead` of its end are reached; the license's version must already be the new one.
    #[must_use]
    pub fn license_expiring(&self, license: &License, ends_at: Timestamp, days_ahead: u16, id: EventId) -> NewEvent {
        let data = Data::LicenseExpiring(wire::LicenseExpiring {
            license: Some(present::license(license)),
            expires_at: Some(timestamp(ends_at)),
            days_ahead: u32::from(days_ahead),
        });
        self.event(id, &license.id.to_string(), license.version, license.firm, data)
    }

    /// `license.expired`; the license's version must already be the new one.
    #[must_use]
    pub fn license_expired(&self, license: &License, ended_at: Timestamp, id: EventId) -> NewEvent {
        let data = Data::LicenseExpired(wire::LicenseExpired {
            license: Some(present::license(license)),
            expired_at: Some(timestamp(ended_at)),
        });
        self.event(id, &license.id.to_string(), license.version, license.firm, data)
    }

    /// `license.renewed`: an update that moves its technical end was issued; the license's version must already be the
    /// new one.
    #[must_use]
    pub fn license_renewed(&self, license: &License, ends_at: Timestamp, id: EventId) -> NewEvent {
        let data = Data::LicenseRenewed(wire::LicenseRenewed {
            license: Some(present::license(license)),
            expires_at: Some(timestamp(ends_at)),
        });
        self.event(id, &license.id.to_string(), license.version, license.firm, data)
    }

    /// `license.merged`: its days went to `into`, which ends at `ends_at`; the license's version must already be the new
    /// one.
    #[must_use]
    pub fn license_merged(&self, license: &License, into: LicenseId, ends_at: Timestamp, id: EventId) -> NewEvent {
        let data = Data::LicenseMerged(wire::LicenseMerged {
            license: Some(present::license(license)),
            into_license_id: into.to_string(),
            expires_at: Some(timestamp(ends_at)),
        });
        self.event(id, &license.id.to_string(), license.version, license.firm, data)
    }

    /// `transfer.changed`; the license's version must already be the new one.
    #[must_use]
    pub fn transfer_changed(&self, license: &License, transfer: &Transfer, id: EventId) -> NewEvent {
        let data = Data::TransferChanged(wire::TransferChanged {
            transfer_id: transfer.id.to_string(),
            license_id: transfer.license.to_string(),
            quantity: transfer.quantity,
            from_serial: transfer.from_serial.clone(),
            to_serial: transfer.to_serial.clone(),
            state: transfer.state.name().to_owned(),
            lend_until: transfer.lend_until.map(timestamp),
        });
        self.event(id, &license.id.to_string(), license.version, license.firm, data)
    }

    /// `container.assigned`; `version` counts how often the container was assigned.
    #[must_use]
    pub fn container_assigned(
        &self,
        firm: FirmCode,
        serial: &str,
        customer: &str,
        version: u64,
        id: EventId,
    ) -> NewEvent {
        let data = Data::ContainerAssigned(wire::ContainerAssigned {
            serial: serial.to_owned(),
            customer: customer.to_owned(),
        });
        self.event(id, &format!("{serial}/{firm}"), version, firm, data)
    }
}
