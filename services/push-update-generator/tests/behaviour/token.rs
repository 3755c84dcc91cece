//! The firm's keys in a real PKCS#11 token that is pulled away in the middle of work.

use std::{sync::Arc, time::Duration};

use lictor_clock::ManualClock;
use lictor_key_store::{AgentKeyStore, FileKeyStore};
use lictor_license_file::update::UpdateFile;
use lictor_licensing::{binding::ContainerKind, error::ErrorCode, id::FirmCode};
use lictor_push_update_generator::{
    issue::Issuer,
    keys::Keys,
    metrics::Counters,
    store::{self, MIGRATIONS},
    take::Intake,
    vendor::FirmName,
};
use lictor_signing::{Role, TrustedRoot};
use lictor_storage::testing::TestDatabase;
use lictor_telemetry::Metrics;
use lictor_test_support::device::TestDevice;
use lictor_test_support::{softhsm::SoftHsm, wait};

use crate::world::{add, code, firm, noon, request};

const TOKEN_FIRM: u32 = 12;

fn issuer(database: &TestDatabase, hsm: &SoftHsm) -> Issuer {
    let keys = Keys::new(AgentKeyStore::new(hsm.socket(), Duration::from_secs(10)));
    let clock = ManualClock::new(noon()).shared();
    Issuer::new(database.db.clone(), None, keys, clock, Counters::register(&Metrics::new()))
}

async fn make(issuer: &Issuer, database: &TestDatabase) -> TrustedRoot {
    let code: FirmCode = firm(TOKEN_FIRM);
    issuer.make_vendor(code, &FirmName::new("Token").expect("a name")).await.expect("a firm");
    let stored = store::vendor::roots_after(&database.db, code, 0).await.expect("roots");
    TrustedRoot::trust(&stored[0].envelope).expect("a root document")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_pulled_away_mid_request_leaves_nothing_half_issued_and_resumes_with_the_same_bytes() {
    let mut hsm = SoftHsm::with_agent().expect("a token");
    let database = TestDatabase::sqlite(MIGRATIONS).await;
    let issuer = issuer(&database, &hsm);
    let root = make(&issuer, &database).await;
    let mut device = TestDevice::new(1, ContainerKind::Machine, &root);
    Intake::new(issuer.clone()).take(&device.context()).await.expect("taken");
    let first = issuer.issue(&request(&device, "act_1", vec![add(1)])).await.expect("issued in the token");
    device.import(&first.file.bytes).expect("an import");
    issuer.can_issue().await.expect("ready");

    for (round, kill) in [(2_u8, false), (3, true)] {
        if kill {
            hsm.kill_agent().expect("a killed agent");
        } else {
            hsm.pull().expect("the token is out");
        }
        let asked = request(&device, &format!("act_{round}"), vec![add(round)]);
        let refused = code(issuer.issue(&asked).await.expect_err("no token"));
        assert_eq!(refused, ErrorCode::Unavailable);
        assert!(issuer.resume().await.is_err(), "what was begun waits");
        assert!(issuer.can_issue().await.expect_err("not ready").contains("agent does not answer"));
        let chain = store::container::find(&database.db, &asked.key).await.expect("a database").expect("a container");
        assert_eq!((chain.issued, chain.reserved), (u64::from(round) - 1, u64::from(round)), "reserved, not issued");
        let waiting = store::segment::reserved_of(&database.db, &asked.key).await.expect("a database");
        // Issued bytes are still served.
        let again = issuer.issue(&request(&device, "act_1", vec![add(1)])).await.expect("the same answer");
        assert_eq!(again.file.bytes, first.file.bytes);
        if kill {
            hsm.start_agent().expect("the agent is back");
        } else {
            hsm.put_back().expect("the token is back");
        }
        // It resumes by itself, whoever comes first.
        wait_until_resumed(&issuer).await;
        let issued = issuer.issue(&asked).await.expect("issued");
        let segment = UpdateFile::read(&issued.file.bytes).expect("a file").segments.pop().expect("a segment");
        assert_eq!(segment.envelope().unverified_payload(), waiting[0].payload, "the bytes that were reserved");
        let receipt = device.import(&issued.file.bytes).expect("an import");
        Intake::new(issuer.clone()).take(&receipt).await.expect("taken");
    }
    database.remove().await;
}

async fn wait_until_resumed(issuer: &Issuer) {
    let end = tokio::time::Instant::now() + wait::PATIENCE;
    while issuer.can_issue().await.is_err() || issuer.resume().await.is_err() {
        assert!(tokio::time::Instant::now() < end, "the token never came back");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_key_takes_the_place_of_one_in_a_token() {
    let hsm = SoftHsm::with_agent().expect("a token");
    let database = TestDatabase::sqlite(MIGRATIONS).await;
    let root = make(&issuer(&database, &hsm), &database).await;
    // The same firm over a folder of keys: those are not the ones that the root document names.
    let folder = tempfile::tempdir().expect("a folder");
    let files = FileKeyStore::open(folder.path().join("keys"), lictor_key_store::Mode::Development).expect("a store");
    let keys = Keys::new(files);
    keys.make(firm(TOKEN_FIRM)).expect("other keys of the same names");
    let refused = keys.signers(&root, Role::Issue, noon()).err().expect("no key");
    assert!(refused.to_string().contains("too few issue keys"), "{refused}");
    assert!(keys.can_issue(&root, noon()).is_err());
    let shared = Arc::new(root);
    keys.remember_root(firm(TOKEN_FIRM), (*shared).clone());
    assert!(keys.find(&shared.document().roles[&Role::Issue].keys[0].key).expect("an answer").is_none());
    database.remove().await;
}
