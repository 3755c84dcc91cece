//! Signing keys and the signatures of Standard Webhooks.

use std::{fmt, str::FromStr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::Signer as _;
use hmac::{Hmac, KeyInit, Mac};
use lictor_clock::{Timestamp, duration};
use sha2::Sha256;

/// Random bytes of a fresh secret.
pub const SECRET_BYTES: usize = 32;
const PREFIX: &str = "whsec_";
const PUBLIC_PREFIX: &str = "whpk_";
/// Most keys of one destination that sign at once; a rotation beyond that ends the oldest.
pub const KEYS: usize = 8;
/// How long the old key signs beside a new one when nothing else is wanted.
pub const KEEP_OLD_FOR: Duration = duration::days(1);
/// Longest time for which an old key may sign.
pub const KEEP_OLD_AT_MOST: Duration = duration::days(7);

/// A symmetric secret, `whsec_` and base64 of 24 to 64 bytes. `Debug` does not show it; [`SigningSecret::expose`] does.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

/// A text that is no signing secret. Says nothing of the text: it may be one with a slip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is whsec_ and base64 of 24 to 64 bytes")]
pub struct SecretError;

impl SigningSecret {
    /// Makes a secret of fresh random bytes.
    pub fn new(random: [u8; SECRET_BYTES]) -> Self {
        Self(random.to_vec())
    }

    /// The secret as its owner gets to see it, once.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// `v1,` and the base64 of HMAC-SHA256 over `id.seconds.body`.
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(seconds.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl FromStr for SigningSecret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let bytes = text.strip_prefix(PREFIX).and_then(|rest| STANDARD.decode(rest).ok()).ok_or(SecretError)?;
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(SecretError) }
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// An Ed25519 key; its receiver needs the public half only. `Debug` shows that half.
#[derive(Clone)]
pub struct PairKey(ed25519_dalek::SigningKey);

impl PairKey {
    /// Makes a key of fresh random bytes.
    pub fn new(random: [u8; SECRET_BYTES]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&random))
    }

    /// `whpk_` and the base64 of the public half.
    pub fn public(&self) -> String {
        format!("{PUBLIC_PREFIX}{}", STANDARD.encode(self.0.verifying_key().as_bytes()))
    }

    /// `v1a,` and the base64 of the Ed25519 signature over `id.seconds.body`.
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let mut message = format!("{id}.{seconds}.").into_bytes();
        message.extend_from_slice(body);
        format!("v1a,{}", STANDARD.encode(self.0.sign(&message).to_bytes()))
    }
}

impl fmt::Debug for PairKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairKey({})", self.public())
    }
}

/// The two kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKind {
    /// A shared secret.
    Hmac,
    /// A key pair.
    Ed25519,
}

impl SigningKind {
    /// The word in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hmac => "hmac",
            Self::Ed25519 => "ed25519",
        }
    }

    /// Makes a key of fresh random bytes.
    pub fn make(self, random: [u8; SECRET_BYTES]) -> SigningKey {
        match self {
            Self::Hmac => SigningKey::Hmac(SigningSecret::new(random)),
            Self::Ed25519 => SigningKey::Ed25519(PairKey::new(random)),
        }
    }

    /// Reads the word and the bytes of a table.
    pub fn stored(name: &str, bytes: &[u8]) -> Option<SigningKey> {
        match name {
            "hmac" => (24..=64).contains(&bytes.len()).then(|| SigningKey::Hmac(SigningSecret(bytes.to_vec()))),
            "ed25519" => Some(SigningKey::Ed25519(PairKey::new(bytes.try_into().ok()?))),
            _ => None,
        }
    }
}

/// What signs for a destination.
#[derive(Debug, Clone)]
pub enum SigningKey {
    /// A shared secret.
    Hmac(SigningSecret),
    /// A key pair.
    Ed25519(PairKey),
}

impl SigningKey {
    /// Its kind.
    pub const fn kind(&self) -> SigningKind {
        match self {
            Self::Hmac(_) => SigningKind::Hmac,
            Self::Ed25519(_) => SigningKind::Ed25519,
        }
    }

    /// The bytes that are sealed in the tables.
    pub fn secret_bytes(&self) -> Vec<u8> {
        match self {
            Self::Hmac(secret) => secret.0.clone(),
            Self::Ed25519(pair) => pair.0.to_bytes().to_vec(),
        }
    }

