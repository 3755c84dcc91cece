//! Seats: hello, acquire, hold, revalidate, release.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::seat_service_server::SeatService;
use lictor_api::types::v1 as types;
use lictor_clock::SharedClock;
use lictor_key_store::MemorySigner;
use lictor_licensing::access::{Origin, Station};
use lictor_licensing::binding::ContainerKind;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::id::SessionId;
use lictor_licensing::refusal::{Reason, Refusal, RefusalLine};
use lictor_signing::{Signer as _, server_proof_message};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::hold::HoldStream;
use super::wait::WaitStream;
use super::{channel, parse, status, view};
use crate::domain::ask::{Answer, Ask, Given};
use crate::listen::{Channel, Peer};
use crate::settings::{SessionTimes, StationRule};
use crate::upstream::Upstreams;
use crate::writer::Ledger;

/// Who this server is.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) lease: MemorySigner,
    pub(crate) container_id: [u8; 32],
    pub(crate) kind: ContainerKind,
    pub(crate) version: String,
    pub(crate) instance: String,
    pub(crate) host: Station,
    pub(crate) station_rule: StationRule,
    pub(crate) network_server: bool,
    pub(crate) times: SessionTimes,
    pub(crate) clock: SharedClock,
    /// What programs check the lease key by; changes only with the container.
    pub(crate) chains: RwLock<Arc<Vec<wire::LeaseChain>>>,
}

impl Identity {
    /// The station that a caller counts for.
    pub(crate) fn station(&self, channel: &Channel) -> Station {
        let own = self.station_rule == StationRule::Container || channel.origin() != Origin::Local;
        match channel.peer() {
            // An address always makes a name.
            Peer::Tcp(address) if own => {
                Station::new(&address.ip().to_canonical().to_string()).unwrap_or_else(|_| self.host.clone())
            }
            _ => self.host.clone(),
        }
    }

    /// Reads the chains anew, after the container changed.
    pub(crate) async fn refresh(&self, ledger: &Ledger) -> Result<(), Problem> {
        let chains = ledger.read(|keeper, _| view::lease_chains(&keeper.state)).await?;
        *self.chains.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(chains);
        Ok(())
    }
}

/// The RPCs of programs.
#[derive(Clone, Debug)]
pub(crate) struct Seats {
    pub(crate) identity: Arc<Identity>,
    pub(crate) ledger: Ledger,
    pub(crate) upstreams: Upstreams,
}

fn no_session() -> Status {
    status(&crate::writer::no_session())
}

impl Seats {
    /// Lets a proof count that came with a call about a session. Needed once per connection; without one the call is
    /// answered by what was proved before.
    pub(super) async fn take_proof(&self, channel: &Channel, session: SessionId, proof: &[u8]) -> Result<(), Status> {
        if proof.is_empty() {
            return Ok(());
        }
        let key = self.ledger.read(move |keeper, _| keeper.client_key(session)).await.map_err(|p| status(&p))?;
        if key.is_some_and(|key| !channel.proves(&key, proof)) {
            return Err(bad_proof());
        }
        Ok(())
    }

    /// A wish whose client has proved itself on this connection.
    fn asked(&self, channel: &Channel, mut request: wire::AcquireRequest) -> Result<Ask, Status> {
        let proof = std::mem::take(&mut request.proof);
        let station = self.identity.station(channel);
        let ask = parse::ask(request, station, channel, false).map_err(|problem| status(&problem))?;
        if channel.proves(&ask.client_key, &proof) { Ok(ask) } else { Err(bad_proof()) }
    }

    pub(super) fn grant(&self, given: Given) -> wire::Grant {
        let Given { session, text, quantity, module_of, terms, signed } = given;
        let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let times = self.identity.times;
        wire::Grant {
            session_id: session.id.to_string(),
            statement: signed.statement,
            proof: signed.proof,
            // What was read when the terms came is read again.
            chain: terms.as_ref().and_then(|terms| wire::LeaseChain::decode(&*terms.chain).ok()),
            entry: Some(types::Entry {
                product_code: session.product_code.get(),
                feature_map: session.feature_map.bits(),
                text,
                quantity: quantity.unwrap_or(0),
                free: 0,
                counted: quantity.is_some(),
                module_of: module_of.map(|code| code.get()),
                effective: Vec::new(),
                license_id: session.license.to_string(),
                units_left: None,
            }),
            serial: terms.map_or_else(|| serial_of(&self.identity), |terms| terms.serial.clone()),
            revalidate_within_ms: millis(times.revalidate_within),
            reconnect_grace_ms: millis(times.reconnect_grace),
        }
    }
}

/// The display name follows from the container's id.
fn serial_of(identity: &Identity) -> String {
    crate::domain::serial(&identity.container_id)
}

pub(super) fn bad_proof() -> Status {
    status(&Problem::new(
        ErrorCode::Unauthenticated,
        "the client does not prove that it holds its key on this connection",
        "sign the channel binding of this connection with the client key",
    ))
}

/// Callers of the network, when the server is not there for them.
pub(super) fn remote_denied(ask: &Ask) -> Refusal {
    Refusal::one(RefusalLine {
        serial: None,
        product_code: ask.product_code,
        reason: Reason::RemoteDenied,
        holders: Vec::new(),
        free_at: None,
        instead: Some(
            "run the program on the server's machine or container network, or set CM_NETWORK_SERVER=1 there".to_owned(),
        ),
    })
}

