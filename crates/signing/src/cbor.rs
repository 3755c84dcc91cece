//! Strict deterministic CBOR: shortest integers, definite lengths, maps with ascending integer keys, nothing left over.
//!
//! Readers follow a fixed shape and never recurse into what they do not know, so depth and memory are bounded by the
//! shape and by the limits that each call states. [`decode`] spells what it read again, against the bytes that it read
//! and without a copy of them: one meaning has exactly one spelling.

use lictor_clock::Timestamp;
use thiserror::Error;

/// Why bytes are not the CBOR that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CborError {
    /// The bytes end before the value does.
    #[error("the data ends too early")]
    End,
    /// Another kind of value than expected.
    #[error("the data has an unexpected shape at byte {0}")]
    Shape(usize),
    /// A string, list or map over its limit.
    #[error("the data holds more than the limit of {0}")]
    Limit(usize),
    /// A map key that this version does not know.
    #[error("the data has a field {0} that this version does not know")]
    UnknownField(u64),
    /// A value that must be there is not.
    #[error("the data lacks the field {0}")]
    MissingField(u64),
    /// A value outside its range.
    #[error("the data has a value out of range: {0}")]
    Value(&'static str),
    /// A kind of operation or option that this version does not know.
    #[error("the data has an element of kind {0} that this version does not know")]
    UnknownKind(u64),
    /// A second spelling of the same meaning, or bytes after the end.
    #[error("the data is not in its only allowed spelling")]
    NotCanonical,
}

/// A value with exactly one encoding.
pub trait Canonical: Sized {
    /// Appends the value.
    fn write(&self, writer: &mut Writer);

    /// Reads the value.
    ///
    /// # Errors
    /// For every byte sequence that [`Canonical::write`] cannot have made.
    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError>;
}

/// The encoding of `value`.
#[must_use]
pub fn encode<T: Canonical>(value: &T) -> Vec<u8> {
    let mut writer = Writer::new();
    value.write(&mut writer);
    writer.into_bytes()
}

/// Reads exactly one value and refuses every spelling but its own.
///
/// # Errors
/// When the bytes are not exactly what [`encode`] gives for some value.
pub fn decode<T: Canonical>(bytes: &[u8]) -> Result<T, CborError> {
    let mut reader = Reader::new(bytes);
    let value = T::read(&mut reader)?;
    if reader.inner.position() != bytes.len() || !is_spelled(&value, bytes) {
        return Err(CborError::NotCanonical);
    }
    Ok(value)
}

/// Whether `bytes` are the encoding of `value`; takes no memory for it.
fn is_spelled<T: Canonical>(value: &T, bytes: &[u8]) -> bool {
    let mut writer = Writer { inner: minicbor::Encoder::new(Sink::Compare { rest: bytes, same: true }) };
    value.write(&mut writer);
    matches!(writer.inner.into_writer(), Sink::Compare { rest: [], same: true })
}

/// Where CBOR goes.
enum Sink<'e> {
    Memory(Vec<u8>),
    /// Nowhere; it is compared with what is expected.
    Compare {
        rest: &'e [u8],
        same: bool,
    },
}

impl minicbor::encode::Write for Sink<'_> {
    type Error = std::convert::Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        match self {
            Self::Memory(memory) => memory.extend_from_slice(bytes),
            Self::Compare { rest, same } => match rest.strip_prefix(bytes) {
                Some(after) => *rest = after,
                None => *same = false,
            },
        }
        Ok(())
    }
}

/// Writes CBOR into memory.
pub struct Writer<'e> {
    inner: minicbor::Encoder<Sink<'e>>,
}

impl Default for Writer<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// Neither sink has an error to report; the signature of the encoder has one for others.
macro_rules! put {
    ($call:expr) => {
        match $call {
            Ok(_) => {}
            Err(_) => unreachable!("memory takes every write"),
        }
    };
}

