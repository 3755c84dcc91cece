//! A receiver with moods: it takes, refuses, hangs, answers half, breaks off.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Take,
    /// 204 after a while that is well within the deadline.
    Slow,
    Refuse,
    /// No answer; the connection stays open beyond the deadline.
    Hang,
    /// Half of a head.
    Half,
    /// A head that promises a body, half of it, the end.
    BreakOff,
    /// The end, without a word.
    Close,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) place: u64,
    pub(crate) body: Vec<u8>,
    pub(crate) taken: bool,
}

type Choose = Arc<Mutex<Box<dyn FnMut() -> Mood + Send>>>;

pub(crate) struct Receiver {
    address: SocketAddr,
    choose: Choose,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    taken: watch::Receiver<usize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    choose: Choose,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    ids: Mutex<HashSet<String>>,
    taken: watch::Sender<usize>,
}

impl Receiver {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let choose: Choose = Arc::new(Mutex::new(Box::new(|| Mood::Take)));
        let arrivals: Arc<Mutex<Vec<Arrival>>> = Arc::default();
        let (told, taken) = watch::channel(0);
        let shared = Arc::new(Shared {
            choose: Arc::clone(&choose),
            arrivals: Arc::clone(&arrivals),
            ids: Mutex::default(),
            taken: told,
        });
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Ok(Self { address, choose, arrivals, taken, task })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn mood(&self, choose: impl FnMut() -> Mood + Send + 'static) {
        *self.choose.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(choose);
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn taken(&self) -> usize {
        *self.taken.borrow()
    }

    pub(crate) async fn until_taken(&self, count: usize, patience: Duration) -> anyhow::Result<()> {
        let mut taken = self.taken.clone();
        let waited = tokio::time::timeout(patience, taken.wait_for(|there| *there >= count)).await;
        waited.with_context(|| format!("{} of {count} events were taken in {patience:?}", self.taken()))??;
        Ok(())
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let (end, length, id) = loop {
            if let Some(found) = head(&buffer) {
                break found;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        while buffer.len() < end + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let body = buffer[end..end + length].to_vec();
        buffer.drain(..end + length);
        let mood = (shared.choose.lock().unwrap_or_else(PoisonError::into_inner))();
        if mood == Mood::Slow {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let taken = matches!(mood, Mood::Take | Mood::Slow);
        shared.note(id, body, taken);
        match mood {
            Mood::Take | Mood::Slow => stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?,
            Mood::Refuse => stream.write_all(b"HTTP/1.1 503 not now\r\ncontent-length: 0\r\n\r\n").await?,
            Mood::Hang => std::future::pending().await,
            Mood::Half => return stream.write_all(b"HTTP/1.1 20").await,
            Mood::BreakOff => return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await,
            Mood::Close => return Ok(()),
        }
    }
}

impl Shared {
    fn note(&self, id: String, body: Vec<u8>, taken: bool) {
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let place = said["sequence"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
        let subject = said["subject"].as_str().unwrap_or_default().to_owned();
        let arrival = Arrival { id: id.clone(), subject, place, body, taken };
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
        if taken {
            let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
            ids.insert(id);
            let count = ids.len();
            self.taken.send_replace(count);
        }
    }
}

/// Where the head of a request ends, how long its body is, and its id.
fn head(buffer: &[u8]) -> Option<(usize, usize, String)> {
    let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(buffer.get(..end)?).ok()?;
    let of = |wanted: &str| {
        let line = text.split("\r\n").filter_map(|line| line.split_once(':'));
        line.filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim()).next()
    };
    Some((end, of("content-length")?.parse().ok()?, of("webhook-id")?.to_owned()))
}
