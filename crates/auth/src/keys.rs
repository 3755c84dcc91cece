//! Public keys of an issuer: given, or fetched from its JWKS address and kept for a while.

use std::{
    path::Path,
    sync::{Arc, RwLock},
    time::Duration,
};

use jsonwebtoken::jwk::{Jwk, JwkSet};
use tokio::{sync::Mutex, time::Instant};

use crate::AuthError;

/// Most bytes of a key set.
const SET_BYTES: usize = 256 * 1024;
/// Most keys of a set.
const SET_KEYS: usize = 100;
/// Fetched keys are good for this long.
const FRESH_TIME: Duration = Duration::from_secs(600);
/// While the issuer does not answer, its last keys are used for at most this long.
const STALE_TIME: Duration = Duration::from_secs(24 * 3600);
/// Least time between two fetches: an unknown key id from outside must not make us hammer the issuer.
const FETCH_PAUSE: Duration = Duration::from_secs(10);
const FETCH_TIME: Duration = Duration::from_secs(5);

/// Where an issuer's public keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A JWKS document as text; read once.
    Document(String),
    /// The address of a JWKS document; `ca` is a PEM text with the only CAs to trust, else the public ones.
    Address {
        /// `https://…/jwks.json`
        url: String,
        /// PEM text.
        ca: Option<String>,
    },
}

impl KeySource {
    /// A JWKS file, read now.
    pub fn file(path: &Path) -> Result<Self, AuthError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            AuthError::KeyFile(format!(
                "{} cannot be read as a key set: {error}; next: give a JWKS file",
                path.display()
            ))
        })?;
        Ok(Self::Document(text))
    }
}

#[derive(Debug)]
pub(crate) struct Keys {
    known: RwLock<Option<Known>>,
    remote: Option<Remote>,
}

#[derive(Debug)]
struct Known {
    set: Arc<JwkSet>,
    fetched: Instant,
}

#[derive(Debug)]
struct Remote {
    url: String,
    client: reqwest::Client,
    last_try: Mutex<Option<Instant>>,
}

impl Keys {
    pub(crate) fn new(source: KeySource) -> Result<Self, AuthError> {
        match source {
            KeySource::Document(text) => {
                let set = Arc::new(parse(&text)?);
                Ok(Self { known: RwLock::new(Some(Known { set, fetched: Instant::now() })), remote: None })
            }
            KeySource::Address { url, ca } => {
                let client = http_client(ca.as_deref())?;
                if !(url.starts_with("https://") || url.starts_with("http://")) {
                    return Err(AuthError::KeyFile(format!(
                        "{url:?} is no address of a key set; next: write https://…"
                    )));
                }
                let remote = Remote { url, client, last_try: Mutex::new(None) };
                Ok(Self { known: RwLock::new(None), remote: Some(remote) })
            }
        }
    }

    /// The key with this id. Fetches when nothing is known, when what is known is old, or when the id is new.
    pub(crate) async fn find(&self, id: &str) -> Result<Jwk, AuthError> {
        let (found, age) = self.look(id);
        let Some(remote) = &self.remote else {
            return found.ok_or(AuthError::UnknownKey);
        };
        if let (Some(key), Some(age)) = (&found, age)
            && age < FRESH_TIME
        {
            return Ok(key.clone());
        }
        let fetched = self.fetch(remote).await;
        let (found, age) = self.look(id);
        match (found, age, fetched) {
            (Some(key), Some(age), _) if age < STALE_TIME => Ok(key),
            (_, _, Err(error)) => Err(error),
            _ => Err(AuthError::UnknownKey),
        }
    }

    fn look(&self, id: &str) -> (Option<Jwk>, Option<Duration>) {
        let known = self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.as_ref().map_or((None, None), |known| (known.set.find(id).cloned(), Some(known.fetched.elapsed())))
    }

    async fn fetch(&self, remote: &Remote) -> Result<(), AuthError> {
        // Callers that come while one fetches wait for it, then find its result.
        let mut last_try = remote.last_try.lock().await;
        if let Some(at) = *last_try
            && at.elapsed() < FETCH_PAUSE
        {
            return match self.look("").1 {
                Some(_) => Ok(()),
                None => Err(AuthError::KeysUnavailable),
            };
        }
        *last_try = Some(Instant::now());
        let set = download(remote).await.map_err(|reason| {
            tracing::warn!(url = %remote.url, reason, "the issuer's keys cannot be fetched");
            AuthError::KeysUnavailable
        })?;
        let mut known = self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *known = Some(Known { set: Arc::new(set), fetched: Instant::now() });
        Ok(())
    }
}

async fn download(remote: &Remote) -> Result<JwkSet, String> {
    let mut response = remote
        .client
        .get(&remote.url)
        .header(http::header::ACCEPT, "application/json")
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(|error| error.to_string())?;
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| error.to_string())? {
        if body.len() + part.len() > SET_BYTES {
            return Err("the key set is larger than 256 KiB".to_owned());
        }
        body.extend_from_slice(&part);
    }
    let text = String::from_utf8(body).map_err(|_| "the key set is no text".to_owned())?;
    parse(&text).map_err(|error| error.to_string())
}

fn parse(text: &str) -> Result<JwkSet, AuthError> {
    let unusable =
        |why: String| AuthError::KeyFile(format!("the key set is unusable: {why}; next: give a JWKS document"));
    if text.len() > SET_BYTES {
        return Err(unusable("larger than 256 KiB".to_owned()));
    }
    let set: JwkSet = serde_json::from_str(text).map_err(|error| unusable(error.to_string()))?;
    if set.keys.len() > SET_KEYS {
        return Err(unusable(format!("more than {SET_KEYS} keys")));
    }
    Ok(set)
}

/// A client with bundled roots: an image from scratch has no CA files, and the default client would not even be built.
fn http_client(ca: Option<&str>) -> Result<reqwest::Client, AuthError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    lictor_runtime::install_crypto_provider();
    let mut roots = rustls::RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                certificate
                    .map_err(|error| error.to_string())
                    .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()))
                    .map_err(|error| {
                        AuthError::KeyFile(format!("the CA certificate is unusable: {error}; next: give a PEM file"))
                    })?;
            }
        }
    }
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(FETCH_TIME)
        .build()
        .map_err(|error| AuthError::KeyFile(format!("no HTTP client can be made: {error}")))
}
