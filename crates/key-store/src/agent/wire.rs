//! What service and agent say to each other: frames of a length (4 bytes, high byte first) and one CBOR value.

use std::io::{self, Read, Write};

use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};
use lictor_signing::{PublicKey, Signature};

/// Longest message to sign in bytes: a file of 4 MiB, and what stands in front of it.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024 + 1024;
/// Longest request in bytes.
pub const MAX_REQUEST_BYTES: usize = MAX_MESSAGE_BYTES + 1024;
/// Longest reply in bytes.
pub const MAX_REPLY_BYTES: usize = 1024 * 1024;
/// Most keys in a reply.
pub const MAX_KEYS: usize = 4096;
/// Longest name of a key in bytes.
pub const MAX_NAME_BYTES: usize = 96;
const MAX_TEXT_BYTES: usize = 512;

/// What a service asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// All keys.
    List,
    /// A new key of this name.
    Generate {
        /// The name.
        name: String,
    },
    /// A signature over exactly these bytes.
    Sign {
        /// With which key.
        key: PublicKey,
        /// Over what, at most [`MAX_MESSAGE_BYTES`].
        message: Vec<u8>,
    },
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Names and public halves.
    Keys(Vec<(String, PublicKey)>),
    /// The new key.
    Key(PublicKey),
    /// The signature.
    Signature(Signature),
    /// Why not, and a sentence about it.
    Fault(Fault, String),
}

/// Why the agent does not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The token does not answer; later it may.
    Unavailable,
    /// The token holds no such key now.
    Missing,
    /// There is a key of this name.
    Exists,
    /// It never will.
    Refused,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Unavailable, Self::Missing, Self::Exists, Self::Refused];

    const fn number(self) -> u64 {
        match self {
            Self::Unavailable => 0,
            Self::Missing => 1,
            Self::Exists => 2,
            Self::Refused => 3,
        }
    }
}

/// Writes one value.
///
/// # Errors
/// When the other side is gone.
pub fn send<T: Canonical>(stream: &mut impl Write, value: &T) -> io::Result<()> {
    let body = cbor::encode(value);
    let length = u32::try_from(body.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    stream.write_all(&frame)?;
    stream.flush()
}

/// Reads one value of at most `limit` bytes; nothing when the other side ended between two values. Memory grows with
/// what really comes.
///
/// # Errors
/// When the other side is gone in the middle, or sends anything else.
pub fn receive<T: Canonical>(stream: &mut impl Read, limit: usize) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut have = 0;
    while have < length.len() {
        match stream.read(&mut length[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => have += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame over the limit"));
    }
    let mut body = Vec::new();
    stream.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    cbor::decode(&body).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

fn read_key(reader: &mut Reader<'_>) -> Result<PublicKey, CborError> {
    PublicKey::from_bytes(&reader.fixed()?).map_err(|_| CborError::Value("public key that must not be used"))
}

impl Canonical for Request {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::List => {
                writer.array(1);
                writer.uint(0);
            }
            Self::Generate { name } => {
                writer.array(2);
                writer.uint(1);
                writer.text(name);
            }
            Self::Sign { key, message } => {
                writer.array(3);
                writer.uint(2);
                writer.bytes(key.as_bytes());
                writer.bytes(message);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        match (reader.array(3)?, reader.uint()?) {
            (1, 0) => Ok(Self::List),
            (2, 1) => Ok(Self::Generate { name: reader.text(MAX_NAME_BYTES)?.to_owned() }),
            (3, 2) => Ok(Self::Sign { key: read_key(reader)?, message: reader.bytes(MAX_MESSAGE_BYTES)?.to_vec() }),
            (_, kind) => Err(CborError::UnknownKind(kind)),
        }
    }
}

impl Canonical for Reply {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Keys(keys) => {
                writer.array(2);
                writer.uint(0);
                writer.list(keys, |writer, (name, key)| {
                    writer.array(2);
                    writer.text(name);
                    writer.bytes(key.as_bytes());
                });
            }
            Self::Key(key) => {
                writer.array(2);
                writer.uint(1);
                writer.bytes(key.as_bytes());
            }
            Self::Signature(signature) => {
                writer.array(2);
                writer.uint(2);
                writer.bytes(signature.as_bytes());
            }
            Self::Fault(fault, text) => {
                writer.array(3);
                writer.uint(3);
                writer.uint(fault.number());
                writer.text(text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or_default());
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        match (reader.array(3)?, reader.uint()?) {
            (2, 0) => Ok(Self::Keys(reader.list(MAX_KEYS, |reader| {
                if reader.array(2)? != 2 {
                    return Err(CborError::Value("a key has a name and bytes"));
                }
                Ok((reader.text(MAX_NAME_BYTES)?.to_owned(), read_key(reader)?))
            })?)),
            (2, 1) => Ok(Self::Key(read_key(reader)?)),
            (2, 2) => Ok(Self::Signature(Signature::from_bytes(reader.fixed()?))),
            (3, 3) => {
                let number = reader.uint()?;
                let fault = Fault::ALL.into_iter().find(|fault| fault.number() == number);
                Ok(Self::Fault(fault.ok_or(CborError::UnknownKind(number))?, reader.text(MAX_TEXT_BYTES)?.to_owned()))
            }
            (_, kind) => Err(CborError::UnknownKind(kind)),
        }
    }
}
