//! A receiver of webhooks on a real socket that answers as it is told, badly too.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// How a request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// This status with these further header lines.
    Status(u16, &'static str),
    /// Nothing, and the connection stays open.
    Hang,
    /// 200, and a body without end.
    Endless,
    /// 200 with a length, then half of the body, then the end of the connection.
    Half,
    /// 200, then a byte now and then.
    Drip,
    /// The connection ends without an answer.
    Close,
    /// Something that is not HTTP.
    Noise,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) taken: bool,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> String {
        self.header("webhook-id").to_owned()
    }

    pub(crate) fn subject(&self) -> String {
        self.json()["subject"].as_str().unwrap_or_default().to_owned()
    }
}

type Behaviour = Arc<Mutex<Box<dyn FnMut(&Received) -> Answer + Send>>>;

/// Listens until it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    behaviour: Behaviour,
    received: Arc<Mutex<Vec<Received>>>,
    changed: watch::Receiver<u64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub(crate) async fn start(answer: Answer) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), answer).await
    }

    pub(crate) async fn start_at(address: SocketAddr, answer: Answer) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let behaviour: Behaviour = Arc::new(Mutex::new(Box::new(move |_| answer.clone())));
        let received = Arc::new(Mutex::new(Vec::new()));
        let (count, changed) = watch::channel(0);
        let (given, kept) = (Arc::clone(&behaviour), Arc::clone(&received));
        let task = tokio::spawn(async move {
            // Connections end with the receiver.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&given), Arc::clone(&kept), count.clone()));
            }
        });
        Self { address, behaviour, received, changed, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.answer_by(move |_| answer.clone());
    }

    pub(crate) fn answer_by(&self, behaviour: impl FnMut(&Received) -> Answer + Send + 'static) {
        *self.behaviour.lock().expect("a lock") = Box::new(behaviour);
    }

    pub(crate) fn all(&self) -> Vec<Received> {
        self.received.lock().expect("a lock").clone()
    }

    pub(crate) fn taken(&self) -> Vec<Received> {
        self.all().into_iter().filter(|received| received.taken).collect()
    }

    /// Waits until the requests so far satisfy `condition`.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let mut changed = self.changed.clone();
        let waited = tokio::time::timeout(crate::world::PATIENCE, async {
            loop {
                changed.borrow_and_update();
                let all = self.all();
                if condition(&all) {
                    return all;
                }
                if changed.changed().await.is_err() {
                    panic!("{what}: the receiver ended");
                }
            }
        });
        let Ok(all) = waited.await else {
            panic!("{what} did not happen; {} requests came, {} were taken", self.all().len(), self.taken().len());
        };
        all
    }

    pub(crate) async fn until_taken(&self, count: usize) -> Vec<Received> {
        let what = format!("taking {count} different events");
        self.until(&what, |all| distinct(all) >= count).await.into_iter().filter(|one| one.taken).collect()
    }
}

fn distinct(all: &[Received]) -> usize {
    all.iter().filter(|one| one.taken).map(Received::id).collect::<std::collections::HashSet<_>>().len()
}

async fn serve(stream: TcpStream, behaviour: Behaviour, kept: Arc<Mutex<Vec<Received>>>, count: watch::Sender<u64>) {
    let _ = stream.set_nodelay(true);
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    while let Ok(Some(mut request)) = read(&mut reader).await {
        let answer = (behaviour.lock().expect("a lock"))(&request);
        request.taken = matches!(answer, Answer::Status(200..=299, _) | Answer::Endless);
        kept.lock().expect("a lock").push(request);
        count.send_modify(|number| *number += 1);
        let written = match answer {
            Answer::Status(status, more) => {
                let text = format!("HTTP/1.1 {status} as told\r\n{more}content-length: 4\r\n\r\nfine");
                writer.write_all(text.as_bytes()).await
            }
            Answer::Hang => {
                std::future::pending::<()>().await;
                return;
            }
            Answer::Endless => {
                let _ = writer.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
                while writer.write_all(chunk.as_bytes()).await.is_ok() {}
                return;
            }
            Answer::Half => {
                let _ = writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly half").await;
                return;
            }
            Answer::Drip => {
                let _ = writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await;
                let mut pace = tokio::time::interval(std::time::Duration::from_millis(20));
                loop {
                    pace.tick().await;
                    if writer.write_all(b"x").await.is_err() {
                        return;
                    }
                }
            }
            Answer::Close => return,
            Answer::Noise => {
                let _ = writer.write_all(b"what do you want from me?\r\n\r\n").await;
                return;
            }
        };
        if written.is_err() {
            return;
        }
    }
}

async fn read(reader: &mut BufReader<tokio::net::tcp::OwnedReadHalf>) -> std::io::Result<Option<Received>> {
    let mut line = String::new();
    if reader.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).await?;
    Ok(Some(Received { headers, body, taken: false }))
}
