//! Opening a seal.

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::group::Matches;
use crate::profile::Reading;
use crate::seal::Seal;

/// A secret that was opened, and how well the surroundings were recognised.
pub struct Opened {
    /// The secret.
    pub secret: Zeroizing<Vec<u8>>,
    /// Per group.
    pub matches: Matches,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("matches", &self.matches).finish_non_exhaustive()
    }
}

/// Why a seal stays closed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Sealed {
    /// Too little is as it was at sealing.
    #[error("these are not the surroundings it was sealed to: {0}")]
    Elsewhere(Matches),
    /// Everything is recognised, but the seal was changed.
    #[error("the seal was changed after it was made")]
    Damaged,
}

impl Seal {
    /// Opens the secret if enough of every group is as it was.
    ///
    /// # Errors
    /// See [`Sealed`].
    pub fn open(&self, reading: &Reading) -> Result<Opened, Sealed> {
        let mut keys = Zeroizing::new(Vec::new());
        let mut found = Vec::new();
        for group in &self.header.groups {
            let (matched, key) = group.unlock(reading, &self.header.salt);
            found.push(matched);
            keys.extend(key.iter().flat_map(|key| key.iter()));
        }
        let matches = Matches(found);
        if !matches.is_enough() {
            return Err(Sealed::Elsewhere(matches));
        }
        let secret = self.decrypt(&keys).ok_or(Sealed::Damaged)?;
        Ok(Opened { secret, matches })
    }
}
