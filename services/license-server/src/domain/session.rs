//! A session: one client's holding of a seat, from the grant until it is released or its time is over.

use std::net::IpAddr;
use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_licensing::access::{AccessMode, ClientInstance, Seats, Station};
use lictor_licensing::feature::FeatureMap;
use lictor_licensing::id::{FirmCode, LicenseId, ProductCode, SessionId};
use lictor_licensing::item::Part;
use lictor_licensing::pool::Access;
use lictor_signing::PublicKey;
use lictor_signing::cbor::{Canonical, CborError, Reader, Writer};
use sha2::{Digest as _, Sha256};

use super::MAX_NAME_BYTES;
use super::blocks::holder;
use super::rules::{MAX_RULE_NAME_BYTES, MAX_RULES};

/// A client's own name for a wish; the same again is the same session.
pub type RequestId = [u8; 16];

/// What a client says about itself, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientNames {
    /// The program.
    pub program: String,
    /// Who runs it.
    pub user: String,
    /// Where it runs.
    pub host: String,
}

impl std::fmt::Display for ClientNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut first = true;
        for (name, before) in [(&self.program, ""), (&self.user, " of "), (&self.host, " on ")] {
            if !name.is_empty() {
                f.write_str(if first { "" } else { before })?;
                f.write_str(name)?;
                first = false;
            }
        }
        Ok(())
    }
}

/// All of a session that outlives a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The client's name for the wish.
    pub request_id: RequestId,
    /// Digest of what was asked, to notice when the same name comes with another wish.
    pub asked: [u8; 32],
    /// The client's public key.
    pub client_key: PublicKey,
    /// The client's random bytes; they come back in the grant, also in a repeated one.
    pub nonce: [u8; 32],
    /// The vendor.
    pub firm_code: FirmCode,
    /// The licence.
    pub license: LicenseId,
    /// The part of its product item.
    pub part: Part,
    /// The product that was asked for.
    pub product_code: ProductCode,
    /// The features of the entry when it was granted.
    pub feature_map: FeatureMap,
    /// How it counts.
    pub mode: AccessMode,
    /// Seats of the access.
    pub seats: Seats,
    /// Whether the entry counts seats for this access.
    pub counted: bool,
    /// The station it counts for.
    pub station: Station,
    /// When it was granted.
    pub since: Timestamp,
    /// When the licence ends, as known at the grant.
    pub ends_at: Option<Timestamp>,
    /// Linger time of the entry when it was granted.
    pub linger: Duration,
    /// What to show people.
    pub names: ClientNames,
    /// From which address it was asked for; none for the Unix socket.
    pub address: Option<IpAddr>,
    /// Access rules that keep seats for its client: those it holds are counted against them.
    pub reserved: Vec<String>,
    /// For a block that is lent to another server: number of the question that was answered last.
    pub block: Option<u64>,
}

impl Session {
    /// The access in the pool.
    #[must_use]
    pub fn access(&self) -> Access {
        Access {
            part: self.part,
            client: match self.block {
                Some(_) => holder(&self.request_id),
                None => client_instance(&self.client_key),
            },
            station: self.station.clone(),
            mode: self.mode,
            seats: self.seats,
            linger: self.linger,
        }
    }

    /// Seats as the grant states them; 0 when the entry is not counted.
    #[must_use]
    pub const fn units(&self) -> u32 {
        if self.counted { self.seats.get() } else { 0 }
    }
}

