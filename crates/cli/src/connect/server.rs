//! The way to the licence server: a Unix socket, or TLS 1.3 whose key is pinned instead of signed by an authority.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lictor_licensing::error::ErrorCode;
use lictor_sdk::Address;
use lictor_sdk::tls::client_config;
use rustls::pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};
use tokio::net::{TcpStream, UnixStream};
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::{CONNECT_TIME, Caller, is_transport};
use crate::config::Settings;
use crate::failure::{Failure, Outcome};

/// A connection to a licence server.
#[derive(Clone, Debug)]
pub(crate) struct ServerLink {
    host: Address,
    channel: Channel,
    caller: Caller,
}

impl ServerLink {
    /// For verbs that only look: any server that answers first will do.
    pub(crate) async fn reading(settings: &Settings) -> Outcome<Self> {
        let (host, channel) = connect(wanted(settings)?, settings.timeout, pin(settings)?).await?;
        Ok(Self { host, channel, caller: anonymous() })
    }

    /// For verbs that change something: over the Unix socket, or with the admin token to a server whose key is pinned.
    pub(crate) async fn changing(settings: &Settings) -> Outcome<Self> {
        let pin = pin(settings)?;
        let hosts = match &settings.server_socket {
            Some(socket) => vec![Address::Unix(socket.clone())],
            None => wanted(settings)?,
        };
        let (host, channel) = connect(hosts, settings.timeout, pin).await?;
        let caller = match (&host, settings.server_token.as_deref(), pin) {
            (Address::Unix(_), _, _) => anonymous(),
            (Address::Tcp { .. }, Some(token), Some(_)) => Caller::new(Some(token)).ok_or_else(|| {
                Failure::usage("the admin token contains characters that no token has", "check LICTOR_SERVER_TOKEN")
            })?,
            (Address::Tcp { .. }, token, _) => {
                let lacking = if token.is_none() { "admin token" } else { "fingerprint" };
                return Err(Failure::new(
                    ErrorCode::Unauthenticated,
                    format!("the {lacking} of the licence server at {host} is not known"),
                    "use --server unix:/path/to/its/socket, or set server.admin_token and server.fingerprint in client.toml",
                ));
            }
        };
        Ok(Self { host, channel, caller })
    }

    /// What generated clients are built on.
    pub(crate) fn channel(&self) -> InterceptedService<Channel, Caller> {
        InterceptedService::new(self.channel.clone(), self.caller.clone())
    }

    /// Where the server is, in words.
    pub(crate) fn address(&self) -> String {
        self.host.to_string()
    }

    /// What a failed call means for people.
    pub(crate) fn failed(&self, status: Status) -> Failure {
        if is_transport(&status) {
            return gone(&self.host.to_string());
        }
        let mut problem = lictor_api::error::problem(&status);
        if problem.message.is_empty() {
            problem.message = format!("the licence server answered {} without a reason", problem.code);
        }
        problem.into()
    }
}

fn anonymous() -> Caller {
    Caller { authorization: None }
}

fn gone(address: &str) -> Failure {
    Failure::new(
        ErrorCode::Unavailable,
        format!("no licence server answers at {address}"),
        "check that it runs and that --server or CODEMETER_HOST names it",
    )
}

fn pin(settings: &Settings) -> Outcome<Option<[u8; 32]>> {
    let Some(text) = settings.server_fingerprint.as_deref() else {
        return Ok(None);
    };
    let digits: String = text.trim().trim_start_matches("sha256:").chars().filter(|c| *c != ':').collect();
    let malformed = || {
        Failure::usage(
            "the licence server's fingerprint is malformed",
            "write the 64 hex digits that the server printed at its start",
        )
    };
    if digits.len() != 64 || !digits.is_ascii() {
        return Err(malformed());
    }
    let mut pin = [0_u8; 32];
    for (place, byte) in pin.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[place * 2..place * 2 + 2], 16).map_err(|_| malformed())?;
    }
    Ok(Some(pin))
}

