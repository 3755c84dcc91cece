//! The sealed form of a secret.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use lictor_clock::Timestamp;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::profile::{Group, Profile, Reading, TraitKind};
use crate::shares::{KEY_BYTES, LockedGroup, LockedShares, MAX_LOCKED_BYTES, derive};

/// Longest secret in bytes.
pub const MAX_SECRET_BYTES: usize = 4096;
/// Longest encoding of a seal in bytes.
pub const MAX_SEAL_BYTES: usize = 16 * 1024;
/// Fewest traits per group: fewer say too little.
const MIN_TRAITS: usize = 3;
/// One trait of a group has to be worth that much at least.
const MIN_BEST_POINTS: u8 = 2;
const MAX_TRAITS: usize = 16;
const MAX_DRIFTS: usize = 64;
const TAG_BYTES: usize = 16;

/// Why a secret cannot be sealed here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// Too little can be read of a group.
    #[error(
        "too little can be read of the {}: {found} of at least {MIN_TRAITS} traits, the best worth {best} of at least {MIN_BEST_POINTS} points", 
        group.name()
    )]
    TooFewTraits {
        /// The group.
        group: Group,
        /// Traits that can be read.
        found: usize,
        /// Points of the best of them.
        best: u8,
    },
    /// The secret is empty or too long.
    #[error("a secret has 1 to {MAX_SECRET_BYTES} bytes")]
    Secret,
}

/// A trait that was sealed anew after it had changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drift {
    pub(crate) kind: TraitKind,
    pub(crate) at: Timestamp,
}

/// A secret that opens where it was sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Seal {
    pub(crate) header: Header,
    pub(crate) nonce: [u8; 24],
    pub(crate) sealed: Vec<u8>,
}

/// What is readable of a seal; authenticated with the secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) profile: Profile,
    pub(crate) salt: [u8; 32],
    pub(crate) groups: Vec<LockedGroup>,
    pub(crate) drifts: Vec<Drift>,
}

impl Seal {
    /// Seals `secret` to what `reading` says. `seed` are fresh random bytes, never used for anything else.
    ///
    /// The points needed in each group are 60 % of what can be read now, rounded up.
    ///
    /// # Errors
    /// When too little can be read for the profile to mean anything, or the secret has no proper length.
    pub fn close(profile: Profile, reading: &Reading, secret: &[u8], seed: [u8; 32]) -> Result<Self, SealError> {
        Self::with_drifts(profile, reading, secret, seed, Vec::new())
    }

    pub(crate) fn with_drifts(
        profile: Profile,
        reading: &Reading,
        secret: &[u8],
        seed: [u8; 32],
        drifts: Vec<Drift>,
    ) -> Result<Self, SealError> {
        if secret.is_empty() || secret.len() > MAX_SECRET_BYTES {
            return Err(SealError::Secret);
        }
        let mut random = ChaCha20Rng::from_seed(seed);
        let mut salt = [0; 32];
        random.fill_bytes(&mut salt);
        let mut keys = Zeroizing::new(Vec::new());
        let mut groups = Vec::new();
        for &group in profile.groups() {
            let traits: Vec<(TraitKind, u8, &[u8])> = profile
                .traits(group)
                .iter()
                .filter_map(|&(kind, points)| Some((kind, points, reading.get(kind)?)))
                .collect();
            let best = traits.iter().map(|(_, points, _)| *points).max().unwrap_or(0);
            if traits.len() < MIN_TRAITS || best < MIN_BEST_POINTS {
                return Err(SealError::TooFewTraits { group, found: traits.len(), best });
            }
            let mut key = Zeroizing::new([0; KEY_BYTES]);
            random.fill_bytes(key.as_mut_slice());
            keys.extend_from_slice(key.as_slice());
            let needed = needed_of(traits.iter().map(|(_, points, _)| points).sum());
            groups.push(LockedGroup::lock(group, &key, needed, &traits, &salt, &mut random));
        }
        let mut nonce = [0; 24];
        random.fill_bytes(&mut nonce);
        let header = Header { profile, salt, groups, drifts };
        let payload = Payload { msg: secret, aad: &cbor::encode(&header) };
        let sealed = XChaCha20Poly1305::new((&*payload_key(&salt, &keys)).into())
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SealError::Secret)?;
        Ok(Self { header, nonce, sealed })
    }

    /// The kind of surroundings it is bound to.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.header.profile
    }

    /// Decrypts with the keys of all groups.
    pub(crate) fn decrypt(&self, keys: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let payload = Payload { msg: &self.sealed, aad: &cbor::encode(&self.header) };
        XChaCha20Poly1305::new((&*payload_key(&self.header.salt, keys)).into())
            .decrypt(&XNonce::from(self.nonce), payload)
            .ok()
            .map(Zeroizing::new)
    }
}

