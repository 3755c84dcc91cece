//! Copies of a state folder: nothing that must be used once is used twice, whatever the copies do.

use std::collections::BTreeSet;

use lictor_clock::ManualClock;
use lictor_license_file::context;
use lictor_license_server::domain::ask::Answer;
use lictor_license_server::store::Disk as _;
use lictor_license_server::store::memory_disk::{MemoryDisk, Unsynced};

use crate::stage::memory::start;
use crate::stage::vendor::{FIRM, Vendor, add, start_of_tests};

/// Nonces under which the state key seals what lies on a disk: of every batch of the journals, and of every snapshot.
fn sealing_nonces(disk: &MemoryDisk) -> BTreeSet<Vec<u8>> {
    let mut nonces = BTreeSet::new();
    for name in disk.list().expect("listed") {
        let bytes = disk.read(&name).expect("read");
        if name.starts_with("snapshot-") || name == "before-import" {
            assert!(nonces.insert(bytes[36..60].to_vec()), "{name}");
        } else if name.starts_with("journal-") {
            let mut at = 0;
            while at < bytes.len() {
                let body = u32::from_le_bytes(bytes[at + 16..at + 20].try_into().expect("four")) as usize;
                assert!(nonces.insert(bytes[at + 60..at + 84].to_vec()), "{name} at {at}");
                at += 84 + body + 4;
            }
        }
    }
    nonces
}

#[tokio::test]
async fn copies_of_a_folder_that_do_the_same_repeat_no_nonce() {
    let (disk, clock) = (MemoryDisk::new(), ManualClock::new(start_of_tests()));
    let (ledger, _failure) = start(&disk, &clock);
    let mut vendor = Vendor::new(FIRM, 1);
    let (lif, firm) = (vendor.lif(), vendor.firm);
    let created = ledger.change(move |writer, moment| writer.create_container(&lif, None, moment));
    created.await.expect("created");
    let context = ledger.change(move |writer, moment| writer.create_context(firm, None, moment)).await;
    let update = vendor.update(&context.expect("a context").0, vec![add(1, 201, 5)]);
    ledger.change(move |writer, moment| writer.import(&update, moment)).await.expect("imported");
    ledger.stop().await;
    disk.restart(Unsynced::Lost);

    let common = sealing_nonces(&disk);
    assert!(!common.is_empty());
    let (mut sealing, mut said) = (common.clone(), BTreeSet::new());
    for copy in 0..8 {
        let own = disk.copy();
        let (ledger, _failure) = start(&own, &clock);
        let given = ledger.acquire(crate::disk::ask(1)).await.expect("answered");
        let Answer::Granted(given) = given else { panic!("a seat") };
        assert!(said.insert(given.session.id.to_u128().to_be_bytes().to_vec()), "copy {copy}: a session id");
        let asked = ledger.change(move |writer, moment| writer.create_context(firm, Some([3; 32]), moment)).await;
        let asked = context::read(&asked.expect("a context").0).expect("a context").context;
        assert!(said.insert(asked.device_nonce.to_vec()), "copy {copy}: the nonce of a context");
        let nonce = ledger.change(move |writer, moment| writer.create_time_nonce(firm, moment)).await;
        assert!(said.insert(nonce.expect("a nonce").to_vec()), "copy {copy}: a time nonce");
        ledger.stop().await;
        let fresh: Vec<_> = sealing_nonces(&own).difference(&common).cloned().collect();
        assert!(fresh.len() >= 3, "copy {copy} sealed {} times", fresh.len());
        for nonce in fresh {
            assert!(sealing.insert(nonce), "copy {copy}: two contents under one nonce of the state key");
        }
    }
}

#[tokio::test]
async fn copies_that_show_themselves_to_the_vendor_use_one_number_for_different_contexts() {
    let (disk, clock) = (MemoryDisk::new(), ManualClock::new(start_of_tests()));
    let (ledger, _failure) = start(&disk, &clock);
    let vendor = Vendor::new(FIRM, 1);
    let (lif, firm) = (vendor.lif(), vendor.firm);
    ledger.change(move |writer, moment| writer.create_container(&lif, None, moment)).await.expect("created");
    ledger.stop().await;
    disk.restart(Unsynced::Lost);
    // Both of them run, and each writes its next context: whichever comes second tells that there are two.
    let mut shown = Vec::new();
    for _ in 0..2 {
        let (ledger, _failure) = start(&disk.copy(), &clock);
        let file = ledger.change(move |writer, moment| writer.create_context(firm, None, moment)).await;
        let file = file.expect("a context").0;
        let context = context::read(&file).expect("a context").context;
        shown.push((context.container_id(), context.sequence, file));
        ledger.stop().await;
    }
    assert_eq!((shown[0].0, shown[0].1), (shown[1].0, shown[1].1), "one container, one number");
    assert_ne!(shown[0].2, shown[1].2, "and yet two contexts");
}
