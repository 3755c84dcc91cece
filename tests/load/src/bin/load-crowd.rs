//! A crowd of clients at one server: each has a connection of its own and holds a seat by a stream. When the server goes away,
//! they come back to the same address for the same seats.
//!
//! `load-crowd ADDRESS COUNT`, in a process of its own because a process may open only so many files. Says `held` when all
//! hold a seat, and `back` each time that all hold theirs again; ends with its standard input.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lictor_api::server::v1::HoldEvent;
use lictor_key_store::MemorySigner;
use lictor_tests_load::client::{self, Connection, random};
use rustls::ClientConfig;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Semaphore, mpsc};
use tonic::{Code, Streaming};

/// Clients that connect at the same time.
const CONNECTING: usize = 64;
/// Pause before another attempt, while the server is away.
const PAUSE: Duration = Duration::from_millis(20);

/// What a client has to say.
enum Said {
    /// It holds its seat.
    Holds,
    /// Its seat is not there any more, or something else went wrong for good.
    Failed(anyhow::Error),
}

struct Crowd {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    places: Semaphore,
    said: mpsc::UnboundedSender<Said>,
}

impl Crowd {
    /// One client, until the end of the process.
    async fn client(&self) -> anyhow::Result<()> {
        let key = MemorySigner::from_seed(&random()?);
        let mut held = None;
        loop {
            let place = self.places.acquire().await?;
            let taken = self.take(&key, held.take()).await?;
            drop(place);
            let Some((session, _connection, mut beats)) = taken else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            // Nobody listens at the end of the process.
            let _ = self.said.send(Said::Holds);
            while let Ok(Some(_)) = beats.message().await {}
            held = Some(session);
        }
    }

    /// Takes a seat, or holds the one that it has; nothing when the server is away.
    async fn take(
        &self,
        key: &MemorySigner,
        held: Option<String>,
    ) -> anyhow::Result<Option<(String, Connection, Streaming<HoldEvent>)>> {
        let mut pause = tokio::time::interval(PAUSE);
        loop {
            pause.tick().await;
            let Ok(connection) = Connection::open(self.address, &self.tls).await else {
                if held.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let mut instance = connection.instance_of(key)?;
            let taken = match &held {
                None => instance.hold().await,
                Some(session) => instance.hold_again(session.clone()).await.map(|beats| (session.clone(), beats)),
            };
            match taken {
                Ok((session, beats)) => return Ok(Some((session, connection, beats))),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether the server was only away.
fn is_passing(error: &anyhow::Error) -> bool {
    let status = error.downcast_ref::<tonic::Status>();
    status.is_some_and(|status| matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, count] = words.as_slice() else { anyhow::bail!("usage: load-crowd ADDRESS COUNT") };
    let count: usize = count.parse().context("a number of clients")?;
    let (said, mut heard) = mpsc::unbounded_channel();
    let places = Semaphore::new(CONNECTING);
    let crowd = Arc::new(Crowd { address: address.parse().context("an address")?, tls: client::tls(), places, said });
    for _ in 0..count {
        let crowd = Arc::clone(&crowd);
        tokio::spawn(async move {
            if let Err(error) = crowd.client().await {
                // Nobody listens at the end of the process.
                let _ = crowd.said.send(Said::Failed(error));
            }
        });
    }
    let mut out = io::stdout();
    let mut word = "held";
    let all = async {
        loop {
            for _ in 0..count {
                match heard.recv().await.context("clients")? {
                    Said::Holds => {}
                    Said::Failed(error) => return Err::<(), _>(error),
                }
            }
            writeln!(out, "{word}")?;
            word = "back";
        }
    };
    let mut nothing = [0; 1];
    let mut input = tokio::io::stdin();
    tokio::select! {
        failed = all => failed,
        _ = input.read(&mut nothing) => Ok(()),
    }
}
