//! The dispatcher, the broker and the database break while events are announced and delivered.

use anyhow::ensure;
use lictor_test_support::fleet::Service;
use lictor_test_support::running::{self, Rabbit};
use rand::Rng;

use crate::stage::{Stage, alone, random, scaled};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_killed_at_random_loses_no_event_and_keeps_the_order() -> anyhow::Result<()> {
    let _alone = alone().await;
    let Some(mut stage) = Stage::new().await? else { return Ok(()) };
    let (events, kills) = (scaled(20_000, 600), scaled(100, 6));
    let mut random = random();
    eprintln!("{events} events, {kills} kills");
    for round in 0..kills {
        stage.announce(events / kills).await?;
        // Somewhere between the first and the last delivery of this round, or while nothing is under way.
        let done = round * (events / kills);
        let reached = random.random_range(stage.receiver.taken().max(done / 2)..=stage.announced.len());
        if random.random_bool(0.8) {
            stage.until_taken(reached.min(stage.announced.len())).await?;
        }
        stage.fleet.kill_and_restart(Service::Notification)?;
        if random.random_bool(0.5) {
            stage.fleet.wait_until_alive(Service::Notification)?;
        }
    }
    stage.everything_arrives_in_order().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stops_is_wiped_or_has_a_full_disk_loses_no_event() -> anyhow::Result<()> {
    let _alone = alone().await;
    let Some(mut stage) = Stage::new().await? else { return Ok(()) };
    let each = scaled(4_000, 200);
    let rabbit = Rabbit::at(&stage.amqp)?;
    stage.announce(each).await?;
    stage.until_taken(each / 2).await?;

    // Stopped: events come by the feed, a little later.
    rabbit.control(&["stop_app"])?;
    stage.announce(each).await?;
    stage.until_taken(2 * each).await?;

    // Wiped: queues, bindings and what was in them are gone.
    stage.announce(each).await?;
    rabbit.control(&["reset"])?;
    rabbit.control(&["start_app"])?;
    stage.announce(each).await?;
    stage.until_taken(4 * each).await?;
    stage.until_published().await?;

    // Its disk is full: it blocks publishers and says nothing.
    rabbit.control(&["set_disk_free_limit", "1000000GB"])?;
    stage.announce(each).await?;
    let arrived = stage.until_taken(5 * each).await;
    rabbit.control(&["set_disk_free_limit", "50MB"])?;
    arrived?;
    stage.announce(each).await?;
    stage.everything_arrives_in_order().await?;
    stage.until_published().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_killed_in_the_middle_of_transactions_loses_no_event() -> anyhow::Result<()> {
    let _alone = alone().await;
    let Some(mut stage) = Stage::new().await? else { return Ok(()) };
    let (events, kills) = (scaled(10_000, 400), scaled(30, 3));
    let server = running::postgres(&stage.postgres)?;
    let mut random = random();
    for _ in 0..kills {
        stage.announce(events / kills).await?;
        let reached = random.random_range(stage.receiver.taken()..=stage.announced.len());
        stage.until_taken(reached).await?;
        // One process that is killed takes all others of the server with it, and it recovers from its log.
        let backends = running::children(server)?;
        ensure!(!backends.is_empty(), "PostgreSQL has processes");
        let _ = running::kill(backends[random.random_range(0..backends.len())]);
    }
    stage.announce(10).await?;
    stage.everything_arrives_in_order().await
}
