//! Contexts: what they prove, what they give away, and what hostile ones cannot do.

use lictor_key_store::MemorySigner;
use lictor_license_file::{FileError, FileType, context::Reason, evidence::Evidence};
use lictor_licensing::error::ErrorCode;
use lictor_push_update_generator::domain::verdict::Verdict;
use lictor_storage::{
    Database,
    sqlx::{self, Row},
    testing::TestDatabase,
};

use crate::world::{World, add, license, request, worlds};

/// Everything that a context could change, as one text.
async fn picture(db: &Database) -> String {
    let mut picture = String::new();
    for statement in [
        "SELECT COUNT(*) FROM container",
        "SELECT COALESCE(SUM(version * 1000 + confirmed * 100 + issued), 0) FROM container WHERE version > 0",
        "SELECT COUNT(*) FROM context",
        "SELECT COUNT(*) FROM evidence",
        "SELECT COUNT(*) FROM outbox",
        "SELECT COUNT(*) FROM segment WHERE state = 'confirmed'",
    ] {
        let cast = format!("SELECT CAST(({statement}) AS BIGINT)");
        let row = sqlx::query(sqlx::AssertSqlSafe(cast)).fetch_one(db.pool()).await.expect("a count");
        picture.push_str(&format!("{} ", row.get::<i64, _>(0)));
    }
    picture
}

#[tokio::test]
async fn the_same_file_twice_is_no_news() {
    worlds(async |world| {
        let mut device = world.device(1);
        let first = device.context();
        world.take(&first).await;
        let issued = world.issue(&device, "act_1", vec![add(1)]).await;
        let receipt = device.import(&issued.file.bytes).expect("an import");
        assert_eq!(world.take(&receipt).await.verdict, Verdict::Ok);
        let before = picture(&world.db).await;
        for _ in 0..100 {
            assert_eq!(world.take(&receipt).await.verdict, Verdict::Ok);
            assert_eq!(world.take(&first).await.verdict, Verdict::Old);
        }
        assert_eq!(picture(&world.db).await, before, "a receipt that is replayed proves nothing twice");
    })
    .await;
}

#[tokio::test]
async fn a_hundred_old_contexts_leave_the_update_as_it_is() {
    worlds(async |world| {
        let mut device = world.device(1);
        let old: Vec<_> = (0..100).map(|_| device.context()).collect();
        world.take(&device.context()).await;
        let issued = world.issue(&device, "act_1", vec![add(1)]).await;
        device.import(&issued.file.bytes).expect("an import");
        world.take(&device.context()).await;
        world.issue(&device, "act_2", vec![add(2)]).await;
        let wanted = world.pending(&device).await;
        let events = world.events().await.len();
        for file in &old {
            let taken = world.take(file).await;
            assert_eq!((taken.verdict, taken.chain.expect("known").confirmed), (Verdict::Old, 1));
            assert_eq!(world.pending(&device).await, wanted);
        }
        let next = world.issue(&device, "act_3", vec![add(3)]).await;
        assert_eq!(next.file.from, 1);
        assert_eq!(world.events().await.len(), events + 1);
    })
    .await;
}

#[tokio::test]
async fn a_context_from_the_middle_confirms_up_to_its_counter() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let first = world.issue(&device, "act_1", vec![add(1)]).await;
        let second = world.issue(&device, "act_2", vec![add(2)]).await;
        let middle = device.import(&first.file.bytes).expect("an import");
        let newest = device.import(&second.file.bytes).expect("an import");
        assert_eq!(world.take(&middle).await.chain.expect("known").confirmed, 1);
        assert_eq!(world.take(&newest).await.chain.expect("known").confirmed, 2);
        let confirmed = world.event_types().await.iter().filter(|kind| *kind == "update.confirmed").count();
        assert_eq!(confirmed, 2);
    })
    .await;
}

