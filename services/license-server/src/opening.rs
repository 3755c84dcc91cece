//! Opening a state folder: keys, what is on probation, journal, state.

use std::io;
use std::sync::Arc;

use lictor_signing::Signer as _;

use crate::domain::state::State;
use crate::store::batch::Sealer;
use crate::store::disk::is_full;
use crate::store::keys::{KeysError, Secrets};
use crate::store::probation::Probation;
use crate::store::{Disk, Journal, StoreError};
use crate::surroundings::Surroundings;

/// A folder that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Its keys.
    pub secrets: Arc<Secrets>,
    /// The journal.
    pub journal: Journal,
    /// The state out of it.
    pub state: State,
    /// What was imported since the last start that reached its end.
    pub probation: Probation,
    /// Random bytes of this start.
    pub instance: [u8; 16],
}

/// Why a folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder.
    #[error("the state folder cannot be opened")]
    Folder(#[source] io::Error),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Journal or snapshots.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Opens a plain folder; see [`open_in`].
///
/// # Errors
/// See [`OpenError`].
pub fn open(disk: &dyn Fn() -> io::Result<Box<dyn Disk>>) -> Result<Opened, OpenError> {
    open_in(disk, &Surroundings::folder())
}

/// Whether a folder holds no state yet.
///
/// # Errors
/// What the disk answers.
pub fn is_new(disk: &dyn Disk) -> io::Result<bool> {
    Ok(!disk.list()?.iter().any(|name| name.starts_with("snapshot-")))
}

/// Opens a folder in its surroundings; `disk` gives a handle of it each time. A start after an import counts as failed until
/// [`crate::writer::Writer::started`]; after three of them the state from before the import is opened instead.
///
/// # Errors
/// See [`OpenError`].
pub fn open_in(disk: &dyn Fn() -> io::Result<Box<dyn Disk>>, here: &Surroundings) -> Result<Opened, OpenError> {
    let folder = disk().map_err(OpenError::Folder)?;
    let is_new = is_new(&*folder).map_err(OpenError::Folder)?;
    let secrets = Arc::new(Secrets::load_or_make(&*folder, is_new, here)?);
    let sealer = Sealer::new(&secrets.state_key);
    let mut probation = Probation::load(&*folder, &sealer).map_err(OpenError::Folder)?;
    let instance = random().map_err(OpenError::Folder)?;
    probation.begin(&*folder).map_err(|error| {
        if is_full(&error) { OpenError::Store(StoreError::Full(error)) } else { OpenError::Folder(error) }
    })?;
    let attempt = |without: bool| -> Result<(Journal, State), OpenError> {
        let mut empty = State::new(secrets.signing.public_key());
        if without {
            empty.taken_back = probation.taken_back(crate::VERSION);
        }
        let folder = disk().map_err(OpenError::Folder)?;
        let (journal, mut state) = Journal::open(folder, sealer.clone(), instance, Box::new(random), empty)?;
        state.taken_back.release();
        Ok((journal, state))
    };
    let opened = match attempt(probation.is_over()) {
        Err(OpenError::Store(StoreError::Damaged { file, reason })) if probation.is_last_chance() => {
            tracing::error!(file, reason, "the state cannot be read for the third time since an import");
            attempt(true)
        }
        Err(error) => {
            let innocent = !matches!(error, OpenError::Store(StoreError::Damaged { .. }));
            // A full or failing disk, or an older program, says nothing about the import.
            if innocent && let Err(problem) = probation.take_back_begin(&*folder) {
                tracing::warn!(%problem, "a start that failed counts against what was imported before it");
            }
            Err(error)
        }
        opened => opened,
    };
    let (journal, state) = opened?;
    if let Some(sentence) = state.taken_back.sentence() {
        tracing::error!("{sentence}");
    }
    Ok(Opened { secrets, journal, state, probation, instance })
}
