//! Statements of the time: what a vendor's time role signs for a licence server whose own clock is not believed.

use lictor_clock::Timestamp;

use crate::cbor::{Canonical, CborError, Reader, Writer};
use crate::{PayloadType, Role, SignedPayload};

/// Fewest bytes of a nonce that nobody can guess.
pub const MIN_TIME_NONCE_BYTES: usize = 16;
/// Most bytes of a nonce.
pub const MAX_TIME_NONCE_BYTES: usize = 64;

/// The time, said by the vendor to whoever made the nonce. The windows of the time keys are judged by the stated time
/// itself: the asker has no better one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeStatement {
    firm_code: u32,
    nonce: Vec<u8>,
    time: Timestamp,
}

impl TimeStatement {
    /// A statement for one nonce of 16 to 64 bytes.
    ///
    /// # Errors
    /// When the nonce is shorter or longer.
    pub fn new(firm_code: u32, nonce: &[u8], time: Timestamp) -> Result<Self, CborError> {
        if nonce.len() > MAX_TIME_NONCE_BYTES {
            return Err(CborError::Limit(MAX_TIME_NONCE_BYTES));
        }
        if nonce.len() < MIN_TIME_NONCE_BYTES {
            return Err(CborError::Value("a nonce of a time statement has 16 to 64 bytes"));
        }
        Ok(Self { firm_code, nonce: nonce.to_vec(), time })
    }

    /// The asker's random bytes, as they came.
    #[must_use]
    pub fn nonce(&self) -> &[u8] {
        &self.nonce
    }

    /// The time at which it was signed.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }
}

impl SignedPayload for TimeStatement {
    const PAYLOAD_TYPE: PayloadType = PayloadType::new("application/vnd.lictor.time-statement.v1+cbor");
    const ROLE: Option<Role> = Some(Role::Time);

    fn firm_code(&self) -> u32 {
        self.firm_code
    }

    fn signed_at(&self) -> Option<Timestamp> {
        Some(self.time)
    }
}

impl Canonical for TimeStatement {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.uint(u64::from(self.firm_code)));
            fields.field(1, |w| w.bytes(&self.nonce));
            fields.field(2, |w| w.time(self.time));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let firm_code = fields.required(0, Reader::u32)?;
        let nonce = fields.required(1, |r| r.bytes(MAX_TIME_NONCE_BYTES))?;
        let statement = Self::new(firm_code, nonce, fields.required(2, Reader::time)?)?;
        fields.end()?;
        Ok(statement)
    }
}
