//! An import with which the server does not start: after three starts the state from before is served.

use lictor_clock::ManualClock;
use lictor_license_file::segment::Operation;
use lictor_license_server::opening::OpenError;
use lictor_license_server::store::disk::is_full;
use lictor_license_server::store::memory_disk::{Fault, MemoryDisk, Unsynced};
use lictor_license_server::store::probation;
use lictor_license_server::store::{Disk as _, StoreError};
use lictor_license_server::writer::Ledger;

use crate::stage::memory::{open, start, start_opened};
use crate::stage::vendor::{FIRM, Vendor, add, start_of_tests};

fn clock() -> ManualClock {
    ManualClock::new(start_of_tests())
}

async fn import(ledger: &Ledger, vendor: &mut Vendor, operations: Vec<Operation>) -> Vec<u8> {
    let firm = vendor.firm;
    let (context, _) =
        ledger.change(move |writer, moment| writer.create_context(firm, None, moment)).await.expect("a context");
    let update = vendor.update(&context, operations);
    let file = update.clone();
    ledger.change(move |writer, moment| writer.import(&file, moment)).await.expect("imported");
    update
}

/// A server that has started once with its first licence, and then took a second one in.
async fn on_probation(disk: &MemoryDisk) -> (Vendor, Vec<u8>) {
    let (ledger, _failure) = start(disk, &clock());
    let mut vendor = Vendor::new(FIRM, 1);
    let lif = vendor.lif();
    let created = ledger.change(move |writer, moment| writer.create_container(&lif, None, moment));
    created.await.expect("created");
    import(&ledger, &mut vendor, vec![add(1, 201, 1)]).await;
    ledger.stop().await;
    let (ledger, _failure) = start(disk, &clock());
    ledger.change(|writer, _| writer.started()).await.expect("up");
    assert!(!listed(disk), "nothing is on probation after a start");
    let update = import(&ledger, &mut vendor, vec![add(2, 202, 1)]).await;
    ledger.stop().await;
    assert!(listed(disk));
    (vendor, update)
}

fn listed(disk: &MemoryDisk) -> bool {
    disk.list().expect("listed").iter().any(|name| name == probation::FILE)
}

#[tokio::test]
async fn after_three_starts_that_never_came_up_the_old_state_is_served() {
    let disk = MemoryDisk::new();
    let (vendor, update) = on_probation(&disk).await;
    let firm = vendor.firm;
    for failing in 1..=3 {
        // The process dies before it is up: nobody says that it has started.
        let opened = open(&disk).expect("it opens");
        assert_eq!(opened.state.firms[&firm].vendor.counter, 2, "start {failing} still has the import");
        disk.restart(Unsynced::Kept);
    }
    let opened = open(&disk).expect("the old state");
    assert_eq!(opened.state.firms[&firm].vendor.counter, 1);
    let sequence = opened.state.firms[&firm].context_sequence;
    assert!(sequence >= 4, "context numbers never go back: {sequence}");
    let sentence = opened.state.taken_back.sentence().expect("people are told");
    assert!(sentence.contains("taken back") && sentence.contains("three times"), "{sentence}");
    let (ledger, _failure) = start_opened(opened, &clock());
    ledger.change(|writer, _| writer.started()).await.expect("up");
    assert!(!listed(&disk));
    // The same file is refused by the same version, before anything is written.
    let file = update.clone();
    let problem = ledger.change(move |writer, moment| writer.import(&file, moment)).await.expect_err("taken back");
    assert!(problem.message.contains("taken back") && problem.next.contains("upgrade"), "{problem:?}");
    ledger.stop().await;
    // It stays so over restarts, until a good update comes.
    let (ledger, _failure) = start(&disk, &clock());
    let told = ledger.read(|keeper, _| keeper.state.taken_back.sentence()).await.expect("a look");
    assert!(told.is_some());
    let mut other = vendor;
    other.restore(std::collections::BTreeMap::new());
    let (context, _) =
        ledger.change(move |writer, moment| writer.create_context(firm, None, moment)).await.expect("a context");
    // The vendor sends the first update again with a second one that does not hurt.
    let first = other.update(&context, vec![add(1, 201, 1)]);
    let second = other.update(&context, vec![add(3, 203, 1)]);
    let both = lictor_license_file::update::combine(&[&first, &second]).expect("a small file");
    let taken = ledger.change(move |writer, moment| writer.import(&both, moment)).await;
    assert!(taken.is_ok() || taken.is_err_and(|problem| problem.code.name() == "update_forked"));
    ledger.stop().await;
}

