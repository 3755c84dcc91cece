//! Binds a secret to its surroundings: it opens only where enough of what was there at sealing is still there.
//!
//! A [`Profile`] names the traits that count, how much each is worth, and the groups they form. Every group has to reach
//! its own threshold, so the right machine can never make up for a copied volume. Each group's key is split by Shamir's
//! scheme, and each share is encrypted under the value of its trait: a trait that changed is known as such and its
//! share never enters the recovery.
//!
//! What it is worth: copying files to another place yields nothing. Whoever is root on the machine can read every trait
//! and imitate it; sealing makes that laborious, not impossible.
//!
//! Pure: traits are read elsewhere, random bytes and time are arguments.

mod group;
mod open;
mod profile;
mod renew;
mod seal;
mod shares;

pub use group::{GroupMatch, Matches};
pub use open::{Opened, Sealed};
pub use profile::{Group, Profile, Reading, TraitKind};
pub use renew::{DRIFT_PERIOD_MICROS, MAX_DRIFT, Renewal};
pub use seal::{MAX_SEAL_BYTES, MAX_SECRET_BYTES, Seal, SealError};
