//! One group's key, split into shares of which each is locked by the value of a trait.

use blahaj::{Share, Sharks};
use chacha20::ChaCha20Rng;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::group::GroupMatch;
use crate::profile::{Group, Reading, TraitKind};

pub(crate) const KEY_BYTES: usize = 32;
/// A share: one byte that numbers it, then one per byte of the key.
const SHARE_BYTES: usize = KEY_BYTES + 1;
const TAG_BYTES: usize = 16;
/// Most points a trait is worth.
pub(crate) const MAX_POINTS: usize = 3;
pub(crate) const MAX_LOCKED_BYTES: usize = MAX_POINTS * SHARE_BYTES + TAG_BYTES;

/// The shares of one trait, as many as it has points, locked by its value.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LockedShares {
    pub(crate) kind: TraitKind,
    pub(crate) locked: Vec<u8>,
}

impl LockedShares {
    pub(crate) fn points(&self) -> u32 {
        u32::try_from(self.locked.len().saturating_sub(TAG_BYTES) / SHARE_BYTES).unwrap_or(0)
    }

    pub(crate) fn is_well_formed(&self) -> bool {
        (1..=MAX_POINTS).any(|points| self.locked.len() == points * SHARE_BYTES + TAG_BYTES)
    }
}

/// A group's key in shares.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LockedGroup {
    pub(crate) group: Group,
    pub(crate) needed: u8,
    pub(crate) traits: Vec<LockedShares>,
}

impl LockedGroup {
    /// Splits `key` among the readable `traits`; `needed` points bring it back.
    pub(crate) fn lock(
        group: Group,
        key: &[u8; KEY_BYTES],
        needed: u8,
        traits: &[(TraitKind, u8, &[u8])],
        salt: &[u8; 32],
        random: &mut ChaCha20Rng,
    ) -> Self {
        let mut shares = Sharks(needed).dealer_rng(key, random);
        let traits = traits
            .iter()
            .map(|(kind, points, value)| {
                let plain: Zeroizing<Vec<u8>> = Zeroizing::new(
                    shares.by_ref().take(usize::from(*points)).flat_map(|share| Vec::from(&share)).collect(),
                );
                LockedShares { kind: *kind, locked: encrypt(&lock_of(salt, *kind, value), &plain) }
            })
            .collect();
        Self { group, needed, traits }
    }

    /// What matches now, and the key if that is enough.
    pub(crate) fn unlock(&self, reading: &Reading, salt: &[u8; 32]) -> (GroupMatch, Option<Zeroizing<Vec<u8>>>) {
        let mut found = GroupMatch {
            group: self.group,
            matched: 0,
            needed: u32::from(self.needed),
            total: self.traits.iter().map(LockedShares::points).sum(),
            changed: Vec::new(),
            missing: Vec::new(),
        };
        let mut shares: Vec<Share> = Vec::new();
        for sealed in &self.traits {
            let Some(value) = reading.get(sealed.kind) else {
                found.missing.push(sealed.kind);
                continue;
            };
            let Some(plain) = decrypt(&lock_of(salt, sealed.kind, value), &sealed.locked) else {
                found.changed.push(sealed.kind);
                continue;
            };
            found.matched += sealed.points();
            shares.extend(plain.chunks_exact(SHARE_BYTES).filter_map(|bytes| Share::try_from(bytes).ok()));
        }
        let key = if found.is_enough() { Sharks(self.needed).recover(&shares).ok().map(Zeroizing::new) } else { None };
        (found, key)
    }
}

/// The key that a trait's value gives. Every seal has its own salt, so no such key is used twice.
fn lock_of(salt: &[u8; 32], kind: TraitKind, value: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    derive(salt, value, &[b"lictor-binding-trait-v1", &[kind.code()]])
}

pub(crate) fn derive(salt: &[u8; 32], secret: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    // HKDF-SHA256 gives up to 8,160 bytes; 32 cannot be too many.
    let expanded = Hkdf::<Sha256>::new(Some(salt), secret).expand_multi_info(info, key.as_mut_slice());
    debug_assert!(expanded.is_ok());
    key
}

/// The key is used for this text alone, so the nonce may be fixed.
fn encrypt(key: &[u8; KEY_BYTES], plain: &[u8]) -> Vec<u8> {
    XChaCha20Poly1305::new(key.into()).encrypt(&XNonce::default(), plain).unwrap_or_default()
}

fn decrypt(key: &[u8; KEY_BYTES], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    XChaCha20Poly1305::new(key.into()).decrypt(&XNonce::default(), sealed).ok().map(Zeroizing::new)
}
