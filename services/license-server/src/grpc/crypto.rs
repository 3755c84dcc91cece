//! RPCs that use keys for programs: the key is chosen under the state, and used outside of the writer's thread.

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::crypto_service_server::CryptoService;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_signing::{Envelope, KeyChoice, ProgramKeys, Signer as _};
use tonic::{Request, Response, Status};

use super::{Seats, channel, parse, status};
use crate::domain::crypto::{CryptoError, MAX_ASSOCIATED_BYTES, MAX_TEXT_BYTES, ProgramKey, SEALED_EXTRA_BYTES};
use crate::listen::Channel;
use crate::writer::no_session;

/// Bytes that sealing to a public key adds.
const SEAL_BYTES: usize = 16;

/// Uses keys for programs.
#[derive(Clone, Debug)]
pub(crate) struct Crypto(pub(crate) Seats);

/// A key that may be used, and whose it is.
struct Chosen {
    key: ProgramKey,
    choice: KeyChoice,
    firm_code: u32,
    product_code: u32,
    now: lictor_clock::Timestamp,
}

impl Crypto {
    /// The key that a client may use who holds the session.
    async fn key(&self, channel: Channel, given: Option<wire::KeyUse>) -> Result<Chosen, Status> {
        let wire::KeyUse { session_id, proof, choice } = given.unwrap_or_default();
        let session = parse::session_id(&session_id).map_err(|problem| status(&problem))?;
        let choice = parse::key_choice(choice.unwrap_or_default()).map_err(|problem| status(&problem))?;
        self.0.take_proof(&channel, session, &proof).await?;
        let container_id = self.0.identity.container_id;
        let look = self.0.ledger.read(move |keeper, moment| {
            let client = keeper.client_key(session).filter(|key| channel.has_proved(key));
            let client = client.ok_or_else(no_session)?;
            let key = keeper.program_key(session, &client, &container_id, &choice, moment);
            let (key, session) = key.map_err(CryptoError::problem)?;
            let (firm_code, product_code) = (session.firm_code.get(), session.product_code.get());
            Ok(Chosen { key, choice, firm_code, product_code, now: keeper.state.effective(moment) })
        });
        look.await.and_then(|chosen: Result<Chosen, Problem>| chosen).map_err(|problem| status(&problem))
    }
}

fn within(bytes: &[u8], limit: usize, what: &str) -> Result<(), Status> {
    if bytes.len() <= limit {
        return Ok(());
    }
    Err(status(&Problem::new(
        ErrorCode::LimitExceeded,
        format!("{what} may have at most {limit} bytes, not {}", bytes.len()),
        "encrypt long texts with a key of the program's own, and that key with the license",
    )))
}

fn refused(error: CryptoError) -> Status {
    status(&error.problem())
}

#[tonic::async_trait]
impl CryptoService for Crypto {
    async fn encrypt(&self, request: Request<wire::EncryptRequest>) -> Result<Response<wire::EncryptResponse>, Status> {
        let channel = channel(&request)?;
        let wire::EncryptRequest { r#use, plain, associated } = request.into_inner();
        within(&plain, MAX_TEXT_BYTES, "plain")?;
        within(&associated, MAX_ASSOCIATED_BYTES, "associated")?;
        let chosen = self.key(channel, r#use).await?;
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).map_err(|_| {
            status(&Problem::new(ErrorCode::Internal, "the licence server has no random bytes", "look into its log"))
        })?;
        let sealed = chosen.key.encrypt(&zeroize::Zeroizing::new(plain), &associated, &nonce);
        Ok(Response::new(wire::EncryptResponse { sealed }))
    }

    async fn decrypt(&self, request: Request<wire::DecryptRequest>) -> Result<Response<wire::DecryptResponse>, Status> {
        let channel = channel(&request)?;
        let wire::DecryptRequest { r#use, sealed, associated } = request.into_inner();
        within(&sealed, MAX_TEXT_BYTES + SEALED_EXTRA_BYTES, "sealed")?;
        within(&associated, MAX_ASSOCIATED_BYTES, "associated")?;
        let plain = self.key(channel, r#use).await?.key.decrypt(&sealed, &associated).map_err(refused)?;
        Ok(Response::new(wire::DecryptResponse { plain: plain.to_vec() }))
    }

    async fn open(&self, request: Request<wire::OpenRequest>) -> Result<Response<wire::OpenResponse>, Status> {
        let channel = channel(&request)?;
        let wire::OpenRequest { r#use, encapsulated, header, sealed } = request.into_inner();
        within(&sealed, MAX_TEXT_BYTES + SEAL_BYTES, "sealed")?;
        within(&header, MAX_ASSOCIATED_BYTES, "header")?;
        let encapsulated = parse::exactly(&encapsulated, "encapsulated").map_err(|problem| status(&problem))?;
        let key = self.key(channel, r#use).await?.key.sealing();
        let plain = key.open(&encapsulated, &header, &sealed).map_err(|_| refused(CryptoError::NotOurs))?;
        Ok(Response::new(wire::OpenResponse { plain: plain.to_vec() }))
    }

    async fn sign(&self, request: Request<wire::SignRequest>) -> Result<Response<wire::SignResponse>, Status> {
        let channel = channel(&request)?;
        let wire::SignRequest { r#use, message } = request.into_inner();
        within(&message, MAX_TEXT_BYTES, "message")?;
        let chosen = self.key(channel, r#use).await?;
        let signature = chosen.key.sign(&message).map_err(|problem| status(&problem))?;
        Ok(Response::new(wire::SignResponse { signature: signature.as_bytes().to_vec() }))
    }

    async fn get_program_keys(
        &self,
        request: Request<wire::GetProgramKeysRequest>,
    ) -> Result<Response<wire::GetProgramKeysResponse>, Status> {
        let channel = channel(&request)?;
        let wire::GetProgramKeysRequest { r#use, nonce } = request.into_inner();
        let nonce = parse::exactly(&nonce, "nonce").map_err(|problem| status(&problem))?;
        let Chosen { key, choice, firm_code, product_code, now } = self.key(channel, r#use).await?;
        let statement = ProgramKeys {
            nonce,
            firm_code,
            product_code,
            choice,
            sealing_key: key.sealing().public().0,
            verifying_key: key.signing().public_key(),
            stated_at: now,
        };
        let envelope = Envelope::seal(&statement, &[&self.0.identity.lease]).map_err(|_| {
            status(&Problem::new(ErrorCode::Internal, "the lease key does not sign", "look into the log"))
        })?;
        Ok(Response::new(wire::GetProgramKeysResponse { statement: envelope.to_bytes() }))
    }
}
