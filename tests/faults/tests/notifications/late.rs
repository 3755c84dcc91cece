//! The broker comes late, or not at all.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lictor_test_support::fleet::Service;
use lictor_test_support::running::Rabbit;
use rand::Rng;

use crate::stage::{Stage, alone, random, scaled};

/// The value of a counter at the dispatcher.
fn counter(stage: &Stage, name: &str) -> anyhow::Result<u64> {
    use std::io::{Read, Write};
    let address = stage.fleet.http(Service::Notification);
    let mut connection = std::net::TcpStream::connect(&address)?;
    write!(connection, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    connection.read_to_string(&mut text)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.context("the counter is shown")?.trim().parse()?)
}

/// Each event came exactly once.
fn each_came_once(stage: &Stage) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    for arrival in stage.receiver.arrivals() {
        ensure!(seen.insert(arrival.id.clone()), "{} was delivered twice", arrival.id);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_by_the_feed_is_not_delivered_again_when_the_broker_comes_late() -> anyhow::Result<()> {
    let _alone = alone().await;
    let Ok(amqp) = std::env::var(lictor_test_support::servers::AMQP_URL) else {
        eprintln!("SKIPPED: no RabbitMQ; run under with-servers, as `make test` does");
        return Ok(());
    };
    let rabbit = Rabbit::at(&amqp)?;
    rabbit.control(&["stop_app"])?;
    let begun = delivered_without_it().await;
    rabbit.control(&["start_app"])?;
    let Some(mut stage) = begun? else { return Ok(()) };
    let before = u64::try_from(stage.announced.len())?;

    // Now everything is published that was delivered long ago, and new events come both ways.
    stage.until_published().await?;
    stage.announce(scaled(2_000, 200)).await?;
    stage.everything_arrives_in_order().await?;
    let waiting = Instant::now();
    while counter(&stage, "lictor_events_repeated_total")? < before {
        ensure!(waiting.elapsed() < Duration::from_secs(60), "the broker did not bring what the feed had brought");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    each_came_once(&stage)
}

async fn delivered_without_it() -> anyhow::Result<Option<Stage>> {
    let Some(mut stage) = Stage::new().await? else { return Ok(None) };
    stage.announce(scaled(5_000, 300)).await?;
    stage.everything_arrives_in_order().await?;
    Ok(Some(stage))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_broker_the_feed_brings_everything_in_order_through_kills() -> anyhow::Result<()> {
    let _alone = alone().await;
    let folder = tempfile::tempdir()?;
    let extra = BTreeMap::from([
        ("AMQP_URL".to_owned(), String::new()),
        ("LICTOR_PULL_EVERY".to_owned(), "300ms".to_owned()),
        // The other engine, beside the kills on PostgreSQL.
        ("DATABASE_URL".to_owned(), lictor_storage::sqlite_url(&folder.path().join("dispatcher.db"))),
    ]);
    let Some(mut stage) = Stage::over(false, extra).await? else { return Ok(()) };
    let (events, kills) = (scaled(10_000, 400), scaled(50, 4));
    let mut random = random();
    for _ in 0..kills {
        stage.announce(events / kills).await?;
        stage.until_taken(random.random_range(stage.receiver.taken()..=stage.announced.len())).await?;
        stage.fleet.kill_and_restart(Service::Notification)?;
    }
    stage.everything_arrives_in_order().await
}
