//! Outbox, commands, inbox and leases on both engines.

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_storage::{
    Database, StorageError,
    command::{self, Begun, Command},
    inbox::{self, Taken},
    lease,
    outbox::{self, NewEvent},
    testing::{TestDatabase, for_each_engine},
};

const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);

fn event(id: &str, aggregate: &str, aggregate_sequence: u64) -> NewEvent {
    NewEvent {
        id: id.to_owned(),
        kind: "lictor.order.created.v1".to_owned(),
        aggregate: aggregate.to_owned(),
        aggregate_sequence,
        payload: vec![0, 1, 255],
        traceparent: None,
        occurred_at: NOW,
    }
}

async fn append(db: &Database, event: &NewEvent) {
    let mut tx = db.begin().await.expect("begin");
    outbox::append(&mut tx, event).await.expect("append");
    tx.commit().await.expect("commit");
}

#[tokio::test]
async fn event_of_an_undone_change_never_leaves() {
    for_each_engine(&[], async |db| {
        let mut tx = db.begin().await.expect("begin");
        outbox::append(&mut tx, &event("evt_1", "ord_1", 1)).await.expect("append");
        tx.rollback().await.expect("rollback");
        assert_eq!(outbox::sequence(&db).await.expect("sequence"), 0);
        append(&db, &event("evt_2", "ord_1", 1)).await;
        assert_eq!(outbox::sequence(&db).await.expect("sequence"), 1);
        let events = outbox::list_events(&db, 0, 10).await.expect("list");
        assert_eq!((events[0].sequence, &events[0].event), (1, &event("evt_2", "ord_1", 1)));
    })
    .await;
}

#[tokio::test]
async fn number_exists_only_after_the_commit_and_a_late_commit_is_not_stepped_over() {
    // The case that an id drawn inside the transaction loses: the first to begin commits last.
    let Some(test) = TestDatabase::postgres(&[]).await else {
        eprintln!("SKIPPED: needs two writers, LICTOR_TEST_POSTGRES_URL is not set");
        return;
    };
    let db = &test.db;
    let mut slow = db.begin().await.expect("begin");
    outbox::append(&mut slow, &event("evt_slow", "ord_1", 1)).await.expect("append");
    append(db, &event("evt_fast", "ord_2", 1)).await;
    outbox::sequence(db).await.expect("sequence");
    let first = outbox::list_events(db, 0, 10).await.expect("list");
    assert_eq!(first.len(), 1);
    slow.commit().await.expect("commit");
    outbox::sequence(db).await.expect("sequence");
    let rest = outbox::list_events(db, first[0].sequence, 10).await.expect("list");
    assert_eq!(rest.len(), 1);
    assert_eq!((rest[0].sequence, rest[0].event.id.as_str()), (2, "evt_slow"));
    test.remove().await;
}

