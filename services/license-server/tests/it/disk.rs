//! The writer on a disk that fills up and breaks: promises are kept, and none is given that cannot be.

use std::sync::mpsc;
use std::time::Duration;

use lictor_clock::ManualClock;
use lictor_license_server::domain::ask::{Answer, Ask};
use lictor_license_server::domain::session::ClientNames;
use lictor_license_server::store::Replay as _;
use lictor_license_server::store::memory_disk::{Fault, MemoryDisk, Unsynced};
use lictor_license_server::writer::Ledger;
use lictor_licensing::access::{AccessMode, Origin, Seats, Station};
use lictor_licensing::feature::FeatureMap;
use lictor_licensing::id::{FirmCode, ProductCode};
use lictor_signing::Signer as _;

use crate::stage::vendor::{FIRM, Vendor, add, start_of_tests};

/// A writer on a disk in memory, with the reason for which it gave up, if it did.
fn start(disk: &MemoryDisk) -> (Ledger, mpsc::Receiver<String>) {
    crate::stage::memory::start(disk, &ManualClock::new(start_of_tests()))
}

async fn filled(ledger: &Ledger, seats: u32) -> Vendor {
    let mut vendor = Vendor::new(FIRM, 1);
    let lif = vendor.lif();
    ledger.change(move |writer, moment| writer.create_container(&lif, None, moment)).await.expect("created");
    let firm = vendor.firm;
    let (context, _) =
        ledger.change(move |writer, moment| writer.create_context(firm, None, moment)).await.expect("a context");
    let update = vendor.update(&context, vec![add(1, 201, seats)]);
    ledger.change(move |writer, moment| writer.import(&update, moment)).await.expect("imported");
    vendor
}

pub(crate) fn ask(number: u8) -> Ask {
    Ask {
        request_id: [number; 16],
        asked: [number; 32],
        client_key: lictor_key_store::MemorySigner::from_seed(&[number; 32]).public_key(),
        nonce: [number; 32],
        firm_code: FirmCode::new(FIRM).expect("a firm"),
        product_code: ProductCode(201),
        feature_map: FeatureMap::NONE,
        mode: AccessMode::UserLimit,
        seats: Seats::ONE,
        release_date: None,
        names: ClientNames::default(),
        station: Station::new("here").expect("a name"),
        origin: Origin::Local,
        address: None,
        container: None,
    }
}

async fn snapshot(ledger: &Ledger) -> Vec<u8> {
    ledger.read(|keeper, _| keeper.state.snapshot()).await.expect("a look")
}

