//! Units of pay-per-use: taken once per request, durable before the answer. What was used stays with the licence: when it
//! is withdrawn and added again under its id, or an import that brought it is taken back, the count begins anew.

use std::collections::{HashMap, VecDeque};

use lictor_licensing::id::{FirmCode, LicenseId, SessionId};
use lictor_licensing::item::Part;
use lictor_licensing::refusal::{Reason, Refusal, RefusalLine};
use lictor_licensing::state::{PartState, UnitError};
use lictor_signing::PublicKey;
use lictor_signing::cbor::{CborError, FieldWriter, Fields, Reader, Writer};

use super::ask::Moment;
use super::keeper::{Keeper, Undo};
use super::record::Record;
use super::session::{RequestId, read_firm, read_license, read_part};
use super::state::State;

/// Requests whose answer is remembered, so that a repeated message takes nothing.
const REMEMBERED: usize = 16_384;

/// A checked wish for units.
#[derive(Clone, Debug)]
pub struct UnitsWish {
    /// The client's name for it.
    pub request_id: RequestId,
    /// On whose entry.
    pub session: SessionId,
    /// How many, at least one.
    pub units: u64,
}

/// Units that were taken: what the journal says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitsTaken {
    /// The client's name for it.
    pub request_id: RequestId,
    /// The public key of the client that took them.
    pub client: [u8; PublicKey::LENGTH],
    /// The session on whose entry it took them.
    pub session: SessionId,
    /// The vendor.
    pub firm: FirmCode,
    /// The licence.
    pub license: LicenseId,
    /// The part of its product item that counts them.
    pub part: Part,
    /// How many.
    pub units: u64,
    /// Used units of the part with these; it only rises, so that a record that is read twice takes nothing twice.
    pub used: u64,
    /// What was left.
    pub left: u64,
}

/// The answer to a wish for units.
#[derive(Debug)]
pub enum UnitsAnswer {
    /// They are taken, now or before under the same name.
    Taken {
        /// What was left right after.
        left: u64,
    },
    /// None are taken.
    Refused(Refusal),
}

/// Why a wish for units has no answer by licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitsError {
    /// The request id came before with another wish.
    RequestIdReused,
    /// The session is not there for this client.
    NoSession,
}

/// What was taken lately, by request.
#[derive(Debug, Default)]
pub struct Takings {
    order: VecDeque<RequestId>,
    known: HashMap<RequestId, UnitsTaken>,
}

impl Takings {
    /// What was taken under this name.
    #[must_use]
    pub fn get(&self, request: &RequestId) -> Option<&UnitsTaken> {
        self.known.get(request)
    }

