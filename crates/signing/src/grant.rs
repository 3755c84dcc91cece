//! What a licence server promises a client when it hands out a seat, and the proofs of both over one connection.

use lictor_clock::Timestamp;

use crate::cbor::{Canonical, CborError, Reader, Writer};
use crate::root::read_key;
use crate::{PayloadType, PublicKey, Role, SignedPayload};

/// Label of the TLS exporter that gives the channel binding.
pub const CHANNEL_LABEL: &[u8] = b"EXPORTER-lictor-seats-v1";
/// Bytes of a channel binding.
pub const CHANNEL_BINDING_BYTES: usize = 32;

const MAX_SERIAL_BYTES: usize = 64;

/// A seat that was given: signed by the lease key, made for one client key and one nonce, so it is worth nothing to
/// anybody else and cannot be shown twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantStatement {
    /// The 128 bits of the session's id.
    pub session: u128,
    /// The client that holds the session.
    pub client_key: PublicKey,
    /// The client's random bytes, as they came.
    pub nonce: [u8; 32],
    /// The vendor whose licence this is.
    pub firm_code: u32,
    /// The product that was asked for.
    pub product_code: u32,
    /// The features of the entry that serves; all that were asked for are among them.
    pub feature_map: u32,
    /// Seats taken; 0 when the entry is not counted.
    pub units: u32,
    /// The container: SHA-256 of its device public key.
    pub container_id: [u8; 32],
    /// The container's display name.
    pub serial: String,
    /// When it was granted, by the server's clock.
    pub issued_at: Timestamp,
    /// Milliseconds within which the client must hold or revalidate the session.
    pub revalidate_within_ms: u64,
    /// Milliseconds that the seat stays reserved after a lost stream.
    pub reconnect_grace_ms: u64,
    /// When the licence ends; `None` when it does not end by date.
    pub ends_at: Option<Timestamp>,
}

impl SignedPayload for GrantStatement {
    const PAYLOAD_TYPE: PayloadType = PayloadType::new("application/vnd.lictor.grant.v1+cbor");
    const ROLE: Option<Role> = None;

    fn firm_code(&self) -> u32 {
        self.firm_code
    }

    fn signed_at(&self) -> Option<Timestamp> {
        Some(self.issued_at)
    }
}

impl Canonical for GrantStatement {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.bytes(&self.session.to_be_bytes()));
            fields.field(1, |w| w.bytes(self.client_key.as_bytes()));
            fields.field(2, |w| w.bytes(&self.nonce));
            fields.field(3, |w| w.uint(u64::from(self.firm_code)));
            fields.field(4, |w| w.uint(u64::from(self.product_code)));
            fields.field(5, |w| w.uint(u64::from(self.feature_map)));
            fields.field(6, |w| w.uint(u64::from(self.units)));
            fields.field(7, |w| w.bytes(&self.container_id));
            fields.field(8, |w| w.text(&self.serial));
            fields.field(9, |w| w.time(self.issued_at));
            fields.field(10, |w| w.uint(self.revalidate_within_ms));
            fields.field(11, |w| w.uint(self.reconnect_grace_ms));
            fields.option(12, self.ends_at, Writer::time);
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let grant = Self {
            session: u128::from_be_bytes(fields.required(0, Reader::fixed)?),
            client_key: fields.required(1, read_key)?,
            nonce: fields.required(2, Reader::fixed)?,
            firm_code: fields.required(3, Reader::u32)?,
            product_code: fields.required(4, Reader::u32)?,
            feature_map: fields.required(5, Reader::u32)?,
            units: fields.required(6, Reader::u32)?,
            container_id: fields.required(7, Reader::fixed)?,
            serial: fields.required(8, |r| r.text(MAX_SERIAL_BYTES))?.to_owned(),
            issued_at: fields.required(9, Reader::time)?,
            revalidate_within_ms: fields.required(10, Reader::uint)?,
            reconnect_grace_ms: fields.required(11, Reader::uint)?,
            ends_at: fields.optional(12, Reader::time)?,
        };
        fields.end()?;
        Ok(grant)
    }
}

/// What the lease key signs to prove that it ends this very connection.
#[must_use]
pub fn server_proof_message(channel_binding: &[u8; CHANNEL_BINDING_BYTES], nonce: &[u8; 32]) -> Vec<u8> {
    [b"lictor-server-proof-v1".as_slice(), channel_binding, nonce].concat()
}

/// What the client key signs to prove that its holder speaks on this very connection.
#[must_use]
pub fn client_proof_message(channel_binding: &[u8; CHANNEL_BINDING_BYTES], client_key: &[u8; 32]) -> Vec<u8> {
    [b"lictor-client-proof-v1".as_slice(), channel_binding, client_key].concat()
}
