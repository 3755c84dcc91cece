//! The tables come from last night's backup; the archive knows everything that left the house since.

use std::{collections::BTreeMap, sync::Arc};

use lictor_license_file::limits::MAX_PENDING;
use lictor_licensing::error::ErrorCode;
use lictor_push_update_generator::{
    Failure,
    domain::{
        container::ChainKey,
        request::{BlockRequest, Change},
        verdict::Verdict,
    },
    issue::{Issued, Step},
    store,
};
use lictor_storage::{
    Database, Dialect,
    sqlx::{self, AssertSqlSafe, Row as _},
};
use lictor_test_support::device::TestDevice;

use crate::{
    backup,
    crash::DieAt,
    world::{FIRM, World, add, code, firm, replace, request, withdraw, worlds},
};

/// What every reference was answered with.
type Answers = BTreeMap<String, (String, Vec<Change>, Vec<u8>)>;

async fn issue(
    world: &World,
    answers: &mut Answers,
    device: &TestDevice,
    reference: &str,
    changes: Vec<Change>,
) -> Issued {
    let issued = world.issue(device, reference, changes.clone()).await;
    answers.insert(reference.to_owned(), (device.id(), changes, issued.file.bytes.clone()));
    issued
}

fn key(device: &TestDevice) -> ChainKey {
    request(device, "look", vec![withdraw(0)]).key
}

async fn rows(db: &Database) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in ["container", "segment", "segment_envelope", "context", "outbox", "evidence", "rebase"] {
        let count = format!("SELECT COUNT(*) FROM {table}");
        counts.push(sqlx::query(AssertSqlSafe(count)).fetch_one(db.pool()).await.expect("a count").get(0));
    }
    counts
}

/// A process over other tables, with the keys and the archive of this world.
fn over(world: &World, tables: &Database) -> World {
    world.elsewhere(tables.clone(), world.archive_db.clone())
}

async fn replay(world: &World, at_once: u32) -> u64 {
    let (mut position, mut segments) = (0, 0);
    for _ in 0..1_000 {
        let part = world.issuer.replay_part(position, at_once).await.expect("a part of the replay");
        // Every part twice: a caller whose connection broke repeats it.
        let again = world.issuer.replay_part(position, at_once).await.expect("the same part");
        assert_eq!((again.segments, again.containers, again.position), (0, 0, part.position));
        segments += part.segments;
        position = part.position;
        if part.done {
            return segments;
        }
    }
    panic!("the replay does not end");
}

