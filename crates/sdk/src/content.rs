//! Sealed content: data of a program that can be read only with a seat.
//!
//! The vendor's build seals a file to the public key of a product; that needs neither a licence nor a server. The program
//! carries the sealed bytes, takes a seat, and has its licence server open the content's key: nothing else can. The content
//! itself is decrypted in the program.
//!
//! ```text
//! 8 bytes  magic    u16 version, big-endian    u32 length of the header, big-endian
//! header   CBOR: firm, product, choice, encapsulated key, sealed key of the content, commitment to that key
//! body     XChaCha20-Poly1305 under the key of the content, bound to all before it
//! ```

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use lictor_license_file::seal::{self, SealingPublicKey};
use lictor_signing::KeyChoice as Choice;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::key::{KeyChoice, Plain, ProgramKeys};

/// Most bytes of one content.
pub const MAX_CONTENT_BYTES: usize = 256 * 1024 * 1024;

const MAGIC: [u8; 8] = [0x8c, b'L', b'S', b'C', 0x0d, 0x0a, 0x1a, 0x0a];
const VERSION: u16 = 1;
const START_BYTES: usize = MAGIC.len() + 2 + 4;
const MAX_HEADER_BYTES: usize = 1024;
const KEY_BYTES: usize = 32;
const SEAL_BYTES: usize = 16;
/// Every content has a key of its own, which is used once.
const NONCE: [u8; 24] = [0; 24];

/// Why content cannot be sealed or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The bytes are no sealed content, or not all of it.
    #[error("this is no sealed content, or not all of it")]
    NotSealed,
    /// It was sealed by a newer version.
    #[error("this content was sealed in form {0}, which this version does not know")]
    TooNew(u16),
    /// The key or the content was changed, or the key is another one.
    #[error("the content was changed, or this is not its key")]
    Changed,
    /// More than [`MAX_CONTENT_BYTES`].
    #[error("content may have at most {MAX_CONTENT_BYTES} bytes, not {0}")]
    TooLong(usize),
    /// The keys cannot be sealed to.
    #[error("nothing can be sealed to these keys")]
    Keys,
    /// The machine gives no random bytes.
    #[error("the machine gives no random bytes: {0}")]
    Random(String),
}

/// Seals `plain` for everybody who has a seat of the keys' product.
///
/// # Errors
/// When the content is too long, or the machine has no random bytes.
pub fn seal(keys: &ProgramKeys, plain: &[u8]) -> Result<Vec<u8>, ContentError> {
    if plain.len() > MAX_CONTENT_BYTES {
        return Err(ContentError::TooLong(plain.len()));
    }
    let random = || {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *bytes).map_err(|error| ContentError::Random(error.to_string()))?;
        Ok(bytes)
    };
    let content_key = random()?;
    let wish = Wish {
        firm_code: keys.0.firm_code,
        product_code: keys.0.product_code,
        choice: keys.0.choice.clone(),
        commitment: commitment(&content_key),
    };
    let to = SealingPublicKey(keys.0.sealing_key);
    let (encapsulated, sealed) =
        seal::seal(&to, &cbor::encode(&wish), &*content_key, &*random()?).map_err(|_| ContentError::Keys)?;
    let sealed_key = (*sealed).try_into().map_err(|_| ContentError::Keys)?;
    let header = cbor::encode(&Header { wish, encapsulated, sealed_key });
    let mut bytes = Vec::with_capacity(START_BYTES + header.len() + plain.len() + SEAL_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(header.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&header);
    let payload = Payload { msg: plain, aad: &bytes };
    let body = cipher(&content_key).encrypt(&XNonce::from(NONCE), payload);
    bytes.extend_from_slice(&body.map_err(|_| ContentError::TooLong(plain.len()))?);
    Ok(bytes)
}

/// Content that was sealed, checked as far as that can be done without a seat. Borrows the bytes, which may be compiled in.
#[derive(Clone, Debug)]
pub struct SealedContent<'b> {
    header: Header,
    /// All before the body.
    start: &'b [u8],
    body: &'b [u8],
}

