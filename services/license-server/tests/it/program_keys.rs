//! Keys for programs: the same wherever the product sits, others for whatever differs, and only with a seat.

use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_license_file::segment::{Operation, ProductKey};
use lictor_licensing::id::ProductCode;
use lictor_licensing::item::ModuleItem;
use lictor_licensing::options::{DataEntries, Options, SecretData, UnitCounter};
use lictor_signing::{Envelope, KeyChoice, ProgramKeys, PublicKey, Signature, Signer as _, program_signature_message};
use tonic::Code;

use crate::stage::program::Program;
use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, add, add_item, options};

const KEY: [u8; 32] = [0xA7; 32];

fn key(product: u32) -> Operation {
    let mut key = KEY;
    key[0] = u8::try_from(product % 251).expect("below 251");
    Operation::SetProductKey { product: ProductCode(product), key: ProductKey::new(key) }
}

fn data(number: u8, bytes: &[u8]) -> DataEntries {
    let mut entries = DataEntries::default();
    entries.set(number, bytes).expect("an entry");
    entries
}

fn secret(product: u32) -> Options {
    Options { secret_data: Some(SecretData(data(3, b"the secret"))), ..options(product, Some(4)) }
}

fn inheriting(product: u32) -> ModuleItem {
    let options = Options { product_code: Some(ProductCode(product)), ..Options::default() };
    ModuleItem { options, requires_parent: false }
}

