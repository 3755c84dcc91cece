//! What a program does with a seat besides holding it: use keys, open content, take units.
//!
//! Every call goes to the server that gave the seat, over a connection on which it proved its key. A call that was cut off
//! is repeated for as long as the seat lives; nothing is done twice by that.

use std::sync::Arc;
use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::crypto_service_client::CryptoServiceClient;
use lictor_api::server::v1::unit_service_client::UnitServiceClient;
use lictor_licensing::error::Problem;
use lictor_signing::{Envelope, PublicKey};
use tonic::transport::Channel;
use zeroize::Zeroizing;

use crate::Address;
use crate::client::{Inner, may_retry};
use crate::connection::{ConnectError, Connection};
use crate::content::{ContentError, SealedContent};
use crate::error::{Refusal, TrustError};
use crate::key::{KeyChoice, Plain, ProgramKeys};
use crate::seat::Seat;

/// Longest time for one call with all its repetitions.
const USE_TIME: Duration = Duration::from_secs(8);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Why something could not be done with a seat.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    /// The seat is gone: nothing can be done with it any more. Take a new one.
    #[error("the seat is gone")]
    SeatGone,
    /// The license refuses, such as for want of units.
    #[error("{0}")]
    Refused(Refusal),
    /// The server did not answer in time. The seat may still be there: try again.
    #[error("the licence server does not answer: {0}")]
    Unreachable(String),
    /// The answer is not from whom it should be. Nothing of it was used.
    #[error("the licence server's answer is not trusted: {0}")]
    NotTrusted(TrustError),
    /// The content is not what it should be, or was not sealed for this seat.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The server could not deal with it.
    #[error("the licence server answers: {0}")]
    Failed(Problem),
}

