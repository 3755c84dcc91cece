//! Checking a token: whose it is, whether it was signed, whether it holds here and now.

use std::{
    collections::HashMap,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::Jwk};
use lictor_clock::{SharedClock, Timestamp};
use sha2::{Digest, Sha256};

use crate::{
    AuthError, Caller, KeySource, Role,
    claims::{Claims, IssuerClaim},
    keys::Keys,
};

/// Longest token.
const TOKEN_BYTES: usize = 8 * 1024;
/// Difference between the clocks of issuer and verifier that is forgiven.
const LEEWAY: Duration = Duration::from_secs(30);
/// Checked tokens that are remembered.
const CACHE_ENTRIES: usize = 10_000;
/// A checked token is checked again after this long, so that a withdrawn key takes effect.
const CACHE_TIME: Duration = Duration::from_secs(300);

/// The one signature algorithm of an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenAlgorithm {
    /// Ed25519 (`EdDSA`).
    #[default]
    EdDsa,
    /// ECDSA P-256.
    Es256,
    /// RSA PKCS#1 v1.5.
    Rs256,
}

impl TokenAlgorithm {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::EdDsa => Algorithm::EdDSA,
            Self::Es256 => Algorithm::ES256,
            Self::Rs256 => Algorithm::RS256,
        }
    }
}

impl FromStr for TokenAlgorithm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "EdDSA" => Ok(Self::EdDsa),
            "ES256" => Ok(Self::Es256),
            "RS256" => Ok(Self::Rs256),
            other => Err(format!("{other:?} is no accepted algorithm; next: EdDSA, ES256 or RS256")),
        }
    }
}

/// Somebody whose tokens are accepted.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Exactly the `iss` of its tokens.
    pub name: String,
    /// The only algorithm that it signs with.
    pub algorithm: TokenAlgorithm,
    /// Its public keys.
    pub keys: KeySource,
    /// The roles that it may give; others in its tokens are ignored.
    pub may_give: Vec<Role>,
}

/// Checks tokens for one audience. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Verifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    audience: String,
    issuers: Vec<Trusted>,
    clock: SharedClock,
    checked: Mutex<HashMap<[u8; 32], Checked>>,
}

#[derive(Debug)]
struct Trusted {
    name: String,
    algorithm: Algorithm,
    keys: Keys,
    may_give: Vec<Role>,
}

#[derive(Debug, Clone)]
struct Checked {
    caller: Arc<Caller>,
    good_from: Timestamp,
    good_until: Timestamp,
}

impl Verifier {
    /// A verifier for tokens that `issuers` made for `audience`.
    ///
    /// # Errors
    /// `KeyFile` when a key set is unusable.
    pub fn new(audience: impl Into<String>, issuers: Vec<Issuer>, clock: SharedClock) -> Result<Self, AuthError> {
        let issuers = issuers
            .into_iter()
            .map(|issuer| {
                Ok(Trusted {
                    name: issuer.name,
                    algorithm: issuer.algorithm.algorithm(),
                    keys: Keys::new(issuer.keys)?,
                    may_give: issuer.may_give,
                })
            })
            .collect::<Result<_, AuthError>>()?;
        Ok(Self(Arc::new(Inner { audience: audience.into(), issuers, clock, checked: Mutex::default() })))
    }

    /// Who holds this token, if it is good.
    pub async fn verify(&self, token: &str) -> Result<Arc<Caller>, AuthError> {
        if token.len() > TOKEN_BYTES {
            return Err(AuthError::Malformed("longer than 8 KiB".to_owned()));
        }
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = self.0.clock.now();
        if let Some(caller) = self.0.remembered(&digest, now) {
            return Ok(caller);
        }
        let checked = self.0.check(token, now).await?;
        let caller = Arc::clone(&checked.caller);
        self.0.remember(digest, checked, now);
        Ok(caller)
    }
}

impl Inner {
    fn remembered(&self, digest: &[u8; 32], now: Timestamp) -> Option<Arc<Caller>> {
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = checked.get(digest)?;
        // A clock that was set back must not make an early token good.
        (entry.good_from <= now && now < entry.good_until).then(|| Arc::clone(&entry.caller))
    }