impl<'e> Writer<'e> {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: minicbor::Encoder::new(Sink::Memory(Vec::new())) }
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        match self.inner.into_writer() {
            Sink::Memory(memory) => memory,
            Sink::Compare { .. } => Vec::new(),
        }
    }

    /// Starts a map of `entries` entries; write the keys in ascending order.
    pub fn map(&mut self, entries: usize) {
        put!(self.inner.map(entries as u64));
    }

    /// Starts a list of `items` items.
    pub fn array(&mut self, items: usize) {
        put!(self.inner.array(items as u64));
    }

    /// A map key or an unsigned number.
    pub fn uint(&mut self, value: u64) {
        put!(self.inner.u64(value));
    }

    /// A signed number.
    pub fn int(&mut self, value: i64) {
        put!(self.inner.i64(value));
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) {
        put!(self.inner.bool(value));
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) {
        put!(self.inner.bytes(value));
    }

    /// A text.
    pub fn text(&mut self, value: &str) {
        put!(self.inner.str(value));
    }

    /// A point in time as microseconds UTC.
    pub fn time(&mut self, value: Timestamp) {
        self.int(value.as_micros());
    }

    /// Writes a map with fixed fields. Absent ones leave no trace, so a field can be added later without changing what
    /// older values look like.
    pub fn record(&mut self, fill: impl FnOnce(&mut FieldWriter<'e>)) {
        // How many fields there are is known at the end, and stands at the beginning.
        let start = match self.inner.writer_mut() {
            Sink::Memory(memory) => Start::Written(memory.len()),
            Sink::Compare { rest, .. } => Start::Expected(rest),
        };
        let claimed = match start {
            Start::Written(_) => 0,
            Start::Expected(rest) => minicbor::Decoder::new(rest).map().ok().flatten().unwrap_or_default(),
        };
        if matches!(start, Start::Expected(_)) {
            self.map(usize::try_from(claimed).unwrap_or_default());
        }
        let mut fields = FieldWriter { count: 0, body: std::mem::take(self) };
        fill(&mut fields);
        let FieldWriter { count, body } = fields;
        *self = body;
        match (start, self.inner.writer_mut()) {
            (Start::Written(at), Sink::Memory(memory)) => {
                let mut head = Writer::new();
                head.map(count);
                memory.splice(at..at, head.into_bytes());
            }
            (_, Sink::Compare { same, .. }) => *same &= claimed == count as u64,
            (Start::Expected(_), Sink::Memory(_)) => {}
        }
    }

    /// A list, each item written by `item`.
    pub fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.array(items.len());
        for value in items {
            item(self, value);
        }
    }
}

/// Where a record begins: in memory, or in what is expected.
#[derive(Clone, Copy)]
enum Start<'e> {
    Written(usize),
    Expected(&'e [u8]),
}

/// Collects the fields of one map; give them in ascending order of their keys.
pub struct FieldWriter<'e> {
    count: usize,
    body: Writer<'e>,
}

impl<'e> FieldWriter<'e> {
    /// A field that is always there.
    pub fn field(&mut self, key: u64, write: impl FnOnce(&mut Writer<'e>)) {
        self.count += 1;
        self.body.uint(key);
        write(&mut self.body);
    }

    /// A field that is there when it has a value.
    pub fn option<T>(&mut self, key: u64, value: Option<T>, write: impl FnOnce(&mut Writer<'e>, T)) {
        if let Some(value) = value {
            self.field(key, |writer| write(writer, value));
        }
    }
}

/// Reads CBOR of a known shape.
pub struct Reader<'b> {
    inner: minicbor::Decoder<'b>,
}

impl<'b> Reader<'b> {
    /// Reads from `bytes`.
    #[must_use]
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { inner: minicbor::Decoder::new(bytes) }
    }

    fn wrong(&self, error: &minicbor::decode::Error) -> CborError {
        if error.is_end_of_input() { CborError::End } else { CborError::Shape(self.inner.position()) }
    }

    /// An unsigned number.
    ///
    /// # Errors
    /// For anything else.
    pub fn uint(&mut self) -> Result<u64, CborError> {
        self.inner.u64().map_err(|error| self.wrong(&error))
    }

    /// An unsigned number below 2^32.
    ///
    /// # Errors
    /// For anything else.
    pub fn u32(&mut self) -> Result<u32, CborError> {
        u32::try_from(self.uint()?).map_err(|_| CborError::Value("number above 32 bits"))
    }

    /// An unsigned number below 2^16.
    ///
    /// # Errors
    /// For anything else.
    pub fn u16(&mut self) -> Result<u16, CborError> {
        u16::try_from(self.uint()?).map_err(|_| CborError::Value("number above 16 bits"))
    }

    /// A signed number.
    ///
    /// # Errors
    /// For anything else.
    pub fn int(&mut self) -> Result<i64, CborError> {
        self.inner.i64().map_err(|error| self.wrong(&error))
    }

    /// A truth value.
    ///
    /// # Errors
    /// For anything else.
    pub fn bool(&mut self) -> Result<bool, CborError> {
        self.inner.bool().map_err(|error| self.wrong(&error))
    }