fn refused(refusal: &Refusal) -> wire::AcquireResponse {
    wire::AcquireResponse { outcome: Some(wire::acquire_response::Outcome::Refusal(view::refusal(refusal))) }
}

#[tonic::async_trait]
impl SeatService for Seats {
    async fn hello(&self, request: Request<wire::HelloRequest>) -> Result<Response<wire::HelloResponse>, Status> {
        let channel = channel(&request)?;
        let wire::HelloRequest { nonce, firm_code } = request.into_inner();
        let nonce: [u8; 32] = (*nonce).try_into().map_err(|_| {
            status(&Problem::new(ErrorCode::InvalidArgument, "nonce must have 32 bytes", "send 32 random bytes"))
        })?;
        let proof = self.identity.lease.sign(&server_proof_message(channel.binding(), &nonce)).map_err(|_| {
            status(&Problem::new(ErrorCode::Internal, "the lease key does not sign", "look into the log"))
        })?;
        let chains = Arc::clone(&self.identity.chains.read().unwrap_or_else(PoisonError::into_inner));
        Ok(Response::new(wire::HelloResponse {
            version: self.identity.version.clone(),
            chains: chains.iter().filter(|chain| firm_code == 0 || chain.firm_code == firm_code).cloned().collect(),
            proof: proof.as_bytes().to_vec(),
            instance: self.identity.instance.clone(),
            lease_key: self.identity.lease.public_key().as_bytes().to_vec(),
            channel_binding: if channel.is_plain() { channel.binding().to_vec() } else { Vec::new() },
        }))
    }

    async fn acquire(&self, request: Request<wire::AcquireRequest>) -> Result<Response<wire::AcquireResponse>, Status> {
        let channel = channel(&request)?;
        let ask = self.asked(&channel, request.into_inner())?;
        if channel.origin() != Origin::Local && !self.identity.network_server {
            return Ok(Response::new(refused(&remote_denied(&ask))));
        }
        let (answer, beyond) = self.upstreams.acquire(&self.ledger, ask).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(match answer {
            Answer::Granted(given) => {
                wire::AcquireResponse { outcome: Some(wire::acquire_response::Outcome::Grant(self.grant(*given))) }
            }
            Answer::Refused(refusal) => {
                let refusal = view::refusal_beside(&refusal, beyond);
                wire::AcquireResponse { outcome: Some(wire::acquire_response::Outcome::Refusal(refusal)) }
            }
        }))
    }

    type WaitStream = WaitStream;

    async fn wait(&self, request: Request<wire::WaitRequest>) -> Result<Response<WaitStream>, Status> {
        let channel = channel(&request)?;
        let wire::WaitRequest { request, wait_ms } = request.into_inner();
        let seats = Arc::new(self.clone());
        let ask = self.asked(&channel, request.unwrap_or_default())?;
        if channel.origin() != Origin::Local && !self.identity.network_server {
            return Ok(Response::new(WaitStream::refused(seats, Answer::Refused(remote_denied(&ask)))));
        }
        self.upstreams.prepare(&self.ledger, &ask).await;
        let visit = self.ledger.wait(ask, Duration::from_millis(wait_ms)).map_err(|problem| status(&problem))?;
        Ok(Response::new(WaitStream::new(seats, visit)))
    }

    type HoldStream = HoldStream;

    async fn hold(&self, request: Request<wire::HoldRequest>) -> Result<Response<HoldStream>, Status> {
        let channel = channel(&request)?;
        let wire::HoldRequest { session_id, proof } = request.into_inner();
        let session = parse::session_id(&session_id).map_err(|problem| status(&problem))?;
        self.take_proof(&channel, session, &proof).await?;
        let held = self.ledger.attach(session, channel).await.map_err(|problem| status(&problem))?;
        let held = held.ok_or_else(no_session)?;
        Ok(Response::new(HoldStream::new(held, self.identity.times.beat_interval, self.identity.clock.clone())))
    }

    async fn revalidate(
        &self,
        request: Request<wire::RevalidateRequest>,
    ) -> Result<Response<wire::RevalidateResponse>, Status> {
        let channel = channel(&request)?;
        let wire::RevalidateRequest { session_id, proof } = request.into_inner();
        let session = parse::session_id(&session_id).map_err(|problem| status(&problem))?;
        self.take_proof(&channel, session, &proof).await?;
        if !self.ledger.revalidate(session, channel).await.map_err(|problem| status(&problem))? {
            return Err(no_session());
        }
        let within = u64::try_from(self.identity.times.revalidate_within.as_millis()).unwrap_or(u64::MAX);
        Ok(Response::new(wire::RevalidateResponse {
            outcome: Some(wire::revalidate_response::Outcome::RevalidateWithinMs(within)),
        }))
    }

    async fn release(&self, request: Request<wire::ReleaseRequest>) -> Result<Response<wire::ReleaseResponse>, Status> {
        let channel = channel(&request)?;
        let wire::ReleaseRequest { session_id, proof } = request.into_inner();
        let session = parse::session_id(&session_id).map_err(|problem| status(&problem))?;
        self.take_proof(&channel, session, &proof).await?;
        self.ledger.release(session, channel).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(wire::ReleaseResponse {}))
    }
}
