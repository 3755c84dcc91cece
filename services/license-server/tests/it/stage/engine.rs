//! A container engine on a Unix socket that says what a test wants it to say, true or not. What a real engine says is tested in
//! `tests/docker`; no real one lies.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// Id of the one container that the engine says the server runs in.
pub(crate) const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What the engine says.
#[derive(Clone, Debug)]
pub(crate) struct Says {
    pub(crate) id: String,
    /// Where it says the volume is mounted, and what it shows there: the state folder, unless it lies.
    pub(crate) folder: PathBuf,
    pub(crate) shows: PathBuf,
    pub(crate) mount: &'static str,
    pub(crate) volume: String,
    /// Answers to any question with exactly these bytes.
    pub(crate) instead: Option<Vec<u8>>,
}

/// The engine; gone with its socket when dropped.
pub(crate) struct TestEngine {
    pub(crate) socket: PathBuf,
    says: Arc<Mutex<Says>>,
    serving: Option<JoinHandle<()>>,
    _place: TempDir,
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        self.stop();
    }
}

impl TestEngine {
    /// An engine that tells the truth about a volume at `folder`.
    pub(crate) fn beside(folder: &Path, volume: &str) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let folder = folder.canonicalize().expect("a folder");
        let says = Says {
            id: "ENGINE:ONE".to_owned(),
            shows: folder.clone(),
            folder,
            mount: "volume",
            volume: volume.to_owned(),
            instead: None,
        };
        let socket = place.path().join("engine.sock");
        let mut engine = Self { socket, says: Arc::new(Mutex::new(says)), serving: None, _place: place };
        engine.start();
        engine
    }

    pub(crate) fn says(&self) -> MutexGuard<'_, Says> {
        self.says.lock().expect("not poisoned")
    }

    pub(crate) fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = std::fs::remove_file(&self.socket);
        }
    }

    pub(crate) fn start(&mut self) {
        let listener = UnixListener::bind(&self.socket).expect("a socket");
        let says = Arc::clone(&self.says);
        self.serving = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&says)));
            }
        }));
    }
}

async fn answer(mut stream: UnixStream, says: Arc<Mutex<Says>>) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&piece[..read]),
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path =
        request.strip_prefix("GET ").expect("nothing but GET is ever sent").split(' ').next().unwrap_or_default();
    let says = says.lock().expect("not poisoned").clone();
    if path.starts_with("/events") && says.instead.is_none() {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        // Silent until the server goes.
        let _ = stream.read(&mut piece).await;
        return;
    }
    let body = match &says.instead {
        Some(bytes) => Some(bytes.clone()),
        None => truth(path, &says),
    };
    let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(&[head.into_bytes(), body].concat()).await;
}

fn truth(path: &str, says: &Says) -> Option<Vec<u8>> {
    let mount = serde_json::json!({"Type": says.mount, "Name": says.volume, "Destination": says.folder});
    let json = match path {
        "/_ping" => return Some(b"OK".to_vec()),
        "/info" => serde_json::json!({"ID": says.id}),
        "/containers/json" => serde_json::json!([{"Id": CONTAINER, "Mounts": [mount]}]),
        _ if path == format!("/containers/{CONTAINER}/json") => serde_json::json!({
            "Id": CONTAINER, "Name": "/license-server", "Config": {"Image": "lictor/license-server", "Labels": null},
            "Mounts": [mount], "NetworkSettings": {"Networks": {}},
        }),
        _ if path == format!("/volumes/{}", says.volume) => serde_json::json!({"Driver": "local", "Scope": "local"}),
        _ => {
            let asked = path.strip_prefix(&format!("/containers/{CONTAINER}/archive?path="))?;
            let name = Path::new(asked).strip_prefix(&says.folder).ok()?;
            return packed(&std::fs::read(says.shows.join(name)).ok()?);
        }
    };
    serde_json::to_vec(&json).ok()
}

/// One file as tar packs it.
fn packed(content: &[u8]) -> Option<Vec<u8>> {
    let mut header = vec![0; 512];
    header[0] = b'a';
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[156] = b'0';
    let mut bytes = [header, content.to_vec()].concat();
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    Some(bytes)
}
