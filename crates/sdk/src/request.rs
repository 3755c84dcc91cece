//! What a program asks for.

use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_clock::Timestamp;

/// How a seat counts against the licence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessMode {
    /// Every running program takes its own seat.
    #[default]
    UserLimit,
    /// All programs of one station share one seat.
    StationShare,
    /// One program per station, one seat.
    Exclusive,
    /// Takes no seat.
    NoUserLimit,
}

impl AccessMode {
    pub(crate) const fn on_the_wire(self) -> wire::AccessMode {
        match self {
            Self::UserLimit => wire::AccessMode::UserLimit,
            Self::StationShare => wire::AccessMode::StationShare,
            Self::Exclusive => wire::AccessMode::Exclusive,
            Self::NoUserLimit => wire::AccessMode::NoUserLimit,
        }
    }
}

/// A wish for a seat. Make one with [`Request::new`], then change what is not the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub(crate) id: Option<[u8; 16]>,
    pub(crate) firm_code: u32,
    pub(crate) product_code: u32,
    pub(crate) feature_map: u32,
    pub(crate) mode: AccessMode,
    pub(crate) units: u32,
    pub(crate) parents: Vec<String>,
    pub(crate) release_date: Option<Timestamp>,
    pub(crate) wait: Duration,
    pub(crate) program: String,
    pub(crate) user: String,
    pub(crate) host: String,
}

impl Request {
    /// One seat of a product in mode user limit.
    #[must_use]
    pub fn new(firm_code: u32, product_code: u32) -> Self {
        Self {
            id: None,
            firm_code,
            product_code,
            feature_map: 0,
            mode: AccessMode::UserLimit,
            units: 1,
            parents: Vec::new(),
            release_date: None,
            wait: Duration::ZERO,
            program: program_name(),
            user: std::env::var("USER").unwrap_or_default(),
            host: host_name(),
        }
    }

    /// All of these features must be there, as bits.
    #[must_use]
    pub const fn features(mut self, feature_map: u32) -> Self {
        self.feature_map = feature_map;
        self
    }

    /// How the seat counts.
    #[must_use]
    pub const fn mode(mut self, mode: AccessMode) -> Self {
        self.mode = mode;
        self
    }

    /// Seats to take at once, 1 to 10,000.
    #[must_use]
    pub const fn units(mut self, units: u32) -> Self {
        self.units = units;
        self
    }

    /// A seat of the product item that this module needs; may be given several times.
    #[must_use]
    pub fn parent(mut self, session_id: impl Into<String>) -> Self {
        self.parents.push(session_id.into());
        self
    }

    /// When the program was released, for licences with a maintenance period.
    #[must_use]
    pub const fn release_date(mut self, date: Timestamp) -> Self {
        self.release_date = Some(date);
        self
    }

    /// When all seats are taken, waits for one at most this long instead of being refused, 0 to a day. The queue is first
    /// come, first served.
    #[must_use]
    pub const fn wait(mut self, span: Duration) -> Self {
        self.wait = span;
        self
    }

    /// The name of the program that people see among the holders of seats.
    #[must_use]
    pub fn program(mut self, name: impl Into<String>) -> Self {
        self.program = name.into();
        self
    }

    /// 16 random bytes that name this wish. The same again, by the same client, is the same seat. Without it each call of
    /// `acquire` is a new wish.
    #[must_use]
    pub const fn id(mut self, id: [u8; 16]) -> Self {
        self.id = Some(id);
        self
    }

    pub(crate) fn to_wire(
        &self,
        id: &[u8; 16],
        client_key: &[u8; 32],
        nonce: &[u8; 32],
        proof: Vec<u8>,
    ) -> wire::AcquireRequest {
        wire::AcquireRequest {
            request_id: id.to_vec(),
            client_key: client_key.to_vec(),
            nonce: nonce.to_vec(),
            firm_code: self.firm_code,
            product_code: self.product_code,
            feature_map: self.feature_map,
            mode: self.mode.on_the_wire().into(),
            units: self.units,
            parent_sessions: self.parents.clone(),
            release_date: self.release_date.map(lictor_api::convert::timestamp),
            program: shown(&self.program),
            user: shown(&self.user),
            host: shown(&self.host),
            proof,
        }
    }
}

/// Names are for people: cut to what a server takes, one plain line.
fn shown(name: &str) -> String {
    const MAX_BYTES: usize = 128;
    let plain: String = name.chars().filter(|c| !c.is_control()).collect();
    let mut end = plain.len().min(MAX_BYTES);
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    plain[..end].to_owned()
}

fn program_name() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_between_characters() {
        let long = "é".repeat(100);
        let cut = shown(&long);
        assert_eq!(cut.len(), 128);
        assert!(long.starts_with(&cut));
        assert_eq!(shown("a\nb\u{7}"), "ab");
    }
}