/// Sixty percent of the points, rounded up.
const fn needed_of(points: u8) -> u8 {
    points.saturating_mul(3).div_ceil(5)
}

fn payload_key(salt: &[u8; 32], keys: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    derive(salt, keys, &[b"lictor-binding-secret-v1"])
}

impl Canonical for Seal {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| self.header.write(w));
            fields.field(1, |w| w.bytes(&self.nonce));
            fields.field(2, |w| w.bytes(&self.sealed));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let header = fields.required(0, Header::read)?;
        let nonce = fields.required(1, Reader::fixed::<24>)?;
        let sealed = fields.required(2, |r| r.bytes(MAX_SECRET_BYTES + TAG_BYTES))?.to_vec();
        fields.end()?;
        Ok(Self { header, nonce, sealed })
    }
}

impl Canonical for Header {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.uint(u64::from(self.profile.code())));
            fields.field(1, |w| w.bytes(&self.salt));
            fields.field(2, |w| w.list(&self.groups, write_group));
            fields.field(3, |w| w.list(&self.drifts, write_drift));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let profile = fields.required(0, Reader::uint)?;
        let profile = Profile::from_code(profile).ok_or(CborError::UnknownKind(profile))?;
        let salt = fields.required(1, Reader::fixed::<32>)?;
        let groups = fields.required(2, |r| r.list(MAX_TRAITS, read_group))?;
        let drifts = fields.required(3, |r| r.list(MAX_DRIFTS, read_drift))?;
        fields.end()?;
        // A seal that lacked a group would open without it.
        if !groups.iter().map(|group| group.group).eq(profile.groups().iter().copied()) {
            return Err(CborError::Value("the groups of a seal are those of its profile"));
        }
        Ok(Self { profile, salt, groups, drifts })
    }
}

fn write_group(writer: &mut Writer, group: &LockedGroup) {
    writer.record(|fields| {
        fields.field(0, |w| w.uint(group.group as u64));
        fields.field(1, |w| w.uint(u64::from(group.needed)));
        fields.field(2, |w| {
            w.list(&group.traits, |w, shares| {
                w.record(|fields| {
                    fields.field(0, |w| w.uint(u64::from(shares.kind.code())));
                    fields.field(1, |w| w.bytes(&shares.locked));
                });
            });
        });
    });
}

fn read_group(reader: &mut Reader<'_>) -> Result<LockedGroup, CborError> {
    let mut fields = reader.fields()?;
    let group = match fields.required(0, Reader::uint)? {
        0 => Group::Host,
        1 => Group::Volume,
        other => return Err(CborError::UnknownKind(other)),
    };
    let needed = fields.required(1, Reader::uint)?;
    let needed = u8::try_from(needed).map_err(|_| CborError::Value("points needed"))?;
    let traits = fields.required(2, |r| {
        r.list(MAX_TRAITS, |r| {
            let mut fields = r.fields()?;
            let kind = fields.required(0, Reader::uint)?;
            let kind = TraitKind::from_code(kind).ok_or(CborError::UnknownKind(kind))?;
            let locked = fields.required(1, |r| r.bytes(MAX_LOCKED_BYTES))?.to_vec();
            fields.end()?;
            let shares = LockedShares { kind, locked };
            if shares.is_well_formed() { Ok(shares) } else { Err(CborError::Value("length of the shares of a trait")) }
        })
    })?;
    fields.end()?;
    if needed == 0 {
        return Err(CborError::Value("points needed"));
    }
    Ok(LockedGroup { group, needed, traits })
}

fn write_drift(writer: &mut Writer, drift: &Drift) {
    writer.record(|fields| {
        fields.field(0, |w| w.uint(u64::from(drift.kind.code())));
        fields.field(1, |w| w.time(drift.at));
    });
}

fn read_drift(reader: &mut Reader<'_>) -> Result<Drift, CborError> {
    let mut fields = reader.fields()?;
    let kind = fields.required(0, Reader::uint)?;
    let kind = TraitKind::from_code(kind).ok_or(CborError::UnknownKind(kind))?;
    let at = fields.required(1, Reader::time)?;
    fields.end()?;
    Ok(Drift { kind, at })
}
