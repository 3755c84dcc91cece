//! One firm's part of the container: its roots, what its chain says, and its entries ready to be asked.

use std::collections::{BTreeMap, HashMap};

use lictor_clock::Timestamp;
use lictor_license_file::apply::KeyChange;
use lictor_license_file::device::{DeviceCounters, PartCounters};
use lictor_license_file::evidence::{self, Evidence};
use lictor_license_file::limits::{MAX_ENTRIES, MAX_QUESTIONS};
use lictor_license_file::segment::{ProductKey, Question};
use lictor_license_file::state::{Entry, VendorState};
use lictor_licensing::effective::EffectiveEntry;
use lictor_licensing::id::{FirmCode, LicenseId, ProductCode};
use lictor_licensing::item::Part;
use lictor_licensing::pool::ItemSeats;
use lictor_licensing::state::{EntryState, PartState, units_left};
use lictor_signing::TrustedRoot;

use super::blocks::{BlockId, Borrowed};

/// A firm that may put licences into the container.
#[derive(Debug)]
pub struct Firm {
    /// Root documents, oldest first; programs that know an older one follow them.
    pub roots: Vec<Vec<u8>>,
    /// The newest of them.
    pub trusted: TrustedRoot,
    /// What the firm's chain says.
    pub vendor: VendorState,
    /// Keys of licensed products.
    pub keys: BTreeMap<ProductCode, ProductKey>,
    /// Number of the last context.
    pub context_sequence: u64,
    /// What was seen that should not be.
    pub evidence: Vec<Evidence>,
    /// Whether a rebase has answered the evidence of forks and rollbacks: it leaves with one more context, then it goes.
    pub settled: bool,
    /// The newest contexts with a challenge of this epoch, the oldest first; a rebase must answer one of them.
    pub questions: Vec<Question>,
    /// The licences.
    pub licenses: BTreeMap<LicenseId, License>,
    /// Counters of licences that are not here now. One that comes back, by another update or because an import is taken
    /// back, goes on where it was: units are never refunded.
    departed: DeviceCounters,
    /// Where the entries of a product are: licence and place among its entries.
    by_product: HashMap<ProductCode, Vec<(LicenseId, usize)>>,
}

/// A licence, resolved once per import.
#[derive(Debug)]
pub struct License {
    /// As the vendor's chain has it.
    pub source: Entry,
    /// Every part with what it inherits, the product item first.
    pub entries: Vec<EffectiveEntry>,
    /// What the device adds.
    pub state: EntryState,
    /// Who holds its seats.
    pub seats: ItemSeats,
}

impl License {
    pub(super) fn load(source: &Entry) -> Result<Self, String> {
        let item = source.product_item().map_err(|error| error.to_string())?;
        let entries = EffectiveEntry::all_of(&item);
        let seats = ItemSeats::new(&entries);
        Ok(Self { source: source.clone(), entries, state: EntryState::default(), seats })
    }

    /// The same holders and device state under what the vendor says now.
    pub(super) fn reloaded(&self, source: &Entry) -> Result<Self, String> {
        let mut next = Self::load(source)?;
        next.seats = self.seats.reshaped(&next.entries, |part| next.entry(part).map(EffectiveEntry::part));
        next.state = self.state.clone();
        Ok(next)
    }

    /// Takes over counters where they are higher.
    fn raise(&mut self, counters: &BTreeMap<Part, PartCounters>) {
        for (part, counters) in counters {
            let known = self.state.part(*part).clone();
            let own = PartCounters { units_used: known.units_used, usage_start: known.usage_start };
            let PartCounters { units_used, usage_start } = own.merge(*counters);
            self.state.restore(*part, PartState { usage_start, units_used, ..known });
        }
    }

    /// Units that an entry has left; none when it counts none.
    #[must_use]
    pub fn units_left(&self, entry: &EffectiveEntry) -> Option<u64> {
        let granted = entry.options().unit_counter.map(|counter| counter.0)?;
        Some(units_left(granted, self.state.part(entry.places().units).units_used))
    }

    /// A part as it counts.
    #[must_use]
    pub fn entry(&self, part: Part) -> Option<&EffectiveEntry> {
        self.entries.get(part.index())
    }
}

impl Firm {
    /// A firm without licences yet.
    ///
    /// # Errors
    /// When the root documents do not follow each other.
    pub fn new(vendor: VendorState, roots: Vec<Vec<u8>>) -> Result<Self, String> {
        let (first, rest) = roots.split_first().ok_or("a firm has at least one root document")?;
        let trusted = TrustedRoot::trust(first).map_err(|error| error.to_string())?;
        let trusted = follow(trusted, rest)?;
        let mut firm = Self {
            roots,
            trusted,
            vendor: vendor.clone(),
            keys: BTreeMap::new(),
            context_sequence: 0,
            evidence: Vec::new(),
            settled: false,
            questions: Vec::new(),
            licenses: BTreeMap::new(),
            departed: DeviceCounters::default(),
            by_product: HashMap::new(),
        };
        firm.set_vendor_state(vendor)?;
        Ok(firm)
    }

    /// The firm code.
    #[must_use]
    pub const fn code(&self) -> FirmCode {
        self.vendor.firm_code
    }

    /// Moves on to newer root documents.
    ///
    /// # Errors
    /// When they do not follow.
    pub fn follow_roots(&mut self, roots: &[Vec<u8>]) -> Result<(), String> {
        self.trusted = follow(self.trusted.clone(), roots)?;
        self.roots.extend_from_slice(roots);
        Ok(())
    }