#[tokio::test]
async fn numbers_have_no_gaps_and_keep_each_aggregates_order_under_many_writers_and_sequencers() {
    for_each_engine(&[], async |db| {
        let mut tasks = Vec::new();
        for writer in 0..6 {
            let db = db.clone();
            tasks.push(tokio::spawn(async move {
                for number in 1..=10_u64 {
                    append(&db, &event(&format!("evt_{writer}_{number}"), &format!("ord_{writer}"), number)).await;
                }
            }));
        }
        for _ in 0..3 {
            let db = db.clone();
            tasks.push(tokio::spawn(async move {
                for _ in 0..10 {
                    outbox::sequence(&db).await.expect("sequence");
                }
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        outbox::sequence(&db).await.expect("sequence");
        let events = outbox::list_events(&db, 0, 1000).await.expect("list");
        let sequences: Vec<u64> = events.iter().map(|stored| stored.sequence).collect();
        assert_eq!(sequences, (1..=60).collect::<Vec<_>>());
        for writer in 0..6 {
            let own: Vec<u64> = events
                .iter()
                .filter(|stored| stored.event.aggregate == format!("ord_{writer}"))
                .map(|stored| stored.event.aggregate_sequence)
                .collect();
            assert_eq!(own, (1..=10).collect::<Vec<_>>());
        }
        assert_eq!(outbox::last_sequence(&db).await.expect("last"), 60);
    })
    .await;
}

#[tokio::test]
async fn number_of_an_aggregate_is_used_once() {
    for_each_engine(&[], async |db| {
        append(&db, &event("evt_1", "ord_1", 1)).await;
        for again in [event("evt_1", "ord_2", 1), event("evt_2", "ord_1", 1)] {
            let mut tx = db.begin().await.expect("begin");
            let error = outbox::append(&mut tx, &again).await.expect_err("refused");
            assert!(error.is_unique_violation(), "{error:?}");
        }
        let mut tx = db.begin().await.expect("begin");
        assert_eq!(outbox::next_aggregate_sequence(&mut tx, "ord_1").await.expect("next"), 2);
        assert_eq!(outbox::next_aggregate_sequence(&mut tx, "ord_9").await.expect("next"), 1);
        let large = NewEvent { payload: vec![0; outbox::PAYLOAD_BYTES + 1], ..event("evt_3", "ord_3", 1) };
        assert!(matches!(outbox::append(&mut tx, &large).await, Err(StorageError::Inconsistent { .. })));
    })
    .await;
}

#[tokio::test]
async fn published_events_are_not_given_to_the_relay_again() {
    for_each_engine(&[], async |db| {
        for number in 1..=5 {
            append(&db, &event(&format!("evt_{number}"), "ord_1", number)).await;
        }
        let numbers = async |confirmed, limit| -> Vec<u64> {
            let left = outbox::advance(&db, confirmed, limit).await.expect("a step");
            left.iter().map(|stored| stored.sequence).collect()
        };
        assert!(outbox::has_unpublished(&db).await.expect("a look"), "also before they have a number");
        assert_eq!(numbers(0, 2).await, [1, 2]);
        assert_eq!(outbox::backlog(&db).await.expect("backlog"), (5, Some(NOW)));
        assert_eq!(numbers(3, 10).await, [4, 5]);
        assert_eq!(outbox::backlog(&db).await.expect("backlog"), (2, Some(NOW)));
        assert_eq!(numbers(1, 10).await, [4, 5], "a late word of another relay takes nothing back");
        assert!(numbers(5, 10).await.is_empty() && !outbox::has_unpublished(&db).await.expect("a look"));
        append(&db, &event("evt_6", "ord_1", 6)).await;
        assert!(outbox::has_unpublished(&db).await.expect("a look"));
        assert_eq!(numbers(0, 10).await, [6]);
        assert_eq!(outbox::list_events(&db, 0, 10).await.expect("list").len(), 6, "the feed keeps all");
        assert!(outbox::list_events(&db, u64::MAX, 10).await.expect("list").is_empty());
    })
    .await;
}

#[tokio::test]
async fn commit_with_an_event_wakes_the_relay() {
    for_each_engine(&[], async |db| {
        append(&db, &event("evt_1", "ord_1", 1)).await;
        tokio::time::timeout(Duration::from_secs(5), db.outbox_filled()).await.expect("woken");
        let tx = db.begin().await.expect("begin");
        tx.commit().await.expect("commit");
        let silent = tokio::time::timeout(Duration::from_millis(50), db.outbox_filled()).await;
        assert!(silent.is_err(), "a commit without events wakes nobody");
    })
    .await;
}

fn create<'a>(request_id: &'a str, body: &'a [u8]) -> Command<'a> {
    Command { caller: "usr_1", method: "CreateOrder", request_id, body }
}

async fn carry_out(db: &Database, command: &Command<'_>, answer: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
    let mut tx = db.begin().await?;
    let given = match command::begin(&mut tx, command, NOW).await? {
        Begun::Fresh(open) => {
            command::finish(&mut tx, open, answer).await?;
            Some(answer.to_vec())
        }
        Begun::Replay(answer) => Some(answer),
        Begun::Conflict => None,
    };
    tx.commit().await?;
    Ok(given)
}

#[tokio::test]
async fn repeated_command_gets_its_first_answer_and_a_changed_one_is_refused() {
    for_each_engine(&[], async |db| {
        let first = carry_out(&db, &create("r1", b"body"), b"answer 1").await.expect("first");
        let again = carry_out(&db, &create("r1", b"body"), b"answer 2").await.expect("again");
        assert_eq!((first.as_deref(), again.as_deref()), (Some(b"answer 1".as_slice()), Some(b"answer 1".as_slice())));
        for changed in [create("r1", b"other body"), Command { method: "CancelOrder", ..create("r1", b"body") }] {
            assert_eq!(carry_out(&db, &changed, b"x").await.expect("changed"), None);
        }
        let other = Command { caller: "usr_2", ..create("r1", b"body") };
        let foreign = carry_out(&db, &other, b"own answer").await.expect("other caller");
        assert_eq!(foreign.as_deref(), Some(b"own answer".as_slice()), "callers never see each other's answers");
    })
    .await;
}

#[tokio::test]
async fn undone_command_may_be_tried_again() {
    for_each_engine(&[], async |db| {
        let mut tx = db.begin().await.expect("begin");
        let begun = command::begin(&mut tx, &create("r1", b"body"), NOW).await.expect("begin");
        assert!(matches!(begun, Begun::Fresh(_)));
        tx.rollback().await.expect("rollback");
        let answer = carry_out(&db, &create("r1", b"changed"), b"answer").await.expect("again");
        assert_eq!(answer.as_deref(), Some(b"answer".as_slice()));
    })
    .await;
}

#[tokio::test]
async fn copies_of_a_command_at_once_have_one_effect() {
    for_each_engine(&[], async |db| {
        let tasks: Vec<_> = (0..8_u8)
            .map(|number| {
                let db = db.clone();
                tokio::spawn(async move { carry_out(&db, &create("r1", b"body"), &[number]).await })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.expect("no panic").expect("carried out"));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
    })
    .await;
}

#[tokio::test]
async fn old_commands_are_forgotten_by_age_only() {
    for_each_engine(&[], async |db| {
        carry_out(&db, &create("r1", b"body"), b"answer").await.expect("first");
        for (before, gone) in [(NOW, 0), (NOW.saturating_add(Duration::from_secs(1)), 1)] {
            let mut tx = db.begin().await.expect("begin");
            assert_eq!(command::forget_before(&mut tx, before, 100).await.expect("forget"), gone);
            tx.commit().await.expect("commit");
        }
    })
    .await;
}

#[test]
fn request_ids_are_printable_and_short() {
    for good in ["r", "8f0c-…".split('-').next().expect("a part"), &"x".repeat(64)] {
        assert!(command::is_request_id(good), "{good}");
    }
    for bad in ["", " ", "a b", "ä", "a\n", &"x".repeat(65)] {
        assert!(!command::is_request_id(bad), "{bad:?}");
    }
}

async fn take(db: &Database, id: &str, sequence: u64) -> bool {
    let mut tx = db.begin().await.expect("begin");
    let taken = Taken { consumer: "dispatcher", source: "central", event_id: id, sequence };
    let first = inbox::take(&mut tx, &taken, NOW).await.expect("take");
    tx.commit().await.expect("commit");
    first
}

#[tokio::test]
async fn event_is_taken_once_and_the_cursor_never_steps_over_a_hole() {
    for_each_engine(&[], async |db| {
        let position = async || inbox::cursor(&db, "dispatcher", "central").await.expect("cursor");
        assert!(take(&db, "evt_1", 1).await);
        assert!(!take(&db, "evt_1", 1).await);
        assert_eq!(position().await, 1);
        assert!(take(&db, "evt_3", 3).await, "out of order by the broker");
        assert_eq!(position().await, 1);
        assert!(take(&db, "evt_2", 2).await, "healed by the feed");
        assert_eq!(position().await, 2);
        assert!(!take(&db, "evt_3", 3).await, "the feed brings it again");
        assert_eq!(position().await, 3);
        assert!(!take(&db, "evt_1", 1).await);
        assert_eq!(position().await, 3, "never back");
        let mut tx = db.begin().await.expect("begin");
        inbox::advance(&mut tx, "dispatcher", "central", 2).await.expect("advance");
        inbox::advance(&mut tx, "dispatcher", "other", 7).await.expect("advance");
        tx.commit().await.expect("commit");
        assert_eq!(position().await, 3);
        assert_eq!(inbox::cursor(&db, "dispatcher", "other").await.expect("cursor"), 7);
    })
    .await;
}

#[tokio::test]
async fn lease_has_one_holder_until_its_end() {
    for_each_engine(&[], async |db| {
        let time = Duration::from_secs(10);
        let later = NOW.saturating_add(time);
        let hold = async |holder, now| lease::hold(&db, "relay", holder, time, now).await.expect("hold");
        assert!(hold("one", NOW).await);
        assert!(hold("one", NOW).await, "renewed");
        assert!(!hold("two", NOW).await);
        assert!(hold("two", later).await, "over at its end");
        assert!(!hold("one", later).await);
        lease::release(&db, "relay", "one").await.expect("release of a foreign lease does nothing");
        assert!(!hold("one", later).await);
        lease::release(&db, "relay", "two").await.expect("release");
        assert!(hold("one", later).await);
    })
    .await;
}

#[tokio::test]
async fn two_pools_on_one_file_or_schema_work_together() {
    for test in [Some(TestDatabase::sqlite(&[]).await), TestDatabase::postgres(&[]).await].into_iter().flatten() {
        let second = test.second_pool().await;
        let tasks: Vec<_> = [test.db.clone(), second.clone()]
            .into_iter()
            .enumerate()
            .map(|(pool, db)| {
                tokio::spawn(async move {
                    for number in 1..=20 {
                        append(&db, &event(&format!("evt_{pool}_{number}"), &format!("ord_{pool}"), number)).await;
                        outbox::sequence(&db).await.expect("sequence");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(outbox::last_sequence(&second).await.expect("last"), 40);
        second.close().await;
        test.remove().await;
    }
}
