//! What an activation asks a plan for.

use lictor_clock::Timestamp;
use lictor_licensing::{
    ContainerKind,
    id::{ActivationId, LicenseId, TicketId, TransferId},
};
use sha2::{Digest, Sha256};

/// A container as the activation knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// SHA-256 of its device key, hex.
    pub id: String,
    /// Its display serial.
    pub serial: String,
    /// What it is bound to; unknown when nothing new comes in.
    pub kind: Option<ContainerKind>,
    /// It lives in a virtual machine.
    pub virtual_machine: bool,
}

/// A part of a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pick {
    /// The license.
    pub license: LicenseId,
    /// Seats; 0 for all that are free, or all that lie there.
    pub quantity: u32,
}

/// The first leg of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The transfer that it makes.
    pub transfer: TransferId,
    /// The ticket that allows it; none when the vendor's staff asks.
    pub ticket: Option<TicketId>,
    /// What leaves.
    pub pick: Pick,
    /// Where it goes; the lender's when a loan is given back, and then it may be missing.
    pub target: Option<Place>,
    /// Until when it is lent; none for good.
    pub lend_until: Option<Timestamp>,
    /// The loan that it gives back.
    pub returns: Option<TransferId>,
}

/// What a plan is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Licenses of a ticket go in, and others come out in the same segment.
    Activate {
        /// The ticket; none when licenses only come out.
        ticket: Option<TicketId>,
        /// Which of its licenses; empty for all that are available.
        picks: Vec<Pick>,
        /// What the vendor takes back for good.
        withdraw: Vec<LicenseId>,
    },
    /// The vendor takes licenses back for good, wherever they lie.
    Withdraw {
        /// The licenses.
        licenses: Vec<LicenseId>,
        /// Why, for people.
        reason: String,
    },
    /// The customer gives licenses back.
    GiveBack {
        /// The ticket.
        ticket: TicketId,
        /// Which of its licenses; empty for all that lie there and may be given back.
        picks: Vec<Pick>,
    },
    /// Seats leave for another container.
    Depart(Departure),
    /// Seats that left another container come in.
    Arrive {
        /// The transfer.
        transfer: TransferId,
    },
    /// The technical end of licenses moves.
    Renew {
        /// The licenses.
        licenses: Vec<LicenseId>,
    },
    /// Licenses of a lost container go into this one.
    Replace {
        /// Their ticket.
        ticket: TicketId,
        /// The lost one.
        lost_serial: String,
        /// The vendor's staff asks.
        by_hand: bool,
    },
}

impl Purpose {
    /// The name in tables.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Activate { .. } => "activate",
            Self::Withdraw { .. } => "withdraw",
            Self::GiveBack { .. } => "return",
            Self::Depart(_) => "depart",
            Self::Arrive { .. } => "arrive",
            Self::Renew { .. } => "renew",
            Self::Replace { .. } => "replace",
        }
    }
}

/// What an activation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRequest {
    /// The activation.
    pub activation: ActivationId,
    /// The container; none when license-central finds it.
    pub place: Option<Place>,
    /// What for.
    pub purpose: Purpose,
}

impl PlanRequest {
    /// What a repeat has to equal. The order in which licenses are named says nothing.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut text = Parts(Sha256::new());
        text.part(self.purpose.name());
        text.place(self.place.as_ref());
        match &self.purpose {
            Purpose::Activate { ticket, picks, withdraw } => {
                text.part(&ticket.map(|ticket| ticket.to_string()).unwrap_or_default());
                text.picks(picks);
                text.licenses(withdraw);
            }
            Purpose::Withdraw { licenses, reason } => {
                text.licenses(licenses);
                text.part(reason);
            }
            Purpose::GiveBack { ticket, picks } => {
                text.part(&ticket.to_string());
                text.picks(picks);
            }
            Purpose::Depart(departure) => {
                text.part(&departure.transfer.to_string());
                text.part(&departure.ticket.map(|ticket| ticket.to_string()).unwrap_or_default());
                text.picks(&[departure.pick]);
                text.place(departure.target.as_ref());
                text.part(&departure.lend_until.map(|until| until.as_micros().to_string()).unwrap_or_default());
                text.part(&departure.returns.map(|loan| loan.to_string()).unwrap_or_default());
            }
            Purpose::Arrive { transfer } => text.part(&transfer.to_string()),
            Purpose::Renew { licenses } => text.licenses(licenses),
            Purpose::Replace { ticket, lost_serial, by_hand } => {
                text.part(&ticket.to_string());
                text.part(lost_serial);
                text.part(if *by_hand { "by hand" } else { "" });
            }
        }
        text.0.finalize().into()
    }
}

struct Parts(Sha256);

impl Parts {
    fn part(&mut self, text: &str) {
        self.0.update(text.as_bytes());
        self.0.update([0]);
    }

    fn place(&mut self, place: Option<&Place>) {
        let Some(place) = place else {
            return self.part("");
        };
        self.part(&place.id);
        self.part(&place.serial);
        self.part(place.kind.map_or("", ContainerKind::name));
        self.part(if place.virtual_machine { "vm" } else { "" });
    }

    fn picks(&mut self, picks: &[Pick]) {
        let mut sorted = picks.to_vec();
        sorted.sort_unstable();
        let words: Vec<String> = sorted.iter().map(|pick| format!("{}={}", pick.license, pick.quantity)).collect();
        self.part(&words.join(","));
    }

    fn licenses(&mut self, licenses: &[LicenseId]) {
        let mut sorted = licenses.to_vec();
        sorted.sort_unstable();
        let words: Vec<String> = sorted.iter().map(ToString::to_string).collect();
        self.part(&words.join(","));
    }
}