    /// Remembers a taking; beyond the limit the oldest is forgotten.
    pub fn remember(&mut self, taken: UnitsTaken) {
        let request = taken.request_id;
        if self.known.insert(request, taken).is_none() {
            self.order.push_back(request);
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// Forgets a taking that could not be written.
    pub fn forget(&mut self, request: &RequestId) {
        if self.known.remove(request).is_some() {
            self.order.retain(|known| known != request);
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.array(self.order.len());
        for taken in self.order.iter().filter_map(|request| self.known.get(request)) {
            writer.record(|fields| taken.write_fields(fields));
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut takings = Self::default();
        for taken in reader.list(REMEMBERED, |r| {
            let mut fields = r.fields()?;
            let taken = UnitsTaken::read_fields(&mut fields)?;
            fields.end()?;
            Ok(taken)
        })? {
            takings.remember(taken);
        }
        Ok(takings)
    }
}

impl UnitsTaken {
    pub(super) fn write_fields(&self, fields: &mut FieldWriter) {
        fields.field(1, |w| w.bytes(&self.request_id));
        fields.field(2, |w| w.bytes(&self.client));
        fields.field(3, |w| w.bytes(&self.session.to_u128().to_be_bytes()));
        fields.field(4, |w| w.uint(u64::from(self.firm.get())));
        fields.field(5, |w| w.bytes(&self.license.to_u128().to_be_bytes()));
        fields.field(6, |w| w.uint(self.part.index() as u64));
        fields.field(7, |w| w.uint(self.units));
        fields.field(8, |w| w.uint(self.used));
        fields.field(9, |w| w.uint(self.left));
    }

    pub(super) fn read_fields(fields: &mut Fields<'_, '_>) -> Result<Self, CborError> {
        Ok(Self {
            request_id: fields.required(1, Reader::fixed)?,
            client: fields.required(2, Reader::fixed)?,
            session: SessionId::from_u128(u128::from_be_bytes(fields.required(3, Reader::fixed)?)),
            firm: fields.required(4, read_firm)?,
            license: fields.required(5, read_license)?,
            part: fields.required(6, read_part)?,
            units: fields.required(7, Reader::uint)?,
            used: fields.required(8, Reader::uint)?,
            left: fields.required(9, Reader::uint)?,
        })
    }
}

impl State {
    /// Takes over what the journal says was taken.
    pub(super) fn units_were_taken(&mut self, taken: &UnitsTaken) {
        let firm = self.firms.get_mut(&taken.firm);
        if let Some(license) = firm.and_then(|firm| firm.licenses.get_mut(&taken.license)) {
            let known = license.state.part(taken.part).clone();
            let units_used = known.units_used.max(taken.used);
            license.state.restore(taken.part, PartState { units_used, ..known });
        }
        self.takings.remember(taken.clone());
    }
}

impl Keeper {
    /// Takes units of a session's entry for its client. A taking comes with the record that must be durable before
    /// anybody hears of it. `proved` gives back the key with these bytes when its holder is the one who asks.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub fn take_units(
        &mut self,
        wish: &UnitsWish,
        proved: impl Fn(&[u8; PublicKey::LENGTH]) -> Option<PublicKey>,
        moment: Moment,
    ) -> Result<(UnitsAnswer, Option<(Record, Undo)>), UnitsError> {
        if let Some(known) = self.state.takings.get(&wish.request_id) {
            // The session may be over by now; whoever took the units is told all the same.
            if proved(&known.client).is_none() {
                return Err(UnitsError::NoSession);
            }
            if known.units != wish.units || known.session != wish.session {
                return Err(UnitsError::RequestIdReused);
            }
            return Ok((UnitsAnswer::Taken { left: known.left }, None));
        }
        let client = self.client_key(wish.session).and_then(|key| proved(key.as_bytes()));
        let client = client.ok_or(UnitsError::NoSession)?;
        let session = self.held_by(wish.session, &client, moment).ok_or(UnitsError::NoSession)?;
        let (firm_code, license_id, part, product_code) =
            (session.firm_code, session.license, session.part, session.product_code);
        let serial = self.state.container.as_ref().map(|container| container.serial.clone());
        let suspended = self.suspended().map(str::to_owned);
        let license = self.state.license_mut(firm_code, license_id).ok_or(UnitsError::NoSession)?;
        let entry = license.entry(part).ok_or(UnitsError::NoSession)?;
        let (place, granted) = (entry.places().units, entry.options().unit_counter.map(|counter| counter.0));
        let refused = |reason, instead| {
            let line = RefusalLine {
                serial: serial.clone(),
                product_code,
                reason,
                holders: Vec::new(),
                free_at: None,
                instead,
            };
            Ok((UnitsAnswer::Refused(Refusal::one(line)), None))
        };
        if let Some(why) = suspended {
            return refused(Reason::ContainerDisabled, Some(why));
        }
        let before = license.state.part(place).clone();
        let left = match license.state.take_units(place, granted, wish.units) {
            Ok(left) => left,
            Err(error) => {
                let (reason, instead) = match error {
                    UnitError::Missing => (Reason::UnitsMissing, None),
                    UnitError::Zero => (Reason::UnitsZero, Some("buy more units".to_owned())),
                    UnitError::Underrun { left } => {
                        (Reason::UnitsUnderrun { left }, Some(format!("take at most {left} units, or buy more")))
                    }
                };
                return refused(reason, instead);
            }
        };
        let taken = UnitsTaken {
            request_id: wish.request_id,
            client: *client.as_bytes(),
            session: wish.session,
            firm: firm_code,
            license: license_id,
            part: place,
            units: wish.units,
            used: license.state.part(place).units_used,
            left,
        };
        self.state.takings.remember(taken.clone());
        let usage = Some((firm_code, license_id, place, before));
        let undo = Undo { session: None, units: Some(wish.request_id), usage, named: None };
        Ok((UnitsAnswer::Taken { left }, Some((Record::UnitsTaken(taken), undo))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(number: u128) -> UnitsTaken {
        UnitsTaken {
            request_id: number.to_be_bytes(),
            client: [1; 32],
            session: SessionId::from_u128(2),
            firm: FirmCode::new(5).expect("a firm"),
            license: LicenseId::from_u128(3),
            part: Part::Module(4),
            units: 5,
            used: 6,
            left: 7,
        }
    }

    #[test]
    fn takings_come_back_in_their_order_and_the_oldest_is_forgotten_first() {
        let mut takings = Takings::default();
        let count = REMEMBERED as u128 + 3;
        (0..count).for_each(|number| takings.remember(taken(number)));
        takings.remember(taken(count - 1));
        assert!(takings.get(&2_u128.to_be_bytes()).is_none() && takings.get(&3_u128.to_be_bytes()).is_some());
        let mut writer = Writer::new();
        takings.write(&mut writer);
        let bytes = writer.into_bytes();
        let again = Takings::read(&mut Reader::new(&bytes)).expect("read");
        assert_eq!(again.order, takings.order);
        assert_eq!(again.known, takings.known);
        takings.forget(&3_u128.to_be_bytes());
        assert!(takings.get(&3_u128.to_be_bytes()).is_none());
    }
}
