//! A client that uses its seat: units and keys, spoken by hand.

use std::path::Path;

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::crypto_service_client::CryptoServiceClient;
use lictor_api::server::v1::seat_service_client::SeatServiceClient;
use lictor_api::server::v1::unit_service_client::UnitServiceClient;
use lictor_key_store::MemorySigner;
use lictor_signing::{Signer as _, client_proof_message};
use tonic::transport::Channel;

use super::client::{RawClient, unix_channel};

pub(crate) struct Program {
    pub(crate) raw: RawClient,
    pub(crate) crypto: CryptoServiceClient<Channel>,
    pub(crate) units: UnitServiceClient<Channel>,
    pub(crate) session: String,
}

impl Program {
    /// A connection of its own for the client with key number `key`, without a seat.
    pub(crate) async fn connect(socket: &Path, key: u8) -> Self {
        let channel = unix_channel(socket).await;
        let key = MemorySigner::from_seed(&[key; 32]);
        let mut seats = SeatServiceClient::new(channel.clone());
        let hello = wire::HelloRequest { nonce: vec![1; 32], firm_code: 0 };
        let hello = seats.hello(hello).await.expect("hello").into_inner();
        let binding = (*hello.channel_binding).try_into().expect("a binding");
        let message = client_proof_message(&binding, key.public_key().as_bytes());
        let proof = key.sign(&message).expect("signed").as_bytes().to_vec();
        Self {
            raw: RawClient { seats, key, proof },
            crypto: CryptoServiceClient::new(channel.clone()),
            units: UnitServiceClient::new(channel),
            session: String::new(),
        }
    }

    /// The same with a seat of a product.
    pub(crate) async fn with_seat(socket: &Path, key: u8, product: u32) -> Self {
        let mut this = Self::connect(socket, key).await;
        this.session = this.raw.acquire(key, product).await.expect("a seat").session_id;
        this
    }

    pub(crate) fn choose(&self, choice: wire::KeyChoice) -> Option<wire::KeyUse> {
        Some(wire::KeyUse { session_id: self.session.clone(), proof: Vec::new(), choice: Some(choice) })
    }

    pub(crate) async fn encrypt(&mut self, choice: &wire::KeyChoice, plain: &[u8]) -> Result<Vec<u8>, tonic::Status> {
        let request = wire::EncryptRequest {
            r#use: self.choose(choice.clone()),
            plain: plain.to_vec(),
            associated: b"with".to_vec(),
        };
        self.crypto.encrypt(request).await.map(|answer| answer.into_inner().sealed)
    }

    pub(crate) async fn decrypt(&mut self, choice: &wire::KeyChoice, sealed: &[u8]) -> Result<Vec<u8>, tonic::Status> {
        let request = wire::DecryptRequest {
            r#use: self.choose(choice.clone()),
            sealed: sealed.to_vec(),
            associated: b"with".to_vec(),
        };
        self.crypto.decrypt(request).await.map(|answer| answer.into_inner().plain)
    }

    pub(crate) async fn sign(&mut self, choice: &wire::KeyChoice, message: &[u8]) -> Result<Vec<u8>, tonic::Status> {
        let request = wire::SignRequest { r#use: self.choose(choice.clone()), message: message.to_vec() };
        self.crypto.sign(request).await.map(|answer| answer.into_inner().signature)
    }

    pub(crate) async fn consume(&mut self, request: u8, units: u64) -> Result<u64, u32> {
        let request = wire::ConsumeUnitsRequest {
            request_id: vec![request; 16],
            session_id: self.session.clone(),
            proof: Vec::new(),
            units,
        };
        let answer = self.units.consume_units(request).await.expect("an answer").into_inner();
        match answer.outcome.expect("an outcome") {
            wire::consume_units_response::Outcome::Left(left) => Ok(left),
            wire::consume_units_response::Outcome::Refusal(refusal) => Err(refusal.reasons[0].code),
        }
    }
}