#[tokio::test]
async fn damaged_forged_and_foreign_files_change_nothing() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let issued = world.issue(&device, "act_1", vec![add(1)]).await;
        let receipt = device.import(&issued.file.bytes).expect("an import");
        let pending = world.pending(&device).await;
        let before = picture(&world.db).await;

        for length in 0..receipt.len() {
            world.refused(&receipt[..length]).await;
        }
        for place in 0..receipt.len() {
            let mut flipped = receipt.clone();
            flipped[place] ^= 1 << (place % 8);
            world.refused(&flipped).await;
        }
        // A whole frame around a context that another key signed.
        let stranger = world.device(2);
        let statement = device.statement(Reason::Request);
        assert_eq!(world.refused(&stranger.sign(&statement)).await, ErrorCode::FileForged);
        // An edited counter, signed by whoever has some key.
        let mut edited = device.statement(Reason::Request);
        edited.counter = 0;
        let thief = MemorySigner::from_seed(&[99; 32]);
        assert_eq!(world.refused(&edited.to_file(&thief).expect("a file")).await, ErrorCode::FileForged);
        // A firm that nobody made here.
        let mut foreign = device.statement(Reason::Request);
        foreign.firm_code = crate::world::firm(12);
        assert_eq!(world.refused(&device.sign(&foreign)).await, ErrorCode::NotFound);
        // Other files of ours.
        let wrong_type = FileError::WrongFileType { expected: FileType::Context, found: FileType::Update };
        assert_eq!(world.refused(&issued.file.bytes).await, wrong_type.code());
        // A number that would break the counting of contexts.
        let mut endless = device.statement(Reason::Request);
        endless.sequence = u64::MAX;
        assert_eq!(world.refused(&device.sign(&endless)).await, ErrorCode::InvalidArgument);

        assert_eq!(picture(&world.db).await, before);
        assert_eq!(world.pending(&device).await, pending);
        assert_eq!(world.take(&receipt).await.verdict, Verdict::Ok, "the good one still counts");
    })
    .await;
}

#[tokio::test]
async fn a_second_key_for_a_serial_is_refused() {
    worlds(async |world| {
        let device = world.known_device(1).await;
        let mut other = world.device(2);
        other.serial = device.serial.clone();
        assert_eq!(world.refused(&other.context()).await, ErrorCode::AlreadyExists);
        other.serial = "130-0000000002".to_owned();
        assert_eq!(world.take(&other.context()).await.verdict, Verdict::Ok);
    })
    .await;
}

/// Containers that are seen for the first time, with several files of each at the same moment.
const CROWDS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_first_contexts_at_once_register_one_container() {
    worlds(async |world| {
        for crowd in 0..CROWDS {
            let mut device = world.numbered(crowd);
            let files: Vec<_> = (0..8).map(|_| device.context()).collect();
            let mut tasks = tokio::task::JoinSet::new();
            for file in files {
                let intake = world.intake.clone();
                tasks.spawn(async move { intake.take(&file).await.expect("a context").verdict });
            }
            let verdicts = tasks.join_all().await;
            assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Ok | Verdict::Old)), "{verdicts:?}");
        }
        let registered = world.event_types().await.iter().filter(|kind| *kind == "container.registered").count();
        assert_eq!(registered, CROWDS);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_keys_for_one_serial_at_once_one_gets_it_and_the_others_are_told() {
    worlds(async |world| {
        for crowd in 0..CROWDS {
            let mut tasks = tokio::task::JoinSet::new();
            for place in 0..4 {
                let mut device = world.numbered(crowd * 4 + place);
                device.serial = format!("130-77{crowd:08}");
                for file in [device.context(), device.context()] {
                    let intake = world.intake.clone();
                    tasks.spawn(async move { (place, intake.take(&file).await.map(|taken| taken.verdict)) });
                }
            }
            let mut owners = std::collections::BTreeSet::new();
            for (place, answer) in tasks.join_all().await {
                match answer {
                    Ok(verdict) => {
                        assert!(matches!(verdict, Verdict::Ok | Verdict::Old), "{verdict}");
                        owners.insert(place);
                    }
                    Err(failure) => assert_eq!(failure.problem().code, ErrorCode::AlreadyExists),
                }
            }
            assert_eq!(owners.len(), 1, "{owners:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_asked_for_while_the_first_context_comes_in_is_issued_once_or_refused_as_unknown() {
    worlds(async |world| {
        for crowd in 0..CROWDS {
            let mut device = world.numbered(crowd);
            let (context, reference) = (device.context(), format!("act_{crowd}"));
            let asked = request(&device, &reference, vec![add(1)]);
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..4 {
                let (intake, file) = (world.intake.clone(), context.clone());
                tasks.spawn(async move { intake.take(&file).await.map(|_| None) });
                let (issuer, asked) = (world.issuer.clone(), asked.clone());
                tasks.spawn(async move { issuer.issue(&asked).await.map(Some) });
            }
            let wanted = world.issuer.clone();
            let mut files = Vec::new();
            for answer in tasks.join_all().await {
                match answer {
                    Ok(issued) => files.extend(issued),
                    Err(failure) => assert_eq!(failure.problem().code, ErrorCode::NotFound),
                }
            }
            let last = wanted.issue(&asked).await.expect("issued");
            assert!(files.iter().all(|file| *file == last), "every copy of a request gets the same bytes");
            assert_eq!(world.chain(&device).await.issued, 1);
        }
    })
    .await;
}

#[tokio::test]
async fn an_unknown_container_with_segments_is_not_registered() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let issued = world.issue(&device, "act_1", vec![add(1)]).await;
        let receipt = device.import(&issued.file.bytes).expect("an import");
        // Another installation with the same keys that never heard of it.
        let elsewhere = TestDatabase::sqlite(lictor_push_update_generator::store::MIGRATIONS).await;
        let other = World::over(elsewhere.db.clone(), None, world.folder.clone()).await;
        let taken = other.take(&receipt).await;
        assert_eq!((taken.verdict, taken.chain), (Verdict::UnknownContainer, None));
        assert!(other.events().await.is_empty());
        elsewhere.remove().await;
    })
    .await;
}

#[tokio::test]
async fn a_restored_backup_is_suspected_once_and_proven_things_stay_proven() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let backup = device.clone();
        let issued = world.issue(&device, "act_1", vec![add(1)]).await;
        let receipt = device.import(&issued.file.bytes).expect("an import");
        world.take(&receipt).await;

        // The restored container counts on from the backup: it uses a number again.
        let mut restored = backup.clone();
        assert_eq!(world.take(&restored.context()).await.verdict, Verdict::RollbackSuspected);
        // And later a new one, with a counter from the past.
        restored.sequence = 50;
        assert_eq!(world.take(&restored.context()).await.verdict, Verdict::RollbackSuspected);
        let chain = world.chain(&device).await;
        assert_eq!((chain.confirmed, chain.suspicions.to_string()), (1, "rollback".to_owned()));
        let suspected = world.event_types().await.iter().filter(|kind| *kind == "container.suspected").count();
        assert_eq!(suspected, 1);
        // The restored container takes the same update again; no license exists twice in the books.
        let receipt = restored.import(&issued.file.bytes).expect("an import");
        assert_eq!(world.take(&receipt).await.chain.expect("known").confirmed, 1);
    })
    .await;
}

