//! Programs with the SDK that open sealed content, use keys and take units; and servers that lie to them.

use std::path::Path;
use std::sync::{Arc, Mutex};

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::crypto_service_server::{CryptoService, CryptoServiceServer};
use lictor_api::server::v1::seat_service_server::SeatServiceServer;
use lictor_key_store::MemorySigner;
use lictor_license_file::segment::{Operation, ProductKey};
use lictor_licensing::id::ProductCode;
use lictor_licensing::options::{Options, UnitCounter};
use lictor_sdk::content::{self, ContentError, SealedContent};
use lictor_sdk::{Client, KeyChoice, ProgramKeys, Request as SeatRequest, TrustError, UseError};
use lictor_signing::{Envelope, PublicKey, Signer as _, program_signature_message};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

use crate::fake::{Fake, genuine};
use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, Vendor, add, add_item, options, start_of_tests};

#[path = "../../../../crates/sdk/examples/sealed.rs"]
#[expect(dead_code, reason = "its main is for people")]
mod example;

fn key(product: u32) -> Operation {
    Operation::SetProductKey { product: ProductCode(product), key: ProductKey::new([7; 32]) }
}

fn client(vendor: &Vendor, socket: &Path) -> Client {
    let server = format!("unix:{}", socket.display());
    Client::builder().trust_root(&vendor.root_document).server(&server).build().expect("a client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_content_opens_with_a_seat_of_its_product_and_not_otherwise() {
    let (server, vendor) = TestServer::with(vec![key(201), key(202), add(1, 201, 1), add(2, 202, 9)]).await;
    let socket = server.server.socket.clone();
    // The vendor's build: public keys once, then no server at all.
    let builder = client(&vendor, &socket);
    let seat = builder.acquire(SeatRequest::new(FIRM, 201)).await.expect("a seat");
    let choice = KeyChoice::new(3).code(b"levels");
    let keys = seat.program_keys(&choice).await.expect("keys");
    seat.prove(&keys).await.expect("the server has the key");
    seat.release().await;
    let keys = ProgramKeys::from_bytes(&keys.to_bytes()).expect("from a file");
    let sealed = content::seal(&keys, b"the levels").expect("sealed");

    let levels = example::read_levels(&client(&vendor, &socket), &sealed).await.expect("opened");
    assert_eq!(&levels[..], b"the levels");
    // Without a free seat there is nothing to open it with.
    let holder = client(&vendor, &socket);
    let held = holder.acquire(SeatRequest::new(FIRM, 201)).await.expect("the only seat");
    let refused = example::read_levels(&client(&vendor, &socket), &sealed).await.expect_err("no seat is free");
    assert!(refused.to_string().contains("212"), "{refused}");
    // A seat of another product does not help.
    let other = holder.acquire(SeatRequest::new(FIRM, 202)).await.expect("another product");
    let read = SealedContent::read(&sealed).expect("read");
    let failed = other.open(&read).await.expect_err("another product");
    assert!(matches!(failed, UseError::Failed(_)), "{failed}");
    assert_eq!(&held.open(&read).await.expect("opened")[..], b"the levels");

    // The same container after a restart; the seat goes on, over a new connection.
    let mut server = server.restarted().await;
    assert_eq!(&held.open(&read).await.expect("after a restart")[..], b"the levels");
    other.release().await;
    held.release().await;
    assert!(server.sessions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_encrypt_for_each_other_and_take_units() {
    let counted = Options { unit_counter: Some(UnitCounter(20)), ..options(201, Some(9)) };
    let (server, vendor) = TestServer::with(vec![key(201), add_item(1, counted, Vec::new(), 9)]).await;
    let (one, two) = (client(&vendor, &server.server.socket), client(&vendor, &server.server.socket));
    let one = one.acquire(SeatRequest::new(FIRM, 201)).await.expect("a seat");
    let two = two.acquire(SeatRequest::new(FIRM, 201)).await.expect("a seat");
    let choice = KeyChoice::new(1);
    let text = one.encrypt(&choice, b"a save game", b"slot 1").await.expect("encrypted");
    assert_eq!(&two.decrypt(&choice, &text, b"slot 1").await.expect("decrypted")[..], b"a save game");
    assert!(matches!(two.decrypt(&choice, &text, b"slot 2").await, Err(UseError::Failed(_))));
    assert_eq!(one.consume_units(5).await.expect("there are enough"), 15);
    assert_eq!(one.consume_units_as([9; 16], 5).await.expect("there are enough"), 10);
    assert_eq!(one.consume_units_as([9; 16], 5).await.expect("the same"), 10);
    let Err(UseError::Refused(refusal)) = two.consume_units(11).await else { panic!("there are not enough") };
    assert_eq!(refusal.reasons[0].code, 33);
    assert!(matches!(one.consume_units(0).await, Err(UseError::Failed(_))));
}

/// What a lying server answers.
#[derive(Clone)]
struct Liar {
    /// The lease key that it really holds: it may have been taken from a good server.
    lease: MemorySigner,
    /// A product key of its own.
    product: MemorySigner,
    /// Answers of a good server that it repeats.
    recorded: Arc<Mutex<Vec<Vec<u8>>>>,
    lie: Lie,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    OwnKey,
    Replay,
    OtherProduct,
    OtherChoice,
    OtherSigner,
    Nonsense,
}

impl Liar {
    fn signed(&self, message: &[u8]) -> Vec<u8> {
        match self.lie {
            Lie::Nonsense => vec![1; 63],
            Lie::Replay => {
                let mut recorded = self.recorded.lock().expect("not poisoned");
                let signature = self.product.sign(&program_signature_message(message)).expect("signed");
                recorded.push(signature.as_bytes().to_vec());
                recorded[0].clone()
            }
            // The right key over the bare message, as another protocol would have it signed.
            Lie::OtherSigner => self.product.sign(message).expect("signed").as_bytes().to_vec(),
            _ => {
                let message = program_signature_message(message);
                MemorySigner::from_seed(&[99; 32]).sign(&message).expect("signed").as_bytes().to_vec()
            }
        }
    }

    fn keys(&self, nonce: &[u8]) -> lictor_signing::ProgramKeys {
        lictor_signing::ProgramKeys {
            nonce: nonce.try_into().expect("32 bytes"),
            firm_code: FIRM,
            product_code: 201,
            choice: lictor_signing::KeyChoice::default(),
            sealing_key: [4; 32],
            verifying_key: self.product.public_key(),
            stated_at: start_of_tests(),
        }
    }
}

#[tonic::async_trait]
impl CryptoService for Liar {
    async fn encrypt(&self, _: Request<wire::EncryptRequest>) -> Result<Response<wire::EncryptResponse>, Status> {
        Ok(Response::new(wire::EncryptResponse { sealed: vec![0; 60] }))
    }

    async fn decrypt(&self, _: Request<wire::DecryptRequest>) -> Result<Response<wire::DecryptResponse>, Status> {
        Ok(Response::new(wire::DecryptResponse { plain: b"made up".to_vec() }))
    }

    async fn open(&self, _: Request<wire::OpenRequest>) -> Result<Response<wire::OpenResponse>, Status> {
        let plain = if self.lie == Lie::Nonsense { vec![5; 7] } else { vec![5; 32] };
        Ok(Response::new(wire::OpenResponse { plain }))
    }

    async fn sign(&self, request: Request<wire::SignRequest>) -> Result<Response<wire::SignResponse>, Status> {
        Ok(Response::new(wire::SignResponse { signature: self.signed(&request.into_inner().message) }))
    }

    async fn get_program_keys(
        &self,
        request: Request<wire::GetProgramKeysRequest>,
    ) -> Result<Response<wire::GetProgramKeysResponse>, Status> {
        let mut keys = self.keys(&request.into_inner().nonce);
        let mut signer = &self.lease;
        match self.lie {
            Lie::OwnKey => {}
            Lie::Replay => keys.nonce = [1; 32],
            Lie::OtherProduct => keys.product_code = 202,
            Lie::OtherChoice => keys.choice.selector = 1,
            Lie::OtherSigner => signer = &self.product,
            Lie::Nonsense => return Ok(Response::new(wire::GetProgramKeysResponse { statement: vec![1, 2, 3] })),
        }
        let statement = Envelope::seal(&keys, &[signer]).expect("signed").to_bytes();
        Ok(Response::new(wire::GetProgramKeysResponse { statement }))
    }
}

/// A server that holds the vendor's certificate, grants as it should, and lies about everything else.
async fn seat_of(vendor: &Vendor, lie: Lie) -> (lictor_sdk::Seat, Liar, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("liar.sock");
    let fake: Fake = genuine(vendor);
    let product = MemorySigner::from_seed(&[41; 32]);
    let liar = Liar { lease: fake.key.clone(), product, recorded: Arc::default(), lie };
    let serving = tonic::transport::Server::builder()
        .add_service(SeatServiceServer::new(fake))
        .add_service(CryptoServiceServer::new(liar.clone()))
        .serve_with_incoming(UnixListenerStream::new(UnixListener::bind(&socket).expect("a socket")));
    tokio::spawn(serving);
    let seat = client(vendor, &socket).acquire(SeatRequest::new(FIRM, 201)).await.expect("it grants as it should");
    (seat, liar, folder)
}

fn keys_of(key: PublicKey) -> ProgramKeys {
    let keys = lictor_signing::ProgramKeys {
        nonce: [0; 32],
        firm_code: FIRM,
        product_code: 201,
        choice: lictor_signing::KeyChoice::default(),
        sealing_key: lictor_license_file::seal::SealingKey::from_seed(&[8; 32]).public().0,
        verifying_key: key,
        stated_at: start_of_tests(),
    };
    ProgramKeys::from_bytes(&lictor_signing::cbor::encode(&keys)).expect("keys")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_the_product_key_is_found_out_even_with_the_vendors_certificate() {
    let vendor = Vendor::new(FIRM, 1);
    for lie in [Lie::OwnKey, Lie::Replay, Lie::OtherSigner, Lie::Nonsense] {
        let (seat, liar, _folder) = seat_of(&vendor, lie).await;
        let keys = keys_of(liar.product.public_key());
        if lie == Lie::Replay {
            // What it heard once it can repeat; but nobody asks for the same again.
            seat.prove(&keys).await.expect("recorded from a good server");
        }
        let found_out = seat.prove(&keys).await.expect_err("a liar");
        assert!(matches!(found_out, UseError::NotTrusted(_)), "{lie:?}: {found_out}");

        let sealed = content::seal(&keys, b"the levels").expect("sealed");
        let read = SealedContent::read(&sealed).expect("read");
        let failed = seat.open(&read).await.expect_err("not the content's key");
        assert!(matches!(failed, UseError::Content(ContentError::Changed)), "{lie:?}: {failed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_for_the_vendors_build_are_believed_only_for_this_question_and_from_the_lease_key() {
    let vendor = Vendor::new(FIRM, 1);
    let (seat, _liar, _folder) = seat_of(&vendor, Lie::OwnKey).await;
    seat.program_keys(&KeyChoice::default()).await.expect("the test itself works");
    for lie in [Lie::Replay, Lie::OtherProduct, Lie::OtherChoice, Lie::OtherSigner, Lie::Nonsense] {
        let (seat, _liar, _folder) = seat_of(&vendor, lie).await;
        let Err(UseError::NotTrusted(reason)) = seat.program_keys(&KeyChoice::default()).await else {
            panic!("{lie:?} is believed")
        };
        assert!(matches!(reason, TrustError::Answer(_) | TrustError::Malformed(_)), "{lie:?}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_in_the_place_of_the_one_that_gave_the_seat_is_asked_nothing() {
    let vendor = Vendor::new(FIRM, 1);
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("server.sock");
    // Each in a runtime of its own, so that its connections end with it.
    let serve = async |fake: Fake| {
        let _ = std::fs::remove_file(&socket);
        let liar = Liar {
            lease: fake.key.clone(),
            product: MemorySigner::from_seed(&[41; 32]),
            recorded: Arc::default(),
            lie: Lie::OwnKey,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (bound, is_bound) = tokio::sync::oneshot::channel();
        let path = socket.clone();
        runtime.spawn(async move {
            let listener = UnixListener::bind(path).expect("a socket");
            bound.send(()).expect("waited for");
            let server = tonic::transport::Server::builder()
                .add_service(SeatServiceServer::new(fake))
                .add_service(CryptoServiceServer::new(liar));
            server.serve_with_incoming(UnixListenerStream::new(listener)).await
        });
        is_bound.await.expect("it listens");
        runtime
    };
    let first = serve(genuine(&vendor)).await;
    let program = client(&vendor, &socket);
    let seat = program.acquire(SeatRequest::new(FIRM, 201)).await.expect("a seat");
    seat.decrypt(&KeyChoice::default(), b"secret", b"").await.expect("the test itself works");
    first.shutdown_background();
    // Certified by the same vendor, but not the one that gave the seat.
    let key = MemorySigner::from_seed(&[42; 32]);
    let certificate = vendor.certify([4; 32], key.public_key());
    let second = serve(Fake { certificate, claimed: key.public_key(), key, ..genuine(&vendor) }).await;
    let refused = loop {
        match seat.decrypt(&KeyChoice::default(), b"secret", b"").await {
            // What the first one still answered before its connection was cut.
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, UseError::NotTrusted(TrustError::Proof)), "{refused}");
    second.shutdown_background();
}

/// The command line of the vendor, in this process; gives the exit code as it is shown.
async fn lictor(folder: &Path, socket: &Path, words: &[&str]) -> String {
    let common = [
        "lictor".to_owned(),
        format!("--config={}", folder.join("client.toml").display()),
        format!("--server=unix:{}", socket.display()),
        format!("--firm-code={FIRM}"),
    ];
    let words = common.into_iter().chain(words.iter().map(|word| (*word).to_owned())).map(std::ffi::OsString::from);
    let words: Vec<_> = words.collect();
    let running = tokio::task::spawn_blocking(|| lictor_cli::Program::new(lictor_cli::Scope::All).run(words));
    format!("{:?}", running.await.expect("no panic"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_verbs_fetch_keys_and_seal_what_programs_open() {
    let (mut server, vendor) = TestServer::with(vec![key(201), add(1, 201, 1)]).await;
    let (socket, folder) = (server.server.socket.clone(), tempfile::tempdir().expect("a folder"));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, bytes: &[u8]| std::fs::write(path(name), bytes).expect("written");
    write("client.toml", b"");
    write("vendor.lif", &vendor.lif());
    write("levels.dat", b"the levels");
    let (lif, keys, levels, sealed) = (path("vendor.lif"), path("keys"), path("levels.dat"), path("sealed"));
    let success = format!("{:?}", std::process::ExitCode::SUCCESS);
    let fetch = ["content", "keys", "--product-code", "201", "--code", "levels", "--trust", &lif, "-o", &keys];
    assert_eq!(lictor(folder.path(), &socket, &fetch).await, success);
    assert!(server.sessions().await.is_empty(), "its seat was given back");
    let seal = ["content", "seal", "--keys", &keys, &levels, "-o", &sealed];
    assert_eq!(lictor(folder.path(), &socket, &seal).await, success);
    assert_ne!(lictor(folder.path(), &socket, &seal).await, success, "nothing is overwritten unasked");
    let other = ["content", "seal", "--keys", &lif, &levels, "-o", &path("other")];
    assert_ne!(lictor(folder.path(), &socket, &other).await, success, "these are no keys");
    let sealed = std::fs::read(sealed).expect("read");
    assert!(!sealed.windows(10).any(|window| window == b"the levels"));
    let opened = example::read_levels(&client(&vendor, &socket), &sealed).await.expect("opened");
    assert_eq!(&opened[..], b"the levels");
}