#[tokio::test]
async fn a_restored_database_issues_nothing_until_the_archive_is_replayed() {
    worlds(async |world| {
        let mut answers = Answers::new();
        let mut steady = world.known_device(1).await;
        let mut sleepy = world.known_device(2).await;
        let mut lost = world.known_device(3).await;
        let stolen = world.known_device(4).await;
        for number in 0..20 {
            let issued = issue(&world, &mut answers, &steady, &format!("steady_{number}"), vec![add(number)]).await;
            if number % 4 == 0 {
                let receipt = steady.import(&issued.file.bytes).expect("an import");
                world.take(&receipt).await;
            }
        }
        let first = issue(&world, &mut answers, &lost, "lost_0", vec![add(1)]).await;
        issue(&world, &mut answers, &stolen, "stolen_0", vec![add(1), add(2)]).await;
        issue(&world, &mut answers, &sleepy, "sleepy_0", vec![add(0)]).await;
        let mut old_lost = lost.clone();
        let last_night = backup::take(&world.db).await;

        // Since then: everything that a chain can go through.
        for number in 20..50 {
            let changes = match number % 5 {
                0 => vec![withdraw(number / 5 - 4)],
                1 => vec![replace(number / 5 + 6, 9)],
                _ => vec![add(number)],
            };
            let issued = issue(&world, &mut answers, &steady, &format!("steady_{number}"), changes).await;
            if number % 7 == 0 {
                let receipt = steady.import(&issued.file.bytes).expect("an import");
                world.take(&receipt).await;
            }
        }
        for number in 1..=MAX_PENDING + 2 {
            let changes = vec![add(u8::try_from(number).expect("a small number"))];
            issue(&world, &mut answers, &sleepy, &format!("sleepy_{number}"), changes).await;
        }
        let receipt = lost.import(&first.file.bytes).expect("an import");
        world.take(&receipt).await;
        let challenge = world.issuer.challenge(firm(FIRM)).await.expect("a challenge").0;
        let asked = world.take(&old_lost.fresh_context(challenge)).await;
        assert_eq!(asked.verdict, Verdict::RollbackSuspected);
        let rebased =
            world.issuer.rebase(&asked, "lost_back".to_owned(), "a backup".to_owned()).await.expect("a rebase");
        old_lost.import(&rebased.file.bytes).expect("the rebase");
        issue(&world, &mut answers, &old_lost, "lost_1", vec![add(2)]).await;
        let block = BlockRequest::new("stolen_block".to_owned(), key(&stolen), "stolen".to_owned()).expect("good form");
        let blocked = world.issuer.block(&block).await.expect("a block");
        let mut newcomer = world.known_device(5).await;
        issue(&world, &mut answers, &newcomer, "new_0", vec![add(1)]).await;
        issue(&world, &mut answers, &newcomer, "new_1", vec![add(2)]).await;
        let devices = [&steady, &sleepy, &old_lost, &stolen, &newcomer];
        let mut wanted = Vec::new();
        for device in devices {
            wanted.push(world.chain(device).await);
        }

        // The backup is put back.
        let restored = over(&world, &last_night.db);
        let before = rows(&restored.db).await;
        for device in devices {
            let fresh = restored.try_issue(device, &format!("fresh_{}", device.serial), vec![add(200)]).await;
            assert_eq!(code(fresh.expect_err("behind the archive")), ErrorCode::ReplayNeeded);
            let refused = restored.intake.take(&device.clone().context()).await;
            assert_eq!(code(refused.expect_err("behind the archive")), ErrorCode::ReplayNeeded);
        }
        for (reference, (container, changes, _)) in &answers {
            let device = devices.iter().find(|device| device.id() == *container).expect("one of them");
            let again = restored.try_issue(device, reference, changes.clone()).await;
            assert_eq!(code(again.expect_err("behind the archive")), ErrorCode::ReplayNeeded);
        }
        assert_eq!(code(restored.issuer.block(&block).await.expect_err("behind")), ErrorCode::ReplayNeeded);
        assert!(restored.archive.as_ref().expect("an archive").readiness(&restored.db).await.is_err());
        assert_eq!(rows(&restored.db).await, before, "nothing changed");

        // Part by part, each by a process that dies afterwards.
        let segments = replay(&over(&world, &last_night.db), 7).await;
        assert!(segments > 90, "{segments}");
        let restored = over(&world, &last_night.db);
        assert_eq!(replay(&restored, 200).await, 0, "once is enough");
        restored.archive.as_ref().expect("an archive").readiness(&restored.db).await.expect("level");
        for (device, wanted) in devices.iter().zip(&wanted) {
            let chain = restored.chain(device).await;
            let place = |chain: &lictor_push_update_generator::domain::container::Chain| {
                (chain.epoch, chain.genesis, chain.issued, chain.reserved, chain.state.clone(), chain.blocked.clone())
            };
            assert_eq!(place(&chain), place(wanted));
            assert!(chain.confirmed <= wanted.confirmed && chain.file_base == wanted.file_base);
        }
        for (reference, (container, changes, bytes)) in &answers {
            let device = devices.iter().find(|device| device.id() == *container).expect("one of them");
            let again = restored.issue(device, reference, changes.clone()).await;
            assert_eq!(again.file.bytes, *bytes, "{reference}");
        }
        assert_eq!(restored.issuer.block(&block).await.expect("the same").licenses, blocked.licenses);
        let again = restored.issuer.rebase(&asked, "lost_back".to_owned(), "a backup".to_owned()).await;
        assert_eq!(again.expect("the same rebase").file, rebased.file);

        // And the real containers take what comes next.
        for device in [&mut steady, &mut sleepy, &mut old_lost, &mut newcomer] {
            let next = restored.issue(device, &format!("next_{}", device.serial), vec![add(201)]).await;
            let receipt = device.import(&next.file.bytes).expect("the next update");
            let taken = restored.take(&receipt).await;
            assert_eq!((taken.verdict, taken.chain.expect("known").confirmed), (Verdict::Ok, next.to));
        }
    })
    .await;
}

#[tokio::test]
async fn a_replay_announces_the_same_events_and_none_that_look_new() {
    worlds(async |world| {
        let device = world.known_device(1).await;
        world.issue(&device, "act_0", vec![add(0)]).await;
        let last_night = backup::take(&world.db).await;
        for number in 1..5 {
            world.issue(&device, &format!("act_{number}"), vec![add(number)]).await;
        }
        let restored = over(&world, &last_night.db);
        replay(&restored, 2).await;
        let ids = |events: Vec<lictor_api::event::v1::Event>| -> Vec<_> {
            events.into_iter().map(|event| (event.sequence, event.aggregate_sequence, event.id)).collect()
        };
        assert_eq!(ids(restored.events().await), ids(world.events().await));
    })
    .await;
}

