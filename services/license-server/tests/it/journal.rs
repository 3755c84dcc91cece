//! The journal against torn tails, bit rot, crashes, full and broken disks, with the smallest state that can be wrong: a
//! list of numbers.

use lictor_license_server::store::batch::{self, Position, Sealer};
use lictor_license_server::store::memory_disk::{Fault, MemoryDisk, Unsynced};
use lictor_license_server::store::{Disk as _, Journal, Replay, StoreError};

use crate::stage::scale;

/// Remembers numbers in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Numbers(Vec<u32>);

impl Replay for Numbers {
    fn restore(&self, bytes: &[u8]) -> Result<Self, String> {
        Ok(Self(bytes.chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().expect("four"))).collect()))
    }

    fn apply(&mut self, record: &[u8]) -> Result<(), String> {
        self.0.push(u32::from_le_bytes(record.try_into().map_err(|_| "a record has four bytes".to_owned())?));
        Ok(())
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.iter().flat_map(|number| number.to_le_bytes()).collect()
    }
}

fn open(disk: &MemoryDisk) -> Result<(Journal, Numbers), StoreError> {
    let mut count = 0_u8;
    let nonces = Box::new(move || {
        count = count.wrapping_add(1);
        Ok([count; 24])
    });
    Journal::open(Box::new(disk.clone()), Sealer::new(&[5; 32]), [1; 16], nonces, Numbers::default())
}

fn record(number: u32) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

/// A disk with `batches` batches of two numbers each, and the name of its journal.
fn written(batches: u32) -> (MemoryDisk, String) {
    let disk = MemoryDisk::new();
    let (mut journal, _) = open(&disk).expect("an empty folder opens");
    for batch in 0..batches {
        journal.append(&[record(2 * batch), record(2 * batch + 1)]).expect("written");
    }
    let name = disk.list().expect("listed").into_iter().find(|name| name.starts_with("journal-")).expect("a journal");
    (disk, name)
}

fn first_numbers(count: usize) -> Numbers {
    Numbers((0..u32::try_from(count).expect("few")).collect())
}

#[test]
fn a_journal_cut_at_any_byte_gives_all_batches_before_the_cut() {
    let (disk, name) = written(4);
    let whole = disk.read(&name).expect("read");
    let batch = whole.len() / 4;
    for cut in 0..=whole.len() {
        let copy = disk.copy();
        copy.tamper(&name, |bytes| bytes.truncate(cut));
        let (_, state) = open(&copy).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(state, first_numbers(2 * (cut / batch)), "cut at {cut}");
        let (_, again) = open(&copy).expect("opens again");
        assert_eq!(again, state, "cut at {cut}");
    }
}

#[test]
fn any_flipped_bit_is_noticed_and_only_the_last_batch_may_be_dropped() {
    let (disk, name) = written(4);
    let whole = disk.read(&name).expect("read");
    let batch = whole.len() / 4;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let copy = disk.copy();
            copy.tamper(&name, |bytes| bytes[at] ^= 1 << bit);
            match open(&copy) {
                Ok((_, state)) => {
                    assert!(at >= 3 * batch, "byte {at} bit {bit} lies in a batch that others follow");
                    assert_eq!(state, first_numbers(6), "byte {at} bit {bit}");
                }
                Err(StoreError::Damaged { .. } | StoreError::TooNew { .. }) => {
                    assert!(at < 3 * batch, "byte {at} bit {bit} looks like a torn tail");
                }
                Err(error) => panic!("byte {at} bit {bit}: {error}"),
            }
        }
    }
}

