//! A block at the server that hands its seats out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lictor_license_file::state::Entry;
use lictor_licensing::feature::FeatureMap;
use lictor_licensing::id::{FirmCode, LicenseId, ProductCode};
use lictor_licensing::item::Part;
use lictor_signing::cbor::{Canonical, CborError, FieldWriter, Fields, Reader, Writer};

use super::BlockId;
use crate::domain::MAX_NAME_BYTES;
use crate::domain::ask::Until;
use crate::domain::firm::License;
use crate::domain::session::read_firm;

/// Longest name of a server in bytes.
const MAX_SERVER_BYTES: usize = 300;
/// Most bytes of the chain that a lender sends: root documents, certificate, delegation.
const MAX_CHAIN_BYTES: usize = 512 * 1024;
/// Most bytes of the item that is lent.
const MAX_ITEM_BYTES: usize = 64 * 1024;

/// What a block is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wish {
    /// The vendor.
    pub firm_code: FirmCode,
    /// The product.
    pub product_code: ProductCode,
    /// Features that its entry must have.
    pub feature_map: FeatureMap,
}

/// What the lender says of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The lender's container.
    pub serial: String,
    /// Its id.
    pub container_id: [u8; 32],
    /// What is lent, as an encoded product item.
    pub item: Vec<u8>,
    /// How the firm's root leads to this server's key, as it goes out to programs.
    pub chain: Vec<u8>,
}

/// The open question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) seats: u32,
    pub(super) needed: u32,
    /// When it was first sent in this life of the process.
    pub(super) first_sent: Option<Duration>,
}

/// A block that was borrowed.
#[derive(Debug)]
pub struct Borrowed {
    /// Its id.
    pub id: BlockId,
    /// The lender, as the search list names it.
    pub server: String,
    /// What it is for.
    pub wish: Wish,
    /// Number of the last question.
    pub number: u64,
    /// Seats that may be in use at most.
    pub seats: u32,
    /// What the lender said; none before its first answer.
    pub terms: Option<Arc<Terms>>,
    /// The seats, once there are terms.
    pub license: Option<License>,
    pub(super) open: Option<Open>,
    /// When nobody may believe in its seats any more, unless an answer comes before; since boot.
    pub(super) stop_at: Option<Duration>,
    /// When the last answer was asked for.
    pub(super) asked_at: Duration,
    /// Until when its seats can be promised, in microseconds since boot. Shared with the streams that hold them.
    pub(super) promised_until: Arc<AtomicU64>,
    pub(super) paused: bool,
    /// Most seats in use since it was looked at last.
    pub(super) peak: u32,
    pub(super) peak_since: Duration,
    /// Until when the lender is not asked for more: it had less than was needed.
    pub(super) short_until: Duration,
    /// Until when it is not asked for more than is needed: it gave none in advance.
    pub(super) advance_after: Duration,
    /// The lender has few seats left.
    pub(super) scarce: bool,
}

impl Borrowed {
    /// A block that was never asked for.
    #[must_use]
    pub fn new(id: BlockId, server: String, wish: Wish) -> Self {
        Self {
            id,
            server,
            wish,
            number: 0,
            seats: 0,
            terms: None,
            license: None,
            open: None,
            stop_at: None,
            asked_at: Duration::ZERO,
            promised_until: Arc::default(),
            paused: false,
            peak: 0,
            peak_since: Duration::ZERO,
            short_until: Duration::ZERO,
            advance_after: Duration::ZERO,
            scarce: false,
        }
    }

    /// The licence that its seats are of.
    #[must_use]
    pub fn license_id(&self) -> LicenseId {
        license_id(&self.id)
    }

    /// Whether a seat of it can be promised now.
    #[must_use]
    pub fn is_usable(&self, now: Duration) -> bool {
        self.terms.is_some() && now < self.promised_until()
    }

    /// Whether new seats of it may be given, as it was looked at last.
    #[must_use]
    pub const fn serves(&self) -> bool {
        self.terms.is_some() && self.stop_at.is_some() && !self.paused
    }

    /// Until when its seats can be promised.
    #[must_use]
    pub fn promised_until(&self) -> Duration {
        Duration::from_micros(self.promised_until.load(Ordering::Acquire))
    }

    /// The same, for the streams that hold its seats.
    #[must_use]
    pub fn promises(&self) -> Until {
        Until(Arc::clone(&self.promised_until))
    }

    /// Seats that are in use.
    #[must_use]
    pub fn used(&self) -> u32 {
        let used = self.license.as_ref().map_or(0, |license| license.seats.pool(Part::Parent).report().used);
        u32::try_from(used).unwrap_or(u32::MAX)
    }

