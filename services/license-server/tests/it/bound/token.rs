//! The kind `token`, with SoftHSM behind the real key agent.

use lictor_api::server::v1 as wire;
use lictor_clock::ManualClock;
use lictor_license_server::Settings;
use lictor_licensing::binding::{Binding, Bindings, ContainerKind};
use lictor_test_support::softhsm::SoftHsm;

use super::volume::{ready, until_granted};
use super::{admin, licence, refused, settings, started, stop};
use crate::stage::host::Host;
use crate::stage::vendor::{FIRM, Vendor, start_of_tests};

fn on(folder: &std::path::Path, host: &Host, hsm: &SoftHsm) -> Settings {
    let mut settings = settings(ContainerKind::Token, folder, host);
    settings.token_socket = Some(hsm.socket());
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_token_nothing_is_given_and_with_it_again_all_goes_on() {
    let hsm = SoftHsm::with_agent().expect("a token; run key-agent/build.sh and install-dependencies.sh first");
    let (folder, host, clock) =
        (tempfile::tempdir().expect("a folder"), Host::new("one"), ManualClock::new(start_of_tests()));
    let server = started(on(folder.path(), &host, &hsm), &clock).await;
    let mut admin = admin(&server).await;
    let mut vendor = Vendor::new(FIRM, 1);
    let lif = vendor.lif_for(Bindings::of(&[Binding::Token]));
    admin.create_container(wire::CreateContainerRequest { lif, kind: 0 }).await.expect("created");
    let request = wire::CreateContextRequest { firm_code: FIRM, serial: String::new(), challenge: Vec::new() };
    let asked = admin.create_context(request).await.expect("a context").into_inner().context;
    let update = vendor.update(&asked, vec![licence(1, 201, 5, &[Binding::Token])]);
    admin.import_update(wire::ImportUpdateRequest { update }).await.expect("imported");
    let mut number = 0;
    let serial = until_granted(&server, &mut number, true).await;

    hsm.pull().expect("pulled");
    let told = until_granted(&server, &mut number, false).await;
    assert!(told.contains("the token is away"), "{told}");
    let report = ready(&server).await;
    assert!(report.starts_with("HTTP/1.1 503") && report.contains("the token is away"), "{report}");
    hsm.put_back().expect("put back");
    assert_eq!(until_granted(&server, &mut number, true).await, serial);

    // It does not start without it, and starts with it; a copy of the folder is worth nothing without it.
    stop(server).await;
    hsm.pull().expect("pulled");
    let sentence = refused(on(folder.path(), &host, &hsm), &clock).await;
    assert!(sentence.contains("the token cannot be used"), "{sentence}");
    hsm.put_back().expect("put back");
    let server = started(on(folder.path(), &host, &hsm), &clock).await;
    assert_eq!(until_granted(&server, &mut number, true).await, serial);
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_token_does_not_open_the_container() {
    let hsm = SoftHsm::with_agent().expect("a token");
    let (folder, host, clock) =
        (tempfile::tempdir().expect("a folder"), Host::new("one"), ManualClock::new(start_of_tests()));
    stop(started(on(folder.path(), &host, &hsm), &clock).await).await;
    let other = SoftHsm::with_agent().expect("another token");
    // One without such a key, and one with a key of its own.
    let sentence = refused(on(folder.path(), &host, &other), &clock).await;
    assert!(sentence.contains("the token cannot be used"), "{sentence}");
    let elsewhere = tempfile::tempdir().expect("a folder");
    stop(started(on(elsewhere.path(), &host, &other), &clock).await).await;
    let sentence = refused(on(folder.path(), &host, &other), &clock).await;
    assert!(sentence.contains("belong to another token"), "{sentence}");
    stop(started(on(folder.path(), &host, &hsm), &clock).await).await;
}
