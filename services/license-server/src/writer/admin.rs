//! What administrators do: make the container, write contexts, import updates. Each step is durable before the next.

use lictor_license_file::apply::{self, Device, Import, Step};
use lictor_license_file::context::{self, Context, Statement};
use lictor_license_file::evidence::Evidence;
use lictor_license_file::frame::{Frame, SectionType};
use lictor_license_file::segment::Segment;
use lictor_license_file::update::UpdateFile;
use lictor_license_file::{FileError, FileType, lif};
use lictor_licensing::binding::{Binding, ContainerKind, may_live};
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::id::FirmCode;
use lictor_signing::{RootError, TrustedRoot};

use super::{Writer, broken, no_space};
use crate::domain::MAX_FIRMS;
use crate::domain::ask::Moment;
use crate::domain::record::Record;
use crate::store::StoreError;

/// A container that was made, or a firm that was added to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Display name of the container.
    pub serial: String,
    /// The firm.
    pub firm_code: FirmCode,
    /// Where the firm's chain stands.
    pub counter: u64,
    /// False when the firm was there already.
    pub created: bool,
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
    /// Makes the container for the vendor of a licence information file, or adds the vendor to it.
    ///
    /// # Errors
    /// When the file is refused, forbids this kind of container, or cannot be made durable.
    pub fn create_container(&mut self, file: &[u8], kind: ContainerKind, moment: Moment) -> Result<Created, Problem> {
        if kind != ContainerKind::Folder {
            return Err(Problem::new(
                ErrorCode::Unsupported,
                format!("this build of the licence server keeps folder containers only, not {kind}"),
                "leave the kind out, with a licence information file that allows folder",
            ));
        }
        // The vendor is known by the code in the file; whether the file may speak for it is checked right below.
        let opened = lif::read(file).map_err(|error| error.problem())?;
        let firm_code = opened.information.firm_code;
        if let Some(firm) = self.keeper.state.firms.get(&firm_code) {
            let known = lif::read_known(file, &firm.trusted).map_err(|error| error.problem())?;
            let newer = newer_roots(&firm.trusted, &lif_roots(file)?)?;
            if known.root.version() > firm.trusted.version() && !newer.is_empty() {
                self.write(vec![Record::RootsFollowed { firm: firm_code, roots: newer }])?;
            }
            return Ok(self.created(firm_code, false));
        }
        may_live(opened.information.bindings, kind, false).map_err(|forbidden| {
            Problem::new(
                ErrorCode::BindingForbidden,
                format!("the vendor does not allow this container: {forbidden}"),
                format!("ask the vendor for a licence information file that allows {}", Binding::Folder),
            )
        })?;
        if self.keeper.state.firms.len() >= MAX_FIRMS {
            return Err(Problem::new(
                ErrorCode::LimitExceeded,
                format!("a container holds at most {MAX_FIRMS} firms"),
                "use another licence server for further vendors",
            ));
        }
        let roots = lif_roots(file)?.into_iter().map(<[u8]>::to_vec).collect();
        let mut records = Vec::new();
        if self.keeper.state.container.is_none() {
            let serial = crate::domain::serial(&self.profile.container_id().0);
            records.push(Record::ContainerCreated { serial, at: moment.now });
        }
        let issued_at = opened.information.issued_at;
        records.push(Record::FirmAdded { firm: firm_code, roots, issued_at });
        self.write(records)?;
        Ok(self.created(firm_code, true))
    }

    fn created(&self, firm_code: FirmCode, created: bool) -> Created {
        let counter = self.keeper.state.firms.get(&firm_code).map_or(0, |firm| firm.vendor.counter);
        Created { serial: self.serial(), firm_code, counter, created }
    }

    fn serial(&self) -> String {
        self.keeper.state.container.as_ref().map(|container| container.serial.clone()).unwrap_or_default()
    }

    /// Writes a context for a firm; its number is durable before it leaves.
    ///
    /// # Errors
    /// When the firm is not in the container, or the number cannot be made durable.
    pub fn create_context(&mut self, firm_code: FirmCode, moment: Moment) -> Result<(Vec<u8>, u64), Problem> {
        let file = self.context(firm_code, context::Reason::Request, moment)?;
        let counter = self.keeper.state.firms.get(&firm_code).map_or(0, |firm| firm.vendor.counter);
        Ok((file, counter))
    }

    fn context(&mut self, firm_code: FirmCode, reason: context::Reason, moment: Moment) -> Result<Vec<u8>, Problem> {
        let firm = self.keeper.state.firms.get(&firm_code).ok_or_else(|| unknown_firm(firm_code))?;
        let sequence = firm.context_sequence + 1;
        self.write(vec![Record::ContextNumbered { firm: firm_code, sequence }])?;
        let mut device_nonce = [0; 16];
        getrandom::fill(&mut device_nonce).map_err(|_| internal("the licence server has no random bytes"))?;
        let serial = self.serial();
        let firm = self.keeper.state.firms.get(&firm_code).ok_or_else(|| unknown_firm(firm_code))?;
        let statement = Statement {
            reason,
            serial: &serial,
            profile: &self.profile,
            root_version: firm.trusted.version(),
            sequence,
            created_at: self.keeper.state.effective(moment.now),
            device_nonce,
            vendor_nonce: None,
            counters: firm.counters(),
            evidence: firm.evidence.clone(),
        };
        Context::new(&firm.vendor, statement)
            .to_file(&self.secrets.signing)
            .map_err(|error| internal(&error.to_string()))
    }

    /// Imports an update: verifies all of it first, then applies it segment by segment.
    ///
    /// # Errors
    /// When the file is refused; nothing but kept evidence has changed then. When a later segment does not fit or the
    /// disk is full, the steps before it hold, and the same file goes on from there.
    pub fn import(&mut self, file: &[u8], moment: Moment) -> Result<Imported, Problem> {
        let update = UpdateFile::read(file).map_err(|error| error.problem())?;
        let firm_code = self.firm_of(&update)?;
        let firm = self.keeper.state.firms.get(&firm_code).ok_or_else(|| unknown_firm(firm_code))?;
        let from = firm.vendor.counter;
        let device = Device { profile: &self.profile, sealing: &self.secrets.sealing };
        let mut import = match apply::verify(file, device, &firm.trusted, &firm.vendor) {
            Ok(import) => import,
            Err(error) => {
                self.keep_evidence(firm_code, &error);
                return Err(error.problem());
            }
        };
        if import.new_root().is_some() {
            let roots = newer_roots(&firm.trusted, &update.roots)?;
            self.write(vec![Record::RootsFollowed { firm: firm_code, roots }])?;
        }
        let stopped = self.apply(firm_code, &mut import, moment);
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
            .context(firm_code, context::Reason::Receipt(results), moment)
            .or_else(|problem| if self.is_full() { Ok(Vec::new()) } else { Err(problem) })?;
        let to = self.keeper.state.firms.get(&firm_code).map_or(from, |firm| firm.vendor.counter);
        Ok(Imported { serial: self.serial(), firm_code, from, to, applied, skipped, receipt })
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

    fn apply(&mut self, firm_code: FirmCode, import: &mut Import, moment: Moment) -> Result<(), Problem> {
        while let Some(step) = import.next_step() {
            let step = step.map_err(|error| error.problem())?;
            let record = self.segment_record(firm_code, &step)?;
            self.write(vec![record])?;
            for record in self.keeper.end_orphans(firm_code, moment.now) {
                self.lazy.push(record.to_bytes());
                self.metrics.expired();
            }
            tracing::info!(firm = firm_code.get(), counter = step.to, note = step.note, "applied an update");
        }
        Ok(())
    }

    fn segment_record(&self, firm_code: FirmCode, step: &Step) -> Result<Record, Problem> {
        let firm = self.keeper.state.firms.get(&firm_code).ok_or_else(|| unknown_firm(firm_code))?;
        let issued_at = Segment::read(&step.segment).map_err(|error| error.problem())?.header().issued_at;
        Ok(Record::SegmentApplied {
            firm: firm_code,
            state: step.state.encode().map_err(|error| error.problem())?,
            keys: firm.keys_after(&step.keys),
            issued_at,
        })
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

    /// Makes records durable, then takes them over: one batch.
    fn write(&mut self, records: Vec<Record>) -> Result<(), Problem> {
        let bytes: Vec<Vec<u8>> = records.iter().map(Record::to_bytes).collect();
        self.append(&bytes).map_err(|error| match error {
            StoreError::Full(_) => no_space(),
            _ => broken(),
        })?;
        for record in &records {
            self.keeper.state.change(record).map_err(|reason| {
                // It is in the journal and does not fit: the next start would refuse as well.
                self.fatal.get_or_insert(format!("a record does not fit the state: {reason}"));
                broken()
            })?;
        }
        Ok(())
    }
}

fn lif_roots(file: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let frame = Frame::parse_as(file, FileType::LicenseInformation).map_err(|error| error.problem())?;
    Ok(frame.all(SectionType::Root).collect())
}

/// Those of the documents that lead on from the trusted one.
fn newer_roots(trusted: &TrustedRoot, documents: &[&[u8]]) -> Result<Vec<Vec<u8>>, Problem> {
    let mut root = trusted.clone();
    let mut newer = Vec::new();
    for document in documents {
        match root.update(document) {
            Ok(next) => {
                root = next;
                newer.push(document.to_vec());
            }
            Err(RootError::WrongVersion { trusted, found }) if found <= trusted => {}
            Err(error) => return Err(FileError::from(error).problem()),
        }
    }
    Ok(newer)
}

fn unknown_firm(firm_code: FirmCode) -> Problem {
    Problem::new(
        ErrorCode::NotFound,
        format!("firm {firm_code} is not in a container of this licence server"),
        "create the container with the vendor's licence information file first",
    )
}

fn internal(what: &str) -> Problem {
    Problem::new(ErrorCode::Internal, what, "look into the log of the licence server")
}
