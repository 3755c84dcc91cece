//! Keys in a PKCS#11 token, reached through an agent.
//!
//! The module of a token is foreign C code that has to be loaded at run time. The services are static programs that
//! load nothing, and a fault in foreign code must never take one down: so the module lives in `lictor-key-agent`, a
//! process of its own, and this is its client. It speaks over a Unix socket in bounded frames ([`wire`]), gives up after
//! a time limit, connects anew when the agent was away, and checks every signature before it hands it on.

pub mod wire;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lictor_signing::{PublicKey, Signature, Signer, SignerError};

use crate::KeyStoreError;
use wire::{Fault, Reply, Request};

/// Longest wait for one answer unless set otherwise.
pub const USUAL_PATIENCE: Duration = Duration::from_secs(10);
/// Connections that are kept open between requests.
const IDLE_CONNECTIONS: usize = 8;

/// Keys of a token behind an agent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AgentKeyStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    socket: PathBuf,
    patience: Duration,
    idle: Mutex<Vec<UnixStream>>,
}

impl AgentKeyStore {
    /// A client of the agent at this socket. Connects when first used.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>, patience: Duration) -> Self {
        let inner = Inner { socket: socket.into(), patience, idle: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.inner.socket
    }

    /// All Ed25519 keys of the token, by name.
    ///
    /// # Errors
    /// When agent or token do not answer.
    pub fn keys(&self) -> Result<Vec<(String, PublicKey)>, KeyStoreError> {
        match self.inner.ask(&Request::List)? {
            Reply::Keys(keys) => Ok(keys),
            other => Err(unexpected(other)),
        }
    }

    /// The key of this name.
    ///
    /// # Errors
    /// When there is none, there are two, or nobody answers.
    pub fn load(&self, name: &str) -> Result<AgentSigner, KeyStoreError> {
        let mut named = self.keys()?.into_iter().filter(|(found, _)| found == name);
        let (_, public) = named.next().ok_or_else(|| KeyStoreError::Missing(name.to_owned()))?;
        if named.next().is_some() {
            return Err(KeyStoreError::Refused(format!("the token holds two keys called {name}")));
        }
        Ok(self.signer(public))
    }

    /// Makes a key inside the token, from where it cannot be read.
    ///
    /// # Errors
    /// When there is one of this name, or nobody answers.
    pub fn generate(&self, name: &str) -> Result<AgentSigner, KeyStoreError> {
        match self.inner.ask(&Request::Generate { name: name.to_owned() })? {
            Reply::Key(public) => Ok(self.signer(public)),
            Reply::Fault(Fault::Exists, _) => Err(KeyStoreError::Exists(name.to_owned())),
            other => Err(unexpected(other)),
        }
    }

    fn signer(&self, public: PublicKey) -> AgentSigner {
        AgentSigner { agent: Arc::clone(&self.inner), public }
    }
}

/// A key of a token.
#[derive(Clone, Debug)]
pub struct AgentSigner {
    agent: Arc<Inner>,
    public: PublicKey,
}

impl Signer for AgentSigner {
    fn public_key(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignerError> {
        let request = Request::Sign { key: self.public, message: message.to_vec() };
        let signature = match self.agent.ask(&request).map_err(signer_error)? {
            Reply::Signature(signature) => signature,
            other => return Err(signer_error(unexpected(other))),
        };
        // What foreign code made is not handed on unseen.
        if self.public.verifies(message, &signature) {
            return Ok(signature);
        }
        Err(SignerError::Unavailable("the token gave a signature that does not verify".to_owned()))
    }
}

impl Inner {
    fn ask(&self, request: &Request) -> Result<Reply, KeyStoreError> {
        // A kept connection may be one to an agent that is gone. Making a key is not repeated: the first try may have
        // made it, and then the second would be told that it exists.
        let kept = self.lock().pop().filter(|_| !matches!(request, Request::Generate { .. }));
        if let Some(stream) = kept {
            match self.exchange(stream, request) {
                Ok(reply) => return Ok(reply),
                // An agent that is there and slow is not asked twice.
                Err(error) if is_timeout(&error) => return Err(self.away(&error)),
                Err(_) => {}
            }
        }
        let stream = UnixStream::connect(&self.socket).map_err(|error| self.away(&error))?;
        self.exchange(stream, request).map_err(|error| self.away(&error))
    }

    fn exchange(&self, mut stream: UnixStream, request: &Request) -> io::Result<Reply> {
        stream.set_write_timeout(Some(self.patience))?;
        stream.set_read_timeout(Some(self.patience))?;
        wire::send(&mut stream, request)?;
        let reply = wire::receive(&mut stream, wire::MAX_REPLY_BYTES)?
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let mut idle = self.lock();
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(stream);
        }
        Ok(reply)
    }

    fn away(&self, error: &io::Error) -> KeyStoreError {
        let why = if is_timeout(error) { "no answer in time".to_owned() } else { error.kind().to_string() };
        KeyStoreError::Unavailable(format!("{}: {why}", self.socket.display()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<UnixStream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn unexpected(reply: Reply) -> KeyStoreError {
    match reply {
        Reply::Fault(Fault::Unavailable | Fault::Missing, text) => KeyStoreError::Unavailable(text),
        Reply::Fault(Fault::Refused | Fault::Exists, text) => KeyStoreError::Refused(text),
        _ => KeyStoreError::Unavailable("the agent answered something else than was asked".to_owned()),
    }
}

fn signer_error(error: KeyStoreError) -> SignerError {
    match error {
        KeyStoreError::Unavailable(text) => SignerError::Unavailable(text),
        other => SignerError::Refused(other.to_string()),
    }
}
