//! Containers: made for vendors, changed by updates as a whole or not at all, and only by administrators.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::container_service_client::ContainerServiceClient;
use lictor_api::types::v1::ContainerKind;
use lictor_license_file::segment::Operation;
use lictor_license_file::{context, verdict::VerdictCode};
use lictor_licensing::binding::{Binding, Bindings};
use lictor_licensing::item::ModuleItem;
use lictor_licensing::options::Options;
use tonic::{Code, Request};

use crate::stage::client::{RawClient, tls_channel};
use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, Vendor, add, add_item, license, options};

/// Every file of the state with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("the folder is read").map(|entry| entry.expect("an entry"));
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| {
            let bytes = std::fs::read(entry.path()).expect("a file is read");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect()
}

fn code(status: &tonic::Status) -> String {
    lictor_api::error::problem(status).code.name().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_holds_several_firms_and_making_it_twice_is_no_error() {
    let mut server = TestServer::empty().await;
    let (first, second) = (Vendor::new(FIRM, 1), Vendor::new(77, 2));
    let made = server.create(&first.lif()).await.expect("created");
    assert!(made.created && made.firm_code == FIRM && made.counter == 0);
    assert!(made.serial.starts_with("130-"), "{}", made.serial);
    assert!(!server.create(&first.lif()).await.expect("again").created);
    let other = server.create(&second.lif()).await.expect("created");
    assert_eq!((other.serial.as_str(), other.created), (made.serial.as_str(), true));
    let listed = server.listed().await;
    assert_eq!(listed[0].firms.iter().map(|firm| firm.firm_code).collect::<Vec<_>>(), [77, FIRM]);
    assert_eq!(listed[0].container_id.len(), 64);

    // The same firm code with other root keys is somebody else.
    let imposter = Vendor::new(FIRM, 9);
    let before = files(server.path());
    assert!(server.create(&imposter.lif()).await.is_err());
    assert_eq!(files(server.path()), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_and_bindings_that_are_not_allowed_are_refused_with_the_reason() {
    let mut server = TestServer::empty().await;
    let vendor = Vendor::new(FIRM, 1);
    for kind in [ContainerKind::Machine, ContainerKind::Volume, ContainerKind::Cloud] {
        let request = wire::CreateContainerRequest { lif: vendor.lif(), kind: kind.into() };
        let status = server.containers.create_container(request).await.expect_err("refused");
        assert_eq!(code(&status), "unsupported");
        assert!(status.message().contains("keeps a container of kind folder"), "{}", status.message());
    }
    let status = server.create(&vendor.lif_for(Bindings::DEFAULT)).await.expect_err("refused");
    assert_eq!(code(&status), "binding_forbidden");
    assert!(server.listed().await.is_empty());

    // The file allows folders; this licence does not.
    server.create(&vendor.lif()).await.expect("created");
    let machine_only = Options { bindings: Some(Bindings::of(&[Binding::Machine])), ..options(1, Some(1)) };
    let item = lictor_licensing::item::ProductItem::new(machine_only, Vec::new()).expect("an item");
    let item = lictor_license_file::product_item::encode(&item).expect("encoded");
    let context = context::read(&server.context(FIRM).await).expect("a context").context;
    let state = lictor_license_file::state::VendorState::genesis(&context.keys.signing, vendor.firm);
    let terms = lictor_license_file::issue::Terms {
        issued_at: crate::stage::vendor::start_of_tests(),
        min_runtime: lictor_license_file::RuntimeVersion::new(0, 1, 0),
        note: String::new(),
        seal_seed: [1; 32],
    };
    let operations = vec![Operation::AddEntry { license: license(1), item, quantity: 1 }];
    let planned = lictor_license_file::issue::plan(&state, &context.profile(), &vendor.trusted, operations, &terms);
    assert!(planned.is_err(), "the vendor's side refuses it too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_lists_entries_with_their_sources_and_gives_a_receipt() {
    let mut server = TestServer::empty().await;
    let mut vendor = Vendor::new(FIRM, 1);
    server.create(&vendor.lif()).await.expect("created");
    let module = ModuleItem {
        options: Options { product_code: Some(lictor_licensing::id::ProductCode(202)), ..Options::default() },
        requires_parent: false,
    };
    let context = server.context(FIRM).await;
    let update = vendor.update(&context, vec![add_item(1, options(201, Some(5)), vec![module], 5)]);
    let imported = server.import(&update).await.expect("imported");
    assert_eq!((imported.from, imported.to, imported.applied, imported.skipped), (0, 1, 1, 0));
    let receipt = context::read_receipt(&imported.receipt).expect("a receipt").context;
    assert_eq!(receipt.counter, 1);
    let context::Reason::Receipt(results) = &receipt.reason else { panic!("no receipt: {receipt:?}") };
    assert_eq!(results.iter().map(|result| result.verdict).collect::<Vec<_>>(), [VerdictCode::Applied]);

    let listed = server.listed().await;
    let entries = &listed[0].firms[0].entries;
    assert_eq!(entries.iter().map(|entry| entry.product_code).collect::<Vec<_>>(), [201, 202]);
    assert_eq!((entries[1].module_of, entries[1].quantity, entries[1].free), (Some(201), 5, 5));
    let quantity = entries[1].effective.iter().find(|option| option.name == "license_quantity").expect("inherited");
    assert_eq!(quantity.source, "parent");

    // Contexts count, over a restart too.
    let first = context::read(&server.context(FIRM).await).expect("a context").context.sequence;
    let mut server = server.restarted().await;
    let second = context::read(&server.context(FIRM).await).expect("a context").context.sequence;
    assert_eq!(second, first + 1);
    let again = server.import(&update).await.expect("no error");
    assert_eq!((again.from, again.to, again.applied, again.skipped), (1, 1, 0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_leaves_every_byte_of_the_state_as_it_was() {
    let (mut server, mut vendor) = TestServer::with(vec![add(1, 201, 2)]).await;
    let context = server.context(FIRM).await;
    let first = vendor.update(&context, vec![add(2, 202, 1)]);
    let second = vendor.update(&context, vec![add(3, 203, 1)]);

    let mut elsewhere = TestServer::empty().await;
    let mut same_vendor = Vendor::new(FIRM, 1);
    elsewhere.create(&same_vendor.lif()).await.expect("created");
    let foreign_container = same_vendor.update(&elsewhere.context(FIRM).await, vec![add(9, 209, 9)]);
    let imposter = Vendor::new(FIRM, 9).update(&context, vec![add(9, 209, 9)]);

    let before = files(server.path());
    let mut cases = vec![
        ("nothing", Vec::new(), "file_damaged"),
        ("a context", context.clone(), "file_damaged"),
        ("for another container", foreign_container, "file_for_other"),
        ("of an imposter", imposter, "file_forged"),
        ("too early", second.clone(), "update_gap"),
    ];
    for at in [0, 1, 10, first.len() / 2, first.len() - 1] {
        cases.push(("cut off", first[..at].to_vec(), "file_damaged"));
        let mut flipped = first.clone();
        flipped[at] ^= 1;
        cases.push(("flipped", flipped, "file_damaged"));
    }
    for (what, file, expected) in cases {
        let status = server.import(&file).await.expect_err(what);
        if what != "flipped" {
            assert_eq!(code(&status), expected, "{what}: {}", status.message());
        }
        assert_eq!(files(server.path()), before, "{what}");
    }
    // Nothing was burned: the good files still apply, in their order.
    assert_eq!(server.import(&first).await.expect("applies").to, 2);
    assert_eq!(server.import(&second).await.expect("applies").to, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_license_ends_its_sessions_and_gives_no_new_seat() {
    let (mut server, mut vendor) = TestServer::with(vec![add(1, 201, 1), add(2, 202, 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let gone = client.acquire(1, 201).await.expect("a seat");
    let kept = client.acquire(2, 202).await.expect("a seat");
    let mut stream = client.hold(&gone.session_id).await.expect("held");
    let context = server.context(FIRM).await;
    let update = vendor.update(&context, vec![Operation::WithdrawEntry { license: license(1) }]);
    server.import(&update).await.expect("imported");
    let ended = loop {
        match stream.message().await.expect("a message").expect("a message").event.expect("an event") {
            wire::hold_event::Event::Beat(_) => {}
            wire::hold_event::Event::Ended(ended) => break ended.reason.expect("a reason"),
        }
    };
    assert_eq!(ended.code, 200);
    assert_eq!(client.acquire(3, 201).await.expect_err("no license").reasons[0].code, 200);
    let left = server.sessions().await;
    assert_eq!(left.iter().map(|session| session.session_id.as_str()).collect::<Vec<_>>(), [kept.session_id.as_str()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_seats_keep_their_holders_and_refuse_new_ones() {
    let (mut server, mut vendor) = TestServer::with(vec![add(1, 201, 2)]).await;
    let mut first = RawClient::connect(&server.server.socket, 1).await;
    let mut second = RawClient::connect(&server.server.socket, 2).await;
    let held = first.acquire(1, 201).await.expect("a seat");
    second.acquire(2, 201).await.expect("a seat");
    let Operation::AddEntry { item, .. } = add(1, 201, 1) else { unreachable!("it adds") };
    let context = server.context(FIRM).await;
    let update = vendor.update(&context, vec![Operation::ReplaceEntry { license: license(1), item, quantity: 1 }]);
    server.import(&update).await.expect("imported");
    assert_eq!(server.sessions().await.len(), 2, "nobody is thrown out");
    first.release(&held.session_id).await.expect("released");
    assert_eq!(first.acquire(3, 201).await.expect_err("one seat, one holder").reasons[0].code, 212);
    server.clock.advance(Duration::from_secs(67));
    first.acquire(4, 201).await.expect("the other one's time is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_the_admin_token_is_needed_and_nothing_else_will_do() {
    let mut server = TestServer::empty().await;
    let vendor = Vendor::new(FIRM, 1);
    let (channel, _) = tls_channel(server.server.addresses().grpc).await;
    let mut remote = ContainerServiceClient::new(channel);
    let before = files(server.path());
    let wrong = format!("Bearer {}", "x".repeat(server.server.admin_token.len()));
    for header in ["", "Bearer ", "Basic x", &wrong, &server.server.admin_token.clone()] {
        let with = |header: &str| {
            let mut request = Request::new(wire::CreateContainerRequest { lif: vendor.lif(), kind: 0 });
            if !header.is_empty() {
                request.metadata_mut().insert("authorization", header.parse().expect("a header"));
            }
            request
        };
        let status = remote.create_container(with(header)).await.expect_err(header);
        assert!(matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied), "{header}: {status}");
    }
    let status = remote.create_context(wire::CreateContextRequest::default()).await.expect_err("no token");
    assert_eq!(status.code(), Code::Unauthenticated);
    let status = remote.import_update(wire::ImportUpdateRequest::default()).await.expect_err("no token");
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(files(server.path()), before);
    remote.list_containers(wire::ListContainersRequest {}).await.expect("reading is open to local callers");

    let mut request = Request::new(wire::CreateContainerRequest { lif: vendor.lif(), kind: 0 });
    let token = format!("Bearer {}", server.server.admin_token);
    request.metadata_mut().insert("authorization", token.parse().expect("a header"));
    remote.create_container(request).await.expect("with the token");
    assert_eq!(server.listed().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = TestServer::empty().await;
    for entry in std::fs::read_dir(server.path()).expect("the folder") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
        let allowed = if entry.file_name() == "lictor.sock" { 0o660 } else { 0o600 };
        assert_eq!(mode, allowed, "{:?}", entry.file_name());
    }
    let token = std::fs::read_to_string(server.path().join("admin-token")).expect("the token");
    assert_eq!(token.trim(), server.server.admin_token);
    let fingerprint = std::fs::read_to_string(server.path().join("fingerprint")).expect("the fingerprint");
    assert_eq!(fingerprint.trim(), server.server.fingerprint);
    let (_, seen) = tls_channel(server.server.addresses().grpc).await;
    assert_eq!(seen, server.server.fingerprint, "what TLS shows is what is pinned");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_means_that_some_license_could_be_handed_out() {
    let mut server = TestServer::empty().await;
    let ready = |server: &TestServer| {
        let address = server.server.addresses().http;
        tokio::task::spawn_blocking(move || crate::stage::client::http_get(address, "/ready"))
    };
    let answer = ready(&server).await.expect("asked");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("no container yet"), "{answer}");
    let mut vendor = Vendor::new(FIRM, 1);
    server.create(&vendor.lif()).await.expect("created");
    let context = server.context(FIRM).await;
    server.import(&vendor.update(&context, vec![add(1, 201, 1)])).await.expect("imported");
    let started = std::time::Instant::now();
    loop {
        let answer = ready(&server).await.expect("asked");
        if answer.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{answer}");
    }
}
