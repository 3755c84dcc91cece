//! The server's side: starts the child and asks it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::ENTRY_POINT;
use super::protocol::{MAX_LINE_BYTES, Question, Statement, VolumeName, Workload};

/// Longer than the child itself waits for the engine, several questions in a row.
const PATIENCE: Duration = Duration::from_secs(30);
/// Questions and deaths that wait.
const WAITING: usize = 256;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestorError {
    /// The child is gone or does not answer: it is not started again, because the server has given up what it needs.
    #[error("the attestor has ended; next: restart the licence server")]
    Gone,
    /// The engine is not there.
    #[error("{0}; next: mount the engine's socket and let the server's user read it")]
    Unreachable(String),
    /// The engine is there and says no.
    #[error("{0}")]
    Refused(String),
}

/// Who the server is, by the engine's word and its own eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Id of the engine.
    pub engine: String,
    /// The container that the server runs in.
    pub container: Workload,
    /// The volume under the state folder.
    pub volume: VolumeName,
}

/// What becomes of containers, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A container ended.
    Died(String),
    /// Deaths may have gone unseen.
    Gap,
}

/// The way to the attestor. Dropping the last handle ends the child.
#[derive(Clone, Debug)]
#[must_use]
pub struct Attestor {
    questions: mpsc::Sender<Question>,
    asked: Asked,
    last: Arc<AtomicU64>,
}

type Asked = Arc<Mutex<HashMap<u64, oneshot::Sender<Statement>>>>;

impl Attestor {
    /// Starts `program`'s entry point `attestor` for the engine behind `socket`; deaths come out of the receiver once
    /// [`Attestor::watch`] was called.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn start(program: &Path, socket: &Path) -> std::io::Result<(Self, mpsc::Receiver<Told>)> {
        let mut child = Command::new(program)
            .arg(ENTRY_POINT)
            .arg(socket)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("the pipes of the attestor are missing"));
        };
        let (questions, to_ask) = mpsc::channel(WAITING);
        let (told, tell) = mpsc::channel(WAITING);
        let asked = Asked::default();
        tokio::spawn(serve(child, input, output, to_ask, told, Arc::clone(&asked)));
        Ok((Self { questions, asked, last: Arc::default() }, tell))
    }

    /// Who this server is. The caller wrote `nonce` into `nonce_file` of `folder` and removes it afterwards.
    ///
    /// # Errors
    /// See [`AttestorError`].
    pub async fn identify(
        &self,
        folder: PathBuf,
        nonce_file: String,
        nonce: String,
        hints: Vec<String>,
    ) -> Result<Identity, AttestorError> {
        match self.ask(|id| Question::Identify { id, folder, nonce_file, nonce, hints }).await? {
            Statement::Identity { engine, container, volume, .. } => {
                Ok(Identity { engine, container: *container, volume })
            }
            _ => Err(AttestorError::Gone),
        }
    }

    /// The container behind an address, if exactly one has it.
    ///
    /// # Errors
    /// See [`AttestorError`].
    pub async fn peer(&self, address: IpAddr) -> Result<Option<Workload>, AttestorError> {
        match self.ask(|id| Question::Peer { id, address }).await? {
            Statement::Peer { container, .. } => Ok(container.map(|container| *container)),
            _ => Err(AttestorError::Gone),
        }
    }

    /// Whether the engine answers.
    ///
    /// # Errors
    /// See [`AttestorError`].
    pub async fn alive(&self) -> Result<(), AttestorError> {
        self.ask(|id| Question::Alive { id }).await.map(drop)
    }

    /// Has every death told from now on.
    ///
    /// # Errors
    /// See [`AttestorError`].
    pub async fn watch(&self) -> Result<(), AttestorError> {
        self.ask(|id| Question::Watch { id }).await.map(drop)
    }

    async fn ask(&self, question: impl FnOnce(u64) -> Question) -> Result<Statement, AttestorError> {
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.asked().insert(id, answer);
        let sent = self.questions.send(question(id)).await;
        let statement = match sent {
            Ok(()) => timeout(PATIENCE, answered).await.ok().and_then(Result::ok),
            Err(_) => None,
        };
        self.asked().remove(&id);
        match statement {
            Some(Statement::No { reason, reached: false, .. }) => Err(AttestorError::Unreachable(reason)),
            Some(Statement::No { reason, .. }) => Err(AttestorError::Refused(reason)),
            Some(statement) => Ok(statement),
            None => Err(AttestorError::Gone),
        }
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Statement>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries questions and statements until one of the pipes ends, then lets everybody who waits know.
async fn serve(
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    questions: mpsc::Receiver<Question>,
    told: mpsc::Sender<Told>,
    asked: Asked,
) {
    tokio::select! {
        () = write(input, questions) => {}
        () = read(output, told, &asked) => {}
    }
    asked.lock().unwrap_or_else(PoisonError::into_inner).clear();
    drop(child);
}

async fn write(mut input: ChildStdin, mut questions: mpsc::Receiver<Question>) {
    while let Some(question) = questions.recv().await {
        let Ok(mut line) = serde_json::to_vec(&question) else { continue };
        line.push(b'\n');
        if input.write_all(&line).await.is_err() {
            return;
        }
    }
}

async fn read(output: ChildStdout, told: mpsc::Sender<Told>, asked: &Asked) {
    let mut output = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
        let read = (&mut output).take(limit).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(1..)) {
            return;
        }
        // What is no statement ends the talk: nobody knows what would come after it.
        let Ok(statement) = serde_json::from_slice::<Statement>(&line) else { return };
        let id = match &statement {
            Statement::Died { container } => {
                let _ = told.send(Told::Died(container.clone())).await;
                continue;
            }
            Statement::Gap => {
                let _ = told.send(Told::Gap).await;
                continue;
            }
            Statement::Identity { id, .. }
            | Statement::Peer { id, .. }
            | Statement::Yes { id }
            | Statement::No { id, .. } => *id,
        };
        let waiting = asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(waiting) = waiting {
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(statement);
        }
    }
}
