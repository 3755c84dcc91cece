//! Importing updates: all is verified first, then applied segment by segment. Each segment is a record of its own in the
//! journal; those of a file share one batch and its one sync, so that a container that slept for long does not wait for
//! the disk once per segment. A crash leaves whole segments, and nothing is acknowledged before the last of them is synced.

use std::collections::BTreeMap;

use lictor_license_file::apply::{self, Device, Import, Step};
use lictor_license_file::context;
use lictor_license_file::evidence::Evidence;
use lictor_license_file::segment::{ProductKey, Segment};
use lictor_license_file::update::UpdateFile;
use lictor_license_file::{Digest, FileError};
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::id::{FirmCode, ProductCode};

use super::admin::{newer_roots, unknown_firm};
use super::{Writer, broken, no_space};
use crate::domain::ask::Moment;
use crate::domain::firm::change_keys;
use crate::domain::record::Record;
use crate::domain::state::encode_firm;
use crate::store::probation::{self, Probation};

/// Bytes of records after which a batch is written though there are more segments: each record carries the whole state
/// of its firm, and a batch has its limit.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// Steps of an import that wait for one sync.
#[derive(Default)]
struct Group {
    records: Vec<Record>,
    bytes: usize,
    /// Counter and note of each segment, for the log.
    told: Vec<(u64, String)>,
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Display name of the container.
    pub serial: String,
    /// The firm.
    pub firm_code: FirmCode,
    /// Counter before.
    pub from: u64,
    /// Counter after.
    pub to: u64,
    /// Segments that were applied.
    pub applied: u32,
    /// Segments that were there already.
    pub skipped: u32,
    /// The receipt for the vendor; empty when there was no room to number it.
    pub receipt: Vec<u8>,
}

impl Writer {
    /// Imports an update: verifies all of it first, then applies it segment by segment.
    ///
    /// # Errors
    /// When the file is refused; nothing but kept evidence has changed then. When a later segment does not fit, the steps
    /// before it hold; when the disk is full, those that it had room for. The same file goes on from there.
    pub fn import(&mut self, file: &[u8], moment: Moment) -> Result<Imported, Problem> {
        let update = UpdateFile::read(file).map_err(|error| error.problem())?;
        let firm_code = self.firm_of(&update)?;
        let firm = self.keeper.state.firms.get(&firm_code).ok_or_else(|| unknown_firm(firm_code))?;
        let from = firm.vendor.counter;
        let device = Device { profile: &self.profile, sealing: &self.secrets.sealing };
        let verified = apply::verify_answering(file, device, &firm.trusted, &firm.vendor, &firm.questions);
        let mut import = match verified {
            Ok(import) => import,
            Err(error) => {
                self.keep_evidence(firm_code, &error);
                return Err(error.problem());
            }
        };
        let roots = newer_roots(&firm.trusted, &update.roots)?;
        if import.new_root().is_some() || import.has_steps() {
            self.keep_aside(firm_code, Digest::of(file))?;
        }
        let mut group = Group::default();
        if import.new_root().is_some() {
            group.bytes = roots.iter().map(Vec::len).sum();
            group.records.push(Record::RootsFollowed { firm: firm_code, roots });
        }
        let stopped = self.apply(firm_code, &mut import, group, moment);
        let results = import.results().to_vec();
        let count = |verdict| {
            let number = results.iter().filter(|result| result.verdict == verdict).count();
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        let applied = count(lictor_license_file::verdict::VerdictCode::Applied);
        let skipped = count(lictor_license_file::verdict::VerdictCode::AlreadyApplied);
        // What stops the first step stops the import; later on the steps that hold are worth a receipt.
        stopped?;
        let receipt = self
            .context(firm_code, context::Reason::Receipt(results), None, moment)
            .or_else(|problem| if self.is_full() { Ok(Vec::new()) } else { Err(problem) })?;
        let to = self.keeper.state.firms.get(&firm_code).map_or(from, |firm| firm.vendor.counter);
        Ok(Imported { serial: self.serial(), firm_code, from, to, applied, skipped, receipt })
    }

    /// Remembers the firm's part of the state as it is now, until the server has started with what comes next. Several
    /// imports in one life of the server go back together, to the last state that a server has started with.
    fn keep_aside(&mut self, firm_code: FirmCode, file: Digest) -> Result<(), Problem> {
        let state = &self.keeper.state;
        if state.taken_back.names(firm_code, &file, crate::VERSION) {
            return Err(Problem::new(
                ErrorCode::WrongState,
                "this update was taken back, because the licence server did not start with it three times",
                "upgrade the licence server and import the file again, or send a context to the vendor",
            ));
        }
        let firm = state.firms.get(&firm_code).ok_or_else(|| unknown_firm(firm_code))?;
        let mut probation = self.probation.clone();
        probation.add(firm_code, file, || encode_firm(firm));
        self.journal.write_aside(probation::FILE, &probation.to_bytes()).map_err(|error| {
            self.note(&error);
            if self.is_full() { no_space() } else { broken() }
        })?;
        self.probation = probation;
        Ok(())
    }

    /// The server has started with everything that was imported before: nothing of it will be taken back.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn started(&mut self) -> Result<(), Problem> {
        if !self.probation.is_empty() {
            let starts: Vec<String> = self.probation.start_files().collect();
            for file in starts.iter().map(String::as_str).chain([probation::FILE]) {
                self.journal.remove_aside(file).map_err(|error| {
                    self.note(&error);
                    broken()
                })?;
            }
            self.probation = Probation::default();
        }
        Ok(())
    }

