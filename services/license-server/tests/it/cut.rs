//! Rebases and signed times that are cut off at every operation of the disk: the state is the one before or the one after.

use std::time::Duration;

use lictor_clock::{ManualClock, Timestamp};
use lictor_license_file::device::{DeviceCounters, PartCounters};
use lictor_license_file::segment::Operation;
use lictor_license_server::domain::state::encode_firm;
use lictor_license_server::store::memory_disk::{Fault, MemoryDisk, Unsynced};
use lictor_license_server::writer::Ledger;
use lictor_licensing::id::FirmCode;
use lictor_licensing::item::Part;
use lictor_licensing::options::{Options, UsagePeriod};

use crate::stage::memory::{open, start};
use crate::stage::vendor::{FIRM, Vendor, add, add_item, license, options, start_of_tests};

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn firm() -> FirmCode {
    FirmCode::new(FIRM).expect("a firm")
}

fn period() -> Options {
    let period = UsagePeriod::new(100 * DAY).expect("a period");
    Options { usage_period: Some(period), ..options(201, Some(2)) }
}

async fn context(ledger: &Ledger, challenge: Option<[u8; 32]>) -> Vec<u8> {
    let written = ledger.change(move |writer, moment| writer.create_context(firm(), challenge, moment)).await;
    written.expect("a context").0
}

/// A container with two licences; somebody uses the first, whose period of use has begun.
async fn filled(disk: &MemoryDisk, clock: &ManualClock) -> Vendor {
    let (ledger, _failure) = start(disk, clock);
    let mut vendor = Vendor::new(FIRM, 1);
    let lif = vendor.lif();
    let created = ledger.change(move |writer, moment| writer.create_container(&lif, None, moment));
    created.await.expect("created");
    let context = context(&ledger, None).await;
    let update = vendor.update(&context, vec![add_item(1, period(), Vec::new(), 2), add(2, 202, 1)]);
    ledger.change(move |writer, moment| writer.import(&update, moment)).await.expect("imported");
    ledger.acquire(crate::disk::ask(1)).await.expect("answered");
    ledger.change(|writer, _| writer.started()).await.expect("up");
    ledger.stop().await;
    vendor
}

/// The firm's part of the state as it is on the disk, after one more start that may be cut off as well.
fn on_disk(disk: &MemoryDisk, second: u64, unsynced: Unsynced) -> Vec<u8> {
    disk.fail_at(second, Fault::Crash);
    drop(open(disk));
    disk.restart(unsynced);
    encode_firm(&open(disk).expect("it opens").state.firms[&firm()])
}

#[tokio::test]
async fn a_rebase_cut_at_any_operation_is_taken_whole_or_not_at_all() {
    let whole = MemoryDisk::new();
    let clock = ManualClock::new(start_of_tests());
    let mut vendor = filled(&whole, &clock).await;
    // The vendor issued the second segment twice, which leaves evidence behind; then the container asks.
    let (ledger, _failure) = start(&whole, &clock);
    let plain = context(&ledger, None).await;
    let states = vendor.states_of();
    let first = vendor.update(&plain, vec![add(3, 203, 1)]);
    vendor.restore(states);
    let other = vendor.update(&plain, vec![add(4, 204, 1)]);
    ledger.change(move |writer, moment| writer.import(&first, moment)).await.expect("imported");
    ledger.change(move |writer, moment| writer.import(&other, moment)).await.expect_err("a fork");
    let asking = context(&ledger, Some([9; 32])).await;
    ledger.change(|writer, _| writer.started()).await.expect("up");
    ledger.stop().await;
    let mut floor = DeviceCounters::default();
    let used = PartCounters { units_used: 7, usage_start: Some(start_of_tests().saturating_sub(DAY)) };
    floor.0.entry(license(1)).or_default().insert(Part::Parent, used);
    let rebase = vendor.rebase(&asking, &[Operation::WithdrawEntry { license: license(2) }], &floor);

    let before = encode_firm(&open(&whole.copy()).expect("it opens").state.firms[&firm()]);
    let undisturbed = whole.copy();
    let (ledger, _failure) = start(&undisturbed, &clock);
    let file = rebase.clone();
    ledger.change(move |writer, moment| writer.import(&file, moment)).await.expect("imported");
    ledger.stop().await;
    let after = encode_firm(&open(&undisturbed).expect("it opens").state.firms[&firm()]);
    assert_ne!(before, after);

    let (mut cut, mut between) = (0, std::collections::BTreeSet::new());
    for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Half] {
        for at in 0.. {
            let disk = whole.copy();
            let (ledger, _failure) = start(&disk, &clock);
            disk.fail_at(at, Fault::Crash);
            let file = rebase.clone();
            let told = ledger.change(move |writer, moment| writer.import(&file, moment)).await;
            ledger.stop().await;
            disk.restart(unsynced);
            let found = on_disk(&disk, (at * 7) % 23, unsynced);
            if told.is_ok() {
                assert_eq!(found, after, "{unsynced:?} at {at}: acknowledged and gone");
            } else if found != before && found != after {
                between.insert(found);
            }
            // Whatever is there: the same file leads to the same end, and the session is still held.
            let (ledger, _failure) = start(&disk, &clock);
            let file = rebase.clone();
            ledger.change(move |writer, moment| writer.import(&file, moment)).await.expect("not burned");
            let (place, usage, sessions) = ledger
                .read(|keeper, _| {
                    let firm = &keeper.state.firms[&firm()];
                    let usage = firm.counters().part(license(1), Part::Parent);
                    let place = (firm.vendor.epoch, firm.questions.len(), firm.evidence.len());
                    (place, usage, keeper.state.sessions.len())
                })
                .await
                .expect("a look");
            assert_eq!((place, usage, sessions), ((1, 0, 0), used, 1), "{unsynced:?} at {at}");
            ledger.stop().await;
            if told.is_ok() {
                break;
            }
            cut += 1;
        }
    }
    assert!(cut >= 9, "{cut} crashes were tried");
    // The one thing between is a rebase that was taken whole and whose receipt was not numbered yet: the evidence that it
    // settles has still to leave with the next context.
    assert!(between.len() <= 1, "{} other states were seen", between.len());
}

