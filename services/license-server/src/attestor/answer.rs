//! Answers to the server's questions, by asking the engine and believing nobody else.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::engine::{Container, ContainerMount, Engine, EngineError};
use super::protocol::{MAX_LABEL_BYTES, MAX_LABELS, MAX_NAME_BYTES, Question, Statement, VolumeName, Workload};

/// Most containers that are looked into for one answer.
const MAX_CANDIDATES: usize = 64;
/// A container runs a moment before its engine lists it.
const LISTED_WITHIN: u32 = 25;
const LISTED_STEP: Duration = Duration::from_millis(200);
/// A nonce is no longer.
const MAX_NONCE_BYTES: usize = 256;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{0}")]
    Unproven(String),
}

/// Answers one question; a watch is the caller's business.
pub(super) async fn answer(engine: &Engine, question: Question) -> Statement {
    match question {
        Question::Identify { id, folder, nonce_file, nonce, hints } => {
            said(id, identify(engine, id, &folder, &nonce_file, &nonce, &hints).await)
        }
        Question::Peer { id, address } => said(
            id,
            peer(engine, address).await.map(|container| Statement::Peer { id, container: container.map(Box::new) }),
        ),
        Question::Alive { id } | Question::Watch { id } => {
            said(id, engine.ping().await.map(|()| Statement::Yes { id }).map_err(Refusal::from))
        }
    }
}

fn said(id: u64, result: Result<Statement, Refusal>) -> Statement {
    result.unwrap_or_else(|refusal| Statement::No {
        id,
        reached: !matches!(refusal, Refusal::Engine(EngineError::Unreachable(_))),
        reason: refusal.to_string(),
    })
}

/// Finds the one container in which the folder shows the nonce, and the volume that is mounted there.
async fn identify(
    engine: &Engine,
    id: u64,
    folder: &Path,
    nonce_file: &str,
    nonce: &str,
    hints: &[String],
) -> Result<Statement, Refusal> {
    let mut proven = find(engine, folder, nonce_file, nonce, hints).await?;
    for _ in 0..LISTED_WITHIN {
        if proven.is_some() {
            break;
        }
        tokio::time::sleep(LISTED_STEP).await;
        proven = find(engine, folder, nonce_file, nonce, hints).await?;
    }
    let Some(container) = proven else {
        return Err(Refusal::Unproven(format!(
            "no running container of this engine shows the state folder {} of this server",
            folder.display()
        )));
    };
    let name = volume_name(&container.mounts, folder)?;
    let volume = engine.volume(&name).await?;
    Ok(Statement::Identity {
        id,
        engine: engine.id().await?,
        volume: VolumeName { name, driver: volume.driver, scope: volume.scope },
        container: Box::new(workload(container)),
    })
}

/// Looks once through the running containers with a mount at the folder.
async fn find(
    engine: &Engine,
    folder: &Path,
    nonce_file: &str,
    nonce: &str,
    hints: &[String],
) -> Result<Option<Container>, EngineError> {
    let running = engine.running().await?;
    let mut candidates: Vec<&str> = running
        .iter()
        .filter(|listed| listed.mounts.iter().any(|mount| mount.destination == folder))
        .map(|listed| listed.id.as_str())
        .collect();
    candidates.sort_by_key(|id| !hints.iter().any(|hint| hint == id));
    for candidate in candidates.into_iter().take(MAX_CANDIDATES) {
        // A container without the file, or one that has just ended, is not this one.
        let shown = engine.file(candidate, &folder.join(nonce_file), MAX_NONCE_BYTES).await;
        if shown.is_ok_and(|shown| shown == nonce.as_bytes()) {
            return engine.container(candidate).await.map(Some);
        }
    }
    Ok(None)
}

fn volume_name(mounts: &[ContainerMount], folder: &Path) -> Result<String, Refusal> {
    let mount = mounts.iter().find(|mount| mount.destination == folder);
    match mount {
        Some(ContainerMount { kind, name: Some(name), .. }) if kind == "volume" => Ok(name.clone()),
        Some(other) => Err(Refusal::Unproven(format!(
            "the state folder {} is mounted as {}, not as a named volume",
            folder.display(),
            if other.kind.is_empty() { "something unknown" } else { &other.kind }
        ))),
        None => Err(Refusal::Unproven(format!("no volume is mounted at the state folder {}", folder.display()))),
    }
}

/// The one running container with this address. Two with the same address, in networks apart, prove nothing.
async fn peer(engine: &Engine, address: IpAddr) -> Result<Option<Workload>, Refusal> {
    let running = engine.running().await?;
    let mut owners = running.iter().filter(|listed| {
        listed.network_settings.as_ref().is_some_and(|networks| networks.addresses().any(|own| own == address))
    });
    match (owners.next(), owners.next()) {
        (Some(owner), None) => Ok(Some(workload(engine.container(&owner.id).await?))),
        _ => Ok(None),
    }
}

fn workload(container: Container) -> Workload {
    Workload {
        id: container.id,
        name: cut(container.name.trim_start_matches('/')),
        image: cut(&container.config.image),
        labels: told(container.config.labels.unwrap_or_default()),
    }
}

/// The labels that are told: plain ones, the first by name, as many as a statement holds. They come from whoever may start
/// containers, and no label may keep the others' seats from being counted.
fn told(labels: HashMap<String, String>) -> BTreeMap<String, String> {
    let mut left = MAX_LABEL_BYTES;
    let plain = |text: &str| !text.chars().any(char::is_control);
    let sorted: BTreeMap<String, String> = labels.into_iter().collect();
    let fitting = sorted.into_iter().filter(|(name, value)| plain(name) && plain(value)).filter(|(name, value)| {
        let fits = name.len() + value.len() <= left;
        if fits {
            left -= name.len() + value.len();
        }
        fits
    });
    fitting.take(MAX_LABELS).collect()
}

fn cut(text: &str) -> String {
    let plain = text.chars().filter(|c| !c.is_control());
    let mut cut = String::new();
    for c in plain {
        if cut.len() + c.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        cut.push(c);
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_any_size_fit_into_a_statement() {
        let labels = (0..1_000).map(|number| (format!("{number:04}"), "\"".repeat(400))).collect();
        let mut hostile = told(labels);
        assert!(hostile.len() <= MAX_LABELS && hostile.contains_key("0000"));
        hostile.extend(told(HashMap::from([("huge".to_owned(), "x".repeat(1 << 20))])));
        assert!(!hostile.contains_key("huge"));
        let names = "\\".repeat(1 << 20);
        let workload = Workload { id: "a".repeat(64), name: cut(&names), image: cut(&names), labels: hostile };
        let statement = Statement::Peer { id: u64::MAX, container: Some(Box::new(workload)) };
        let line = serde_json::to_vec(&statement).expect("encoded");
        assert!(line.len() < super::super::protocol::MAX_LINE_BYTES, "{} bytes", line.len());
    }

    #[test]
    fn control_characters_are_told_in_no_label() {
        let labels = HashMap::from([("a\n".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())]);
        assert_eq!(told(labels).into_keys().collect::<Vec<_>>(), ["c"]);
    }
}