impl<'b> SealedContent<'b> {
    /// Reads what [`seal()`] made.
    ///
    /// # Errors
    /// [`ContentError::NotSealed`] or [`ContentError::TooNew`].
    pub fn read(bytes: &'b [u8]) -> Result<Self, ContentError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(ContentError::NotSealed)?;
        let (version, rest) = rest.split_first_chunk().ok_or(ContentError::NotSealed)?;
        let version = u16::from_be_bytes(*version);
        if version != VERSION {
            return Err(ContentError::TooNew(version));
        }
        let (length, rest) = rest.split_first_chunk().ok_or(ContentError::NotSealed)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| ContentError::NotSealed)?;
        if length > MAX_HEADER_BYTES || rest.len() > MAX_CONTENT_BYTES + MAX_HEADER_BYTES + SEAL_BYTES {
            return Err(ContentError::NotSealed);
        }
        let (header, body) = rest.split_at_checked(length).ok_or(ContentError::NotSealed)?;
        let header = cbor::decode(header).map_err(|_| ContentError::NotSealed)?;
        if body.len() < SEAL_BYTES {
            return Err(ContentError::NotSealed);
        }
        Ok(Self { header, start: &bytes[..bytes.len() - body.len()], body })
    }

    /// The vendor whose product it needs.
    #[must_use]
    pub const fn firm_code(&self) -> u32 {
        self.header.wish.firm_code
    }

    /// The product that it needs a seat of.
    #[must_use]
    pub const fn product_code(&self) -> u32 {
        self.header.wish.product_code
    }

    /// Which of the product's keys it was sealed to.
    #[must_use]
    pub fn choice(&self) -> KeyChoice {
        KeyChoice(self.header.wish.choice.clone())
    }

    /// What a licence server needs in order to open the content's key.
    pub(crate) fn locked(&self) -> Locked {
        Locked {
            encapsulated: self.header.encapsulated.to_vec(),
            header: cbor::encode(&self.header.wish),
            sealed: self.header.sealed_key.to_vec(),
        }
    }

    /// Opens the content with the key that a licence server gave.
    ///
    /// # Errors
    /// [`ContentError::Changed`] when it is not the key that the content was sealed under, or the content was changed.
    pub(crate) fn open(&self, content_key: &[u8]) -> Result<Plain, ContentError> {
        let key: &[u8; KEY_BYTES] = content_key.try_into().map_err(|_| ContentError::Changed)?;
        // The cipher alone would let a liar look for another key that also fits.
        if commitment(key) != self.header.wish.commitment {
            return Err(ContentError::Changed);
        }
        let payload = Payload { msg: self.body, aad: self.start };
        let plain = cipher(key).decrypt(&XNonce::from(NONCE), payload).map_err(|_| ContentError::Changed)?;
        Ok(Plain(Zeroizing::new(plain)))
    }
}

/// The locked key of a content.
pub(crate) struct Locked {
    pub(crate) encapsulated: Vec<u8>,
    pub(crate) header: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
}

fn cipher(key: &[u8; KEY_BYTES]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}

fn commitment(key: &[u8; KEY_BYTES]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"lictor-content-key-v1\0");
    hash.update(key);
    hash.finalize().into()
}

/// What the content's key is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    firm_code: u32,
    product_code: u32,
    choice: Choice,
    commitment: [u8; 32],
}

impl Canonical for Wish {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.uint(u64::from(self.firm_code)));
            fields.field(1, |w| w.uint(u64::from(self.product_code)));
            fields.field(2, |w| self.choice.write(w));
            fields.field(3, |w| w.bytes(&self.commitment));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let wish = Self {
            firm_code: fields.required(0, Reader::u32)?,
            product_code: fields.required(1, Reader::u32)?,
            choice: fields.required(2, Choice::read)?,
            commitment: fields.required(3, Reader::fixed)?,
        };
        fields.end()?;
        Ok(wish)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    wish: Wish,
    encapsulated: [u8; 32],
    sealed_key: [u8; KEY_BYTES + SEAL_BYTES],
}

