//! An issuer of our own: for `lictor up`, for tests, and for tokens between services.

use std::{io::Write, path::Path, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lictor_clock::Timestamp;
use sha2::{Digest, Sha256};

use crate::{
    AuthError, Issuer, KeySource, Role, TokenAlgorithm,
    claims::{Audience, Claims},
};

/// An Ed25519 key that signs tokens, with the issuer's name.
#[derive(Clone)]
pub struct LocalIssuer {
    name: String,
    key_id: String,
    public: [u8; 32],
    key: EncodingKey,
    signing: Arc<SigningKey>,
}

impl LocalIssuer {
    /// A key from 32 random bytes.
    pub fn from_seed(name: impl Into<String>, seed: &[u8; 32]) -> Result<Self, AuthError> {
        Self::from_key(name.into(), SigningKey::from_bytes(seed))
    }

    /// A key from a PKCS#8 PEM text.
    pub fn from_pem(name: impl Into<String>, pem: &str) -> Result<Self, AuthError> {
        let signing = SigningKey::from_pkcs8_pem(pem).map_err(|_| {
            AuthError::KeyFile("the key is no Ed25519 private key; next: give a PKCS#8 PEM file".to_owned())
        })?;
        Self::from_key(name.into(), signing)
    }

    /// A key from a PEM file.
    pub fn load(name: impl Into<String>, path: &Path) -> Result<Self, AuthError> {
        let pem = std::fs::read_to_string(path)
            .map_err(|error| AuthError::KeyFile(format!("{} cannot be read: {error}", path.display())))?;
        Self::from_pem(name, &pem)
    }

    /// The key in the file; when there is none, one from `seed` is written there, readable by the owner only.
    pub fn load_or_create(name: impl Into<String>, path: &Path, seed: &[u8; 32]) -> Result<Self, AuthError> {
        if path.exists() {
            return Self::load(name, path);
        }
        let issuer = Self::from_seed(name, seed)?;
        write_private(path, &issuer.to_pem()?)
            .map_err(|error| AuthError::KeyFile(format!("{} cannot be written: {error}", path.display())))?;
        Ok(issuer)
    }

    fn from_key(name: String, signing: SigningKey) -> Result<Self, AuthError> {
        let document =
            signing.to_pkcs8_der().map_err(|_| AuthError::KeyFile("the key cannot be encoded".to_owned()))?;
        let public = signing.verifying_key().to_bytes();
        let digest = Sha256::digest(public);
        Ok(Self {
            name,
            key_id: URL_SAFE_NO_PAD.encode(&digest[..12]),
            public,
            key: EncodingKey::from_ed_der(document.as_bytes()),
            signing: Arc::new(signing),
        })
    }

    /// Exactly the `iss` of its tokens.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The private key as PKCS#8 PEM.
    pub fn to_pem(&self) -> Result<String, AuthError> {
        self.signing
            .to_pkcs8_pem(LineEnding::LF)
            .map(|pem| pem.to_string())
            .map_err(|_| AuthError::KeyFile("the key cannot be encoded".to_owned()))
    }

    /// The public key as a JWKS document, for verifiers.
    pub fn jwks(&self) -> String {
        serde_json::json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
            "kid": self.key_id, "x": URL_SAFE_NO_PAD.encode(self.public),
        }]})
        .to_string()
    }

    /// This issuer as a verifier sees it, allowed to give `may_give`.
    pub fn trusted(&self, may_give: &[Role]) -> Issuer {
        Issuer {
            name: self.name.clone(),
            algorithm: TokenAlgorithm::EdDsa,
            keys: KeySource::Document(self.jwks()),
            may_give: may_give.to_vec(),
        }
    }

    /// A token for `subject` with `roles`, good from `now` for `lifetime`.
    pub fn mint(
        &self,
        subject: &str,
        roles: &[Role],
        audience: &str,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<String, AuthError> {
        let seconds = |at: Timestamp| u64::try_from(at.as_seconds()).unwrap_or(0);
        let claims = Claims {
            iss: self.name.clone(),
            sub: subject.to_owned(),
            aud: Audience::One(audience.to_owned()),
            exp: seconds(now.saturating_add(lifetime)),
            nbf: seconds(now),
            roles: roles.iter().map(|role| role.name().to_owned()).collect(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, &claims, &self.key)
            .map_err(|error| AuthError::KeyFile(format!("no token can be signed: {error}")))
    }
}

impl std::fmt::Debug for LocalIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalIssuer").field("name", &self.name).field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// Whole or not at all: a neighbour file is written, synced and renamed.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    let mut neighbour = path.as_os_str().to_owned();
    neighbour.push(".new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&neighbour)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&neighbour, path)?;
    // The folder too, else the name may be gone after a power cut.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}