    /// Seats that are free.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.seats.saturating_sub(self.used())
    }

    /// Sets the number of seats that may be in use.
    pub(crate) fn set_seats(&mut self, seats: u32) {
        self.seats = seats;
        if let Some(license) = &mut self.license {
            license.seats.pool_mut(Part::Parent).set_total(Some(seats));
        }
    }

    /// Takes over what the lender says. Holders keep their seats.
    ///
    /// # Errors
    /// A sentence when the item cannot be read.
    pub(crate) fn set_terms(&mut self, terms: Arc<Terms>) -> Result<(), String> {
        let changed = self.terms.as_ref().is_none_or(|known| known.item != terms.item);
        if changed {
            let source = Entry { item: terms.item.clone(), quantity: self.seats.max(1), ..Entry::default() };
            self.license = Some(match &self.license {
                Some(known) => known.reloaded(&source)?,
                None => License::load(&source)?,
            });
        }
        self.terms = Some(terms);
        self.set_seats(self.seats);
        Ok(())
    }
}

/// The licence that the seats of a block are of.
#[must_use]
pub(super) fn license_id(block: &BlockId) -> LicenseId {
    LicenseId::from_u128(u128::from_be_bytes(*block))
}

impl Canonical for Wish {
    fn write(&self, writer: &mut Writer) {
        writer.array(3);
        writer.uint(u64::from(self.firm_code.get()));
        writer.uint(u64::from(self.product_code.get()));
        writer.uint(u64::from(self.feature_map.bits()));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        if reader.array(3)? != 3 {
            return Err(CborError::Value("what a block is for has three parts"));
        }
        Ok(Self {
            firm_code: read_firm(reader)?,
            product_code: ProductCode(reader.u32()?),
            feature_map: FeatureMap(reader.u32()?),
        })
    }
}

impl Canonical for Terms {
    fn write(&self, writer: &mut Writer) {
        writer.array(4);
        writer.text(&self.serial);
        writer.bytes(&self.container_id);
        writer.bytes(&self.item);
        writer.bytes(&self.chain);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        if reader.array(4)? != 4 {
            return Err(CborError::Value("the terms of a block have four parts"));
        }
        Ok(Self {
            serial: reader.text(MAX_NAME_BYTES)?.to_owned(),
            container_id: reader.fixed()?,
            item: reader.bytes(MAX_ITEM_BYTES)?.to_vec(),
            chain: reader.bytes(MAX_CHAIN_BYTES)?.to_vec(),
        })
    }
}

impl Terms {
    /// Whether they are within what is written down.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.serial.len() <= MAX_NAME_BYTES && self.item.len() <= MAX_ITEM_BYTES && self.chain.len() <= MAX_CHAIN_BYTES
    }
}

/// What is written of a block before a question leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The block.
    pub block: BlockId,
    /// The lender.
    pub server: String,
    /// What it is for.
    pub wish: Wish,
    /// Number of the question.
    pub number: u64,
    /// Seats that may be in use from now on.
    pub seats: u32,
}

impl Asked {
    pub(crate) fn write_fields(&self, fields: &mut FieldWriter) {
        fields.field(1, |w| w.bytes(&self.block));
        fields.field(2, |w| w.text(&self.server));
        fields.field(3, |w| self.wish.write(w));
        fields.field(4, |w| w.uint(self.number));
        fields.field(5, |w| w.uint(u64::from(self.seats)));
    }

    pub(crate) fn read_fields(fields: &mut Fields<'_, '_>) -> Result<Self, CborError> {
        Ok(Self {
            block: fields.required(1, Reader::fixed)?,
            server: fields.required(2, |r| r.text(MAX_SERVER_BYTES))?.to_owned(),
            wish: fields.required(3, Wish::read)?,
            number: fields.required(4, Reader::uint)?,
            seats: fields.required(5, Reader::u32)?,
        })
    }
}

impl Canonical for Borrowed {
    fn write(&self, writer: &mut Writer) {
        let asked = Asked {
            block: self.id,
            server: self.server.clone(),
            wish: self.wish.clone(),
            number: self.number,
            seats: self.seats,
        };
        writer.record(|fields| {
            asked.write_fields(fields);
            fields.option(6, self.terms.as_deref(), |w, terms| terms.write(w));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let Asked { block, server, wish, number, seats } = Asked::read_fields(&mut fields)?;
        let terms = fields.optional(6, Terms::read)?;
        fields.end()?;
        let mut borrowed = Self { number, ..Self::new(block, server, wish) };
        borrowed.set_seats(seats);
        if let Some(terms) = terms {
            borrowed.set_terms(Arc::new(terms)).map_err(|_| CborError::Value("the item of a block"))?;
        }
        Ok(borrowed)
    }
}
