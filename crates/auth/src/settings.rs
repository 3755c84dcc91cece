//! Whom a service trusts, as settings.

use std::path::PathBuf;

use lictor_clock::SharedClock;
use lictor_runtime::{Field, Reader, StartError, client::TokenSource};

use crate::{AuthError, Issuer, KeySource, LocalIssuer, Role, ServiceTokens, TokenAlgorithm, Verifier};

/// The `iss` of tokens between services.
const SERVICE_ISSUER: &str = "lictor-services";

const AUDIENCE: Field =
    Field::with_default("auth_audience", "AUTH_AUDIENCE", "lictor", "`aud` that every token must carry");
const ISSUER: Field = Field::optional("auth_issuer", "AUTH_ISSUER", "`iss` of the tokens of people and their programs");
const JWKS_URL: Field =
    Field::optional("auth_jwks_url", "AUTH_JWKS_URL", "address of that issuer's public keys (JWKS)");
const JWKS_FILE: Field = Field::optional("auth_jwks_file", "AUTH_JWKS_FILE", "file with them instead of the address");
const JWKS_CA: Field =
    Field::optional("auth_jwks_ca", "AUTH_JWKS_CA", "PEM file with the CA of that address; without it the public CAs");
const ALGORITHM: Field =
    Field::with_default("auth_algorithm", "AUTH_ALGORITHM", "ES256", "its one algorithm: `EdDSA`, `ES256` or `RS256`");
const SERVICE_KEY: Field = Field::optional(
    "service_key_file",
    "SERVICE_KEY_FILE",
    "PKCS#8 PEM file with the Ed25519 key that signs this service's own tokens for calling others",
);
const SERVICE_JWKS: Field = Field::optional(
    "service_jwks_file",
    "SERVICE_JWKS_FILE",
    "JWKS file with the keys of all services; without it only `service_key_file` is trusted",
);

/// Whom a service trusts and how it proves itself to others.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// `aud` of every accepted token.
    pub audience: String,
    /// Everybody whose tokens are accepted.
    pub issuers: Vec<Issuer>,
    /// The key for tokens to other services.
    pub service_issuer: Option<LocalIssuer>,
}

impl AuthSettings {
    /// Reads the group.
    pub fn read(reader: &mut Reader) -> Self {
        let audience = reader.text(&AUDIENCE);
        let mut issuers = Vec::new();
        people(reader, &mut issuers);
        let service_issuer = services(reader, &mut issuers);
        Self { audience, issuers, service_issuer }
    }

    /// One issuer for people and services alike, as `lictor up` and tests use it.
    pub fn local(issuer: &LocalIssuer, audience: impl Into<String>) -> Self {
        Self {
            audience: audience.into(),
            issuers: vec![issuer.trusted(&Role::ALL)],
            service_issuer: Some(issuer.clone()),
        }
    }

    /// The verifier for [`crate::gate`].
    pub fn verifier(&self, clock: SharedClock) -> Result<Verifier, StartError> {
        Verifier::new(self.audience.clone(), self.issuers.clone(), clock).map_err(StartError::settings)
    }

    /// The token source for calls to other services; nothing without `service_key_file`.
    pub fn service_tokens(&self, service: &str, clock: SharedClock) -> Result<Option<TokenSource>, StartError> {
        let Some(issuer) = &self.service_issuer else {
            return Ok(None);
        };
        let tokens = ServiceTokens::new(issuer.clone(), service, self.audience.clone(), clock);
        // Made once now, so that an unusable key stops the start and not the first call.
        tokens.token().map_err(StartError::settings)?;
        Ok(Some(tokens.source()))
    }
}

fn people(reader: &mut Reader, issuers: &mut Vec<Issuer>) {
    let name = reader.optional_text(&ISSUER);
    let url = reader.optional_text(&JWKS_URL);
    let file = reader.optional_path(&JWKS_FILE);
    let ca = reader.optional_path(&JWKS_CA);
    let algorithm: TokenAlgorithm = reader.parsed(&ALGORITHM);
    let keys = match (url, file) {
        (None, None) => {
            if name.is_some() {
                reader.mistake(&JWKS_URL, "or auth_jwks_file is missing beside auth_issuer");
            }
            return;
        }
        (Some(_), Some(_)) => {
            reader.mistake(&JWKS_URL, "and auth_jwks_file exclude each other");
            return;
        }
        (Some(url), None) => {
            let ca = ca.map(std::fs::read_to_string).transpose().unwrap_or_else(|error| {
                reader.mistake(&JWKS_CA, format!("cannot be read: {error}"));
                None
            });
            KeySource::Address { url, ca }
        }
        (None, Some(file)) => match KeySource::file(&file) {
            Ok(keys) => keys,
            Err(error) => {
                reader.mistake(&JWKS_FILE, error);
                return;
            }
        },
    };
    match name {
        Some(name) => issuers.push(Issuer { name, algorithm, keys, may_give: Role::OF_PEOPLE.to_vec() }),
        None => reader.mistake(&ISSUER, "is missing beside its keys"),
    }
}

fn services(reader: &mut Reader, issuers: &mut Vec<Issuer>) -> Option<LocalIssuer> {
    let own: Option<PathBuf> = reader.optional_path(&SERVICE_KEY);
    let all = reader.optional_path(&SERVICE_JWKS);
    let own = own.and_then(|path| keep(reader, &SERVICE_KEY, LocalIssuer::load(SERVICE_ISSUER, &path)));
    match (all, &own) {
        (Some(path), _) => {
            if let Some(keys) = keep(reader, &SERVICE_JWKS, KeySource::file(&path)) {
                issuers.push(Issuer {
                    name: SERVICE_ISSUER.to_owned(),
                    algorithm: TokenAlgorithm::EdDsa,
                    keys,
                    may_give: vec![Role::Service],
                });
            }
        }
        (None, Some(own)) => issuers.push(own.trusted(&[Role::Service])),
        (None, None) => {}
    }
    own
}

fn keep<T>(reader: &mut Reader, field: &Field, outcome: Result<T, AuthError>) -> Option<T> {
    outcome.map_err(|error| reader.mistake(field, error)).ok()
}
