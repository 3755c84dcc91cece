//! What is old goes, on both engines, and nothing that somebody may still need.

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_storage::{
    Database,
    command::{self, Begun, Command},
    inbox,
    keeping::{Gone, Keep, Readers, take_away},
    outbox::{self, NewEvent},
    sqlx::{self, Row},
    testing::for_each_engine,
};

const DAY: Duration = Duration::from_secs(86_400);
const START: Timestamp = Timestamp::from_seconds(1_767_225_600);
const KEEP: Keep = Keep { events: Duration::from_secs(10 * 86_400), commands: Duration::from_secs(2 * 86_400) };

fn day(number: u32) -> Timestamp {
    START.saturating_add(DAY * number)
}

/// One event on each day, in turn about so many aggregates.
async fn announce(db: &Database, days: u32, aggregates: u32) {
    let mut tx = db.begin().await.expect("begin");
    let events: Vec<NewEvent> = (0..days)
        .map(|number| NewEvent {
            id: format!("evt_{number}"),
            kind: "lictor.order.created.v1".to_owned(),
            aggregate: format!("ord_{}", number % aggregates),
            aggregate_sequence: u64::from(number / aggregates) + 1,
            payload: vec![1],
            traceparent: None,
            occurred_at: day(number),
        })
        .collect();
    outbox::append_all(&mut tx, &events).await.expect("append");
    tx.commit().await.expect("commit");
}

async fn count(db: &Database, table: &str) -> i64 {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}")));
    query.fetch_one(db.pool()).await.expect("a row").try_get(0).expect("a count")
}

/// The numbers that a reader at the beginning is given.
async fn readable(db: &Database) -> Vec<u64> {
    outbox::list_events(db, 0, 1_000).await.expect("a page").iter().map(|stored| stored.sequence).collect()
}

async fn all_old(db: &Database, readers: Readers, now: Timestamp) -> Gone {
    let mut sum = Gone::default();
    loop {
        let gone = take_away(db, KEEP, readers, now).await.expect("taken away");
        sum.events += gone.events;
        sum.taken += gone.taken;
        sum.commands += gone.commands;
        if gone.done {
            return sum;
        }
    }
}

#[tokio::test]
async fn an_event_goes_only_when_it_is_old_and_the_broker_has_it() {
    for_each_engine(&[], async |db| {
        announce(&db, 30, 1).await;
        assert_eq!(outbox::sequence(&db).await.expect("numbered"), 30);
        // All are old enough, but the broker has confirmed five.
        outbox::advance(&db, 5, 10).await.expect("confirmed");
        assert_eq!(all_old(&db, Readers::Broker, day(100)).await.events, 5);
        assert_eq!(readable(&db).await, (6..=30).collect::<Vec<_>>());
        // The broker has all of them, but twenty are too young: number 21 is of day 20.
        outbox::advance(&db, 30, 10).await.expect("confirmed");
        assert_eq!(all_old(&db, Readers::Broker, day(20)).await.events, 5);
        assert_eq!(readable(&db).await, (11..=30).collect::<Vec<_>>());
        assert_eq!(outbox::gone_through(&db).await.expect("a number"), 10);
        // A second time changes nothing.
        assert_eq!(all_old(&db, Readers::Broker, day(20)).await.events, 0);
    })
    .await;
}

#[tokio::test]
async fn without_a_relay_age_alone_decides() {
    for_each_engine(&[], async |db| {
        announce(&db, 30, 1).await;
        outbox::sequence(&db).await.expect("numbered");
        assert_eq!(all_old(&db, Readers::Broker, day(100)).await.events, 0, "nothing is confirmed");
        assert_eq!(all_old(&db, Readers::FeedOnly, day(20)).await.events, 10);
    })
    .await;
}

#[tokio::test]
async fn numbers_of_an_aggregate_go_on_after_its_events_are_gone() {
    for_each_engine(&[], async |db| {
        announce(&db, 30, 10).await;
        outbox::advance(&db, 0, 10).await.expect("numbered");
        outbox::advance(&db, 30, 10).await.expect("confirmed");
        assert_eq!(all_old(&db, Readers::Broker, day(1_000)).await.events, 20);
        // The newest of each aggregate stays, and no reader sees it.
        assert_eq!(count(&db, "outbox").await, 10);
        assert!(readable(&db).await.is_empty());
        let mut tx = db.begin().await.expect("begin");
        assert_eq!(outbox::next_aggregate_sequence(&mut tx, "ord_3").await.expect("a number"), 4);
        tx.rollback().await.expect("undone");
        // The one that stayed goes with its follower, so there is never more than one.
        let mut tx = db.begin().await.expect("begin");
        let late = NewEvent {
            id: "evt_late".to_owned(),
            kind: "lictor.order.created.v1".to_owned(),
            aggregate: "ord_3".to_owned(),
            aggregate_sequence: 4,
            payload: vec![1],
            traceparent: None,
            occurred_at: day(1_000),
        };
        outbox::append(&mut tx, &late).await.expect("append");
        tx.commit().await.expect("commit");
        outbox::advance(&db, 0, 10).await.expect("numbered");
        assert_eq!(readable(&db).await, [31]);
        outbox::advance(&db, 31, 10).await.expect("confirmed");
        assert_eq!(all_old(&db, Readers::Broker, day(2_000)).await.events, 1);
        assert_eq!(count(&db, "outbox").await, 10);
    })
    .await;
}

#[tokio::test]
async fn many_rows_go_in_bounded_batches() {
    for_each_engine(&[], async |db| {
        announce(&db, 1_203, 1).await;
        while outbox::sequence(&db).await.expect("numbered") > 0 {}
        outbox::advance(&db, 1_203, 1).await.expect("confirmed");
        let one = take_away(&db, KEEP, Readers::Broker, day(9_000)).await.expect("taken away");
        assert!(one.events <= 500 && !one.done, "{one:?}");
        assert_eq!(all_old(&db, Readers::Broker, day(9_000)).await.events + one.events, 1_202);
        assert_eq!(outbox::gone_through(&db).await.expect("a number"), 1_203);
    })
    .await;
}

#[tokio::test]
async fn taken_ids_and_answers_go_after_their_own_times() {
    for_each_engine(&[], async |db| {
        for number in 0..20 {
            let mut tx = db.begin().await.expect("begin");
            let id = format!("evt_{number}");
            assert!(inbox::first_time(&mut tx, "me", &id, day(number)).await.expect("new"));
            let command = Command { caller: "usr_1", method: "Do", request_id: &id, body: b"body" };
            let Begun::Fresh(open) = command::begin(&mut tx, &command, day(number)).await.expect("begun") else {
                panic!("it is new");
            };
            command::finish(&mut tx, open, b"answer").await.expect("kept");
            tx.commit().await.expect("commit");
        }
        let gone = all_old(&db, Readers::Broker, day(19)).await;
        assert_eq!((gone.taken, gone.commands), (9, 17));
        assert_eq!((count(&db, "inbox_event").await, count(&db, "command").await), (11, 3));
        let mut tx = db.begin().await.expect("begin");
        assert!(
            !inbox::first_time(&mut tx, "me", "evt_9", day(19)).await.expect("known"),
            "a young one is still known"
        );
        let command = Command { caller: "usr_1", method: "Do", request_id: "evt_17", body: b"body" };
        assert!(matches!(command::begin(&mut tx, &command, day(19)).await, Ok(Begun::Replay(_))));
        tx.rollback().await.expect("undone");
    })
    .await;
}