#[test]
fn batches_cannot_be_swapped_repeated_left_out_or_brought_from_elsewhere() {
    let (disk, name) = written(4);
    let whole = disk.read(&name).expect("read");
    let batches: Vec<&[u8]> = whole.chunks(whole.len() / 4).collect();
    let orders: [&[usize]; 4] = [&[0, 2, 1, 3], &[0, 0, 1, 2], &[0, 2, 3], &[1, 2, 3]];
    for order in orders {
        let copy = disk.copy();
        copy.tamper(&name, |bytes| *bytes = order.iter().flat_map(|place| batches[*place]).copied().collect());
        assert!(matches!(open(&copy), Err(StoreError::Damaged { .. })), "{order:?}");
    }
    let sealer = Sealer::new(&[6; 32]);
    let (foreign, _) = batch::encode(&sealer, Position::START, &[1; 16], &[9; 24], &[record(7)]);
    let copy = disk.copy();
    copy.tamper(&name, |bytes| *bytes = foreign);
    assert!(matches!(open(&copy), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_damaged_newest_snapshot_falls_back_to_the_older_one() {
    let (disk, _) = written(3);
    let (mut journal, state) = open(&disk).expect("opens");
    journal.append(&[record(6)]).expect("written");
    journal.snapshot(&first_numbers(7).snapshot()).expect("a snapshot");
    journal.append(&[record(7)]).expect("written");
    assert_eq!(state, first_numbers(6));
    drop(journal);
    let names = disk.list().expect("listed");
    let newest = names.iter().filter(|name| name.starts_with("snapshot-")).max().expect("a snapshot").clone();
    let length = disk.read(&newest).expect("read").len();
    for at in 0..length {
        let copy = disk.copy();
        copy.tamper(&newest, |bytes| bytes[at] ^= 0x10);
        match open(&copy) {
            Ok((_, state)) => assert_eq!(state, first_numbers(8), "byte {at}"),
            // The version is checked after the checksum, so this cannot come from one flipped bit.
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn missing_files_in_the_middle_are_noticed() {
    let (disk, _) = written(3);
    let (mut journal, _) = open(&disk).expect("opens");
    journal.append(&[record(6)]).expect("written");
    journal.snapshot(&first_numbers(7).snapshot()).expect("a snapshot");
    drop(journal);
    let snapshots: Vec<_> = disk.list().expect("listed").into_iter().filter(|n| n.starts_with("snapshot-")).collect();
    assert_eq!(snapshots.len(), 2, "two are kept");
    let copy = disk.copy();
    for name in &snapshots {
        copy.remove(name).expect("removed");
    }
    assert!(matches!(open(&copy), Err(StoreError::Damaged { .. })));
}

/// One life of a program: opens, appends, takes a snapshot now and then. Gives what was acknowledged and what was tried.
fn life(disk: &MemoryDisk, acknowledged: &mut u32, tried: &mut u32) -> Result<(), StoreError> {
    let (mut journal, state) = open(disk)?;
    let mut numbers = state;
    let have = u32::try_from(numbers.0.len()).expect("few");
    assert!(have >= *acknowledged, "{have} of {acknowledged} acknowledged numbers are back");
    assert_eq!(numbers, first_numbers(have as usize), "nothing is out of order or twice");
    // What was tried and not acknowledged may be there as a whole batch, or not at all.
    assert!(have <= *tried && have.is_multiple_of(2));
    *acknowledged = have;
    for round in 0..6 {
        let next = *acknowledged;
        *tried = next + 2;
        journal.append(&[record(next), record(next + 1)])?;
        *acknowledged = next + 2;
        numbers.0.extend([next, next + 1]);
        if round % 3 == 2 {
            journal.snapshot(&numbers.snapshot())?;
        }
    }
    Ok(())
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged_and_halves_nothing() {
    let mut runs = 0_u64;
    for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Half] {
        for at in 0.. {
            let disk = MemoryDisk::new();
            let (mut acknowledged, mut tried) = (0, 0);
            disk.fail_at(at, Fault::Crash);
            let ended = life(&disk, &mut acknowledged, &mut tried);
            if ended.is_ok() {
                break;
            }
            disk.restart(unsynced);
            // A second crash while the first one is being repaired.
            let second = (at * 7) % 23;
            disk.fail_at(second, Fault::Crash);
            let _ = life(&disk, &mut acknowledged, &mut tried);
            disk.restart(unsynced);
            life(&disk, &mut acknowledged, &mut tried).unwrap_or_else(|error| panic!("{unsynced:?} at {at}: {error}"));
            runs += 1;
        }
    }
    assert!(runs > 100, "{runs} crashes were tried");
}

#[test]
fn a_full_disk_takes_nothing_and_goes_on_when_there_is_room() {
    for at in 0..(40 * scale().min(4)) {
        let disk = MemoryDisk::new();
        let Ok((mut journal, _)) = open(&disk) else { continue };
        disk.fail_at(at, Fault::Full);
        let mut kept = Numbers::default();
        for number in 0..10 {
            match journal.append(&[record(number)]) {
                Ok(()) => kept.0.push(number),
                Err(StoreError::Full(_)) => {}
                Err(error) => panic!("full at {at}: {error}"),
            }
            if number == 4 {
                match journal.snapshot(&kept.snapshot()) {
                    Ok(()) | Err(StoreError::Full(_)) => {}
                    Err(error) => panic!("full at {at}: {error}"),
                }
            }
            if number == 7 {
                disk.heal();
            }
        }
        assert_eq!(kept.0.last(), Some(&9), "there is room again");
        drop(journal);
        disk.restart(Unsynced::Lost);
        let (_, state) = open(&disk).unwrap_or_else(|error| panic!("full at {at}: {error}"));
        assert_eq!(state, kept, "full at {at}");
    }
}

#[test]
fn after_a_failed_sync_nothing_more_is_acknowledged() {
    for at in 0..12 {
        let disk = MemoryDisk::new();
        let (mut journal, _) = open(&disk).expect("opens");
        let mut acknowledged = 0;
        disk.fail_at(at, Fault::Broken);
        for number in 0..10 {
            match journal.append(&[record(number)]) {
                Ok(()) => acknowledged = number as usize + 1,
                Err(StoreError::Disk { .. }) => break,
                Err(error) => panic!("broken at {at}: {error}"),
            }
        }
        drop(journal);
        disk.restart(Unsynced::Kept);
        let (_, state) = open(&disk).expect("opens");
        assert!(state.0.len() >= acknowledged && state.0.len() <= acknowledged + 1, "broken at {at}");
    }
}

#[test]
fn an_older_server_refuses_the_folder_of_a_newer_one_and_names_its_format() {
    let (disk, journal) = written(2);
    let snapshot = disk.list().expect("listed").into_iter().find(|name| name.starts_with("snapshot-"));
    for name in [snapshot.expect("a snapshot"), journal] {
        let copy = disk.copy();
        // Format and oldest reader of a later version; the checksum covers both.
        copy.tamper(&name, |bytes| {
            bytes[8..12].copy_from_slice(&[9, 0, 9, 0]);
            let end = if name.starts_with("journal-") { bytes.len() / 2 - 4 } else { bytes.len() - 4 };
            let checksum = crc32c::crc32c(&bytes[..end]).to_le_bytes();
            bytes[end..end + 4].copy_from_slice(&checksum);
        });
        let before = copy.read(&name).expect("read");
        match open(&copy) {
            Err(StoreError::TooNew { format: 9, .. }) => {}
            other => panic!("{name}: {:?}", other.map(|(_, state)| state)),
        }
        assert_eq!(copy.read(&name).expect("read"), before, "nothing of it is touched");
    }
    assert!(batch::can_read(batch::VERSION, batch::OLDEST_READER) && batch::can_read(1, 0));
    assert!(batch::can_read(batch::VERSION + 1, batch::VERSION), "a later format may say that it can still be read");
    assert!(!batch::can_read(batch::VERSION + 1, batch::VERSION + 1));
}