    /// A point in time as microseconds UTC.
    ///
    /// # Errors
    /// For anything else.
    pub fn time(&mut self) -> Result<Timestamp, CborError> {
        Timestamp::try_from_micros(self.int()?).map_err(|_| CborError::Value("time out of range"))
    }

    /// A byte string of at most `limit` bytes, borrowed from the input.
    ///
    /// # Errors
    /// For anything else.
    pub fn bytes(&mut self, limit: usize) -> Result<&'b [u8], CborError> {
        let bytes = self.inner.bytes().map_err(|error| self.wrong(&error))?;
        if bytes.len() > limit {
            return Err(CborError::Limit(limit));
        }
        Ok(bytes)
    }

    /// A byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// For anything else.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        self.bytes(N)?.try_into().map_err(|_| CborError::Value("byte string of a wrong length"))
    }

    /// A text of at most `limit` bytes of UTF-8, borrowed from the input.
    ///
    /// # Errors
    /// For anything else.
    pub fn text(&mut self, limit: usize) -> Result<&'b str, CborError> {
        let text = self.inner.str().map_err(|error| self.wrong(&error))?;
        if text.len() > limit {
            return Err(CborError::Limit(limit));
        }
        Ok(text)
    }

    /// Starts a list of at most `limit` items and tells how many there are.
    ///
    /// # Errors
    /// For anything else, lists of indefinite length included.
    pub fn array(&mut self, limit: usize) -> Result<usize, CborError> {
        let length = self.inner.array().map_err(|error| self.wrong(&error))?;
        Self::length(length, limit, self.inner.position())
    }

    /// Starts a map of at most `limit` entries and tells how many there are.
    ///
    /// # Errors
    /// For anything else, maps of indefinite length included.
    pub fn map(&mut self, limit: usize) -> Result<usize, CborError> {
        let length = self.inner.map().map_err(|error| self.wrong(&error))?;
        Self::length(length, limit, self.inner.position())
    }

    fn length(length: Option<u64>, limit: usize, at: usize) -> Result<usize, CborError> {
        let length = length.ok_or(CborError::Shape(at))?;
        usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(CborError::Limit(limit))
    }

    /// A list of at most `limit` items, each read by `item`. Memory grows with what is really there.
    ///
    /// # Errors
    /// For anything else.
    pub fn list<T>(
        &mut self,
        limit: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, CborError>,
    ) -> Result<Vec<T>, CborError> {
        let length = self.array(limit)?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// A map with fixed fields, read in the order of their keys.
    ///
    /// # Errors
    /// When this is no map.
    pub fn fields(&mut self) -> Result<Fields<'_, 'b>, CborError> {
        // No record of ours has more fields than this.
        let left = self.map(64)?;
        let mut fields = Fields { reader: self, left, next: None };
        fields.advance()?;
        Ok(fields)
    }
}

/// The fields of one map, in ascending order of their keys.
pub struct Fields<'r, 'b> {
    reader: &'r mut Reader<'b>,
    left: usize,
    next: Option<u64>,
}

impl<'b> Fields<'_, 'b> {
    fn advance(&mut self) -> Result<(), CborError> {
        self.next = None;
        if self.left > 0 {
            self.left -= 1;
            self.next = Some(self.reader.uint()?);
        }
        Ok(())
    }

    /// Reads the field `key` if it is the next one.
    ///
    /// # Errors
    /// When the value is not what `value` reads.
    pub fn optional<T>(
        &mut self,
        key: u64,
        value: impl FnOnce(&mut Reader<'b>) -> Result<T, CborError>,
    ) -> Result<Option<T>, CborError> {
        if self.next != Some(key) {
            return Ok(None);
        }
        let value = value(self.reader)?;
        self.advance()?;
        Ok(Some(value))
    }

    /// Reads the field `key`, which must be the next one.
    ///
    /// # Errors
    /// When it is not there, or not what `value` reads.
    pub fn required<T>(
        &mut self,
        key: u64,
        value: impl FnOnce(&mut Reader<'b>) -> Result<T, CborError>,
    ) -> Result<T, CborError> {
        match self.next {
            Some(next) if next < key => Err(CborError::UnknownField(next)),
            _ => self.optional(key, value)?.ok_or(CborError::MissingField(key)),
        }
    }

    /// Ends the map: a field that nobody asked for refuses the whole.
    ///
    /// # Errors
    /// When fields are left.
    pub fn end(self) -> Result<(), CborError> {
        match self.next {
            None => Ok(()),
            Some(key) => Err(CborError::UnknownField(key)),
        }
    }
}
