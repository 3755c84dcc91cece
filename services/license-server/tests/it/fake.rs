//! Fake licence servers: whatever they show, a program does not believe them.

use std::path::PathBuf;

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::seat_service_server::{SeatService, SeatServiceServer};
use lictor_key_store::MemorySigner;
use lictor_sdk::{AcquireError, Client, Request as SeatRequest, TrustError};
use lictor_signing::{
    Envelope, GrantStatement, PublicKey, SignedPayload as _, Signer as _, cbor, server_proof_message, sign_batch,
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

use crate::stage::vendor::{FIRM, Vendor, start_of_tests};

pub(crate) type Twist = fn(&mut GrantStatement);
/// Makes the proof of a statement.
pub(crate) type Prove = fn(&MemorySigner, &[u8]) -> Vec<u8>;

/// What a fake does.
#[derive(Clone)]
pub(crate) struct Fake {
    /// The key that it really holds.
    pub(crate) key: MemorySigner,
    /// The key that it says it holds.
    pub(crate) claimed: PublicKey,
    pub(crate) root_documents: Vec<Vec<u8>>,
    pub(crate) certificate: Vec<u8>,
    /// Changes the grant before it is signed.
    pub(crate) twist: Twist,
    /// Signs it.
    pub(crate) prove: Prove,
    /// For a seat out of a block: the way over the lender. Such a server shows no certificate of its own.
    pub(crate) lender: Option<wire::LeaseChain>,
}

/// As it should be: a batch of one.
pub(crate) fn alone(key: &MemorySigner, statement: &[u8]) -> Vec<u8> {
    cbor::encode(&sign_batch::<GrantStatement>(&[statement.to_vec()], key).expect("signed")[0])
}

const BINDING: [u8; 32] = [3; 32];
const CONTAINER: [u8; 32] = [4; 32];

#[tonic::async_trait]
impl SeatService for Fake {
    async fn hello(&self, request: Request<wire::HelloRequest>) -> Result<Response<wire::HelloResponse>, Status> {
        let nonce: [u8; 32] = (*request.into_inner().nonce).try_into().expect("32 bytes");
        let proof = self.key.sign(&server_proof_message(&BINDING, &nonce)).expect("signed");
        Ok(Response::new(wire::HelloResponse {
            version: "9.9.9".to_owned(),
            chains: if self.lender.is_some() {
                Vec::new()
            } else {
                vec![wire::LeaseChain {
                    firm_code: FIRM,
                    root_documents: self.root_documents.clone(),
                    lease_certificate: self.certificate.clone(),
                    delegation: Vec::new(),
                }]
            },
            proof: proof.as_bytes().to_vec(),
            instance: "fake".to_owned(),
            lease_key: self.claimed.as_bytes().to_vec(),
            channel_binding: BINDING.to_vec(),
        }))
    }

    async fn acquire(&self, request: Request<wire::AcquireRequest>) -> Result<Response<wire::AcquireResponse>, Status> {
        let asked = request.into_inner();
        let mut grant = GrantStatement {
            session: 1,
            client_key: PublicKey::from_slice(&asked.client_key).expect("a key"),
            nonce: (*asked.nonce).try_into().expect("32 bytes"),
            firm_code: asked.firm_code,
            product_code: asked.product_code,
            feature_map: asked.feature_map,
            units: 1,
            container_id: CONTAINER,
            serial: "130-0000000000".to_owned(),
            issued_at: start_of_tests(),
            revalidate_within_ms: 60_000,
            reconnect_grace_ms: 30_000,
            ends_at: None,
        };
        (self.twist)(&mut grant);
        let statement = cbor::encode(&grant);
        let proof = (self.prove)(&self.key, &statement);
        let chain = self.lender.clone();
        let grant = wire::Grant { session_id: "ses_1".to_owned(), statement, proof, chain, ..Default::default() };
        Ok(Response::new(wire::AcquireResponse { outcome: Some(wire::acquire_response::Outcome::Grant(grant)) }))
    }

    type WaitStream = tokio_stream::Pending<Result<wire::WaitEvent, Status>>;

    async fn wait(&self, _: Request<wire::WaitRequest>) -> Result<Response<Self::WaitStream>, Status> {
        Err(Status::unimplemented("a fake"))
    }

    type HoldStream = tokio_stream::Pending<Result<wire::HoldEvent, Status>>;

    async fn hold(&self, _: Request<wire::HoldRequest>) -> Result<Response<Self::HoldStream>, Status> {
        Ok(Response::new(tokio_stream::pending()))
    }

    async fn revalidate(
        &self,
        _: Request<wire::RevalidateRequest>,
    ) -> Result<Response<wire::RevalidateResponse>, Status> {
        Err(Status::unimplemented("a fake"))
    }

    async fn release(&self, _: Request<wire::ReleaseRequest>) -> Result<Response<wire::ReleaseResponse>, Status> {
        Ok(Response::new(wire::ReleaseResponse {}))
    }
}

pub(crate) async fn try_with(vendor: &Vendor, fake: Fake) -> Result<lictor_sdk::Seat, AcquireError> {
    let folder = tempfile::tempdir().expect("a folder");
    let socket: PathBuf = folder.path().join("fake.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let serving = tonic::transport::Server::builder()
        .add_service(SeatServiceServer::new(fake))
        .serve_with_incoming(UnixListenerStream::new(listener));
    let task = tokio::spawn(serving);
    let program = Client::builder()
        .trust_root(&vendor.root_document)
        .server(&format!("unix:{}", socket.display()))
        .build()
        .expect("a client");
    let result = program.acquire(SeatRequest::new(FIRM, 201).features(1)).await;
    task.abort();
    result
}

pub(crate) fn genuine(vendor: &Vendor) -> Fake {
    let key = MemorySigner::from_seed(&[40; 32]);
    Fake {
        claimed: key.public_key(),
        certificate: vendor.certify(CONTAINER, key.public_key()),
        root_documents: vec![vendor.root_document.clone()],
        key,
        twist: |_| {},
        prove: alone,
        lender: None,
    }
}

#[tokio::test]
async fn a_server_with_the_vendors_certificate_is_believed() {
    let vendor = Vendor::new(FIRM, 1);
    try_with(&vendor, genuine(&vendor)).await.expect("the test itself works");
}

#[tokio::test]
async fn keys_and_chains_of_its_own_making_do_not_help_a_fake() {
    let vendor = Vendor::new(FIRM, 1);
    let own = Vendor::new(FIRM, 9);
    let certified_by_itself = Fake { root_documents: vec![own.root_document.clone()], ..genuine(&own) };
    let borrowed_root = Fake { root_documents: vec![vendor.root_document.clone()], ..genuine(&own) };
    let no_root = Fake { root_documents: Vec::new(), ..genuine(&own) };
    let other_key = MemorySigner::from_seed(&[41; 32]);
    let stolen_certificate = Fake { claimed: other_key.public_key(), key: other_key.clone(), ..genuine(&vendor) };
    let nonsense = Fake { certificate: vec![1, 2, 3], ..genuine(&vendor) };
    for (what, fake) in [
        ("a chain of its own", certified_by_itself),
        ("the vendor's root and its own certificate", borrowed_root),
        ("its own certificate alone", no_root),
        ("the certificate of another key", stolen_certificate),
        ("no certificate at all", nonsense),
    ] {
        let Err(AcquireError::NotTrusted { reason, .. }) = try_with(&vendor, fake).await else { panic!("{what}") };
        assert!(matches!(reason, TrustError::Chain(_) | TrustError::Malformed(_)), "{what}: {reason:?}");
    }
}

#[tokio::test]
async fn showing_the_right_key_without_holding_it_is_noticed() {
    let vendor = Vendor::new(FIRM, 1);
    let fake = Fake { key: MemorySigner::from_seed(&[41; 32]), ..genuine(&vendor) };
    let Err(AcquireError::NotTrusted { reason, .. }) = try_with(&vendor, fake).await else { panic!("believed") };
    assert_eq!(reason, TrustError::Proof);
}

#[tokio::test]
async fn grants_for_another_request_client_firm_product_or_container_are_not_believed() {
    let vendor = Vendor::new(FIRM, 1);
    let twists: [(&str, Twist); 8] = [
        ("a replayed nonce", |grant| grant.nonce = [0; 32]),
        ("another client", |grant| grant.client_key = MemorySigner::from_seed(&[50; 32]).public_key()),
        ("another firm", |grant| grant.firm_code = 77),
        ("another product", |grant| grant.product_code = 999),
        ("fewer features", |grant| grant.feature_map = 0),
        ("another container", |grant| grant.container_id = [9; 32]),
        ("before the certificate", |grant| grant.issued_at = lictor_clock::Timestamp::UNIX_EPOCH),
        ("a serial that is too long", |grant| grant.serial = "x".repeat(100)),
    ];
    for (what, twist) in twists {
        let fake = Fake { twist, ..genuine(&vendor) };
        let Err(AcquireError::NotTrusted { reason, .. }) = try_with(&vendor, fake).await else { panic!("{what}") };
        assert!(matches!(reason, TrustError::Grant(_)), "{what}: {reason:?}");
    }
}

#[tokio::test]
async fn a_grant_counts_only_with_the_proof_of_its_own_place_in_its_own_batch() {
    let vendor = Vendor::new(FIRM, 1);
    let proofs: [(&str, Prove); 6] = [
        ("no proof", |_, _| Vec::new()),
        ("the signature of an envelope, as for one payload", |key, statement| {
            let envelope = Envelope::sign(GrantStatement::PAYLOAD_TYPE, statement.to_vec(), &[key]).expect("signed");
            let mut proof = alone(key, statement);
            let at = proof.len() - 64;
            proof[at..].copy_from_slice(envelope.signatures()[0].1.as_bytes());
            proof
        }),
        ("a whole envelope", |key, statement| {
            Envelope::sign(GrantStatement::PAYLOAD_TYPE, statement.to_vec(), &[key]).expect("signed").to_bytes()
        }),
        ("a neighbour's place in the same batch", |key, statement| {
            let batch = [statement.to_vec(), b"another".to_vec()];
            cbor::encode(&sign_batch::<GrantStatement>(&batch, key).expect("signed")[1])
        }),
        ("a batch that it is not in", |key, _| alone(key, b"another")),
        ("a batch of another kind", |key, statement| {
            let batch = [statement.to_vec()];
            cbor::encode(&sign_batch::<lictor_signing::TimeStatement>(&batch, key).expect("signed")[0])
        }),
    ];
    for (what, prove) in proofs {
        let fake = Fake { prove, ..genuine(&vendor) };
        let Err(AcquireError::NotTrusted { reason, .. }) = try_with(&vendor, fake).await else { panic!("{what}") };
        assert!(matches!(reason, TrustError::Grant(_) | TrustError::Malformed(_)), "{what}: {reason:?}");
    }
    let crowd = |key: &MemorySigner, statement: &[u8]| {
        let batch = [b"one".to_vec(), b"two".to_vec(), statement.to_vec()];
        cbor::encode(&sign_batch::<GrantStatement>(&batch, key).expect("signed")[2])
    };
    try_with(&vendor, Fake { prove: crowd, ..genuine(&vendor) }).await.expect("one of a crowd");
}

#[tokio::test]
async fn after_a_theft_of_the_root_keys_a_program_with_a_new_root_believes_nothing_that_they_sign() {
    // Whoever has the root keys is the vendor, for all programs that know only these. No file can take that back.
    let (thief, fresh) = (Vendor::new(FIRM, 1), Vendor::new(FIRM, 2));
    try_with(&Vendor::new(FIRM, 1), genuine(&thief)).await.expect("lost, until the program is replaced");
    // The way out is a program with a new root. The thief's chain is nothing to it, nor is the new root under his hand.
    for roots in [
        vec![thief.root_document.clone()],
        vec![thief.root_document.clone(), fresh.root_document.clone()],
        vec![fresh.root_document.clone(), thief.root_document.clone()],
    ] {
        let stolen = Fake { root_documents: roots, ..genuine(&thief) };
        let Err(AcquireError::NotTrusted { reason, .. }) = try_with(&fresh, stolen).await else { panic!("believed") };
        assert!(matches!(reason, TrustError::Chain(_)), "{reason:?}");
    }
    try_with(&fresh, genuine(&fresh)).await.expect("the vendor goes on");
    // Containers of the old root do not change sides by a file; a new one does it.
    let mut server = crate::stage::server::TestServer::empty().await;
    server.create(&thief.lif()).await.expect("created");
    server.create(&fresh.lif()).await.expect_err("another root of the same firm");
    let mut new = crate::stage::server::TestServer::empty().await;
    assert!(new.create(&fresh.lif()).await.expect("created").created);
}