    /// Takes over what the chain says now. Holders stay where their part still exists; the others are left out of the
    /// pools.
    ///
    /// # Errors
    /// When a product item cannot be read; nothing is changed then.
    pub fn set_vendor_state(&mut self, vendor: VendorState) -> Result<(), String> {
        let mut changed = BTreeMap::new();
        for (license, source) in &vendor.entries {
            match self.licenses.get(license) {
                Some(known) if known.source == *source => {}
                Some(known) => {
                    changed.insert(*license, known.reloaded(source)?);
                }
                None => {
                    changed.insert(*license, License::load(source)?);
                }
            }
        }
        for (id, license) in self.licenses.extract_if(.., |license, _| !vendor.entries.contains_key(license)) {
            self.departed.record(id, &license.state);
        }
        for (id, license) in &mut changed {
            // The known ones bring their state with them; their counters are not among the departed.
            license.raise(&self.departed.0.remove(id).unwrap_or_default());
        }
        self.licenses.extend(changed);
        self.forget_the_oldest_departed();
        self.by_product.clear();
        for (id, license) in &self.licenses {
            for (place, entry) in license.entries.iter().enumerate() {
                self.by_product.entry(entry.product_code()).or_default().push((*id, place));
            }
        }
        self.vendor = vendor;
        Ok(())
    }

    /// The entries of a product.
    #[must_use]
    pub fn of_product(&self, product: ProductCode) -> &[(LicenseId, usize)] {
        self.by_product.get(&product).map_or(&[], Vec::as_slice)
    }

    /// The counters that only the container moves, those of licences that left included.
    #[must_use]
    pub fn counters(&self) -> DeviceCounters {
        let mut counters = self.departed.clone();
        for (id, license) in &self.licenses {
            counters.record(*id, &license.state);
        }
        counters
    }

    /// Puts counters back after a restart, and takes over those that a rebase brings. They only ever rise.
    pub fn raise_counters(&mut self, counters: &DeviceCounters) {
        for (id, parts) in &counters.0 {
            match self.licenses.get_mut(id) {
                Some(license) => license.raise(parts),
                None => self.departed.merge(&DeviceCounters(BTreeMap::from([(*id, parts.clone())]))),
            }
        }
        self.forget_the_oldest_departed();
    }

    /// A report of counters holds so many licences and no more.
    fn forget_the_oldest_departed(&mut self) {
        let room = MAX_ENTRIES.saturating_sub(self.licenses.len());
        while self.departed.0.len() > room {
            self.departed.0.pop_first();
        }
    }

    /// No use began after a time that was signed just now: the clock was wrong when it was written down.
    pub fn no_use_after(&mut self, at: Timestamp) {
        for license in self.licenses.values_mut() {
            let wrong: Vec<(Part, PartState)> = license
                .state
                .parts()
                .filter(|(_, state)| state.usage_start.is_some_and(|start| start > at))
                .map(|(part, state)| (part, PartState { usage_start: Some(at), ..state.clone() }))
                .collect();
            for (part, state) in wrong {
                license.state.restore(part, state);
            }
        }
    }

    /// A context with this number leaves. What a rebase has settled leaves with it for the last time.
    pub fn number_context(&mut self, sequence: u64, question: Option<Question>) {
        self.context_sequence = sequence;
        if std::mem::take(&mut self.settled) {
            self.evidence.retain(|piece| matches!(piece, Evidence::Clock { .. }));
        }
        if let Some(question) = question {
            self.questions.push(question);
            let over = self.questions.len().saturating_sub(MAX_QUESTIONS);
            self.questions.drain(..over);
        }
    }

    /// The chain began anew: what was asked is answered, and what was seen is settled.
    pub fn rebased(&mut self, floor: &DeviceCounters) {
        self.raise_counters(floor);
        self.questions.clear();
        self.settled = true;
    }

    /// Keeps a piece of evidence.
    pub fn keep_evidence(&mut self, piece: Evidence) {
        evidence::keep(&mut self.evidence, piece);
    }
}

/// A licence of the container, or the one that a block of seats is of; the rest of the state stays free to be changed.
pub(super) fn find<'s>(
    firms: &'s mut BTreeMap<FirmCode, Firm>,
    blocks: &'s mut BTreeMap<BlockId, Borrowed>,
    firm: FirmCode,
    id: LicenseId,
) -> Option<&'s mut License> {
    let own = firms.get_mut(&firm).and_then(|firm| firm.licenses.get_mut(&id));
    match own {
        Some(license) => Some(license),
        None => blocks.get_mut(&id.to_u128().to_be_bytes())?.license.as_mut(),
    }
}

/// Changes product keys as an update says.
pub fn change_keys(keys: &mut BTreeMap<ProductCode, ProductKey>, changes: &[KeyChange]) {
    for change in changes {
        match change {
            KeyChange::Set(product, key) => {
                keys.insert(*product, key.clone());
            }
            KeyChange::Drop(product) => {
                keys.remove(product);
            }
            KeyChange::DropAll => keys.clear(),
        }
    }
}

fn follow(mut root: TrustedRoot, documents: &[Vec<u8>]) -> Result<TrustedRoot, String> {
    for document in documents {
        root = root.update(document).map_err(|error| error.to_string())?;
    }
    Ok(root)
}