/// The running program behind a client key.
#[must_use]
pub fn client_instance(key: &PublicKey) -> ClientInstance {
    let digest = Sha256::digest(key.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    ClientInstance(u128::from_be_bytes(id))
}

impl Canonical for Session {
    fn write(&self, writer: &mut Writer) {
        writer.array(22);
        writer.bytes(&self.id.to_u128().to_be_bytes());
        writer.bytes(&self.request_id);
        writer.bytes(&self.asked);
        writer.bytes(self.client_key.as_bytes());
        writer.bytes(&self.nonce);
        writer.uint(u64::from(self.firm_code.get()));
        writer.bytes(&self.license.to_u128().to_be_bytes());
        writer.uint(self.part.index() as u64);
        writer.uint(u64::from(self.product_code.get()));
        writer.uint(u64::from(self.feature_map.bits()));
        writer.uint(self.mode as u64);
        writer.uint(u64::from(self.seats.get()));
        writer.bool(self.counted);
        writer.text(self.station.as_str());
        writer.time(self.since);
        writer.list(&self.ends_at.map(|end| vec![end]).unwrap_or_default(), |w, end| w.time(*end));
        writer.uint(u64::try_from(self.linger.as_micros()).unwrap_or(u64::MAX));
        writer.text(&self.names.program);
        writer.list(&[&self.names.user, &self.names.host], |w, name| w.text(name));
        match self.address {
            None => writer.bytes(&[]),
            Some(IpAddr::V4(address)) => writer.bytes(&address.octets()),
            Some(IpAddr::V6(address)) => writer.bytes(&address.octets()),
        }
        writer.list(&self.reserved, |w, rule| w.text(rule));
        writer.list(&self.block.map(|number| vec![number]).unwrap_or_default(), |w, number| w.uint(*number));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let parts = reader.array(22)?;
        // Nineteen before there were access rules, twenty-one before there were blocks.
        if parts != 19 && parts != 21 && parts != 22 {
            return Err(CborError::Value("a session has twenty-two parts"));
        }
        let mut session = Self {
            id: SessionId::from_u128(u128::from_be_bytes(reader.fixed()?)),
            request_id: reader.fixed()?,
            asked: reader.fixed()?,
            client_key: PublicKey::from_bytes(&reader.fixed()?).map_err(|_| CborError::Value("client key"))?,
            nonce: reader.fixed()?,
            firm_code: read_firm(reader)?,
            license: read_license(reader)?,
            part: read_part(reader)?,
            product_code: ProductCode(reader.u32()?),
            feature_map: FeatureMap(reader.u32()?),
            mode: AccessMode::ALL
                .get(usize::from(reader.u16()?))
                .copied()
                .ok_or(CborError::Value("access mode that is not known"))?,
            seats: Seats::new(reader.u32()?).map_err(|_| CborError::Value("number of seats"))?,
            counted: reader.bool()?,
            station: Station::new(reader.text(Station::MAX_BYTES)?).map_err(|_| CborError::Value("station"))?,
            since: reader.time()?,
            ends_at: reader.list(1, Reader::time)?.pop(),
            linger: Duration::from_micros(reader.uint()?),
            names: {
                let program = reader.text(MAX_NAME_BYTES)?.to_owned();
                let mut rest = reader.list(2, |r| r.text(MAX_NAME_BYTES).map(str::to_owned))?.into_iter();
                ClientNames { program, user: rest.next().unwrap_or_default(), host: rest.next().unwrap_or_default() }
            },
            address: None,
            reserved: Vec::new(),
            block: None,
        };
        if parts > 19 {
            session.address = read_address(reader)?;
            session.reserved = reader.list(MAX_RULES, |r| r.text(MAX_RULE_NAME_BYTES).map(str::to_owned))?;
        }
        if parts == 22 {
            session.block = reader.list(1, Reader::uint)?.pop();
        }
        Ok(session)
    }
}

fn read_address(reader: &mut Reader<'_>) -> Result<Option<IpAddr>, CborError> {
    match *reader.bytes(16)? {
        [] => Ok(None),
        [a, b, c, d] => Ok(Some([a, b, c, d].into())),
        ref octets => {
            let octets = <[u8; 16]>::try_from(octets).map_err(|_| CborError::Value("address"))?;
            Ok(Some(octets.into()))
        }
    }
}

/// Reads a firm code.
pub(crate) fn read_firm(reader: &mut Reader<'_>) -> Result<FirmCode, CborError> {
    FirmCode::new(reader.u32()?).map_err(|_| CborError::Value("firm code"))
}

/// Reads a licence id.
pub(super) fn read_license(reader: &mut Reader<'_>) -> Result<LicenseId, CborError> {
    Ok(LicenseId::from_u128(u128::from_be_bytes(reader.fixed()?)))
}

/// Reads a part of a product item.
pub(super) fn read_part(reader: &mut Reader<'_>) -> Result<Part, CborError> {
    Part::from_index(usize::from(reader.u16()?)).ok_or(CborError::Value("part of a product item"))
}