#[tokio::test]
async fn what_is_replayed_is_what_was_there() {
    let disk = MemoryDisk::new();
    let (ledger, _failure) = start(&disk);
    filled(&ledger, 100).await;
    for number in 0..40 {
        assert!(matches!(ledger.acquire(ask(number)).await, Ok(Answer::Granted(_))));
    }
    let before = snapshot(&ledger).await;
    ledger.stop().await;
    disk.restart(Unsynced::Lost);
    let (ledger, _failure) = start(&disk);
    assert_eq!(snapshot(&ledger).await, before, "from journal records");
    ledger.stop().await;
    let (ledger, _failure) = start(&disk);
    assert_eq!(snapshot(&ledger).await, before, "from a snapshot");
    ledger.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_seats_and_updates_and_recovers_without_a_restart() {
    let disk = MemoryDisk::new();
    let (ledger, failure) = start(&disk);
    let mut vendor = filled(&ledger, 2).await;
    assert!(matches!(ledger.acquire(ask(1)).await, Ok(Answer::Granted(_))));
    let firm = vendor.firm;
    let (context, _) =
        ledger.change(move |writer, moment| writer.create_context(firm, None, moment)).await.expect("a context");
    let update = vendor.update(&context, vec![add(2, 202, 1)]);

    disk.fail_at(0, Fault::Full);
    let problem = ledger.acquire(ask(2)).await.expect_err("no room");
    assert!(problem.message.contains("disk of the licence server is full"), "{problem:?}");
    let file = update.clone();
    let problem = ledger.change(move |writer, moment| writer.import(&file, moment)).await.expect_err("no room");
    assert!(problem.message.contains("full"), "{problem:?}");
    assert_eq!(ledger.read(|keeper, _| keeper.state.sessions.len()).await.expect("a look"), 1);

    disk.heal();
    assert!(matches!(ledger.acquire(ask(3)).await, Ok(Answer::Granted(_))), "the refused wish holds no seat");
    let imported = ledger.change(move |writer, moment| writer.import(&update, moment)).await.expect("imported");
    assert_eq!(imported.to, 2);
    assert!(failure.try_recv().is_err(), "the writer goes on");
    ledger.stop().await;
}

#[tokio::test]
async fn a_broken_disk_ends_the_writer_and_nothing_is_acknowledged_after_it() {
    let disk = MemoryDisk::new();
    let (ledger, failure) = start(&disk);
    filled(&ledger, 5).await;
    assert!(matches!(ledger.acquire(ask(1)).await, Ok(Answer::Granted(_))));
    // The write goes well, the sync does not.
    disk.fail_at(1, Fault::Broken);
    ledger.acquire(ask(2)).await.expect_err("nobody knows what the disk holds");
    let reason = tokio::task::spawn_blocking(move || failure.recv_timeout(Duration::from_secs(10)));
    assert!(reason.await.expect("joined").expect("a reason").contains("sync the journal"));
    ledger.acquire(ask(3)).await.expect_err("the writer has ended");
    disk.restart(Unsynced::Lost);
    let (ledger, _failure) = start(&disk);
    assert_eq!(ledger.read(|keeper, _| keeper.state.sessions.len()).await.expect("a look"), 1);
}

#[tokio::test]
async fn an_import_cut_by_a_crash_at_any_operation_stops_at_a_segment_and_goes_on_later() {
    let mut cut = 0;
    for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Half] {
        for at in 0.. {
            let disk = MemoryDisk::new();
            let (ledger, _failure) = start(&disk);
            let mut vendor = filled(&ledger, 2).await;
            let firm = vendor.firm;
            let (context, _) = ledger
                .change(move |writer, moment| writer.create_context(firm, None, moment))
                .await
                .expect("a context");
            let single: Vec<Vec<u8>> =
                (2..=4).map(|number| vendor.update(&context, vec![add(number, 201, 1)])).collect();
            let parts: Vec<&[u8]> = single.iter().map(Vec::as_slice).collect();
            let update = lictor_license_file::update::combine(&parts).expect("a small file");

            disk.fail_at(at, Fault::Crash);
            let file = update.clone();
            let told = ledger.change(move |writer, moment| writer.import(&file, moment)).await;
            ledger.stop().await;
            disk.restart(unsynced);
            let (ledger, _failure) = start(&disk);
            let (counter, entries) = ledger
                .read(move |keeper, _| {
                    let state = &keeper.state.firms[&firm].vendor;
                    (state.counter, state.entries.len() as u64)
                })
                .await
                .expect("a look");
            assert!((1..=4).contains(&counter), "{unsynced:?} at {at}");
            assert_eq!(entries, counter, "{unsynced:?} at {at}: half a segment");
            let whole = told.is_ok();
            assert!(!whole || counter == 4, "{unsynced:?} at {at}: acknowledged and gone");
            let again = ledger.change(move |writer, moment| writer.import(&update, moment)).await.expect("not burned");
            assert_eq!((again.from, again.to), (counter, 4), "{unsynced:?} at {at}");
            ledger.stop().await;
            if whole {
                break;
            }
            cut += 1;
        }
    }
    assert!(cut >= 9, "{cut} crashes were tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_keeps_his_place_while_the_disk_is_full_and_is_served_in_order_when_there_is_room() {
    let (disk, clock) = (MemoryDisk::new(), ManualClock::new(start_of_tests()));
    let (ledger, failure) = crate::stage::memory::start(&disk, &clock);
    filled(&ledger, 1).await;
    assert!(matches!(ledger.acquire(ask(1)).await, Ok(Answer::Granted(_))));
    let mut waiting = Vec::new();
    for number in 2..5 {
        let mut visit = ledger.wait(ask(number), Duration::from_secs(3_600)).expect("a queue");
        visit.standing.wait_for(|standing| standing.is_some()).await.expect("told");
        waiting.push(visit);
    }
    disk.fail_at(0, Fault::Full);
    // The seat comes free by itself; what is to be written of that has to wait as well.
    clock.advance(Duration::from_secs(120));
    for _ in 0..3 {
        let begun = std::time::Instant::now();
        // Each look waits for the writer, which looks after the queue four times a second.
        while begun.elapsed() < Duration::from_millis(300) {
            let places = ledger.read(|keeper, _| [2, 3, 4].map(|number| keeper.queues().position(&[number; 16]))).await;
            let known = [Some(1), Some(2), Some(3)];
            assert!(places.expect("a look") == known, "somebody has lost his place");
        }
    }
    let problem = ledger.acquire(ask(9)).await;
    assert!(!matches!(problem, Ok(Answer::Granted(_))), "somebody came from behind");
    disk.heal();
    for (place, visit) in waiting.into_iter().enumerate() {
        let answer = tokio::time::timeout(Duration::from_secs(20), visit.answer).await.expect("in time");
        let Ok(Answer::Granted(given)) = answer.expect("an answer") else { panic!("{place} is refused") };
        assert_eq!(usize::from(given.session.request_id[0]), place + 2, "in the order of coming");
        // Nobody holds it by a stream, so it comes free by itself.
        clock.advance(Duration::from_secs(120));
    }
    assert!(failure.try_recv().is_err(), "the writer goes on");
    ledger.stop().await;
}
