//! The feed and the cursor on both engines.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::installation::{DISPATCHER, NOW, SEEN, SOURCE, announce_order, confirmed, seen, take_in, take_page};
use lictor_api::event::v1::{Event, ListEventsRequest};
use lictor_broker::{Cursor, Refused, list_events};
use lictor_storage::{
    Database,
    keeping::{Keep, Readers, take_away},
    testing::for_each_engine,
};
use tonic::Status;

async fn page(db: &Database, after: u64, limit: u32) -> Vec<u64> {
    let answer = list_events(db, &ListEventsRequest { after_sequence: after, limit }).await.expect("a page");
    answer.events.iter().map(|event| event.sequence).collect()
}

#[tokio::test]
async fn feed_gives_pages_in_order_without_any_relay() {
    for_each_engine(&[], async |db| {
        assert!(page(&db, 0, 0).await.is_empty());
        for number in 1..=5 {
            announce_order(&db, "ord_1", number).await;
        }
        assert_eq!(page(&db, 0, 0).await, [1, 2, 3, 4, 5]);
        assert_eq!(page(&db, 2, 2).await, [3, 4]);
        assert!(page(&db, u64::MAX, u32::MAX).await.is_empty());
        let answer = list_events(&db, &ListEventsRequest { after_sequence: 4, limit: 1 }).await.expect("a page");
        let event = &answer.events[0];
        assert_eq!((event.id.as_str(), event.r#type.as_str()), ("evt_ord_1_5", "lictor.order.created.v1"));
        assert_eq!((event.source.as_str(), event.subject.as_str(), event.firm_code), (SOURCE, "ord_1", 10));
        assert!(event.data.is_some() && event.time.is_some());
    })
    .await;
}

#[tokio::test]
async fn catching_up_takes_every_event_once_and_stands_at_the_end() {
    for_each_engine(SEEN, async |db| {
        for number in 1..=1_200 {
            announce_order(&db, "ord_1", number).await;
        }
        let cursor = Cursor::new(db.clone(), DISPATCHER, SOURCE);
        let fetch = |after, limit| {
            let db = db.clone();
            async move {
                let request = ListEventsRequest { after_sequence: after, limit };
                list_events(&db, &request)
                    .await
                    .map(|answer| answer.events)
                    .map_err(|e| Status::internal(e.to_string()))
            }
        };
        let handle = |page| take_page(db.clone(), page);
        assert_eq!(cursor.catch_up(&fetch, &handle).await.expect("caught up"), 1_200);
        assert_eq!(cursor.catch_up(&fetch, &handle).await.expect("caught up"), 0);
        assert_eq!(cursor.position().await.expect("position"), 1_200);
        assert_eq!(seen(&db).await.len(), 1_200);
    })
    .await;
}

#[tokio::test]
async fn hole_in_a_feed_is_never_stepped_over() {
    for_each_engine(SEEN, async |db| {
        let cursor = Cursor::new(db.clone(), DISPATCHER, SOURCE);
        let foreign = Event { source: "activation".to_owned(), ..confirmed(2) };
        for feed in [vec![confirmed(1), confirmed(3)], vec![confirmed(1), foreign], vec![confirmed(1), confirmed(1)]] {
            let fetch = |after, _| {
                let rest: Vec<Event> = feed.iter().filter(|event| event.sequence > after).cloned().collect();
                async move { Ok::<_, Status>(rest) }
            };
            // On the second and third round the first event is known already.
            let outcome = cursor.catch_up(&fetch, &|page| take_page(db.clone(), page)).await;
            let position = cursor.position().await.expect("position");
            assert_eq!(position, 1);
            assert!(outcome.is_err() || feed[1].sequence == 1);
        }
    })
    .await;
}

#[tokio::test]
async fn refused_event_is_offered_again_until_it_is_taken() {
    for_each_engine(SEEN, async |db| {
        let cursor = Cursor::new(db.clone(), DISPATCHER, SOURCE);
        let fetch = |after, _| async move { Ok::<_, Status>((after + 1..=3).map(confirmed).collect::<Vec<_>>()) };
        let tries = Arc::new(AtomicUsize::new(0));
        let handle = |page: Vec<Event>| {
            let (db, tries) = (db.clone(), Arc::clone(&tries));
            async move {
                for event in page {
                    if event.sequence == 2 && tries.fetch_add(1, Ordering::SeqCst) < 2 {
                        return Err(Refused::Poison("not this one".to_owned()));
                    }
                    take_in(db.clone(), event).await?;
                }
                Ok(())
            }
        };
        for _ in 0..2 {
            assert!(cursor.catch_up(&fetch, &handle).await.is_err());
            assert_eq!(cursor.position().await.expect("position"), 1);
        }
        assert_eq!(cursor.catch_up(&fetch, &handle).await.expect("taken"), 2);
        assert_eq!(seen(&db).await, ["evt_1", "evt_2", "evt_3"]);
    })
    .await;
}

#[tokio::test]
async fn handler_that_does_not_move_the_cursor_is_noticed() {
    for_each_engine(&[], async |db| {
        let cursor = Cursor::new(db.clone(), DISPATCHER, SOURCE);
        let fetch = |_, _| async { Ok::<_, Status>(vec![confirmed(1)]) };
        let outcome = cursor.catch_up(&fetch, &|_| async { Ok(()) }).await;
        assert!(outcome.expect_err("noticed").to_string().contains("did not move the cursor"));
        let down = |_, _| async { Err::<Vec<Event>, _>(Status::unavailable("down")) };
        assert!(matches!(cursor.catch_up(&down, &|_| async { Ok(()) }).await, Err(Refused::Later(_))));
    })
    .await;
}

#[tokio::test]
async fn a_reader_behind_what_is_kept_is_told_and_goes_on_where_the_feed_begins() {
    for_each_engine(SEEN, async |db| {
        for number in 1..=30 {
            announce_order(&db, "ord_1", number).await;
        }
        let cursor = Cursor::new(db.clone(), DISPATCHER, SOURCE);
        let fetch = |after, limit| {
            let db = db.clone();
            async move {
                let request = ListEventsRequest { after_sequence: after, limit };
                list_events(&db, &request).await.map_err(|error| Status::internal(error.to_string()))
            }
        };
        let keep = Keep { events: Duration::from_secs(3_600), commands: Duration::from_secs(3_600) };
        let late = NOW.saturating_add(Duration::from_secs(7_200));
        lictor_storage::outbox::sequence(&db).await.expect("numbered");
        take_away(&db, keep, Readers::FeedOnly, late).await.expect("old ones go");
        let answer = list_events(&db, &ListEventsRequest { after_sequence: 0, limit: 10 }).await.expect("an answer");
        assert_eq!((answer.events.len(), answer.gone_through), (0, 30));
        for number in 31..=33 {
            announce_order(&db, "ord_1", number).await;
        }
        let caught = cursor.catch_up(&fetch, &|page| take_page(db.clone(), page)).await.expect("it goes on");
        assert_eq!(caught, 3);
        assert_eq!(cursor.position().await.expect("position"), 33);
    })
    .await;
}