fn choice() -> wire::KeyChoice {
    wire::KeyChoice { selector: 1, code: b"code".to_vec(), secret: Some(3), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_the_same_wherever_the_product_sits_in_an_item() {
    let item = vec![key(201), add_item(1, secret(201), Vec::new(), 4)];
    let inherits = vec![key(201), add_item(1, secret(500), vec![inheriting(501), inheriting(201)], 4)];
    let own = ModuleItem { options: secret(201), requires_parent: false };
    let overrides = Options { secret_data: Some(SecretData(data(3, b"another"))), ..options(500, Some(4)) };
    let overriding = vec![key(201), add_item(7, overrides, vec![own], 4)];
    let (mut signatures, mut texts, mut servers) = (Vec::new(), Vec::new(), Vec::new());
    for operations in [item, inherits, overriding] {
        let (server, _vendor) = TestServer::with(operations).await;
        let mut program = Program::with_seat(&server.server.socket, 1, 201).await;
        signatures.push(program.sign(&choice(), b"message").await.expect("signed"));
        texts.push(program.encrypt(&choice(), b"plain").await.expect("encrypted"));
        servers.push((server, program));
    }
    assert!(signatures.iter().all(|signature| *signature == signatures[0]));
    for (_server, program) in &mut servers {
        for text in &texts {
            assert_eq!(program.decrypt(&choice(), text).await.expect("decrypted"), b"plain");
        }
    }
    // The same request twice has two answers: nonces are random.
    let again = servers[0].1.encrypt(&choice(), b"plain").await.expect("encrypted");
    assert_ne!(again, texts[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_differs_in_choice_product_or_container_gives_another_key() {
    let entry = |product, number| add_item(number, secret(product), Vec::new(), 4);
    let (server, _vendor) = TestServer::with(vec![key(201), key(202), entry(201, 1), entry(202, 2)]).await;
    let mut program = Program::with_seat(&server.server.socket, 1, 201).await;
    let text = program.encrypt(&choice(), b"plain").await.expect("encrypted");
    let others = [
        wire::KeyChoice { selector: 2, ..choice() },
        wire::KeyChoice { code: b"cod".to_vec(), ..choice() },
        wire::KeyChoice { code: Vec::new(), ..choice() },
        wire::KeyChoice { secret: None, ..choice() },
        wire::KeyChoice { of_container: true, ..choice() },
        wire::KeyChoice { of_protected_data: true, ..choice() },
    ];
    let mut signatures = vec![program.sign(&choice(), b"message").await.expect("signed")];
    for other in &others {
        assert_eq!(
            program.decrypt(other, &text).await.expect_err("another key").code(),
            Code::InvalidArgument,
            "{other:?}"
        );
        signatures.push(program.sign(other, b"message").await.expect("signed"));
    }
    let mut neighbour = Program::with_seat(&server.server.socket, 2, 202).await;
    neighbour.decrypt(&choice(), &text).await.expect_err("another product");
    signatures.push(neighbour.sign(&choice(), b"message").await.expect("signed"));
    // The same licence in another container: only what does not depend on the container is the same.
    let (elsewhere, _vendor) = TestServer::with(vec![key(201), entry(201, 1)]).await;
    let mut far = Program::with_seat(&elsewhere.server.socket, 1, 201).await;
    assert_eq!(far.sign(&choice(), b"message").await.expect("signed"), signatures[0]);
    let here_only = wire::KeyChoice { of_container: true, ..choice() };
    signatures.push(far.sign(&here_only, b"message").await.expect("signed"));
    let count = signatures.len();
    signatures.sort();
    signatures.dedup();
    assert_eq!(signatures.len(), count, "two of them met in one key");

    for impossible in [
        wire::KeyChoice { secret: Some(128), ..choice() },
        wire::KeyChoice { secret: Some(u32::MAX), ..choice() },
        wire::KeyChoice { code: vec![0; 65], ..choice() },
        wire::KeyChoice { of_units: true, ..choice() },
    ] {
        assert_eq!(program.sign(&impossible, b"m").await.expect_err("impossible").code(), Code::InvalidArgument);
    }
    let missing = wire::KeyChoice { secret: Some(4), ..choice() };
    assert_eq!(program.sign(&missing, b"m").await.expect_err("no such secret").code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_units_or_data_changes_with_them() {
    let counted = Options { unit_counter: Some(UnitCounter(10)), ..secret(201) };
    let (mut server, mut vendor) = TestServer::with(vec![key(201), add_item(1, counted.clone(), Vec::new(), 4)]).await;
    let mut program = Program::with_seat(&server.server.socket, 1, 201).await;
    let of_units = wire::KeyChoice { of_units: true, ..choice() };
    let of_data = wire::KeyChoice { of_protected_data: true, ..choice() };
    let (units, data_text) = (
        program.encrypt(&of_units, b"u").await.expect("sealed"),
        program.encrypt(&of_data, b"d").await.expect("sealed"),
    );
    program.decrypt(&of_units, &units).await.expect("nothing was taken");
    assert_eq!(program.consume(1, 1).await, Ok(9));
    program.decrypt(&of_units, &units).await.expect_err("a unit was taken");
    program.decrypt(&of_data, &data_text).await.expect("the data are the same");
    let context = server.context(FIRM).await;
    let changed = Options { protected_data: Some(data(0, b"new")), ..counted };
    server
        .import(&vendor.update(&context, vec![crate::stage::vendor::replace(1, changed, 4)]))
        .await
        .expect("imported");
    program.decrypt(&of_data, &data_text).await.expect_err("the data changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_used_only_by_the_client_that_holds_a_seat_now() {
    let (server, _vendor) = TestServer::with(vec![key(201), add(1, 201, 5), add(2, 203, 5)]).await;
    let socket = &server.server.socket;
    let mut owner = Program::with_seat(socket, 1, 201).await;
    let plain = wire::KeyChoice::default();
    let text = owner.encrypt(&plain, b"plain").await.expect("a seat");
    // A stolen session id is worth nothing under another key, with that key's proof or without any.
    let mut thief = Program::connect(socket, 2).await;
    thief.session.clone_from(&owner.session);
    assert_eq!(thief.decrypt(&plain, &text).await.expect_err("stolen").code(), Code::NotFound);
    let shown = Some(wire::KeyUse {
        session_id: owner.session.clone(),
        proof: thief.raw.proof.clone(),
        choice: Some(plain.clone()),
    });
    let request = wire::DecryptRequest { r#use: shown, sealed: text.clone(), associated: b"with".to_vec() };
    assert_eq!(thief.crypto.decrypt(request).await.expect_err("stolen").code(), Code::Unauthenticated);
    // The owner's proof from another connection neither.
    let replayed =
        wire::KeyUse { session_id: owner.session.clone(), proof: owner.raw.proof.clone(), choice: Some(plain.clone()) };
    let request = wire::SignRequest { r#use: Some(replayed), message: b"m".to_vec() };
    assert_eq!(thief.crypto.sign(request).await.expect_err("replayed").code(), Code::Unauthenticated);
    // The owner itself on a new connection, with a proof for that connection.
    let mut again = Program::connect(socket, 1).await;
    again.session.clone_from(&owner.session);
    again.decrypt(&plain, &text).await.expect_err("not proved here yet");
    let request = wire::DecryptRequest {
        r#use: Some(wire::KeyUse {
            session_id: owner.session.clone(),
            proof: again.raw.proof.clone(),
            choice: Some(plain.clone()),
        }),
        sealed: text.clone(),
        associated: b"with".to_vec(),
    };
    assert_eq!(again.crypto.decrypt(request).await.expect("proved").into_inner().plain, b"plain");

    // No key of the product: said so, and nothing made up in its place.
    let mut keyless = Program::with_seat(socket, 3, 203).await;
    let refused = keyless.encrypt(&plain, b"plain").await.expect_err("no product key");
    assert!(refused.message().contains("no key of product 203"), "{}", refused.message());

    // Time without contact is over, though nobody came by to end the session.
    server.clock.advance(Duration::from_secs(67));
    assert_eq!(owner.decrypt(&plain, &text).await.expect_err("over").code(), Code::NotFound);
    let mut fresh = Program::with_seat(socket, 4, 201).await;
    fresh.decrypt(&plain, &text).await.expect("a new seat");
    let session = fresh.session.clone();
    fresh.raw.release(&session).await.expect("released");
    assert_eq!(fresh.decrypt(&plain, &text).await.expect_err("released").code(), Code::NotFound);
    fresh.session = "ses_nonsense".to_owned();
    assert_eq!(fresh.decrypt(&plain, &text).await.expect_err("nonsense").code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_texts_and_inputs_beyond_the_limits_are_refused() {
    let (server, _vendor) = TestServer::with(vec![key(201), add(1, 201, 5)]).await;
    let mut program = Program::with_seat(&server.server.socket, 1, 201).await;
    let plain = wire::KeyChoice::default();
    let text = program.encrypt(&plain, b"plain").await.expect("sealed");
    for at in 0..text.len() {
        let mut changed = text.clone();
        changed[at] ^= 1;
        assert_eq!(program.decrypt(&plain, &changed).await.expect_err("changed").code(), Code::InvalidArgument);
        assert_eq!(program.decrypt(&plain, &text[..at]).await.expect_err("cut").code(), Code::InvalidArgument);
    }
    let request = wire::DecryptRequest {
        r#use: program.choose(plain.clone()),
        sealed: text.clone(),
        associated: b"other".to_vec(),
    };
    assert_eq!(program.crypto.decrypt(request).await.expect_err("other data").code(), Code::InvalidArgument);

    let most = vec![7; 8 * 1024];
    let longest = program.encrypt(&plain, &most).await.expect("the limit itself");
    assert_eq!(program.decrypt(&plain, &longest).await.expect("the limit itself"), most);
    program.sign(&plain, &most).await.expect("the limit itself");
    let over = vec![7; 8 * 1024 + 1];
    assert_eq!(program.encrypt(&plain, &over).await.expect_err("too long").code(), Code::OutOfRange);
    assert_eq!(program.sign(&plain, &over).await.expect_err("too long").code(), Code::OutOfRange);
    let open = |encapsulated: usize, header: usize, sealed: usize| wire::OpenRequest {
        r#use: Some(wire::KeyUse { session_id: program.session.clone(), ..Default::default() }),
        encapsulated: vec![9; encapsulated],
        header: vec![0; header],
        sealed: vec![0; sealed],
    };
    let cases = [(31, 0, 16), (33, 0, 16), (32, 1025, 16), (32, 0, 9000)].map(|(a, b, c)| open(a, b, c));
    let nothing = open(32, 0, 16);
    for request in cases {
        let code = program.crypto.open(request).await.expect_err("beyond").code();
        assert!(matches!(code, Code::InvalidArgument | Code::OutOfRange), "{code:?}");
    }
    assert_eq!(program.crypto.open(nothing).await.expect_err("not sealed to us").code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn public_halves_are_stated_under_the_lease_key_and_fit_the_secret_ones() {
    let (server, _vendor) = TestServer::with(vec![key(201), add(1, 201, 5)]).await;
    let mut program = Program::with_seat(&server.server.socket, 1, 201).await;
    let hello = wire::HelloRequest { nonce: vec![1; 32], firm_code: FIRM };
    let hello = program.raw.seats.hello(hello).await.expect("hello").into_inner();
    let lease = PublicKey::from_slice(&hello.lease_key).expect("a key");
    let chosen = wire::KeyChoice { selector: 9, ..Default::default() };
    let request = wire::GetProgramKeysRequest { r#use: program.choose(chosen.clone()), nonce: vec![5; 32] };
    let answer = program.crypto.get_program_keys(request).await.expect("keys").into_inner();
    let envelope = Envelope::from_bytes(&answer.statement).expect("an envelope");
    let keys: ProgramKeys = envelope.open_by_key(&lease).expect("signed by the lease key");
    assert_eq!((keys.nonce, keys.firm_code, keys.product_code), ([5; 32], FIRM, 201));
    assert_eq!(keys.choice, KeyChoice { selector: 9, ..KeyChoice::default() });

    let signature = program.sign(&chosen, b"challenge").await.expect("signed");
    let signature = Signature::from_bytes((*signature).try_into().expect("64 bytes"));
    assert!(keys.verifying_key.verifies(&program_signature_message(b"challenge"), &signature));
    assert!(!keys.verifying_key.verifies(b"challenge", &signature), "signatures are for programs alone");
    assert_ne!(keys.verifying_key, program.raw.key.public_key());

    let to = lictor_license_file::seal::SealingPublicKey(keys.sealing_key);
    let (encapsulated, sealed) =
        lictor_license_file::seal::seal(&to, b"head", b"content key", &[3; 32]).expect("sealed");
    let open = |header: &[u8]| wire::OpenRequest {
        r#use: Some(wire::KeyUse {
            session_id: program.session.clone(),
            proof: Vec::new(),
            choice: Some(chosen.clone()),
        }),
        encapsulated: encapsulated.to_vec(),
        header: header.to_vec(),
        sealed: sealed.clone(),
    };
    let (right, wrong) = (open(b"head"), open(b"heap"));
    assert_eq!(program.crypto.open(right).await.expect("opened").into_inner().plain, b"content key");
    assert_eq!(program.crypto.open(wrong).await.expect_err("bound to its header").code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_keys_nor_secret_data_stand_in_plain_in_lists_or_in_the_journal() {
    let (mut server, _vendor) = TestServer::with(vec![key(201), add_item(1, secret(201), Vec::new(), 4)]).await;
    let mut program = Program::with_seat(&server.server.socket, 1, 201).await;
    program.sign(&choice(), b"message").await.expect("signed");
    let listed = format!("{:?}", server.listed().await);
    assert!(!listed.contains("the secret") && !listed.contains("secret_data"), "{listed}");
    let server = server.restarted().await;
    let has = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    for file in std::fs::read_dir(server.path()).expect("a folder") {
        let path = file.expect("a file").path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        assert!(!has(&bytes, &KEY[1..]) && !has(&bytes, b"the secret"), "{}", path.display());
    }
}