    /// The text that its receiver gets once: `whsec_…`; empty for a pair.
    pub fn secret_text(&self) -> String {
        match self {
            Self::Hmac(secret) => secret.expose(),
            Self::Ed25519(_) => String::new(),
        }
    }

    /// `whpk_…` of a pair, else empty.
    pub fn public_text(&self) -> String {
        match self {
            Self::Hmac(_) => String::new(),
            Self::Ed25519(pair) => pair.public(),
        }
    }

    fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        match self {
            Self::Hmac(secret) => secret.sign(id, seconds, body),
            Self::Ed25519(pair) => pair.sign(id, seconds, body),
        }
    }
}

/// A key and how long it signs.
#[derive(Debug, Clone)]
pub struct HeldKey {
    /// The key.
    pub key: SigningKey,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops to sign; nothing for the current one.
    pub expires_at: Option<Timestamp>,
}

impl HeldKey {
    /// True while it signs.
    pub fn signs_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| end > now)
    }
}

/// The `webhook-signature` header: one signature per key that still signs, newest first, a space between.
pub fn signatures(keys: &[HeldKey], id: &str, at: Timestamp, body: &[u8]) -> String {
    let signing = keys.iter().filter(|held| held.signs_at(at));
    let all: Vec<String> = signing.map(|held| held.key.sign(id, at.as_seconds(), body)).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn published_test_vector_is_met() {
        let secret: SigningSecret = PUBLISHED.parse().expect("the published secret");
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn old_key_signs_beside_the_new_one_until_its_end() {
        let published: SigningSecret = PUBLISHED.parse().expect("the published secret");
        let fresh = PairKey::new([7; SECRET_BYTES]);
        let at = Timestamp::from_seconds(1_614_265_330);
        let keys = [
            HeldKey { key: SigningKey::Ed25519(fresh.clone()), created_at: at, expires_at: None },
            HeldKey {
                key: SigningKey::Hmac(published.clone()),
                created_at: at,
                expires_at: Some(at.saturating_add(Duration::from_secs(10))),
            },
        ];
        let expected =
            format!("{} {}", fresh.sign("m", 1_614_265_330, b"{}"), published.sign("m", 1_614_265_330, b"{}"));
        assert_eq!(signatures(&keys, "m", at, b"{}"), expected);
        let later = at.saturating_add(Duration::from_secs(10));
        assert_eq!(signatures(&keys, "m", later, b"{}"), fresh.sign("m", later.as_seconds(), b"{}"));
    }

    #[test]
    fn pair_signs_what_its_public_half_verifies() {
        use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
        let pair = PairKey::new([7; SECRET_BYTES]);
        let public = STANDARD.decode(pair.public().strip_prefix("whpk_").expect("a prefix")).expect("base64");
        let public = VerifyingKey::from_bytes(&public.try_into().expect("32 bytes")).expect("a key");
        let signed = pair.sign("m", 5, b"{}");
        let signature = STANDARD.decode(signed.strip_prefix("v1a,").expect("a version")).expect("base64");
        let signature = Signature::from_slice(&signature).expect("64 bytes");
        assert!(public.verify(b"m.5.{}", &signature).is_ok());
        assert!(public.verify(b"m.6.{}", &signature).is_err());
    }

    #[test]
    fn keys_survive_their_table() {
        for kind in [SigningKind::Hmac, SigningKind::Ed25519] {
            let key = kind.make([9; SECRET_BYTES]);
            let again = SigningKind::stored(kind.name(), &key.secret_bytes()).expect("a key");
            assert_eq!(again.sign("m", 1, b"x"), key.sign("m", 1, b"x"));
            assert!(SigningKind::stored(kind.name(), b"short").is_none());
        }
        assert!(SigningKind::stored("rsa", &[1; 32]).is_none());
    }

    #[test]
    fn secret_is_never_printed() {
        let secret: SigningSecret = PUBLISHED.parse().expect("the published secret");
        assert!(!format!("{secret:?}").contains("MfKQ"));
        assert_eq!(secret.expose(), PUBLISHED);
    }

    #[test]
    fn short_long_and_foreign_secrets_are_refused() {
        for bad in [
            "",
            "whsec_",
            "whsec_AAAA",
            "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_*fKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            assert_eq!(bad.parse::<SigningSecret>(), Err(SecretError), "{bad}");
        }
        let long = format!("whsec_{}", STANDARD.encode([1; 65]));
        assert_eq!(long.parse::<SigningSecret>(), Err(SecretError));
    }
}
