//! Challenges: 32 bytes that prove a context to be no older than they are. Nothing is kept of them. Each states when it
//! was made under a code that only the holder of the firm's secret can write, so every replica knows its own.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use lictor_clock::Timestamp;
use lictor_licensing::id::FirmCode;
use sha2::Sha256;
use zeroize::Zeroizing;

/// How long a challenge is good.
pub const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How far the clocks of two replicas may differ.
const TOLERANCE: Duration = Duration::from_secs(300);
/// Bytes of the time, of the random part, and both.
const TIME: usize = 8;
const STATED: usize = 16;

/// The key under which the challenges of one firm are made.
#[derive(Clone)]
pub struct ChallengeKey {
    firm: FirmCode,
    key: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for ChallengeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChallengeKey").field("firm", &self.firm).finish_non_exhaustive()
    }
}

impl ChallengeKey {
    /// Takes the key of a firm.
    #[must_use]
    pub fn new(firm: FirmCode, key: [u8; 32]) -> Self {
        Self { firm, key: Zeroizing::new(key) }
    }

    /// A challenge; `random` makes it differ from every other one of the same moment.
    #[must_use]
    pub fn make(&self, now: Timestamp, random: [u8; 8]) -> [u8; 32] {
        let mut challenge = [0; 32];
        challenge[..TIME].copy_from_slice(&now.as_micros().to_be_bytes());
        challenge[TIME..STATED].copy_from_slice(&random);
        let code = self.code(&challenge[..STATED]);
        challenge[STATED..].copy_from_slice(&code[..32 - STATED]);
        challenge
    }

    /// When the challenge was made, if it is one of this firm's and still good.
    #[must_use]
    pub fn made_at(&self, challenge: &[u8; 32], now: Timestamp) -> Option<Timestamp> {
        let mut mac = self.mac();
        mac.update(&challenge[..STATED]);
        mac.verify_truncated_left(&challenge[STATED..]).ok()?;
        let mut micros = [0; TIME];
        micros.copy_from_slice(&challenge[..TIME]);
        let made = Timestamp::from_micros(i64::from_be_bytes(micros));
        (now.since(made) <= LIFETIME && made.since(now) <= TOLERANCE).then_some(made)
    }

    fn code(&self, stated: &[u8]) -> [u8; 32] {
        let mut mac = self.mac();
        mac.update(stated);
        mac.finalize().into_bytes().into()
    }

    fn mac(&self) -> Hmac<Sha256> {
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(self.key.as_slice());
        let mut mac = Hmac::<Sha256>::new(&(*block).into());
        mac.update(b"lictor-challenge-v1\0");
        mac.update(&self.firm.get().to_be_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn key(firm: u32, byte: u8) -> ChallengeKey {
        ChallengeKey::new(FirmCode::new(firm).expect("a firm"), [byte; 32])
    }

    #[test]
    fn a_challenge_is_good_for_seven_days_and_for_its_firm_alone() {
        let (key_one, now) = (key(1, 1), Timestamp::from_seconds(1_700_000_000));
        let challenge = key_one.make(now, [1; 8]);
        assert_eq!(key_one.made_at(&challenge, now), Some(now));
        assert_eq!(key_one.made_at(&challenge, now.saturating_add(7 * DAY)), Some(now));
        assert_eq!(key_one.made_at(&challenge, now.saturating_add(7 * DAY + Duration::from_secs(1))), None);
        assert_eq!(key_one.made_at(&challenge, now.saturating_sub(Duration::from_secs(60))), Some(now));
        assert_eq!(key_one.made_at(&challenge, now.saturating_sub(DAY)), None, "from the future");
        assert_eq!(key(2, 1).made_at(&challenge, now), None, "another firm");
        assert_eq!(key(1, 2).made_at(&challenge, now), None, "another secret");
        assert_ne!(challenge, key_one.make(now, [2; 8]));
    }

    #[test]
    fn no_bit_of_a_challenge_can_be_changed() {
        let (key, now) = (key(1, 1), Timestamp::from_seconds(1_700_000_000));
        let challenge = key.make(now, [9; 8]);
        for bit in 0..256 {
            let mut other = challenge;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.made_at(&other, now), None, "bit {bit}");
        }
        assert_eq!(key.made_at(&[0; 32], now), None);
    }
}
