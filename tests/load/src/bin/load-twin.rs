//! The bare twin: the seat service's messages over TLS 1.3 with nothing behind them.
//!
//! `load-twin ADDRESS`; `load-twin stamp` says the nanoseconds since boot and ends.

use std::{io::Write as _, net::SocketAddr, pin::Pin};

use anyhow::Context;
use lictor_api::server::v1::{
    AcquireRequest, AcquireResponse, Beat, Grant, HelloRequest, HelloResponse, HoldEvent, HoldRequest, ReleaseRequest,
    ReleaseResponse, RevalidateRequest, RevalidateResponse, WaitEvent, WaitRequest,
    acquire_response::Outcome,
    hold_event, revalidate_response,
    seat_service_server::{SeatService, SeatServiceServer},
};
use lictor_clock::{Clock as _, SystemClock};
use lictor_tests_load::cold::STAMP;
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig},
};

/// About as long as a real grant's statement.
const STATEMENT_BYTES: usize = 320;

struct Bare;

#[tonic::async_trait]
impl SeatService for Bare {
    type HoldStream = Pin<Box<dyn Stream<Item = Result<HoldEvent, Status>> + Send>>;

    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        let proof = request.into_inner().nonce;
        Ok(Response::new(HelloResponse { proof, ..HelloResponse::default() }))
    }

    async fn acquire(&self, request: Request<AcquireRequest>) -> Result<Response<AcquireResponse>, Status> {
        let request = request.into_inner();
        let session_id = request.request_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let grant = Grant { session_id, statement: vec![0; STATEMENT_BYTES], ..Grant::default() };
        Ok(Response::new(AcquireResponse { outcome: Some(Outcome::Grant(grant)) }))
    }

    type WaitStream = tokio_stream::Pending<Result<WaitEvent, Status>>;

    async fn wait(&self, _: Request<WaitRequest>) -> Result<Response<Self::WaitStream>, Status> {
        Err(Status::unimplemented("nobody waits at the twin"))
    }

    async fn hold(&self, _: Request<HoldRequest>) -> Result<Response<Self::HoldStream>, Status> {
        let beat = HoldEvent { event: Some(hold_event::Event::Beat(Beat { number: 0, interval_ms: 10_000 })) };
        let beats = tokio_stream::once(Ok(beat)).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(beats)))
    }

    async fn revalidate(&self, _: Request<RevalidateRequest>) -> Result<Response<RevalidateResponse>, Status> {
        let outcome = Some(revalidate_response::Outcome::RevalidateWithinMs(60_000));
        Ok(Response::new(RevalidateResponse { outcome }))
    }

    async fn release(&self, _: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        Ok(Response::new(ReleaseResponse {}))
    }
}

fn main() -> anyhow::Result<()> {
    let word = std::env::args().nth(1).context("usage: load-twin ADDRESS")?;
    if word == STAMP {
        writeln!(std::io::stdout(), "{}", SystemClock.boottime().as_nanos())?;
        return Ok(());
    }
    serve(word.parse()?)
}

#[tokio::main]
async fn serve(address: SocketAddr) -> anyhow::Result<()> {
    // The provider is shared with whatever else links it; a second installation does nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // The licence server's own key is Ed25519 too.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let certificate = rcgen::CertificateParams::new(vec!["license-server".to_owned()])?.self_signed(&key)?;
    let identity = Identity::from_pem(certificate.pem(), key.serialize_pem());
    Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))?
        .add_service(SeatServiceServer::new(Bare))
        .serve(address)
        .await?;
    Ok(())
}
