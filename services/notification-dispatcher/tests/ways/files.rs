//! Lines in files.

use std::collections::HashSet;

use lictor_api::notification::v1::{FileTransmission, transmission::Kind};
use lictor_notification_dispatcher::{
    domain::outcome::AttemptResult,
    transmission::{
        Shipment, Transmission,
        file::{FileOptions, FileSender, FileWay},
    },
};

use crate::shipments::{clock, shipment};

fn kind() -> Kind {
    Kind::File(FileTransmission { name: "orders".to_owned() })
}

fn way(shipment: &Shipment) -> &FileWay {
    match &*shipment.transmission {
        Transmission::File(way) => way,
        other => panic!("{other:?} is no file"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_lines_is_written_whole_and_each_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = FileOptions { folder: folder.path().to_owned(), rotate_bytes: 8 * 1024 };
    // Two senders stand for two replicas over one folder.
    let senders = [FileSender::new(Some(options.clone())), FileSender::new(Some(options))];
    let mut calls = Vec::new();
    for number in 0..200_u128 {
        let sender = senders[usize::try_from(number % 2).expect("small")].clone();
        calls.push(tokio::spawn(async move {
            let shipment = shipment(kind(), number);
            sender.send(way(&shipment), &shipment, &*clock()).await
        }));
    }
    for call in calls {
        let attempt = call.await.expect("a call");
        assert_eq!(attempt.result, AttemptResult::Taken, "{attempt:?}");
    }
    let mut ids = HashSet::new();
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let text = std::fs::read_to_string(entry.expect("a file").path()).expect("text");
        assert!(text.ends_with('\n') && text.len() < 128 * 1024);
        files += 1;
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert!(ids.insert(line["id"].as_str().expect("an id").to_owned()), "twice");
        }
    }
    assert_eq!(ids.len(), 200);
    assert!(files > 1, "a full file is followed by another one");
}

#[tokio::test]
async fn a_full_disk_is_a_failed_attempt_and_leaves_no_half_line() {
    // A file system of two pages, where one may be made.
    let folder = tempfile::tempdir().expect("a folder");
    let made = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8k,nr_inodes=8", "tmpfs"])
        .arg(folder.path())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no small file system can be made here");
        return;
    }
    let sender = FileSender::new(Some(FileOptions { folder: folder.path().to_owned(), rotate_bytes: 1 << 20 }));
    let clock = clock();
    let mut taken = 0;
    let failed = loop {
        let shipment = shipment(kind(), taken);
        let attempt = sender.send(way(&shipment), &shipment, &*clock).await;
        if attempt.result != AttemptResult::Taken {
            break attempt;
        }
        taken += 1;
        assert!(taken < 1_000, "8 KiB hold no thousand lines");
    };
    let file = std::fs::read_dir(folder.path()).expect("a folder").next().expect("a file").expect("a file").path();
    let text = std::fs::read_to_string(&file).expect("text");
    // Room again: the same delivery succeeds.
    let remounted = std::process::Command::new("mount").args(["-o", "remount,size=64k"]).arg(folder.path()).status();
    let shipment = shipment(kind(), taken);
    let again = sender.send(way(&shipment), &shipment, &*clock).await;
    let unmounted = std::process::Command::new("umount").arg(folder.path()).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert_eq!(failed.result, AttemptResult::Failed);
    assert!(failed.answer.contains("free some space"), "{}", failed.answer);
    assert!(text.ends_with('\n'), "no half line stays: {text:?}");
    assert_eq!(text.lines().count() as u128, taken);
    assert!(remounted.is_ok_and(|status| status.success()));
    assert_eq!(again.result, AttemptResult::Taken, "{again:?}");
}

#[tokio::test]
async fn without_a_folder_nothing_is_written_and_the_operator_is_told_why() {
    let shipment = shipment(kind(), 1);
    let attempt = FileSender::new(None).send(way(&shipment), &shipment, &*clock()).await;
    assert_eq!(attempt.result, AttemptResult::Failed);
    assert!(attempt.answer.contains("LICTOR_FILE_FOLDER"), "{}", attempt.answer);
}