#[tokio::test]
async fn another_history_is_a_fork_and_proves_nothing() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        // A second set of tables under the same keys, as after a lost commit.
        let elsewhere = TestDatabase::sqlite(lictor_push_update_generator::store::MIGRATIONS).await;
        let other = World::over(elsewhere.db.clone(), None, world.folder.clone()).await;
        // It made its own root document, so the container only sees what the issue key signed.
        other.take(&device.context()).await;
        let ours = world.issue(&device, "act_1", vec![add(1)]).await;
        let theirs = other.issue(&device, "act_1", vec![add(2)]).await;
        let receipt = device.import(&theirs.file.bytes).expect("an import");
        assert!(device.import(&ours.file.bytes).is_err(), "the container notices");
        let taken = world.take(&receipt).await;
        assert_eq!((taken.verdict, taken.chain.expect("known").confirmed), (Verdict::ForkReported, 0));
        let chain = world.chain(&device).await;
        assert_eq!(chain.suspicions.to_string(), "fork");
        assert!(matches!(device.evidence[..], [Evidence::Fork { at: 1, .. }]));
        // The other side sees the same from the evidence, and still counts what it knows as proven.
        let report = other.take(&device.context()).await;
        assert_eq!((report.verdict, report.chain.expect("known").confirmed), (Verdict::ForkReported, 1));
        elsewhere.remove().await;
    })
    .await;
}

#[tokio::test]
async fn invented_evidence_is_not_believed() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        device.evidence.push(Evidence::Fork {
            at: 1,
            known: None,
            other_hash: lictor_license_file::Digest([3; 32]),
            other: vec![1, 2, 3],
        });
        assert_eq!(world.take(&device.context()).await.verdict, Verdict::Ok);
        assert!(world.chain(&device).await.suspicions.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_container_never_changes_its_keys_kind_or_serial() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let mut renamed = device.clone();
        renamed.serial = "130-9999999999".to_owned();
        renamed.sequence = 10;
        assert_eq!(world.take(&renamed.context()).await.verdict, Verdict::RollbackSuspected);
        let chain = world.chain(&device).await;
        assert_eq!(chain.suspicions.to_string(), "clone");
        assert_eq!(chain.identity.serial, device.serial);
        device.sequence = 20;
        world.take(&device.context()).await;
        assert!(!device.holds(license(1)));
    })
    .await;
}
