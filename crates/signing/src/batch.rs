//! One signature for many payloads: it covers the root of a Merkle tree over all of them, and each payload goes out with
//! the hashes that lead from it to the root.
//!
//! The tree is that of RFC 9162: leaves and inner nodes are hashed under different prefixes, so neither passes as the
//! other, and the number of leaves is signed along, so a path proves one place in one tree only. The hash of a leaf
//! covers the payload's type, as an envelope's signature does.

use sha2::{Digest as _, Sha256};

use crate::cbor::{self, Canonical, CborError, Reader, Writer};
use crate::{
    PayloadType, PublicKey, Signature, SignedPayload, Signer, SignerError, VerifyError, pre_authentication_encoding,
};

/// Most payloads under one signature.
pub const MAX_BATCH: usize = 4096;
/// Longest path: 2^12 leaves.
const MAX_PATH: usize = 12;
const BATCH_TYPE: PayloadType = PayloadType::new("application/vnd.lictor.batch.v1");

type Hash = [u8; 32];

/// What goes out beside a payload and proves that it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchProof {
    index: u32,
    size: u32,
    path: Vec<Hash>,
    signature: Signature,
}

/// Signs 1 to [`MAX_BATCH`] payloads of one kind with one signature; the proofs are in the order of the payloads.
///
/// # Errors
/// When the signer fails, or there are no payloads or too many.
pub fn sign_batch<T: SignedPayload>(payloads: &[Vec<u8>], signer: &dyn Signer) -> Result<Vec<BatchProof>, SignerError> {
    if payloads.is_empty() || payloads.len() > MAX_BATCH {
        return Err(SignerError::Refused(format!("a batch has 1 to {MAX_BATCH} payloads")));
    }
    let leaves: Vec<Hash> = payloads.iter().map(|payload| leaf::<T>(payload)).collect();
    let levels = levels(leaves);
    let root = levels[levels.len() - 1][0];
    let size = u32::try_from(payloads.len()).unwrap_or(u32::MAX);
    let signature = signer.sign(&message(&root, size))?;
    Ok((0..size).map(|index| BatchProof { index, size, path: path(&levels, index), signature }).collect())
}

impl BatchProof {
    /// How many payloads share the signature.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// The signature that all of them share.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Opens a payload: signature first, then strict decoding.
    ///
    /// # Errors
    /// When the key did not sign this payload in this batch, or the payload is not a `T`.
    pub fn open<T: SignedPayload>(&self, payload: &[u8], key: &PublicKey) -> Result<T, VerifyError> {
        let root = self.root(leaf::<T>(payload)).ok_or(VerifyError::BadSignature)?;
        if !key.verifies(&message(&root, self.size), &self.signature) {
            return Err(VerifyError::BadSignature);
        }
        Ok(cbor::decode(payload)?)
    }

    /// The root that the path leads to; none when it is not as long as this place in this tree demands.
    fn root(&self, leaf: Hash) -> Option<Hash> {
        let (mut at, mut last) = (self.index, self.size.checked_sub(1)?);
        if at > last {
            return None;
        }
        let mut hash = leaf;
        let mut steps = self.path.iter();
        while last > 0 {
            // The last node of a level that has no neighbour goes up as it is.
            if at % 2 == 1 {
                hash = node(steps.next()?, &hash);
            } else if at < last {
                hash = node(&hash, steps.next()?);
            }
            at /= 2;
            last /= 2;
        }
        steps.next().is_none().then_some(hash)
    }
}

/// All levels from the leaves to the root.
fn levels(leaves: Vec<Hash>) -> Vec<Vec<Hash>> {
    let mut levels = vec![leaves];
    while levels[levels.len() - 1].len() > 1 {
        let below = &levels[levels.len() - 1];
        let above =
            below.chunks(2).map(|pair| if let [left, right] = pair { node(left, right) } else { pair[0] }).collect();
        levels.push(above);
    }
    levels
}

fn path(levels: &[Vec<Hash>], index: u32) -> Vec<Hash> {
    let mut at = usize::try_from(index).unwrap_or(usize::MAX);
    let mut path = Vec::with_capacity(levels.len() - 1);
    for level in &levels[..levels.len() - 1] {
        path.extend(level.get(at ^ 1));
        at /= 2;
    }
    path
}

fn leaf<T: SignedPayload>(payload: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(pre_authentication_encoding(T::PAYLOAD_TYPE.name(), payload))
        .finalize()
        .into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

fn message(root: &Hash, size: u32) -> Vec<u8> {
    pre_authentication_encoding(BATCH_TYPE.name(), &[size.to_be_bytes().as_slice(), root].concat())
}

impl Canonical for BatchProof {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.uint(u64::from(self.index)));
            fields.field(1, |w| w.uint(u64::from(self.size)));
            fields.field(2, |w| w.list(&self.path, |w, hash| w.bytes(hash)));
            fields.field(3, |w| w.bytes(self.signature.as_bytes()));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let proof = Self {
            index: fields.required(0, Reader::u32)?,
            size: fields.required(1, Reader::u32)?,
            path: fields.required(2, |r| r.list(MAX_PATH, Reader::fixed))?,
            signature: Signature::from_bytes(fields.required(3, Reader::fixed)?),
        };
        fields.end()?;
        Ok(proof)
    }
}
