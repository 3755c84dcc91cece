//! Many machines with many programs each, whose licence servers borrow the seats in blocks from one of the network.

use std::io::Write;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::client::Connection;
use crate::process::{Server, Template, folder, launch};

/// Programs on each machine.
const PROGRAMS: usize = 300;
/// They start in so many waves, one after the other.
const WAVES: usize = 20;
/// Machines that are at work at the same time.
const AT_ONCE: usize = 10;

/// Prints how often the network server was asked.
///
/// # Errors
/// A program gets no seat.
pub async fn blocks(
    out: &mut impl Write,
    template: &Template,
    tls: &Arc<ClientConfig>,
    hosts: usize,
) -> anyhow::Result<()> {
    writeln!(out, "\nblocks: {hosts} machines with {PROGRAMS} programs each, one network server")?;
    let lender = template.start_with(&[("CM_NETWORK_SERVER", "on")]).await?;
    let (at, trust) = (lender.address.to_string(), template.trust().to_string_lossy().into_owned());
    let mut questions = 0.0;
    let mut running = Vec::new();
    while running.len() < hosts {
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE.min(hosts - running.len()) {
            let (at, trust, tls) = (at.clone(), trust.clone(), Arc::clone(tls));
            tasks.spawn(async move {
                let state = folder()?;
                let environment = [("CM_REMOTE_SERVER", at.as_str()), ("LICTOR_UPSTREAM_TRUST", trust.as_str())];
                let host = launch(&state.path().join("state"), &environment).await?;
                programs(&host, &tls).await?;
                anyhow::Ok((state, host))
            });
        }
        while let Some(ended) = tasks.join_next().await {
            running.push(ended??);
        }
    }
    for (_, host) in &running {
        questions += host.metric("lictor_block_questions_total").await?;
    }
    let seats = hosts * PROGRAMS;
    writeln!(out, "  {questions} calls upstream for {seats} seats (aim: < 1,000 for 30,000)")?;
    Ok(())
}

/// Each program takes a seat, one wave after the other; they keep them.
async fn programs(host: &Server, tls: &Arc<ClientConfig>) -> anyhow::Result<()> {
    let connection = Connection::open(host.address, tls).await?;
    for _ in 0..WAVES {
        let mut tasks = JoinSet::new();
        for _ in 0..PROGRAMS / WAVES {
            let mut instance = connection.instance()?;
            tasks.spawn(async move { instance.acquire().await });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
    }
    Ok(())
}
