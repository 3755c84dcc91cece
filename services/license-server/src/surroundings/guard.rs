//! The watch over what a container is bound to while the server runs: the engine that vouches for a volume. What is away for
//! longer than its patience stops the grants, and they go on by themselves when it is back.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_key_store::AgentSigner;
use lictor_signing::Signer as _;
use zeroize::Zeroizing;

use super::machine::Root;
use super::{Surroundings, identify_again};
use crate::attestor::Attestor;
use crate::store::FolderDisk;
use crate::store::batch::Sealer;
use crate::store::sighting;
use crate::writer::Ledger;

/// How often is looked.
const LOOK: Duration = Duration::from_secs(2);
/// How often it is written down that all is well: a restart must not begin a new time of patience.
const NOTE: Duration = Duration::from_secs(600);

/// How long something may be away before the grants stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience(Duration);

impl Patience {
    /// An engine is upgraded, its socket forgotten in a new compose file: three days, over a weekend.
    pub const OF_ENGINE: Self = Self(Duration::from_secs(72 * 3_600));
    /// None.
    pub const NONE: Self = Self(Duration::ZERO);
}

/// What is known about the binding. Clones look at the same.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Of the start; stays.
    lasting: Option<String>,
    now: Arc<Mutex<Option<String>>>,
    patience: Patience,
}

impl Guard {
    /// A guard with what is to be known since the start.
    #[must_use]
    pub fn new(lasting: Option<String>, patience: Patience) -> Self {
        Self { lasting, now: Arc::default(), patience }
    }

    /// Sentences for people.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all: Vec<String> = self.lasting.iter().cloned().chain(now).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn say(&self, sentence: Option<String>) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != sentence {
            match &sentence {
                Some(sentence) => tracing::warn!("{sentence}"),
                None => tracing::info!("what the container is bound to is there again"),
            }
            *now = sentence;
        }
    }

    /// What a start without the engine begins with: no seats, when the patience was over before. The watch goes on from there.
    pub async fn begin_without_engine(&self, folder: &Path, state_key: &Zeroizing<[u8; 32]>, ledger: &Ledger) {
        let seen = read(folder, &Sealer::new(state_key));
        let until = seen.saturating_add(self.patience.0);
        let begun = ledger.change(move |writer, moment| {
            if writer.keeper.state.effective(moment) >= until {
                let reason = format!("the container engine has not vouched for the volume since {seen}");
                writer.keeper.suspend(Some(reason));
            }
            Ok(())
        });
        // Without a writer there are no seats either.
        let _ = begun.await;
    }

    /// Watches over a token. Nothing is given while it is away. Ends only with the writer.
    pub async fn watch_token(self, token: AgentSigner, ledger: Ledger) {
        let mut stopped = false;
        loop {
            let asked = token.clone();
            let answer = tokio::task::spawn_blocking(move || prove(&asked)).await;
            let answer = answer.unwrap_or_else(|error| Err(error.to_string()));
            let stop =
                answer.err().map(|error| format!("the token is away ({error}): no seats are given until it is back"));
            self.say(stop.clone());
            if stopped != stop.is_some() {
                stopped = stop.is_some();
                let told = ledger.change(move |writer, _| {
                    writer.keeper.suspend(stop);
                    Ok(())
                });
                if told.await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Watches over the engine that vouches for the volume. Ends only with the writer.
    pub async fn watch_engine(
        self,
        attestor: Attestor,
        here: Surroundings,
        (folder, root): (PathBuf, Root),
        state_key: Zeroizing<[u8; 32]>,
        ledger: Ledger,
    ) {
        let sealer = Sealer::new(&state_key);
        let mut seen = read(&folder, &sealer);
        let mut noted = None;
        // At the start it was asked who this is; after each absence it is asked again.
        // Nobody knows what the start has begun with; the first look says it again.
        let mut told_last = None;
        let mut absent = here.silent_engine.is_some();
        loop {
            let Ok(now) = ledger.read(|keeper, moment| keeper.state.effective(moment)).await else { return };
            let answer = if absent { identify_again(&folder, &root, &attestor).await } else { attestor.alive().await };
            let stop = match answer {
                Ok(()) => {
                    absent = false;
                    seen = seen.max(now);
                    if noted.is_none_or(|noted: Timestamp| now.since(noted) >= NOTE) {
                        noted = Some(now);
                        write(&folder, &sealer, now);
                    }
                    self.say(None);
                    None
                }
                Err(error) => {
                    absent = true;
                    let until = seen.saturating_add(self.patience.0);
                    let over = now >= until;
                    let what = if over { "no seats are given since" } else { "no seats will be given from" };
                    let sentence = format!(
                        "the container engine does not vouch for the volume ({error}): {what} {until}{}",
                        if over { "" } else { " on" }
                    );
                    self.say(Some(sentence.clone()));
                    over.then_some(sentence)
                }
            };
            if told_last != Some(stop.is_some()) {
                told_last = Some(stop.is_some());
                let told = ledger.change(move |writer, _| {
                    writer.keeper.suspend(stop);
                    Ok(())
                });
                if told.await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Has the token sign what it cannot have signed before.
fn prove(token: &AgentSigner) -> Result<(), String> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| error.to_string())?;
    // The signer checks the signature.
    token.sign(&[b"lictor-token-presence-v1".as_slice(), &nonce].concat()).map(drop).map_err(|error| error.to_string())
}

fn read(folder: &Path, sealer: &Sealer) -> Timestamp {
    let read = FolderDisk::open(folder).and_then(|disk| sighting::read(&disk, sealer));
    // What cannot be read was never seen: whoever damages the note gains nothing by it.
    read.unwrap_or_default().unwrap_or(Timestamp::UNIX_EPOCH)
}

fn write(folder: &Path, sealer: &Sealer, at: Timestamp) {
    let written = FolderDisk::open(folder).and_then(|disk| sighting::write(&disk, sealer, at));
    if let Err(error) = written {
        tracing::warn!(%error, "it could not be written down that the container engine answers");
    }
}
