//! A receiver of webhooks: keeps every request, answers as it is told.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// The status it was answered with.
    pub answered: u16,
}

impl Received {
    /// The value of a header, empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON, `null` when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

fn taken(list: &[Received]) -> impl Iterator<Item = &Received> {
    list.iter().filter(|received| received.answered < 300)
}

/// Listens on a free port of the loopback until the test ends.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// Starts one that takes everything with 204.
    ///
    /// # Errors
    /// No port can be had.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let receiver =
            Self { address: listener.local_addr()?, status: Arc::new(AtomicU16::new(204)), received: Arc::default() };
        let keeper = receiver.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let keeper = keeper.clone();
                thread::spawn(move || {
                    let _ = keeper.serve(connection);
                });
            }
        });
        Ok(receiver)
    }

    /// Where to send.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The status of answers from now on; 500 plays a broken receiver.
    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Everything that came, in order of arrival.
    #[must_use]
    pub fn all(&self) -> Vec<Received> {
        self.received.lock().map(|list| list.clone()).unwrap_or_default()
    }

    /// What was taken (answered with 2xx), in order of arrival.
    #[must_use]
    pub fn taken(&self) -> Vec<Received> {
        self.all().into_iter().filter(|received| received.answered < 300).collect()
    }

    /// The ids of what was taken.
    #[must_use]
    pub fn ids(&self) -> HashSet<String> {
        self.look(|list| taken(list).map(|received| received.header("webhook-id").to_owned()).collect())
    }

    /// How many different bodies were taken under each id; more than one is a fault of the sender.
    #[must_use]
    pub fn bodies(&self) -> BTreeMap<String, usize> {
        self.look(|list| {
            let mut bodies = BTreeMap::<String, HashSet<&[u8]>>::new();
            for received in taken(list) {
                bodies.entry(received.header("webhook-id").to_owned()).or_default().insert(&received.body);
            }
            bodies.into_iter().map(|(id, bodies)| (id, bodies.len())).collect()
        })
    }

    /// Looks at what came without a copy of it.
    fn look<T: Default>(&self, look: impl FnOnce(&[Received]) -> T) -> T {
        self.received.lock().map(|list| look(&list)).unwrap_or_default()
    }

    fn serve(&self, connection: TcpStream) -> std::io::Result<()> {
        connection.set_nodelay(true)?;
        let mut answer = connection.try_clone()?;
        let mut reader = BufReader::new(connection);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut headers = Vec::new();
            loop {
                line.clear();
                reader.read_line(&mut line)?;
                let Some((name, value)) = line.trim_end().split_once(':') else { break };
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            let length =
                headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body)?;

            let status = self.status.load(Ordering::SeqCst);
            if let Ok(mut list) = self.received.lock() {
                list.push(Received { headers, body, answered: status });
            }
            write!(answer, "HTTP/1.1 {status} as told\r\ncontent-length: 0\r\n\r\n")?;
        }
    }
}
