//! What an import costs in syncs and in time. Figures are printed; only counts are asserted.

use std::path::Path;
use std::time::Instant;

use lictor_clock::ManualClock;
use lictor_license_file::{limits, update};
use lictor_license_server::opening;
use lictor_license_server::store::memory_disk::MemoryDisk;
use lictor_license_server::store::{Disk, FolderDisk};
use lictor_license_server::writer::{Imported, Ledger};

use crate::stage::memory::{start, start_opened};
use crate::stage::vendor::{Vendor, add, start_of_tests};

/// The first container of a vendor, and files that together carry `count` segments with a licence each.
async fn files(ledger: &Ledger, count: usize) -> Vec<Vec<u8>> {
    let mut vendor = Vendor::new(crate::stage::vendor::FIRM, 1);
    let (lif, firm) = (vendor.lif(), vendor.firm);
    let created = ledger.change(move |writer, moment| writer.create_container(&lif, None, moment));
    created.await.expect("created");
    let context = ledger.change(move |writer, moment| writer.create_context(firm, None, moment)).await;
    let (context, _) = context.expect("a context");
    let single: Vec<_> = (0..count).map(|number| vendor.update(&context, vec![add(number as u128, 201, 1)])).collect();
    let single: Vec<&[u8]> = single.iter().map(Vec::as_slice).collect();
    single.chunks(limits::MAX_SEGMENTS).map(|parts| update::combine(parts).expect("a file")).collect()
}

async fn import(ledger: &Ledger, file: Vec<u8>) -> Imported {
    ledger.change(move |writer, moment| writer.import(&file, moment)).await.expect("imported")
}

#[tokio::test]
async fn all_segments_of_a_file_share_one_sync() {
    let mut counts = Vec::new();
    for count in [1, 2, 64, limits::MAX_SEGMENTS] {
        let disk = MemoryDisk::new();
        let (ledger, _failure) = start(&disk, &ManualClock::new(start_of_tests()));
        for file in files(&ledger, count).await {
            let before = disk.syncs();
            let imported = import(&ledger, file).await;
            assert_eq!(imported.applied as usize, count);
            counts.push(disk.syncs() - before);
        }
        ledger.stop().await;
    }
    println!("syncs of an import of 1, 2, 64, {} segments: {counts:?}", limits::MAX_SEGMENTS);
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

/// Median time of a write and a sync of 4 KiB in the folder, in milliseconds.
fn bare_sync(folder: &Path) -> f64 {
    use std::io::Write as _;
    let mut file = std::fs::File::create(folder.join("bare")).expect("a file");
    let mut spent: Vec<f64> = (0..9)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[7; 4_096]).and_then(|()| file.sync_data()).expect("synced");
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    spent.sort_by(f64::total_cmp);
    spent[spent.len() / 2]
}

#[tokio::test]
async fn figures_of_imports_on_a_real_disk() {
    for count in [1, 64, 500] {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = || FolderDisk::open(folder.path()).map(|disk| Box::new(disk) as Box<dyn Disk>);
        let opened = opening::open(&disk).expect("an empty folder opens");
        let (ledger, _failure) = start_opened(opened, &ManualClock::new(start_of_tests()));
        let files = files(&ledger, count).await;
        let number = files.len();
        let begun = Instant::now();
        let mut applied = 0;
        for file in files {
            applied += import(&ledger, file).await.applied as usize;
        }
        let spent = begun.elapsed().as_secs_f64() * 1e3;
        assert_eq!(applied, count);
        let each = spent / count as f64;
        let sync = bare_sync(folder.path());
        println!("{count} segments in {number} files: {spent:.1} ms, {each:.2} ms each; a bare sync: {sync:.2} ms");
        ledger.stop().await;
    }
}
