//! What administrators do: make the container, write contexts. Each step is durable before the next.

use lictor_license_file::context::{self, Context, Statement};
use lictor_license_file::evidence::Evidence;
use lictor_license_file::frame::{Frame, SectionType};
use lictor_license_file::segment::Question;
use lictor_license_file::{FileError, FileType, lif};
use lictor_licensing::binding::{ContainerKind, may_live};
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

impl Writer {
    /// Makes the container for the vendor of a licence information file, or adds the vendor to it. Its kind is that of this
    /// server; `kind` only says what is expected.
    ///
    /// # Errors
    /// When the file is refused, forbids this kind of container, or cannot be made durable.
    pub fn create_container(
        &mut self,
        file: &[u8],
        kind: Option<ContainerKind>,
        moment: Moment,
    ) -> Result<Created, Problem> {
        let own = self.profile.kind;
        if kind.is_some_and(|kind| kind != own) {
            return Err(Problem::new(
                ErrorCode::Unsupported,
                format!("this licence server keeps a container of kind {own}, not {}", kind.unwrap_or(own)),
                "leave the kind out, or start a licence server with another LICTOR_BINDING on an empty folder",
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
        may_live(opened.information.bindings, own, self.profile.virtual_machine).map_err(|forbidden| {
            let wanted = forbidden.wanted;
            Problem::new(
                ErrorCode::BindingForbidden,
                format!("the vendor does not allow this container: {forbidden}"),
                format!("ask the vendor for a licence information file that allows {wanted}"),
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

    pub(super) fn serial(&self) -> String {
        self.keeper.state.container.as_ref().map(|container| container.serial.clone()).unwrap_or_default()
    }

    /// Writes a context for a firm; its number is durable before it leaves, and so is the question that it asks when it
    /// carries a challenge of the vendor.
    ///
    /// # Errors
    /// When the firm is not in the container, or the number cannot be made durable.
    pub fn create_context(
        &mut self,
        firm_code: FirmCode,
        challenge: Option<[u8; 32]>,
        moment: Moment,
    ) -> Result<(Vec<u8>, u64), Problem> {
        let file = self.context(firm_code, context::Reason::Request, challenge, moment)?;
        let counter = self.keeper.state.firms.get(&firm_code).map_or(0, |firm| firm.vendor.counter);
        Ok((file, counter))
    }

    pub(super) fn context(
        &mut self,
        firm_code: FirmCode,
        reason: context::Reason,
        challenge: Option<[u8; 32]>,
        moment: Moment,
    ) -> Result<Vec<u8>, Problem> {
        let firm = self.keeper.state.firms.get(&firm_code).ok_or_else(|| unknown_firm(firm_code))?;
        let sequence = firm.context_sequence + 1;
        // What a rebase has settled leaves for the last time; it is gone as soon as the number is written.
        let mut evidence = firm.evidence.clone();
        let time = &self.keeper.state.time;
        if time.is_suspect(moment) {
            let piece = Evidence::Clock { floor: time.floor(moment.boottime), clock: moment.now };
            lictor_license_file::evidence::keep(&mut evidence, piece);
        }
        let mut device_nonce = [0; 16];
        getrandom::fill(&mut device_nonce).map_err(|_| internal("the licence server has no random bytes"))?;
        let question = challenge.map(|challenge| Question { device_nonce, challenge });
        self.write(vec![Record::ContextNumbered { firm: firm_code, sequence, question }])?;
        let serial = self.serial();
        let firm = self.keeper.state.firms.get(&firm_code).ok_or_else(|| unknown_firm(firm_code))?;
        let statement = Statement {
            reason,
            serial: &serial,
            profile: &self.profile,
            root_version: firm.trusted.version(),
            sequence,
            created_at: self.keeper.state.effective(moment),
            device_nonce,
            vendor_nonce: challenge,
            counters: firm.counters(),
            evidence,
        };
        Context::new(&firm.vendor, statement)
            .to_file(&self.secrets.signing)
            .map_err(|error| internal(&error.to_string()))
    }

    /// Makes records durable, then takes them over: one batch.
    pub(super) fn write(&mut self, records: Vec<Record>) -> Result<(), Problem> {
        self.append(records.iter().map(Record::to_bytes)).map_err(|error| match error {
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
        if !self.keeper.state.time.is_running() {
            self.keeper.state.time.run(self.clock.boottime());
        }
        Ok(())
    }
}

fn lif_roots(file: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let frame = Frame::parse_as(file, FileType::LicenseInformation).map_err(|error| error.problem())?;
    Ok(frame.all(SectionType::Root).collect())
}

/// Those of the documents that lead on from the trusted one.
pub(super) fn newer_roots(trusted: &TrustedRoot, documents: &[&[u8]]) -> Result<Vec<Vec<u8>>, Problem> {
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

pub(super) fn unknown_firm(firm_code: FirmCode) -> Problem {
    Problem::new(
        ErrorCode::NotFound,
        format!("firm {firm_code} is not in a container of this licence server"),
        "create the container with the vendor's licence information file first",
    )
}

pub(super) fn internal(what: &str) -> Problem {
    Problem::new(ErrorCode::Internal, what, "look into the log of the licence server")
}
