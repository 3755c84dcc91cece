//! What a saga is for: stored with it as one document, and turned into the question that license-central answers with a
//! plan.

use lictor_clock::Timestamp;
use lictor_licensing::{
    ContainerKind,
    id::{ActivationId, LicenseId, TicketId, TransferId},
};
use serde::{Deserialize, Serialize};

use super::state::Kind;

/// A part of a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pick {
    /// The license.
    pub license: LicenseId,
    /// Seats; 0 for all that are free, or all that lie there.
    pub quantity: u32,
}

/// A container that a saga changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// SHA-256 of its device key, hex.
    pub id: String,
    /// Its display serial.
    pub serial: String,
    /// What it is bound to; unknown when licenses only come out.
    #[serde(with = "kind_name", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ContainerKind>,
    /// It lives in a virtual machine.
    #[serde(default)]
    pub virtual_machine: bool,
}

/// The first leg of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// The transfer that it makes.
    pub transfer: TransferId,
    /// The ticket that allowed it; none when the vendor's staff asked, or a loan was over.
    pub ticket: Option<TicketId>,
    /// What leaves.
    pub pick: Pick,
    /// Where it goes.
    pub target: Container,
    /// Until when it is lent; none for good.
    pub lend_until: Option<Timestamp>,
    /// The loan that it gives back.
    pub returns: Option<TransferId>,
}

/// What a saga is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A customer puts licenses of a ticket in.
    Activate {
        /// The ticket.
        ticket: TicketId,
        /// Which of its licenses; empty for all that are free.
        picks: Vec<Pick>,
    },
    /// The vendor puts licenses in, takes licenses out, or both.
    Push {
        /// The ticket; none when licenses only come out.
        ticket: Option<TicketId>,
        /// Licenses to take back.
        withdraw: Vec<LicenseId>,
    },
    /// The vendor takes licenses back for good.
    Withdraw {
        /// The licenses.
        licenses: Vec<LicenseId>,
        /// Why, for people.
        reason: String,
        /// Other sagas whose segments take some of it out already; known once planned.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        awaits: Vec<ActivationId>,
    },
    /// A customer gives licenses back.
    Return {
        /// The ticket.
        ticket: TicketId,
        /// Which of its licenses; empty for all that lie there.
        picks: Vec<Pick>,
    },
    /// Seats leave for another container.
    Depart(Box<Departure>),
    /// Seats that left another container come in.
    Arrive {
        /// The transfer.
        transfer: TransferId,
    },
    /// The technical end of licenses is moved.
    Renew {
        /// The licenses.
        licenses: Vec<LicenseId>,
    },
    /// Licenses of a lost container go into a new one.
    Replace {
        /// Their ticket.
        ticket: TicketId,
        /// The lost one.
        lost_serial: String,
        /// The vendor's staff asked.
        by_hand: bool,
    },
    /// The container's chain begins anew. Its context lies beside the saga.
    Rebase {
        /// Why, for people.
        reason: String,
        /// The vendor's staff asked.
        by_hand: bool,
    },
}

impl Purpose {
    /// The kind of the saga.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Activate { .. } => Kind::Activate,
            Self::Push { .. } => Kind::Push,
            Self::Withdraw { .. } => Kind::Withdraw,
            Self::Return { .. } => Kind::Return,
            Self::Depart(_) => Kind::Depart,
            Self::Arrive { .. } => Kind::Arrive,
            Self::Renew { .. } => Kind::Renew,
            Self::Replace { .. } => Kind::Replace,
            Self::Rebase { .. } => Kind::Rebase,
        }
    }

    /// The ticket that it goes by.
    #[must_use]
    pub const fn ticket(&self) -> Option<TicketId> {
        match self {
            Self::Activate { ticket, .. } | Self::Return { ticket, .. } | Self::Replace { ticket, .. } => Some(*ticket),
            Self::Push { ticket, .. } => *ticket,
            Self::Depart(departure) => departure.ticket,
            Self::Withdraw { .. } | Self::Arrive { .. } | Self::Renew { .. } | Self::Rebase { .. } => None,
        }
    }

    /// The transfer that it is a leg of.
    #[must_use]
    pub const fn transfer(&self) -> Option<TransferId> {
        match self {
            Self::Depart(departure) => Some(departure.transfer),
            Self::Arrive { transfer } => Some(*transfer),
            _ => None,
        }
    }
}

/// A kind of container by its name.
mod kind_name {
    use lictor_licensing::ContainerKind;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
    pub(super) fn serialize<S: Serializer>(kind: &Option<ContainerKind>, serializer: S) -> Result<S::Ok, S::Error> {
        match kind {
            Some(kind) => serializer.serialize_str(kind.name()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ContainerKind>, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        name.map(|name| name.parse().map_err(|_| D::Error::custom("no kind of container"))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Purpose> {
        let (ticket, license) = (TicketId::from_u128(1), LicenseId::from_u128(2));
        let (transfer, picks) = (TransferId::from_u128(3), vec![Pick { license, quantity: 4 }]);
        let target = Container {
            id: "ab".repeat(32),
            serial: "130-1".to_owned(),
            kind: Some(ContainerKind::Machine),
            virtual_machine: true,
        };
        let departure = Departure {
            transfer,
            ticket: Some(ticket),
            pick: picks[0],
            target,
            lend_until: Some(Timestamp::from_seconds(5)),
            returns: None,
        };
        vec![
            Purpose::Activate { ticket, picks: picks.clone() },
            Purpose::Push { ticket: None, withdraw: vec![license] },
            Purpose::Withdraw {
                licenses: vec![license],
                reason: "not paid".to_owned(),
                awaits: vec![ActivationId::from_u128(6)],
            },
            Purpose::Return { ticket, picks },
            Purpose::Depart(Box::new(departure)),
            Purpose::Arrive { transfer },
            Purpose::Renew { licenses: vec![license] },
            Purpose::Replace { ticket, lost_serial: "130-2".to_owned(), by_hand: true },
            Purpose::Rebase { reason: "restored".to_owned(), by_hand: false },
        ]
    }

    #[test]
    fn a_stored_purpose_is_read_back() {
        for purpose in all() {
            let text = serde_json::to_string(&purpose).expect("text");
            assert_eq!(serde_json::from_str::<Purpose>(&text).expect("a purpose"), purpose, "{text}");
        }
    }

    #[test]
    fn every_kind_of_saga_has_a_purpose() {
        let kinds: Vec<Kind> = all().iter().map(Purpose::kind).collect();
        assert_eq!(kinds, Kind::ALL);
    }
}