/// The way to the server that gave a seat.
pub(crate) struct Link {
    pub(crate) client: Arc<Inner>,
    pub(crate) address: Address,
    pub(crate) lease_key: PublicKey,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Link {
    async fn connection(&self) -> Result<Arc<Connection>, UseError> {
        let connection = self.client.connection(&self.address).await.map_err(|error| match error {
            ConnectError::Unreachable(reason) => UseError::Unreachable(reason),
            ConnectError::NotTrusted(reason) => UseError::NotTrusted(reason),
        })?;
        if connection.lease_key == self.lease_key {
            Ok(connection)
        } else {
            // Another server does not know the seat, and gets nothing to see of what it was asked.
            Err(UseError::NotTrusted(TrustError::Proof))
        }
    }
}

impl Seat {
    async fn call<T, F>(&self, ask: impl Fn(Channel, Vec<u8>) -> F) -> Result<T, UseError>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let mut last = UseError::Unreachable(format!("no answer within {} s", USE_TIME.as_secs()));
        let calling = async {
            let mut pause = FIRST_PAUSE;
            loop {
                if !self.is_valid() {
                    return Err(UseError::SeatGone);
                }
                match self.link.connection().await {
                    Ok(connection) => match ask(connection.channel.clone(), connection.proof()).await {
                        Ok(answer) => {
                            connection.proved();
                            return Ok(answer.into_inner());
                        }
                        Err(status) if may_retry(&status) => {
                            connection.give_up();
                            last = UseError::Unreachable(status.message().to_owned());
                        }
                        Err(status) => return Err(UseError::Failed(lictor_api::error::problem(&status))),
                    },
                    Err(UseError::Unreachable(reason)) => last = UseError::Unreachable(reason),
                    Err(error) => return Err(error),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        match tokio::time::timeout(USE_TIME, calling).await {
            Ok(done) => done,
            Err(_) => Err(last),
        }
    }

    fn key_use(&self, choice: &KeyChoice, proof: Vec<u8>) -> Option<wire::KeyUse> {
        let lictor_signing::KeyChoice { selector, code, secret, of_container, of_protected_data, of_units } =
            choice.0.clone();
        Some(wire::KeyUse {
            session_id: self.session_id().to_owned(),
            proof,
            choice: Some(wire::KeyChoice {
                selector,
                code,
                secret: secret.map(u32::from),
                of_container,
                of_protected_data,
                of_units,
            }),
        })
    }

    /// Encrypts at most 8 KiB, so that only a seat of the same product under the same choice decrypts it. `associated`, at
    /// most 1 KiB, is covered but not encrypted, and has to be the same again.
    ///
    /// # Errors
    /// See [`UseError`].
    pub async fn encrypt(&self, choice: &KeyChoice, plain: &[u8], associated: &[u8]) -> Result<Vec<u8>, UseError> {
        let ask = |channel, proof| {
            let request = wire::EncryptRequest {
                r#use: self.key_use(choice, proof),
                plain: plain.to_vec(),
                associated: associated.to_vec(),
            };
            async move { CryptoServiceClient::new(channel).encrypt(request).await }
        };
        Ok(self.call(ask).await?.sealed)
    }

    /// Decrypts what [`Seat::encrypt`] made.
    ///
    /// The answer came over a connection that the vendor's chain proves; whether it is the right one only the server knows.
    /// What a program must be able to rely on belongs into [sealed content](Seat::open).
    ///
    /// # Errors
    /// See [`UseError`]; [`UseError::Failed`] when it was not encrypted so, or was changed.
    pub async fn decrypt(&self, choice: &KeyChoice, sealed: &[u8], associated: &[u8]) -> Result<Plain, UseError> {
        let ask = |channel, proof| {
            let request = wire::DecryptRequest {
                r#use: self.key_use(choice, proof),
                sealed: sealed.to_vec(),
                associated: associated.to_vec(),
            };
            async move { CryptoServiceClient::new(channel).decrypt(request).await }
        };
        Ok(Plain(Zeroizing::new(self.call(ask).await?.plain)))
    }

    /// Has the product's key sign a message of at most 8 KiB, and checks the signature by keys that the program brings: the
    /// server behind the seat has the key, or there is no signature. Sign fresh random bytes to prove that it has it now.
    ///
    /// # Errors
    /// See [`UseError`]; [`UseError::NotTrusted`] when the signature is not that of the keys.
    pub async fn sign(&self, keys: &ProgramKeys, message: &[u8]) -> Result<[u8; 64], UseError> {
        let choice = keys.choice();
        let ask = |channel, proof| {
            let request = wire::SignRequest { r#use: self.key_use(&choice, proof), message: message.to_vec() };
            async move { CryptoServiceClient::new(channel).sign(request).await }
        };
        let malformed = UseError::NotTrusted(TrustError::Malformed("the signature has not 64 bytes"));
        let signature: [u8; 64] = (*self.call(ask).await?.signature).try_into().map_err(|_| malformed)?;
        if keys.verify(message, &signature) {
            Ok(signature)
        } else {
            Err(UseError::NotTrusted(TrustError::Answer("it is not signed with the product's key")))
        }
    }

    /// Makes the server prove that it has the product's key now: it has to sign bytes that nobody saw before.
    ///
    /// # Errors
    /// As [`Seat::sign`].
    pub async fn prove(&self, keys: &ProgramKeys) -> Result<(), UseError> {
        let mut challenge = [0; 32];
        getrandom::fill(&mut challenge).map_err(|error| UseError::Unreachable(error.to_string()))?;
        self.sign(keys, &challenge).await.map(drop)
    }

    /// The public halves of the product's keys, for the vendor's build. The lease key signs them for this call alone, and the
    /// vendor's chain certifies the lease key.
    ///
    /// # Errors
    /// See [`UseError`].
    pub async fn program_keys(&self, choice: &KeyChoice) -> Result<ProgramKeys, UseError> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| UseError::Unreachable(error.to_string()))?;
        let ask = |channel, proof| {
            let request = wire::GetProgramKeysRequest { r#use: self.key_use(choice, proof), nonce: nonce.to_vec() };
            async move { CryptoServiceClient::new(channel).get_program_keys(request).await }
        };
        let statement = self.call(ask).await?.statement;
        let envelope = Envelope::from_bytes(&statement)
            .map_err(|_| UseError::NotTrusted(TrustError::Malformed("the keys are not an envelope")))?;
        let keys: lictor_signing::ProgramKeys = envelope
            .open_by_key(&self.link.lease_key)
            .map_err(|_| UseError::NotTrusted(TrustError::Answer("the lease key did not sign it")))?;
        let asked =
            keys.nonce == nonce && (keys.firm_code, keys.product_code) == self.product() && keys.choice == choice.0;
        if asked {
            Ok(ProgramKeys(keys))
        } else {
            Err(UseError::NotTrusted(TrustError::Answer("it answers another question")))
        }
    }

    /// Opens sealed content. Its key leaves the server for this seat only; a server that gives another one is found out.
    ///
    /// # Errors
    /// See [`UseError`]; [`UseError::Content`] when the content is for another product, or key or content do not fit.
    pub async fn open(&self, content: &SealedContent<'_>) -> Result<Plain, UseError> {
        let choice = content.choice();
        let ask = |channel, proof| {
            let locked = content.locked();
            let request = wire::OpenRequest {
                r#use: self.key_use(&choice, proof),
                encapsulated: locked.encapsulated,
                header: locked.header,
                sealed: locked.sealed,
            };
            async move { CryptoServiceClient::new(channel).open(request).await }
        };
        let key = Zeroizing::new(self.call(ask).await?.plain);
        Ok(content.open(&key)?)
    }

    /// Takes units of pay-per-use, and gives what is left. They are taken exactly once, whatever happens to the answer.
    ///
    /// # Errors
    /// See [`UseError`]; [`UseError::Refused`] when there are not enough, and then none are taken. After
    /// [`UseError::Unreachable`] it is not known whether they were: use [`Seat::consume_units_as`] to be able to ask again.
    pub async fn consume_units(&self, units: u64) -> Result<u64, UseError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| UseError::Unreachable(error.to_string()))?;
        self.consume_units_as(id, units).await
    }

    /// The same under a name of 16 random bytes: the same again, by the same client, takes nothing and is answered alike.
    ///
    /// # Errors
    /// As [`Seat::consume_units`].
    pub async fn consume_units_as(&self, id: [u8; 16], units: u64) -> Result<u64, UseError> {
        let ask = |channel, proof| {
            let request = wire::ConsumeUnitsRequest {
                request_id: id.to_vec(),
                session_id: self.session_id().to_owned(),
                proof,
                units,
            };
            async move { UnitServiceClient::new(channel).consume_units(request).await }
        };
        match self.call(ask).await?.outcome {
            Some(wire::consume_units_response::Outcome::Left(left)) => Ok(left),
            Some(wire::consume_units_response::Outcome::Refusal(refusal)) => Err(UseError::Refused(refusal.into())),
            None => Err(UseError::NotTrusted(TrustError::Malformed("the answer is empty"))),
        }
    }
}
