//! A receiver that costs little: it notes when each id came and answers at once, never, or without end.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// How requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// 204 at once.
    Take,
    /// Never.
    Hang,
    /// 200 with a body without end.
    Endless,
}

/// Listens until it is dropped.
pub struct Hook {
    address: SocketAddr,
    arrived: Arc<Mutex<HashMap<String, Instant>>>,
    count: watch::Receiver<usize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hook {
    /// Starts one on a free port of the loopback.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(mood: Mood) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let arrived: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let (told, count) = watch::channel(0);
        let kept = Arc::clone(&arrived);
        let task = tokio::spawn(async move {
            let told = Arc::new(told);
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(stream, mood, Arc::clone(&kept), Arc::clone(&told)));
            }
        });
        Ok(Self { address, arrived, count, task })
    }

    /// Where to send.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Different ids that came so far.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// When each id came first.
    #[must_use]
    pub fn arrivals(&self) -> HashMap<String, Instant> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for so many different ids.
    ///
    /// # Errors
    /// They do not come in time.
    pub async fn until(&self, count: usize, patience: Duration) -> anyhow::Result<()> {
        let mut seen = self.count.clone();
        let waited = tokio::time::timeout(patience, seen.wait_for(|there| *there >= count)).await;
        waited.with_context(|| format!("{} of {count} arrived within {patience:?}", self.count()))??;
        Ok(())
    }
}

async fn serve(
    mut stream: TcpStream,
    mood: Mood,
    arrived: Arc<Mutex<HashMap<String, Instant>>>,
    told: Arc<watch::Sender<usize>>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8 * 1024);
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
        let at = Instant::now();
        buffer.drain(..end + length);
        match mood {
            Mood::Take => stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?,
            Mood::Hang => std::future::pending().await,
            Mood::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n").await?;
                loop {
                    stream.write_all(&[b'x'; 16 * 1024]).await?;
                }
            }
        }
        let count = {
            let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.entry(id).or_insert(at);
            arrived.len()
        };
        told.send_replace(count);
    }
}

/// Where the head of a request ends, how long its body is, and its id.
fn head(buffer: &[u8]) -> Option<(usize, usize, String)> {
    let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(buffer.get(..end)?).ok()?;
    let (mut length, mut id) = (0, String::new());
    for line in text.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        } else if name.eq_ignore_ascii_case("webhook-id") {
            value.trim().clone_into(&mut id);
        }
    }
    Some((end, length, id))
}