#[tokio::test]
async fn an_empty_database_is_rebuilt_with_its_firms() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let issued = world.issue(&device, "act_1", vec![add(1)]).await;
        let empty = match world.db.dialect() {
            Dialect::Sqlite => lictor_storage::testing::TestDatabase::sqlite(store::MIGRATIONS).await,
            Dialect::Postgres => {
                lictor_storage::testing::TestDatabase::postgres(store::MIGRATIONS).await.expect("the same server")
            }
        };
        let restored = over(&world, &empty.db);
        assert_eq!(replay(&restored, 100).await, 1);
        assert_eq!(store::vendor::list(&restored.db).await.expect("firms"), [firm(FIRM)]);
        assert_eq!(restored.issue(&device, "act_1", vec![add(1)]).await, issued);
        device.import(&issued.file.bytes).expect("an import");
        empty.remove().await;
    })
    .await;
}

#[tokio::test]
async fn a_backup_from_the_middle_of_an_issuing_is_finished_with_the_archived_bytes() {
    worlds(async |world| {
        for step in [Step::Reserved, Step::Signed, Step::Archived] {
            let device = world.known_device(10 + step as u8).await;
            let dying = world.restarted(Some(DieAt::first(step))).await;
            let reference = format!("act_{step:?}");
            let died = dying.try_issue(&device, &reference, vec![add(1)]).await;
            assert!(matches!(died, Err(Failure::Stopped(_))));
            let in_the_middle = backup::take(&world.db).await;
            let issued = world.issue(&device, &reference, vec![add(1)]).await;
            world.issue(&device, &format!("next_{step:?}"), vec![add(2)]).await;
            let restored = over(&world, &in_the_middle.db);
            replay(&restored, 100).await;
            assert_eq!(restored.issue(&device, &reference, vec![add(1)]).await, issued, "{step:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn other_bytes_in_the_archive_are_never_overwritten() {
    worlds(async |world| {
        let device = world.known_device(1).await;
        let before = backup::take(&world.db).await;
        world.issue(&device, "act_1", vec![add(1)]).await;
        // A process over the old tables that looked before the archive was filled: its bytes differ, and it must stop.
        let stale = world.elsewhere(before.db.clone(), None);
        let other = stale.issue(&device, "act_1", vec![add(1)]).await;
        let archive = world.archive.as_ref().expect("an archive");
        let segment = store::segment::at(&stale.db, &key(&device), 0, 1).await.expect("a database").expect("a segment");
        let kept = store::segment::kept(&stale.db, &segment).await.expect("an envelope");
        assert!(archive.put(&segment, kept).await.is_err());
        let again = world.issue(&device, "act_1", vec![add(1)]).await;
        assert_ne!(again.file.bytes, other.file.bytes);
        // The replay says so too, and changes nothing.
        let restored = over(&world, &before.db);
        assert_eq!(code(restored.issuer.replay(0).await.expect_err("two histories")), ErrorCode::Internal);
        for statement in [
            "UPDATE archived_segment SET k = 2",
            "DELETE FROM archived_segment",
            "UPDATE archived_chain SET firm_code = 2",
            "DELETE FROM archived_chain",
            "UPDATE archived_root SET version = 2",
            "DELETE FROM archived_root",
        ] {
            let db = world.archive_db.as_ref().expect("an archive");
            let error = sqlx::query(statement).execute(db.pool()).await.expect_err(statement).to_string();
            assert!(error.contains("written once"), "{statement}: {error}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_archive_that_comes_later_gets_what_was_issued_before() {
    worlds(async |world| {
        let without = World::over(world.db.clone(), None, Arc::clone(&world.folder)).await;
        let mut device = without.known_device(1).await;
        for number in 0..3 {
            without.issue(&device, &format!("act_{number}"), vec![add(number)]).await;
        }
        let issued = world.issue(&device, "act_3", vec![add(3)]).await;
        let archived = world.archive.as_ref().expect("an archive").page(0, 100).await.expect("a page");
        let references: Vec<_> = archived.iter().map(|(_, segment)| segment.reference.as_str()).collect();
        assert_eq!(references, ["act_0", "act_1", "act_2", "act_3"]);
        device.import(&issued.file.bytes).expect("an import");
    })
    .await;
}
