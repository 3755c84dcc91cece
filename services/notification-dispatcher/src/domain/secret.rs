//! Signing secrets and the signatures of Standard Webhooks.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use lictor_clock::Timestamp;
use sha2::Sha256;

/// Random bytes of a fresh secret.
pub const SECRET_BYTES: usize = 32;
const PREFIX: &str = "whsec_";

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

/// The `webhook-signature` header: one signature per secret that is still good, newest first, a space between.
pub fn signatures(secrets: &[SigningSecret], id: &str, at: Timestamp, body: &[u8]) -> String {
    let all: Vec<String> = secrets.iter().map(|secret| secret.sign(id, at.as_seconds(), body)).collect();
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
    fn two_secrets_give_two_signatures() {
        let published: SigningSecret = PUBLISHED.parse().expect("the published secret");
        let fresh = SigningSecret::new([7; SECRET_BYTES]);
        let at = Timestamp::from_seconds(1_614_265_330);
        let header = signatures(&[fresh.clone(), published.clone()], "m", at, b"{}");
        let expected =
            format!("{} {}", fresh.sign("m", 1_614_265_330, b"{}"), published.sign("m", 1_614_265_330, b"{}"));
        assert_eq!(header, expected);
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