impl Canonical for Header {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| self.wish.write(w));
            fields.field(1, |w| w.bytes(&self.encapsulated));
            fields.field(2, |w| w.bytes(&self.sealed_key));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let header = Self {
            wish: fields.required(0, Wish::read)?,
            encapsulated: fields.required(1, Reader::fixed)?,
            sealed_key: fields.required(2, Reader::fixed)?,
        };
        fields.end()?;
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use lictor_key_store::MemorySigner;
    use lictor_license_file::seal::SealingKey;
    use lictor_signing::Signer as _;

    use super::*;

    fn keys(seed: u8) -> (SealingKey, ProgramKeys) {
        let sealing = SealingKey::from_seed(&[seed; 32]);
        let keys = lictor_signing::ProgramKeys {
            nonce: [0; 32],
            firm_code: 5010,
            product_code: 201,
            choice: Choice { selector: 4, ..Choice::default() },
            sealing_key: sealing.public().0,
            verifying_key: MemorySigner::from_seed(&[seed; 32]).public_key(),
            stated_at: lictor_clock::Timestamp::UNIX_EPOCH,
        };
        (sealing, ProgramKeys(keys))
    }

    fn open_key(sealing: &SealingKey, content: &SealedContent<'_>) -> Option<Zeroizing<Vec<u8>>> {
        let Locked { encapsulated, header, sealed } = content.locked();
        sealing.open(&(*encapsulated).try_into().expect("32 bytes"), &header, &sealed).ok()
    }

    #[test]
    fn content_opens_with_its_key_and_says_what_it_needs() {
        let (sealing, keys) = keys(1);
        for plain in [b"".as_slice(), b"levels", &vec![7; 100_000]] {
            let bytes = seal(&keys, plain).expect("sealed");
            let content = SealedContent::read(&bytes).expect("read");
            assert_eq!((content.firm_code(), content.product_code()), (5010, 201));
            assert_eq!(content.choice(), KeyChoice::new(4));
            let key = open_key(&sealing, &content).expect("the product's key");
            assert_eq!(&content.open(&key).expect("opened")[..], plain);
        }
        assert_ne!(seal(&keys, b"x").expect("sealed"), seal(&keys, b"x").expect("sealed"));
    }

    #[test]
    fn content_that_was_cut_or_changed_anywhere_never_opens() {
        let (sealing, keys) = keys(1);
        let bytes = seal(&keys, b"levels").expect("sealed");
        let opens = |bytes: &[u8]| {
            let content = SealedContent::read(bytes).ok()?;
            let key = open_key(&sealing, &content)?;
            content.open(&key).ok()
        };
        assert!(opens(&bytes).is_some());
        for at in 0..bytes.len() {
            assert!(opens(&bytes[..at]).is_none(), "cut at {at}");
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(opens(&changed).is_none(), "byte {at} changed");
            }
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(opens(&longer).is_none());
        let mut newer = bytes;
        newer[9] = 2;
        assert_eq!(SealedContent::read(&newer).err(), Some(ContentError::TooNew(2)));
    }

    #[test]
    fn another_key_never_opens_and_another_product_cannot_be_claimed() {
        let (sealing, mine) = keys(1);
        let (other, _) = keys(2);
        let bytes = seal(&mine, b"levels").expect("sealed");
        let content = SealedContent::read(&bytes).expect("read");
        assert!(open_key(&other, &content).is_none());
        for wrong in [b"".as_slice(), &[0; 32], &[0; 31], &[9; 64]] {
            assert_eq!(content.open(wrong).err(), Some(ContentError::Changed));
        }
        // A header that names another product is bound to nothing that opens.
        let mut claimed = content.clone();
        claimed.header.wish.product_code = 202;
        assert!(open_key(&sealing, &claimed).is_none());
    }
}
