//! Keys that programs use with their seat: how they are chosen, and how a licence server states their public halves.

use lictor_clock::Timestamp;

use crate::cbor::{Canonical, CborError, Reader, Writer};
use crate::{PayloadType, PublicKey, Role, SignedPayload};

/// Most bytes of the program's own part of a choice.
pub const MAX_CODE_BYTES: usize = 64;
/// Numbers of secret data that a choice may name are below this.
pub const SECRETS: u8 = 128;

/// Which of a product's keys. Whatever differs here gives another key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChoice {
    /// Any number; a product has as many keys as its vendor likes.
    pub selector: u32,
    /// The program's own part, at most [`MAX_CODE_BYTES`].
    pub code: Vec<u8>,
    /// Number of an entry of the item's secret data that takes part, below [`SECRETS`].
    pub secret: Option<u8>,
    /// Only one container has the key.
    pub of_container: bool,
    /// The item's protected data take part.
    pub of_protected_data: bool,
    /// The units used so far take part.
    pub of_units: bool,
}

impl KeyChoice {
    /// Whether the choice keeps its limits.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.code.len() <= MAX_CODE_BYTES && self.secret.is_none_or(|secret| secret < SECRETS)
    }
}

impl Canonical for KeyChoice {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.uint(u64::from(self.selector)));
            fields.field(1, |w| w.bytes(&self.code));
            fields.option(2, self.secret, |w, secret| w.uint(u64::from(secret)));
            fields.option(3, self.of_container.then_some(true), Writer::bool);
            fields.option(4, self.of_protected_data.then_some(true), Writer::bool);
            fields.option(5, self.of_units.then_some(true), Writer::bool);
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let choice = Self {
            selector: fields.required(0, Reader::u32)?,
            code: fields.required(1, |r| r.bytes(MAX_CODE_BYTES))?.to_vec(),
            secret: fields.optional(2, |r| u8::try_from(r.u16()?).map_err(|_| CborError::Value("secret data")))?,
            of_container: fields.optional(3, Reader::bool)?.unwrap_or_default(),
            of_protected_data: fields.optional(4, Reader::bool)?.unwrap_or_default(),
            of_units: fields.optional(5, Reader::bool)?.unwrap_or_default(),
        };
        fields.end()?;
        if choice.is_possible() { Ok(choice) } else { Err(CborError::Value("secret data are numbered below 128")) }
    }
}

/// What a program's signature is over.
#[must_use]
pub fn program_signature_message(message: &[u8]) -> Vec<u8> {
    [b"lictor-program-signature-v1\0".as_slice(), message].concat()
}

/// The public halves of a product's keys: signed by the lease key of a licence server, made for one client's nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramKeys {
    /// The client's random bytes, as they came.
    pub nonce: [u8; 32],
    /// The vendor.
    pub firm_code: u32,
    /// The product.
    pub product_code: u32,
    /// Which of its keys.
    pub choice: KeyChoice,
    /// What contents are sealed to.
    pub sealing_key: [u8; 32],
    /// What signatures are checked by.
    pub verifying_key: PublicKey,
    /// When it was stated, by the server's clock.
    pub stated_at: Timestamp,
}

impl SignedPayload for ProgramKeys {
    const PAYLOAD_TYPE: PayloadType = PayloadType::new("application/vnd.lictor.program-keys.v1+cbor");
    const ROLE: Option<Role> = None;

    fn firm_code(&self) -> u32 {
        self.firm_code
    }

    fn signed_at(&self) -> Option<Timestamp> {
        Some(self.stated_at)
    }
}

impl Canonical for ProgramKeys {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.bytes(&self.nonce));
            fields.field(1, |w| w.uint(u64::from(self.firm_code)));
            fields.field(2, |w| w.uint(u64::from(self.product_code)));
            fields.field(3, |w| self.choice.write(w));
            fields.field(4, |w| w.bytes(&self.sealing_key));
            fields.field(5, |w| w.bytes(self.verifying_key.as_bytes()));
            fields.field(6, |w| w.time(self.stated_at));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let keys = Self {
            nonce: fields.required(0, Reader::fixed)?,
            firm_code: fields.required(1, Reader::u32)?,
            product_code: fields.required(2, Reader::u32)?,
            choice: fields.required(3, KeyChoice::read)?,
            sealing_key: fields.required(4, Reader::fixed)?,
            verifying_key: fields
                .required(5, |r| PublicKey::from_bytes(&r.fixed()?).map_err(|_| CborError::Value("verifying key")))?,
            stated_at: fields.required(6, Reader::time)?,
        };
        fields.end()?;
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor;

    #[test]
    fn a_choice_has_one_spelling_and_keeps_its_limits() {
        let choice = KeyChoice {
            selector: 7,
            code: b"code".to_vec(),
            secret: Some(127),
            of_container: true,
            of_protected_data: false,
            of_units: true,
        };
        assert_eq!(cbor::decode::<KeyChoice>(&cbor::encode(&choice)), Ok(choice.clone()));
        assert_eq!(cbor::decode::<KeyChoice>(&cbor::encode(&KeyChoice::default())), Ok(KeyChoice::default()));
        let wide = KeyChoice { code: vec![0; MAX_CODE_BYTES + 1], ..choice.clone() };
        let high = KeyChoice { secret: Some(SECRETS), ..choice };
        for impossible in [wide, high] {
            assert!(!impossible.is_possible());
            assert!(cbor::decode::<KeyChoice>(&cbor::encode(&impossible)).is_err());
        }
    }
}
