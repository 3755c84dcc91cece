//! Days of downtime on a clock that the test moves.

use std::time::Duration;

use lictor_clock::{ManualClock, Timestamp, duration};
use lictor_notification_dispatcher::domain::{destination::GiveUp, schedule::Schedule};

use crate::{
    receiver::{Answer, Receiver},
    world::{Dispatcher, World, until},
};

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

async fn world(clock: &ManualClock) -> World {
    let mut world = World::at(clock.shared()).await;
    let mut schedule = Schedule::default();
    schedule.jitter_percent = 0;
    world.settings.schedule = schedule;
    world.settings.sweep_every = Duration::from_millis(5);
    world
}

/// Waits until the only delivery was tried `count` times.
async fn attempts(dispatcher: &Dispatcher, destination: &str, count: u32) {
    let what = format!("attempt {count}");
    dispatcher.until(destination, &what, |all| all.iter().any(|one| one.attempts >= count && one.state != 2)).await;
}

#[tokio::test]
async fn retries_come_at_their_times_and_not_before() {
    let clock = ManualClock::new(START);
    let world = world(&clock).await;
    let receiver = Receiver::start(Answer::Status(500, "")).await;
    // Others are taken, so that the breaker stays closed.
    receiver.answer_by(|request| Answer::Status(if request.subject() == "lic_1" { 500 } else { 200 }, ""));
    let dispatcher = world.start().await;
    let (destination, _) = dispatcher.add(&receiver.url(), &[]).await;
    world.producer.announce("lic_1");
    attempts(&dispatcher, &destination, 1).await;
    for (number, wait) in [(2, 5), (3, 300), (4, 1_800), (5, 7_200), (6, 18_000), (7, 28_800), (8, 28_800)] {
        let before = receiver.all().len();
        clock.advance(Duration::from_secs(wait - 1));
        // Another destination's delivery shows that the engine has looked at the clock.
        let other = Receiver::start(Answer::Status(200, "")).await;
        dispatcher.add(&other.url(), &[]).await;
        world.producer.announce(&format!("lic_other_{number}"));
        other.until_taken(1).await;
        let of_first = receiver.all().iter().filter(|request| request.subject() == "lic_1").count();
        assert_eq!(of_first, number - 1, "attempt {number} came too early");
        assert!(receiver.all().len() >= before);
        clock.advance(Duration::from_secs(1));
        receiver
            .until(&format!("attempt {number}"), |all| {
                all.iter().filter(|request| request.subject() == "lic_1").count() >= number
            })
            .await;
        dispatcher
            .until(&destination, "the attempt is settled", |all| {
                all.iter().all(|one| one.subject != "lic_1" || one.attempts as usize == number)
            })
            .await;
    }
    dispatcher.stop().await;
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let clock = ManualClock::new(START);
    let world = world(&clock).await;
    let receiver = Receiver::start(Answer::Status(503, "retry-after: 60\r\n")).await;
    let dispatcher = world.start().await;
    let (destination, _) = dispatcher.add(&receiver.url(), &[]).await;
    world.producer.announce("lic_1");
    attempts(&dispatcher, &destination, 1).await;
    let waiting = dispatcher.deliveries(&destination).await;
    let next = waiting[0].next_attempt_at.as_ref().expect("a next attempt").seconds;
    assert_eq!(next, START.as_seconds() + 60);
    // The whole destination rests: another license is not sent either.
    receiver.answer(Answer::Status(200, ""));
    world.producer.announce("lic_2");
    dispatcher.until(&destination, "the second is stored", |all| all.len() == 2).await;
    clock.advance(Duration::from_secs(59));
    dispatcher.until(&destination, "both wait", |all| all.iter().all(|one| one.state == 1)).await;
    assert_eq!(receiver.all().len(), 1);
    clock.advance(Duration::from_secs(1));
    receiver.until_taken(2).await;
    dispatcher.stop().await;
}

#[tokio::test]
async fn three_days_of_downtime_lose_nothing_and_end_at_once() {
    let clock = ManualClock::new(START);
    let world = world(&clock).await;
    let receiver = Receiver::start(Answer::Status(500, "")).await;
    let dispatcher = world.start().await;
    let (destination, _) = dispatcher.add(&receiver.url(), &[]).await;
    world.producer.announce_many(20, 5);
    until("three days pass", async || {
        clock.advance(duration::hours(1));
        // Looking at the destination gives the dispatcher its turn.
        let _ = dispatcher.destination(&destination).await;
        (world.clock.now().since(START) >= duration::days(3)).then_some(())
    })
    .await;
    assert!(receiver.all().len() >= 10, "it is tried again and again");
    assert_eq!(dispatcher.destination(&destination).await.state, 1, "three days do not disable");
    receiver.answer(Answer::Status(200, ""));
    // Nothing but a new event: its success shows that the receiver is back, and what waits follows at once. The breaker
    // lets one call through every five minutes at the latest.
    clock.advance(duration::minutes(5));
    world.producer.announce("lic_new");
    receiver.until("the new one is taken or its turn comes", |all| all.iter().any(|one| one.taken)).await;
    let taken = receiver.until_taken(21).await;
    assert_eq!(taken.len(), 21, "each event once");
    dispatcher.stop().await;
}

#[tokio::test]
async fn five_days_of_failures_disable_the_destination() {
    let clock = ManualClock::new(START);
    let world = world(&clock).await;
    let receiver = Receiver::start(Answer::Status(500, "")).await;
    let dispatcher = world.start().await;
    let (destination, _) = dispatcher.add(&receiver.url(), &["lictor.license.*"]).await;
    world.producer.announce("lic_1");
    until("the destination is disabled", async || {
        clock.advance(duration::hours(1));
        Some(dispatcher.destination(&destination).await).filter(|one| one.state == 2)
    })
    .await;
    assert!(world.clock.now().since(START) >= duration::days(5));
    let kept = dispatcher.destination(&destination).await;
    assert_eq!(kept.backlog, 1);
    assert!(kept.note.contains("nothing was taken for"), "{}", kept.note);
    dispatcher.stop().await;
}

#[tokio::test]
async fn parked_head_lets_its_followers_go() {
    let clock = ManualClock::new(START);
    let mut world = world(&clock).await;
    world.settings.give_up = GiveUp { after: duration::days(1_000), failures: 10 };
    let receiver = Receiver::start(Answer::Status(500, "")).await;
    let dispatcher = world.start().await;
    let (destination, _) = dispatcher.add(&receiver.url(), &[]).await;
    let poison = world.producer.announce("lic_2");
    let follower = world.producer.announce("lic_2");
    let followed = follower.id.clone();
    receiver.answer_by(move |request| Answer::Status(if request.id() == followed { 200 } else { 500 }, ""));
    attempts(&dispatcher, &destination, 1).await;
    until("the head is parked", async || {
        clock.advance(duration::hours(4));
        let all = dispatcher.deliveries(&destination).await;
        all.iter().any(|one| one.event_id == poison.id && one.state == 4).then_some(())
    })
    .await;
    assert!(world.clock.now().since(START) >= duration::days(7));
    receiver.until("the follower is taken", |all| all.iter().any(|one| one.taken && one.id() == follower.id)).await;
    dispatcher.stop().await;
}
