//! Rebases on a server that serves: taken once and by the one that asked, sessions go on, what was seen is settled.

use std::collections::BTreeMap;
use std::path::Path;

use lictor_api::server::v1::CreateContextRequest;
use lictor_license_file::context::{self, Context};
use lictor_license_file::device::{DeviceCounters, PartCounters};
use lictor_license_file::evidence::Evidence;
use lictor_license_file::segment::Operation;
use lictor_licensing::item::Part;
use lictor_licensing::options::{Options, UsagePeriod};

use crate::stage::client::RawClient;
use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, add, add_item, license, options, start_of_tests};

/// Every file of the state with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("the folder is read").map(|entry| entry.expect("an entry"));
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("read")))
        .collect()
}

fn code(status: &tonic::Status) -> String {
    lictor_api::error::problem(status).code.name().to_owned()
}

fn receipt(file: &[u8]) -> Context {
    context::read_receipt(file).expect("a receipt").context
}

fn none() -> DeviceCounters {
    DeviceCounters::default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_carries_the_challenge_and_a_short_one_is_refused() {
    let (mut server, _vendor) = TestServer::with(vec![add(1, 201, 1)]).await;
    let read = |file: &[u8]| context::read(file).expect("a context").context;
    assert_eq!(read(&server.challenged(FIRM, [3; 32]).await).vendor_nonce, Some([3; 32]));
    assert_eq!(read(&server.context(FIRM).await).vendor_nonce, None);
    let before = files(server.path());
    for length in [1, 16, 31, 33, 64] {
        let request = CreateContextRequest { firm_code: FIRM, serial: String::new(), challenge: vec![3; length] };
        let status = server.containers.create_context(request).await.expect_err("not a challenge");
        assert_eq!(code(&status), "invalid_argument", "{length} bytes");
    }
    assert_eq!(files(server.path()), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forked_container_comes_back_by_a_rebase_and_its_evidence_goes_with_the_receipt() {
    let (mut server, mut vendor) = TestServer::with(vec![add(1, 201, 2)]).await;
    // The vendor's database is restored: it issues the second segment twice.
    let context = server.context(FIRM).await;
    let before = vendor.states_of();
    let first = vendor.update(&context, vec![add(2, 202, 1)]);
    vendor.restore(before);
    let other = vendor.update(&context, vec![add(3, 203, 1)]);
    server.import(&first).await.expect("imported");
    let status = server.import(&other).await.expect_err("a fork");
    assert_eq!(code(&status), "update_forked");

    let asking = server.challenged(FIRM, [9; 32]).await;
    let told = context::read(&asking).expect("a context").context;
    assert!(matches!(told.evidence.as_slice(), [Evidence::Fork { at: 2, .. }]), "{:?}", told.evidence);
    let rebase = vendor.rebase(&asking, &[], &none());
    let imported = server.import(&rebase).await.expect("the way back");
    assert_eq!((imported.from, imported.to, imported.applied), (2, 1, 1));
    let receipt = receipt(&imported.receipt);
    assert_eq!((receipt.epoch, receipt.counter, receipt.evidence.len()), (1, 1, 1), "settled, and told once more");

    let mut server = server.restarted().await;
    let after = context::read(&server.context(FIRM).await).expect("a context").context;
    assert_eq!((after.epoch, after.evidence.len()), (1, 0));
    let next = vendor.update(&asking, vec![add(4, 204, 1)]);
    assert_eq!(server.import(&next).await.expect("the chain goes on").to, 2);
    let products: Vec<u32> = server.listed().await[0].firms[0].entries.iter().map(|e| e.product_code).collect();
    assert_eq!(products, [201, 203, 204], "what the vendor says, not what was there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebase_that_answers_nothing_leaves_every_byte_of_the_state_as_it_was() {
    let (mut server, mut vendor) = TestServer::with(vec![add(1, 201, 2)]).await;
    let asking = server.challenged(FIRM, [1; 32]).await;
    // Another container of the same vendor, and a question that this one does not know.
    let mut elsewhere = TestServer::empty().await;
    elsewhere.create(&vendor.lif()).await.expect("created");
    let theirs = elsewhere.challenged(FIRM, [1; 32]).await;
    vendor.update(&theirs, vec![add(9, 209, 1)]);
    let foreign = vendor.rebase(&theirs, &[], &none());
    let states = vendor.states_of();
    let before = files(server.path());
    let status = server.import(&foreign).await.expect_err("for another container");
    assert_eq!(code(&status), "file_for_other");
    assert_eq!(files(server.path()), before);

    // Sixteen newer questions push the first one out; the refusal changes nothing.
    let rebase = vendor.rebase(&asking, &[], &none());
    for number in 0..16 {
        server.challenged(FIRM, [100 + number; 32]).await;
    }
    let before = files(server.path());
    let status = server.import(&rebase).await.expect_err("an old question");
    assert_eq!(code(&status), "file_for_other");
    assert!(status.message().contains("answers no question"), "{}", status.message());
    assert_eq!(files(server.path()), before);

    vendor.restore(states);
    let newest = server.challenged(FIRM, [2; 32]).await;
    let good = vendor.rebase(&newest, &[], &none());
    server.import(&good).await.expect("the newest question");
    // Again: no news, and no second rebase for any question of the epoch before.
    assert_eq!(server.import(&good).await.expect("no news").skipped, 1);
    assert!(server.import(&rebase).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_live_through_a_rebase_where_their_license_does() {
    let (mut server, mut vendor) = TestServer::with(vec![add(1, 201, 2), add(2, 202, 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let kept = client.acquire(1, 201).await.expect("a seat");
    client.acquire(2, 202).await.expect("a seat");
    let asking = server.challenged(FIRM, [1; 32]).await;
    let rebase = vendor.rebase(&asking, &[Operation::WithdrawEntry { license: license(2) }], &none());
    server.import(&rebase).await.expect("imported");
    let sessions = server.sessions().await;
    assert_eq!(sessions.iter().map(|s| s.session_id.as_str()).collect::<Vec<_>>(), [kept.session_id.as_str()]);
    client.revalidate(&kept.session_id).await.expect("it is still there");
    let entry = &server.listed().await[0].firms[0].entries[0];
    assert_eq!((entry.quantity, entry.free), (2, 1));
    let mut server = server.restarted().await;
    assert_eq!(server.sessions().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebase_raises_what_a_restored_container_has_forgotten() {
    let period = UsagePeriod::new(std::time::Duration::from_secs(1_000)).expect("a period");
    let item = add_item(1, Options { usage_period: Some(period), ..options(201, Some(1)) }, Vec::new(), 1);
    let (mut server, mut vendor) = TestServer::with(vec![item]).await;
    // The vendor remembers a start that this container has lost with a backup.
    let mut floor = DeviceCounters::default();
    let used = PartCounters { units_used: 7, usage_start: Some(start_of_tests()) };
    floor.0.entry(license(1)).or_default().insert(Part::Parent, used);
    server.clock.advance(std::time::Duration::from_secs(2_000));
    let asking = server.challenged(FIRM, [1; 32]).await;
    let imported = server.import(&vendor.rebase(&asking, &[], &floor)).await.expect("imported");
    assert_eq!(receipt(&imported.receipt).counters.part(license(1), Part::Parent), used);
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    assert_eq!(client.acquire(1, 201).await.expect_err("the period is over").reasons[0].code, 71);
    let mut server = server.restarted().await;
    let after = context::read(&server.context(FIRM).await).expect("a context").context;
    assert_eq!(after.counters.part(license(1), Part::Parent), used, "over a restart too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_outlives_a_restart_and_a_rebase_that_was_cut_off_is_taken_again() {
    let (mut server, mut vendor) = TestServer::with(vec![add(1, 201, 2)]).await;
    let asking = server.challenged(FIRM, [1; 32]).await;
    let rebase = vendor.rebase(&asking, &[], &none());
    let mut server = server.restarted().await;
    for cut in [1, rebase.len() / 2, rebase.len() - 1] {
        server.import(&rebase[..cut]).await.expect_err("cut off");
    }
    server.import(&rebase).await.expect("nothing was burned");
    let mut server = server.restarted().await;
    assert_eq!(context::read(&server.context(FIRM).await).expect("a context").context.epoch, 1);
}
