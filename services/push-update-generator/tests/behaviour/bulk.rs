//! Many containers at once: contexts of a whole delivery, and updates for all of them. Figures are printed, never judged.

use std::time::Instant;

use tokio::task::JoinSet;

use lictor_push_update_generator::domain::verdict::Verdict;
use lictor_test_support::device::TestDevice;

use crate::world::{World, add, request, worlds};

/// Calls on their way at the same time.
const IN_FLIGHT: usize = 32;

fn count() -> usize {
    let scale: usize = std::env::var("LICTOR_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    (scale * 200).min(1_000)
}

/// Does them all, some at the same time; gives how many a second.
async fn at_once<F>(tasks: impl Iterator<Item = F>) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let (begun, mut running, mut done) = (Instant::now(), JoinSet::new(), 0.0);
    for task in tasks {
        if running.len() == IN_FLIGHT {
            running.join_next().await.expect("a task").expect("no panic");
        }
        running.spawn(task);
        done += 1.0;
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("no panic");
    }
    done / begun.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_of_containers_is_taken_in_and_served_at_once() {
    worlds(async |world: World| {
        let mut devices: Vec<_> = (0..count()).map(|number| world.numbered(number)).collect();
        let files: Vec<_> = devices.iter_mut().map(TestDevice::context).collect();
        let taken = at_once(files.into_iter().map(|file| {
            let intake = world.intake.clone();
            async move { assert_eq!(intake.take(&file).await.expect("a context").verdict, Verdict::Ok) }
        }));
        let taken = taken.await;
        // The first segment of a chain also certifies its key and archives the chain; the second is what is measured.
        let mut rates = Vec::new();
        for round in 0..2_u8 {
            let requests: Vec<_> = devices
                .iter()
                .enumerate()
                .map(|(place, device)| request(device, &format!("act_{round}_{place}"), vec![add(round)]))
                .collect();
            rates.push(
                at_once(requests.into_iter().map(|request| {
                    let issuer = world.issuer.clone();
                    async move { assert_eq!(issuer.issue(&request).await.expect("issued").to, u64::from(round) + 1) }
                }))
                .await,
            );
        }
        eprintln!(
            "{:?}: {taken:.0} contexts a second, {:.0} first and {:.0} further updates a second, {IN_FLIGHT} in flight",
            world.db.dialect(),
            rates[0],
            rates[1]
        );
        for device in devices.iter().step_by(37) {
            assert_eq!(world.chain(device).await.issued, 2);
        }
    })
    .await;
}
