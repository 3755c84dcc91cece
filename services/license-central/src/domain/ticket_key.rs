//! The ticket key: the one secret from which every ticket's code is derived, so that no code is stored anywhere.
//!
//! code = first 120 bits of HMAC-SHA256(key, label, ticket id). Who repeats an order gets its whole ticket again; who
//! steals the tables gets hashes.

use hmac::{Hmac, KeyInit, Mac};
use lictor_licensing::{TicketCode, id::TicketId};
use sha2::{Digest, Sha256};

/// Keeps these derivations apart from any other use of the key.
const LABEL: &[u8] = b"lictor-ticket-from-id-v1\0";

/// Bytes of a ticket key.
const KEY_BYTES: usize = 32;

/// Derives tickets. `Debug` shows the key's public name alone.
#[derive(Clone)]
pub struct TicketKey([u8; KEY_BYTES]);

impl TicketKey {
    /// The key of 32 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A public name of the key: tells which key made a ticket, and nothing else.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = Sha256::new().chain_update(b"lictor-ticket-key-id-v1\0").chain_update(self.0).finalize();
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The code of a ticket; always the same for the same id.
    #[must_use]
    pub fn code(&self, ticket: TicketId) -> TicketCode {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(LABEL);
        mac.update(ticket.to_string().as_bytes());
        let digest = mac.finalize().into_bytes();
        TicketCode::new(std::array::from_fn(|place| digest[place]))
    }
}

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TicketKey({})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use lictor_clock::Timestamp;

    use super::*;

    #[test]
    fn the_same_ticket_always_has_the_same_code_and_no_other_ticket_has_it() {
        let key = TicketKey::new([7; 32]);
        let one = TicketId::new(Timestamp::from_micros(1), [1; 10]);
        let two = TicketId::new(Timestamp::from_micros(1), [2; 10]);
        assert_eq!(key.code(one).reveal(), key.code(one).reveal());
        assert_ne!(key.code(one).reveal(), key.code(two).reveal());
        assert_ne!(key.code(one).reveal(), TicketKey::new([8; 32]).code(one).reveal());
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = TicketKey::new(std::array::from_fn(|place| place as u8));
        assert!(!format!("{key:?}").contains("0001020304"));
    }
}