/// Whether a start fails when the disk has room for `operations` operations and not for one more. The machine is off
/// afterwards, and what was not synced is as `unsynced` says.
fn fails_for_want_of_room(disk: &MemoryDisk, operations: u64, unsynced: Unsynced) -> bool {
    disk.fail_at(operations, Fault::Full);
    let opened = open(disk).map(drop);
    disk.restart(unsynced);
    match opened {
        Ok(()) => false,
        Err(OpenError::Store(StoreError::Full(_))) => true,
        Err(OpenError::Folder(error)) if is_full(&error) => true,
        Err(other) => panic!("room for {operations} operations: {other:?}"),
    }
}

#[tokio::test]
async fn a_start_that_fails_for_want_of_room_is_not_held_against_the_import() {
    let disk = MemoryDisk::new();
    let (vendor, _) = on_probation(&disk).await;
    // Each operation after which a start still needs room, from the count of starts to the last file of the journal.
    let places = (0..).take_while(|place| fails_for_want_of_room(&disk.copy(), *place, Unsynced::Kept)).count() as u64;
    assert!(places >= 12, "a start needs room for more than {places} operations");
    for unsynced in [Unsynced::Kept, Unsynced::Lost, Unsynced::Half] {
        for place in 0..places {
            let disk = disk.copy();
            for start in 1..=5 {
                let fails = fails_for_want_of_room(&disk, place, unsynced);
                assert!(fails, "start {start} comes up with room for {place} operations, {unsynced:?}");
            }
            // There is room again. Starts that really fail count from the first one on, as if nothing had been.
            for failing in 1..=3 {
                let opened = open(&disk).expect("there is room");
                let counter = opened.state.firms[&vendor.firm].vendor.counter;
                assert_eq!(counter, 2, "{unsynced:?}, room for {place}: start {failing} has lost the import");
                assert!(opened.state.taken_back.is_empty());
                disk.restart(unsynced);
            }
            let opened = open(&disk).expect("the old state");
            assert_eq!(opened.state.firms[&vendor.firm].vendor.counter, 1, "{unsynced:?}, room for {place}");
        }
    }
}

#[tokio::test]
async fn a_probation_that_has_ended_leaves_nothing_that_counts_against_the_next_one() {
    let disk = MemoryDisk::new();
    let (mut vendor, _) = on_probation(&disk).await;
    // One start has failed; the next one comes up, and the end of the probation is cut off at every place.
    drop(open(&disk).expect("it opens"));
    let whole = disk.copy();
    for at in 0..12 {
        let disk = whole.copy();
        let (ledger, _failure) = start(&disk, &clock());
        disk.fail_at(at, Fault::Crash);
        let ended = ledger.change(|writer, _| writer.started()).await;
        ledger.stop().await;
        disk.restart(Unsynced::Lost);
        let opened = open(&disk).expect("it opens");
        assert_eq!(opened.state.firms[&vendor.firm].vendor.counter, 2, "cut at {at}");
        assert!(ended.is_err() || !listed(&disk), "cut at {at}: the end was acknowledged");
    }
    let (ledger, _failure) = start(&disk, &clock());
    ledger.change(|writer, _| writer.started()).await.expect("up");
    import(&ledger, &mut vendor, vec![add(3, 203, 1)]).await;
    ledger.stop().await;
    for failing in 1..=3 {
        let opened = open(&disk).expect("it opens");
        assert_eq!(opened.state.firms[&vendor.firm].vendor.counter, 3, "start {failing}");
    }
}

#[tokio::test]
async fn a_successful_start_ends_the_probation() {
    let disk = MemoryDisk::new();
    let (vendor, _) = on_probation(&disk).await;
    for _ in 0..2 {
        drop(open(&disk).expect("it opens"));
    }
    let (ledger, _failure) = start(&disk, &clock());
    ledger.change(|writer, _| writer.started()).await.expect("up");
    ledger.stop().await;
    for _ in 0..5 {
        let opened = open(&disk).expect("it opens");
        assert_eq!(opened.state.firms[&vendor.firm].vendor.counter, 2);
        assert!(opened.state.taken_back.is_empty());
    }
}

#[tokio::test]
async fn what_was_granted_since_the_import_is_there_after_it_is_taken_back() {
    let disk = MemoryDisk::new();
    let (vendor, _) = on_probation(&disk).await;
    let (ledger, _failure) = start(&disk, &clock());
    let mut ask = crate::disk::ask(7);
    ask.product_code = lictor_licensing::id::ProductCode(201);
    ledger.acquire(ask).await.expect("answered");
    ledger.stop().await;
    for _ in 0..3 {
        drop(open(&disk).expect("it opens"));
    }
    let opened = open(&disk).expect("it opens");
    assert_eq!(opened.state.firms[&vendor.firm].vendor.counter, 1);
    assert_eq!(opened.state.sessions.len(), 1, "promises are kept");
}