/// What a restart finds of the time: the latest signed one, and when the first use of the licence began.
async fn found(ledger: &Ledger) -> (Timestamp, Option<Timestamp>) {
    let look = ledger.read(|keeper, _| {
        let usage = keeper.state.firms[&firm()].counters().part(license(1), Part::Parent).usage_start;
        (keeper.state.time.signed(), usage)
    });
    look.await.expect("a look")
}

#[tokio::test]
async fn a_signed_time_cut_at_any_operation_is_taken_whole_or_not_at_all_and_never_twice() {
    let (whole, real) = (MemoryDisk::new(), start_of_tests().saturating_add(DAY));
    let clock = ManualClock::new(start_of_tests());
    // The first use is written down by a clock that is years ahead: the signed time has to put that right as well.
    let wrong = start_of_tests().saturating_add(3_650 * DAY);
    clock.set_now(wrong);
    let vendor = filled(&whole, &clock).await;
    let (before, after) = ((Timestamp::UNIX_EPOCH, Some(wrong)), (real, Some(real)));
    let mut cut = 0;
    for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Half] {
        for at in 0.. {
            let disk = whole.copy();
            let (ledger, _failure) = start(&disk, &clock);
            let nonce = ledger.change(move |writer, moment| writer.create_time_nonce(firm(), moment)).await;
            let statement = vendor.say_time(&nonce.expect("a nonce"), real);
            disk.fail_at(at, Fault::Crash);
            let said = statement.clone();
            let told = ledger.change(move |writer, moment| writer.import_time(firm(), &said, moment)).await;
            ledger.stop().await;
            disk.restart(unsynced);
            drop(on_disk(&disk, (at * 5) % 19, unsynced));

            let (ledger, _failure) = start(&disk, &clock);
            let state = found(&ledger).await;
            assert!(state == before || state == after, "{unsynced:?} at {at}: {state:?}");
            assert!(told.is_err() || state == after, "{unsynced:?} at {at}: acknowledged and gone");
            // The nonce died with the process, taken or not; and it is no help that a new one is open.
            let nonce = ledger.change(move |writer, moment| writer.create_time_nonce(firm(), moment)).await;
            let said = statement.clone();
            let again = ledger.change(move |writer, moment| writer.import_time(firm(), &said, moment)).await;
            assert!(
                again.is_err_and(|problem| problem.message.contains("answers no question")),
                "{unsynced:?} at {at}"
            );
            assert_eq!(found(&ledger).await, state, "{unsynced:?} at {at}: a replay changed something");
            let answer = vendor.say_time(&nonce.expect("a nonce"), real);
            let taken = ledger.change(move |writer, moment| writer.import_time(firm(), &answer, moment)).await;
            assert_eq!(taken.expect("the answer to the open question").proven, real);
            assert_eq!(found(&ledger).await, after, "{unsynced:?} at {at}");
            ledger.stop().await;
            if told.is_ok() {
                break;
            }
            cut += 1;
        }
    }
    assert!(cut >= 6, "{cut} crashes were tried");
}
