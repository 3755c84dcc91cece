//! Certificates by which a vendor lets the lease key of one container grant seats.

use lictor_clock::Timestamp;

use crate::cbor::{Canonical, CborError, Reader, Writer};
use crate::root::read_key;
use crate::{PayloadType, PublicKey, Role, SignedPayload};

/// What grants under a lease key may at most be; `None` means no limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseLimits {
    /// Seats that may be out at the same time.
    pub max_seats: Option<u32>,
    /// Longest time limit of one grant in seconds.
    pub max_grant_seconds: Option<u32>,
}

/// Lets the lease key of one container sign grants for one firm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseCertificate {
    /// The firm whose licences may be granted.
    pub firm_code: u32,
    /// The container whose key this is: SHA-256 of its device public key.
    pub container_id: [u8; 32],
    /// The certified key.
    pub lease_key: PublicKey,
    /// Grants before this time do not count.
    pub not_before: Timestamp,
    /// Grants from this time on do not count; `None` for as long as the container lives.
    pub not_after: Option<Timestamp>,
    /// Upper limits.
    pub limits: LeaseLimits,
}

impl LeaseCertificate {
    /// Whether the key may grant at `at`.
    #[must_use]
    pub fn valid_at(&self, at: Timestamp) -> bool {
        at >= self.not_before && self.not_after.is_none_or(|end| at < end)
    }
}

impl SignedPayload for LeaseCertificate {
    const PAYLOAD_TYPE: PayloadType = PayloadType::new("application/vnd.lictor.lease-certificate.v1+cbor");
    const ROLE: Option<Role> = Some(Role::LeaseCertifier);

    fn firm_code(&self) -> u32 {
        self.firm_code
    }

    fn signed_at(&self) -> Option<Timestamp> {
        Some(self.not_before)
    }
}

impl Canonical for LeaseCertificate {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.uint(u64::from(self.firm_code)));
            fields.field(1, |w| w.bytes(&self.container_id));
            fields.field(2, |w| w.bytes(self.lease_key.as_bytes()));
            fields.field(3, |w| w.time(self.not_before));
            fields.option(4, self.not_after, Writer::time);
            fields.option(5, self.limits.max_seats, |w, seats| w.uint(u64::from(seats)));
            fields.option(6, self.limits.max_grant_seconds, |w, seconds| w.uint(u64::from(seconds)));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let certificate = Self {
            firm_code: fields.required(0, Reader::u32)?,
            container_id: fields.required(1, Reader::fixed)?,
            lease_key: fields.required(2, read_key)?,
            not_before: fields.required(3, Reader::time)?,
            not_after: fields.optional(4, Reader::time)?,
            limits: LeaseLimits {
                max_seats: fields.optional(5, Reader::u32)?,
                max_grant_seconds: fields.optional(6, Reader::u32)?,
            },
        };
        fields.end()?;
        Ok(certificate)
    }
}
