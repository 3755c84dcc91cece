//! Receivers that are down, slow, answer half or break off.

use rand::Rng;

use crate::receiver::Mood;
use crate::stage::{Stage, alone, random, scaled};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_answers_badly_in_every_way_gets_every_event_in_order() -> anyhow::Result<()> {
    let _alone = alone().await;
    let Some(mut stage) = Stage::new().await? else { return Ok(()) };
    let mut random = random();
    // Hanging is rare: it costs a deadline each, and after a run of failures a destination rests.
    stage.receiver.mood(move || match random.random_range(0..100) {
        0..8 => Mood::Refuse,
        8..12 => Mood::Half,
        12..16 => Mood::BreakOff,
        16..20 => Mood::Close,
        20..21 => Mood::Hang,
        21..30 => Mood::Slow,
        _ => Mood::Take,
    });
    stage.announce(scaled(5_000, 300)).await?;
    stage.everything_arrives_in_order().await?;
    let arrivals = stage.receiver.arrivals();
    anyhow::ensure!(arrivals.iter().any(|arrival| !arrival.taken), "some were not taken at first");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_was_away_gets_what_waited_in_order() -> anyhow::Result<()> {
    let _alone = alone().await;
    let Some(mut stage) = Stage::new().await? else { return Ok(()) };
    stage.receiver.mood(|| Mood::Close);
    stage.announce(scaled(5_000, 300)).await?;
    // It was surely tried, and nothing was taken.
    let tried = async {
        while stage.receiver.arrivals().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), tried).await?;
    stage.receiver.mood(|| Mood::Take);
    stage.everything_arrives_in_order().await
}