fn wanted(settings: &Settings) -> Outcome<Vec<Address>> {
    let hosts = match settings.server.as_deref() {
        Some(list) => Address::parse_list(list),
        None => Address::from_environment(),
    };
    hosts.map_err(|error| Failure::usage(error.to_string(), "correct --server or CODEMETER_HOST"))
}

async fn connect(hosts: Vec<Address>, timeout: u64, pin: Option<[u8; 32]>) -> Outcome<(Address, Channel)> {
    let list: Vec<String> = hosts.iter().map(Address::to_string).collect();
    let mut mismatch = None;
    for host in hosts {
        let check = Arc::new(PinnedKey::new(pin));
        match open(&host, timeout, Arc::clone(&check)).await {
            Some(channel) => return Ok((host, channel)),
            None if check.refused() => mismatch = Some(host),
            None => {}
        }
    }
    match mismatch {
        Some(host) => Err(Failure::new(
            ErrorCode::Unauthenticated,
            format!("the licence server at {host} has another key than the pinned one"),
            "compare the fingerprint that it prints at its start with server.fingerprint in client.toml",
        )),
        None => Err(gone(&list.join(", "))),
    }
}

async fn open(host: &Address, timeout: u64, check: Arc<PinnedKey>) -> Option<Channel> {
    let endpoint = Endpoint::from_static("http://license-server").timeout(Duration::from_secs(timeout));
    let connecting = async {
        match host.clone() {
            Address::Unix(path) => {
                let dial = move |_: Uri| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                };
                endpoint.connect_with_connector(service_fn(dial)).await
            }
            Address::Tcp { host: name, port } => {
                let tls = tokio_rustls::TlsConnector::from(Arc::new(client_config(move |key| check.accepts(key))));
                let dial = move |_: Uri| {
                    let (tls, name) = (tls.clone(), name.clone());
                    async move {
                        let stream = TcpStream::connect((name.as_str(), port)).await?;
                        stream.set_nodelay(true)?;
                        // The name plays no part in the check; a name that TLS cannot carry gets a stand-in.
                        let server_name = ServerName::try_from(name)
                            .or_else(|_| ServerName::try_from("license-server"))
                            .map_err(std::io::Error::other)?;
                        tls.connect(server_name, stream).await.map(TokioIo::new)
                    }
                };
                endpoint.connect_with_connector(service_fn(dial)).await
            }
        }
    };
    tokio::time::timeout(CONNECT_TIME, connecting).await.ok()?.ok()
}

/// Accepts exactly the pinned certificate. Without a pin it accepts any: then only reading is done, and no secret is sent.
#[derive(Debug)]
struct PinnedKey {
    pin: Option<[u8; 32]>,
    refused: std::sync::atomic::AtomicBool,
}

impl PinnedKey {
    fn new(pin: Option<[u8; 32]>) -> Self {
        Self { pin, refused: std::sync::atomic::AtomicBool::new(false) }
    }

    fn accepts(&self, certificate: &CertificateDer<'_>) -> bool {
        let fingerprint: [u8; 32] = Sha256::digest(certificate).into();
        let accepted = self.pin.is_none_or(|pin| pin == fingerprint);
        if !accepted {
            self.refused.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        accepted
    }

    fn refused(&self) -> bool {
        self.refused.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_may_carry_colons_and_a_prefix() {
        let settings = |text: &str| Settings { server_fingerprint: Some(text.to_owned()), ..Settings::default() };
        let colons = vec!["0a"; 32].join(":");
        assert_eq!(pin(&settings(&colons)).expect("pin"), Some([10; 32]));
        assert_eq!(pin(&settings(&format!("sha256:{}", "0A".repeat(32)))).expect("pin"), Some([10; 32]));
        for bad in ["", "0a", &"zz".repeat(32), &"é".repeat(32)] {
            assert!(pin(&settings(bad)).is_err(), "{bad}");
        }
    }
}