    /// The firm of an update: that of its segments, or for roots alone the one firm that they continue.
    fn firm_of(&self, update: &UpdateFile<'_>) -> Result<FirmCode, Problem> {
        if let Some(info) = update.info() {
            return if info.container_id == self.profile.container_id() || self.keeper.state.container.is_none() {
                Ok(info.firm_code)
            } else {
                Err(FileError::WrongContainer.problem())
            };
        }
        let continued = self
            .keeper
            .state
            .firms
            .values()
            .find(|firm| update.roots.iter().any(|root| firm.trusted.update(root).is_ok()));
        continued
            .map(|firm| firm.code())
            .ok_or_else(|| FileError::Damaged("it brings nothing for this container").problem())
    }

    fn apply(
        &mut self,
        firm_code: FirmCode,
        import: &mut Import,
        mut group: Group,
        moment: Moment,
    ) -> Result<(), Problem> {
        let firm = self.keeper.state.firms.get(&firm_code).ok_or_else(|| unknown_firm(firm_code))?;
        let mut keys = firm.keys.clone();
        let stopped = loop {
            let step = match import.next_step() {
                None => break Ok(()),
                Some(Err(error)) => break Err(error.problem()),
                Some(Ok(step)) => step,
            };
            change_keys(&mut keys, &step.keys);
            let (record, bytes) = match segment_record(firm_code, &step, &keys) {
                Ok(made) => made,
                Err(problem) => break Err(problem),
            };
            if group.bytes + bytes > GROUP_BYTES {
                self.take_over(firm_code, std::mem::take(&mut group), moment)?;
            }
            group.records.push(record);
            group.bytes += bytes;
            group.told.push((step.to, step.note));
        };
        // Whatever stopped it, the steps before it hold.
        self.take_over(firm_code, group, moment)?;
        stopped
    }

    /// Makes a group of steps durable, then takes it over.
    fn take_over(&mut self, firm_code: FirmCode, group: Group, moment: Moment) -> Result<(), Problem> {
        if group.records.is_empty() {
            return Ok(());
        }
        self.write(group.records)?;
        let (records, ended) = self.keeper.settle(firm_code, moment);
        self.lazy.extend(records.iter().map(Record::to_bytes));
        (0..ended).for_each(|_| self.metrics.expired());
        for (counter, note) in group.told {
            tracing::info!(firm = firm_code.get(), counter, note, "applied an update");
        }
        Ok(())
    }

    /// A fork is worth remembering; everything else is forgotten.
    fn keep_evidence(&mut self, firm_code: FirmCode, error: &FileError) {
        let Some(evidence) = Evidence::from_refusal(error) else { return };
        let known = self.keeper.state.firms.get(&firm_code).is_some_and(|firm| firm.evidence.contains(&evidence));
        if !known {
            // The refusal stands whether or not there is room to remember it.
            let _ = self.write(vec![Record::EvidenceKept { firm: firm_code, evidence }]);
        }
    }
}

/// The record of a step, and about how many bytes it has.
fn segment_record(
    firm_code: FirmCode,
    step: &Step,
    keys: &BTreeMap<ProductCode, ProductKey>,
) -> Result<(Record, usize), Problem> {
    /// More than a product key takes in a record.
    const KEY_BYTES: usize = 64;
    let issued_at = Segment::read(&step.segment).map_err(|error| error.problem())?.header().issued_at;
    let state = step.state.encode().map_err(|error| error.problem())?;
    let bytes = state.len() + KEY_BYTES * keys.len();
    let record = Record::SegmentApplied {
        firm: firm_code,
        state,
        keys: keys.clone().into_iter().collect(),
        issued_at,
        rebase: step.rebased.then(|| step.floor.clone()),
    };
    Ok((record, bytes))
}
