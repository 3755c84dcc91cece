//! The file with the access rules: read at the start, and again when it changes or the process is told to (`SIGHUP`). A file
//! that is wrong changes nothing: the rules that were in force stay.

use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lictor_clock::{SharedClock, Timestamp};
use tokio::signal::unix::{SignalKind, signal};

use crate::domain::rules::{MAX_RULES_BYTES, Problem, Rules};
use crate::writer::Ledger;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum RulesFileError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is no text.
    #[error("it is not UTF-8")]
    NoText,
    /// Its content is wrong.
    #[error(transparent)]
    Wrong(#[from] Problem),
}

/// What is known of the rules in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesStatus {
    /// The file; none when there is none, and everything is allowed.
    pub file: Option<PathBuf>,
    /// When the rules in force were read.
    pub loaded_at: Option<Timestamp>,
    /// How many there are.
    pub rules: usize,
    /// How many tests they have passed.
    pub tests: usize,
    /// Why the file as it is now is not in force.
    pub problem: Option<String>,
}

/// The file, watched.
#[derive(Clone, Debug)]
pub struct RulesFile {
    path: Option<PathBuf>,
    status: Arc<Mutex<RulesStatus>>,
    clock: SharedClock,
}

/// What tells one state of a file from another, without reading it.
type Look = Option<(u64, u64, i64, i64)>;

impl RulesFile {
    /// The file at a path, not read yet.
    #[must_use]
    pub fn new(path: Option<PathBuf>, clock: SharedClock) -> Self {
        let status = RulesStatus { file: path.clone(), ..RulesStatus::default() };
        Self { path, status: Arc::new(Mutex::new(status)), clock }
    }

    /// What is known of the rules in force.
    #[must_use]
    pub fn status(&self) -> RulesStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file for the first time. Without a path everything is allowed.
    ///
    /// # Errors
    /// Whatever is wrong with it: a server that was given rules does not start without them.
    pub fn first(&self) -> Result<Rules, RulesFileError> {
        let Some(path) = &self.path else { return Ok(Rules::none()) };
        let rules = read(path)?;
        self.note(&rules);
        Ok(rules)
    }

    fn note(&self, rules: &Rules) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.loaded_at = Some(self.clock.now());
        status.rules = rules.count();
        status.tests = rules.tests();
        status.problem = None;
    }

    /// Reads the file again and puts it in force, or says what is wrong with it.
    pub async fn reload(&self, ledger: &Ledger) {
        let Some(path) = self.path.clone() else { return };
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        match read {
            Ok(Ok(rules)) => {
                self.note(&rules);
                let count = rules.count();
                let put = ledger.change(move |writer, moment| {
                    writer.put_rules(rules, moment);
                    Ok(())
                });
                if put.await.is_ok() {
                    tracing::info!(rules = count, "access rules are in force");
                }
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the file with access rules is not taken; the rules before it stay in force");
                let reason = error.to_string();
                self.status.lock().unwrap_or_else(PoisonError::into_inner).problem = Some(reason.clone());
                // Without a writer there is nobody to tell.
                let _ = ledger
                    .change(move |writer, moment| {
                        writer.refused_rules(&reason, moment);
                        Ok(())
                    })
                    .await;
            }
            // The thread is gone with the runtime.
            Err(_) => {}
        }
    }

    /// Watches the file until the process stops.
    ///
    /// # Errors
    /// When the process cannot listen to signals.
    pub async fn watch(self, ledger: Ledger) -> io::Result<()> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let mut hangups = signal(SignalKind::hangup())?;
        let mut looks = tokio::time::interval(LOOK);
        let mut seen = look(&path);
        loop {
            tokio::select! {
                hangup = hangups.recv() => {
                    if hangup.is_none() {
                        return Ok(());
                    }
                    seen = look(&path);
                    self.reload(&ledger).await;
                }
                _ = looks.tick() => {
                    let now = look(&path);
                    if now != seen {
                        seen = now;
                        self.reload(&ledger).await;
                    }
                }
            }
        }
    }
}

fn look(path: &Path) -> Look {
    let known = std::fs::metadata(path).ok()?;
    Some((known.ino(), known.len(), known.mtime(), known.mtime_nsec()))
}

/// Reads and checks a file.
fn read(path: &Path) -> Result<Rules, RulesFileError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_RULES_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_RULES_BYTES {
        return Err(Problem::TooLarge.into());
    }
    let text = String::from_utf8(bytes).map_err(|_| RulesFileError::NoText)?;
    Ok(Rules::read(&text)?)
}
