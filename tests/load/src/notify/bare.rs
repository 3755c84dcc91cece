//! The least that a delivery costs: a POST by the same HTTP client, and a message through the same broker. Both run in a
//! process of their own, so that their CPU can be told apart.

use std::{process::Command, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use lictor_api::event::v1::{Event, LicenseChanged, event::Data};
use lictor_broker::{Broker, RabbitOptions};
use lictor_test_support::{programs, servers::AMQP_URL};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::figures::cpu_seconds;

/// POSTs at once, as many as the dispatcher makes to one destination.
const IN_FLIGHT: usize = 16;
/// About as long as a body.
const BODY_BYTES: usize = 900;
const PREFIX: &str = "bare";
const CONSUMER: &str = "notification-dispatcher";

/// Runs this program once more as a twin and gives the CPU seconds per piece that it printed.
///
/// # Errors
/// It fails.
pub fn in_a_process(arguments: &[&str]) -> anyhow::Result<f64> {
    let answer = programs::Answer::of(Command::new(std::env::current_exe()?).args(arguments))?;
    ensure!(answer.code == 0, "{}", answer.errors);
    answer.output.trim().parse().with_context(|| format!("a figure, not {}", answer.output))
}

/// POSTs to `url`, and the CPU seconds of each.
///
/// # Errors
/// One is not taken.
pub async fn posts(url: String, count: usize) -> anyhow::Result<f64> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let before = cpu_seconds(std::process::id())?;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        let place = Arc::clone(&places).acquire_owned().await?;
        let (client, url) = (client.clone(), url.clone());
        tasks.spawn(async move {
            let sent = client.post(url).header("webhook-id", format!("bare_{number}")).body(vec![b'x'; BODY_BYTES]);
            let status = sent.send().await.map(|answer| answer.status().as_u16());
            drop(place);
            status
        });
        while let Some(ended) = tasks.try_join_next() {
            ensure!(ended?? == 204, "a POST was not taken");
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ensure!(ended?? == 204, "a POST was not taken");
    }
    Ok((cpu_seconds(std::process::id())? - before) / count as f64)
}

/// Messages through the broker, and the CPU seconds of taking each, without those of publishing it.
///
/// # Errors
/// The broker does not answer.
pub async fn messages(count: usize) -> anyhow::Result<f64> {
    let url = std::env::var(AMQP_URL).context("a broker")?;
    let broker = Broker::rabbit(&url, RabbitOptions { prefix: PREFIX.to_owned(), ca: None })?;
    broker.check().await?;
    let event = |number: usize| Event {
        id: format!("evt_{number:026}"),
        r#type: "lictor.license.changed.v1".to_owned(),
        source: "license-central".to_owned(),
        subject: "x".repeat(200),
        sequence: number as u64 + 1,
        data: Some(Data::LicenseChanged(LicenseChanged::default())),
        ..Event::default()
    };
    let events: Vec<Event> = (0..count).map(event).collect();
    for batch in events.chunks(200) {
        broker.publish(batch).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    let before = cpu_seconds(std::process::id())?;
    let (taken, mut seen) = watch::channel(0_usize);
    let (stop, taken) = (CancellationToken::new(), Arc::new(taken));
    let handler = move |events: Vec<Event>| {
        taken.send_modify(|count| *count += events.len());
        async { Ok(()) }
    };
    let consuming = tokio::spawn({
        let stop = stop.clone();
        async move { broker.consume_batches(CONSUMER, 256, handler, stop).await }
    });
    tokio::time::timeout(Duration::from_secs(60), seen.wait_for(|there| *there >= count)).await??;
    let cpu = cpu_seconds(std::process::id())? - before;
    stop.cancel();
    consuming.await??;
    Ok(cpu / count as f64)
}
