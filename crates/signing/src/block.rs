//! Certificates by which a licence server lets another one grant seats out of a block that it lends.

use lictor_clock::Timestamp;

use crate::cbor::{Canonical, CborError, Reader, Writer};
use crate::root::read_key;
use crate::{PayloadType, PublicKey, Role, SignedPayload};

/// Lets the lease key of another licence server sign grants for the seats of one block, in the name of the container that
/// lends them. Signed by that container's own lease key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockCertificate {
    /// The firm whose licence this is.
    pub firm_code: u32,
    /// The only product that may be granted.
    pub product_code: u32,
    /// All features of the entry that lends.
    pub feature_map: u32,
    /// The container that lends: SHA-256 of its device public key.
    pub container_id: [u8; 32],
    /// The key that may sign.
    pub key: PublicKey,
    /// Most seats of one grant: those of the block.
    pub seats: u32,
    /// Longest time limit of one grant in seconds.
    pub max_grant_seconds: u32,
    /// Grants before this time do not count.
    pub not_before: Timestamp,
    /// Grants from this time on do not count.
    pub not_after: Timestamp,
}

impl BlockCertificate {
    /// Whether a grant may have been made at `at`.
    #[must_use]
    pub fn valid_at(&self, at: Timestamp) -> bool {
        at >= self.not_before && at < self.not_after
    }
}

impl SignedPayload for BlockCertificate {
    const PAYLOAD_TYPE: PayloadType = PayloadType::new("application/vnd.lictor.block-certificate.v1+cbor");
    const ROLE: Option<Role> = None;

    fn firm_code(&self) -> u32 {
        self.firm_code
    }

    fn signed_at(&self) -> Option<Timestamp> {
        Some(self.not_before)
    }
}

impl Canonical for BlockCertificate {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.uint(u64::from(self.firm_code)));
            fields.field(1, |w| w.uint(u64::from(self.product_code)));
            fields.field(2, |w| w.uint(u64::from(self.feature_map)));
            fields.field(3, |w| w.bytes(&self.container_id));
            fields.field(4, |w| w.bytes(self.key.as_bytes()));
            fields.field(5, |w| w.uint(u64::from(self.seats)));
            fields.field(6, |w| w.uint(u64::from(self.max_grant_seconds)));
            fields.field(7, |w| w.time(self.not_before));
            fields.field(8, |w| w.time(self.not_after));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let certificate = Self {
            firm_code: fields.required(0, Reader::u32)?,
            product_code: fields.required(1, Reader::u32)?,
            feature_map: fields.required(2, Reader::u32)?,
            container_id: fields.required(3, Reader::fixed)?,
            key: fields.required(4, read_key)?,
            seats: fields.required(5, Reader::u32)?,
            max_grant_seconds: fields.required(6, Reader::u32)?,
            not_before: fields.required(7, Reader::time)?,
            not_after: fields.required(8, Reader::time)?,
        };
        fields.end()?;
        Ok(certificate)
    }
}
