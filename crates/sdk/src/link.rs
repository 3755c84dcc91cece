//! A proved connection for licence servers that ask another one for seats. Programs do not need it.

use std::sync::Arc;

use lictor_api::server::v1::LeaseChain;
use lictor_key_store::MemorySigner;
use lictor_signing::{BlockCertificate, PublicKey};
use tonic::transport::Channel;

use crate::connection::{ConnectError, Connection};
use crate::error::TrustError;
use crate::trust::{Issuer, Trust};
use crate::{Address, tls};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody answers; trying again may help.
    #[error("it does not answer: {0}")]
    Unreachable(String),
    /// Somebody answers who is not what he says.
    #[error("it is not trusted: {0}")]
    NotTrusted(TrustError),
}

/// A connection whose server proved its key.
pub struct Link(Connection, Trust);

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Connects, lets the server prove itself, and prepares the proof of `key`.
    ///
    /// # Errors
    /// When nobody answers in five seconds, or not with proof.
    pub async fn open(address: &Address, trust: &Trust, key: &MemorySigner) -> Result<Self, LinkError> {
        let config = Arc::new(tls::client_config(|_| true));
        match Connection::open(address, &config, trust, key).await {
            Ok(connection) => Ok(Self(connection, trust.clone())),
            Err(ConnectError::Unreachable(reason)) => Err(LinkError::Unreachable(reason)),
            Err(ConnectError::NotTrusted(reason)) => Err(LinkError::NotTrusted(reason)),
        }
    }

    /// What clients are built on.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.0.channel.clone()
    }

    /// The proof that belongs into the next call; empty once a call with it was answered.
    #[must_use]
    pub fn proof(&self) -> Vec<u8> {
        self.0.proof()
    }

    /// A call that carried the proof was answered.
    pub fn proved(&self) {
        self.0.proved();
    }

    /// Whether the firm has certified this server for what it lends itself.
    ///
    /// # Errors
    /// What does not hold.
    pub fn speaks_for(&self, firm_code: u32) -> Result<(), TrustError> {
        self.0.certificate(firm_code).map(drop)
    }

    /// Follows a chain over a lender to the key that hands its seats out.
    ///
    /// # Errors
    /// When a step of it does not hold.
    pub fn block(&self, chain: &LeaseChain, key: &PublicKey) -> Result<BlockCertificate, TrustError> {
        match self.1.delegated(chain, key)? {
            Issuer::Block { block, .. } => Ok(block),
            Issuer::Container(_) => Err(TrustError::Malformed("there is no delegation")),
        }
    }
}