    fn remember(&self, digest: [u8; 32], entry: Checked, now: Timestamp) {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.len() >= CACHE_ENTRIES {
            checked.retain(|_, entry| now < entry.good_until);
            if checked.len() >= CACHE_ENTRIES {
                checked.clear();
            }
        }
        checked.insert(digest, entry);
    }

    async fn check(&self, token: &str, now: Timestamp) -> Result<Checked, AuthError> {
        let key_id = key_id(token)?;
        let claimed = issuer_claim(token)?;
        let issuer = self.issuers.iter().find(|issuer| issuer.name == claimed).ok_or(AuthError::UnknownIssuer)?;
        let key = issuer.keys.find(&key_id).await?;
        let claims = verified_claims(token, issuer.algorithm, &key)?;
        if !claims.within_limits() {
            return Err(AuthError::Malformed("a claim is empty or too long".to_owned()));
        }
        if claims.iss != issuer.name {
            return Err(AuthError::UnknownIssuer);
        }
        if !claims.aud.holds(&self.audience) {
            return Err(AuthError::Audience);
        }
        let expires = seconds(claims.exp)?.saturating_add(LEEWAY);
        let begins = seconds(claims.nbf)?.saturating_sub(LEEWAY);
        if now >= expires {
            return Err(AuthError::Expired);
        }
        if now < begins {
            return Err(AuthError::NotYet);
        }
        let mut roles: Vec<Role> = claims
            .roles
            .iter()
            // A company's issuer has roles of its own that mean nothing here.
            .filter_map(|name| name.parse().ok())
            .filter(|role| issuer.may_give.contains(role))
            .collect();
        roles.sort_unstable();
        roles.dedup();
        let caller = Arc::new(Caller { subject: claims.sub, issuer: claims.iss, roles });
        Ok(Checked { caller, good_from: begins, good_until: expires.min(now.saturating_add(CACHE_TIME)) })
    }
}

/// The key id of the header; the header's other words are not followed.
fn key_id(token: &str) -> Result<String, AuthError> {
    let header = jsonwebtoken::decode_header(token).map_err(|error| AuthError::Malformed(error.to_string()))?;
    if raw_part(token, 0)?.get("crit").is_some() {
        return Err(AuthError::Malformed("it demands an extension".to_owned()));
    }
    header.kid.ok_or_else(|| AuthError::Malformed("it names no key".to_owned()))
}

fn issuer_claim(token: &str) -> Result<String, AuthError> {
    let claim: IssuerClaim = serde_json::from_value(raw_part(token, 1)?)
        .map_err(|_| AuthError::Malformed("iss is missing or no text".to_owned()))?;
    Ok(claim.iss)
}

fn raw_part(token: &str, index: usize) -> Result<serde_json::Value, AuthError> {
    let malformed = || AuthError::Malformed("not three parts of base64url JSON".to_owned());
    let part = token.split('.').nth(index).ok_or_else(malformed)?;
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed())?;
    serde_json::from_slice(&bytes).map_err(|_| malformed())
}

fn verified_claims(token: &str, algorithm: Algorithm, key: &Jwk) -> Result<Claims, AuthError> {
    use jsonwebtoken::errors::ErrorKind;

    if let Some(own) = key.common.key_algorithm
        && own != algorithm.into()
    {
        return Err(AuthError::Signature);
    }
    let key = DecodingKey::from_jwk(key).map_err(|_| AuthError::UnknownKey)?;
    let mut validation = Validation::new(algorithm);
    // Times, audience and issuer are checked by us: by our clock, and after reading the claims strictly.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let decoded = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(|error| match error.kind() {
        ErrorKind::Json(why) => AuthError::Malformed(why.to_string()),
        ErrorKind::Base64(_) | ErrorKind::Utf8(_) | ErrorKind::InvalidToken => AuthError::Malformed(error.to_string()),
        _ => AuthError::Signature,
    })?;
    Ok(decoded.claims)
}

fn seconds(seconds: u64) -> Result<Timestamp, AuthError> {
    // 253402300799 is the last second of the year 9999; what is later means "for ever" and is refused as a mistake.
    i64::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds <= 253_402_300_799)
        .map(Timestamp::from_seconds)
        .ok_or_else(|| AuthError::Malformed("a time is out of range".to_owned()))
}
