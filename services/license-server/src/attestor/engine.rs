//! The container engine, asked over its Unix socket. There is no way to send anything but `GET`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::archive;

/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// An engine that takes longer is taken for gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the engine gave no answer.
#[derive(Debug, Error)]
pub enum EngineError {
    /// Nobody answers on the socket.
    #[error("the container engine cannot be reached over its socket: {0}")]
    Unreachable(String),
    /// It knows no such thing.
    #[error("the container engine knows nothing of that name")]
    NotFound,
    /// It refuses, or says something that this program does not understand.
    #[error("the container engine gives no proper answer: {0}")]
    Answer(String),
}

/// The container engine.
#[derive(Clone, Debug)]
pub struct Engine {
    socket: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    #[serde(rename = "ID")]
    id: String,
}

/// A container, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// With a slash before it.
    pub name: String,
    /// What it was made of.
    pub config: Config,
    /// Its mounts.
    #[serde(default)]
    pub mounts: Vec<ContainerMount>,
    /// Its addresses.
    pub network_settings: NetworkSettings,
}

/// What a container was made of.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// The image as it was named.
    #[serde(default)]
    pub image: String,
    /// Labels, given by whoever started it.
    #[serde(default)]
    pub labels: Option<HashMap<String, String>>,
}

/// A mount of a container.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerMount {
    /// `volume`, `bind` or `tmpfs`.
    #[serde(rename = "Type", default)]
    pub kind: String,
    /// Name of the volume.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it is seen inside.
    pub destination: PathBuf,
}

/// The networks of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// By name.
    #[serde(default)]
    pub networks: HashMap<String, Network>,
}

/// A container's place in one network.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Network {
    #[serde(rename = "IPAddress", default)]
    ipv4: String,
    #[serde(rename = "GlobalIPv6Address", default)]
    ipv6: String,
}

impl NetworkSettings {
    /// All addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.networks.values().flat_map(|network| [&network.ipv4, &network.ipv6]).filter_map(|text| text.parse().ok())
    }
}

/// A running container in a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its mounts.
    #[serde(default)]
    pub mounts: Vec<ContainerMount>,
    /// Its addresses.
    #[serde(default)]
    pub network_settings: Option<NetworkSettings>,
}

/// A volume.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// For instance `local`.
    pub driver: String,
    /// For instance `local`.
    #[serde(default)]
    pub scope: String,
}

/// Something that happened to a container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Happening {
    actor: Actor,
}

#[derive(Debug, Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
}

impl Engine {
    /// The engine behind a socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// The engine's id. It lies in a file of the host that can be copied.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn id(&self) -> Result<String, EngineError> {
        Ok(self.json::<Info>("/info").await?.id)
    }

    /// Whether it answers at all.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn ping(&self) -> Result<(), EngineError> {
        self.get("/_ping").await.map(drop)
    }

    /// A container by its id.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn container(&self, id: &str) -> Result<Container, EngineError> {
        self.json(&format!("/containers/{}/json", plain(id)?)).await
    }

    /// The running containers.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn running(&self) -> Result<Vec<Listed>, EngineError> {
        self.json("/containers/json").await
    }

    /// A volume by its name.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn volume(&self, name: &str) -> Result<Volume, EngineError> {
        self.json(&format!("/volumes/{}", plain(name)?)).await
    }

    /// A small file as it is seen inside of a container.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn file(&self, container: &str, path: &Path, limit: usize) -> Result<Vec<u8>, EngineError> {
        let path = path
            .to_str()
            .filter(|path| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte)));
        let path = path.ok_or_else(|| EngineError::Answer("a path with unusual characters".to_owned()))?;
        let packed = self.get(&format!("/containers/{}/archive?path={path}", plain(container)?)).await?;
        let content = archive::first_file(&packed).ok_or(EngineError::NotFound)?;
        Ok(content[..content.len().min(limit)].to_vec())
    }

    /// Tells `died` the id of each container that ends, until the engine closes the stream or nobody listens.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn watch_deaths(&self, died: &mpsc::Sender<String>) -> Result<(), EngineError> {
        // {"type":["container"],"event":["die"]}, with the characters that a query cannot hold written as hexadecimal.
        let path = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22die%22%5D%7D";
        let mut body = self.ask(path).await?.into_body();
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| EngineError::Unreachable(error.to_string()))?;
            rest.extend_from_slice(frame.data_ref().map_or(&[], |data| data.as_ref()));
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if let Ok(happening) = serde_json::from_slice::<Happening>(&line)
                    && died.send(happening.actor.id).await.is_err()
                {
                    return Ok(());
                }
            }
            if rest.len() > MAX_ANSWER_BYTES {
                return Err(EngineError::Answer("a line without an end".to_owned()));
            }
        }
        Ok(())
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        let bytes = self.get(path).await?;
        serde_json::from_slice(&bytes).map_err(|error| EngineError::Answer(error.to_string()))
    }

    async fn get(&self, path: &str) -> Result<Bytes, EngineError> {
        let whole = async {
            let body = Limited::new(self.ask(path).await?.into_body(), MAX_ANSWER_BYTES);
            body.collect().await.map(|body| body.to_bytes()).map_err(|error| EngineError::Answer(error.to_string()))
        };
        timeout(PATIENCE, whole).await.map_err(|_| EngineError::Unreachable("it takes too long".to_owned()))?
    }

    async fn ask(&self, path: &str) -> Result<Response<Incoming>, EngineError> {
        let unreachable = |error: &dyn std::fmt::Display| EngineError::Unreachable(error.to_string());
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| unreachable(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
        // It ends with the answer; what is wrong with it shows there.
        tokio::spawn(connection);
        let request = Request::get(path).header("host", "engine").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| EngineError::Answer(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::NOT_FOUND => Err(EngineError::NotFound),
            other => Err(EngineError::Answer(format!("status {other}"))),
        }
    }
}

/// A name that needs no escaping in a path, as the engine itself demands of names.
fn plain(name: &str) -> Result<&str, EngineError> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest { Ok(name) } else { Err(EngineError::NotFound) }
}
