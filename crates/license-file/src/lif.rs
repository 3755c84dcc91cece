//! License information files: where trust in a vendor begins on the customer's side.

use lictor_clock::Timestamp;
use lictor_licensing::binding::Bindings;
use lictor_licensing::id::FirmCode;
use lictor_signing::cbor::{Canonical, CborError, Reader, Writer};
use lictor_signing::{Envelope, PayloadType, Role, SignedPayload, Signer, TrustedRoot};

use crate::FileError;
use crate::context::WriteError;
use crate::frame::{self, FileType, Frame, SectionType};
use crate::limits::{MAX_ADDRESS_BYTES, MAX_ROOTS};
use crate::roots;
use crate::segment::read_firm;

/// What a vendor tells a licence server before the first license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseInformation {
    /// The vendor.
    pub firm_code: FirmCode,
    /// Kinds of containers that may be made for this vendor.
    pub bindings: Bindings,
    /// Where tickets are activated; empty for offline only.
    pub activation_address: String,
    /// When it was made.
    pub issued_at: Timestamp,
}

/// A license information file that was verified against its own root documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedInformation {
    /// What the vendor says.
    pub information: LicenseInformation,
    /// The newest root document of the file.
    pub root: TrustedRoot,
}

/// Writes the file. `roots` ascend by one version each and end with the one that `signers` belong to.
///
/// # Errors
/// When a signer fails, or the file would be too large.
pub fn build(
    information: &LicenseInformation,
    roots: &[Vec<u8>],
    signers: &[&dyn Signer],
) -> Result<Vec<u8>, WriteError> {
    let envelope = Envelope::seal(information, signers)?.to_bytes();
    let mut sections: Vec<_> = roots.iter().map(|bytes| (SectionType::Root, bytes.as_slice())).collect();
    sections.push((SectionType::Envelope, &envelope));
    Ok(frame::build(FileType::LicenseInformation, &sections)?)
}

/// Reads the file and trusts its first root document. Only for a vendor that the container does not know yet, and only
/// because a person chose the file.
///
/// # Errors
/// When the file is not what it should be, or not signed by the keys that its root documents lead to.
pub fn read(file: &[u8]) -> Result<OpenedInformation, FileError> {
    let (roots, envelope) = parse(file)?;
    let (first, rest) = roots.split_first().ok_or(FileError::Damaged("it holds no root document"))?;
    let root = roots::follow(&TrustedRoot::trust(first)?, rest)?;
    open(&envelope, root)
}

/// Reads the file for a vendor that is known: its root documents must continue the trusted one.
///
/// # Errors
/// As [`read`], and when the file is of another vendor or of other root keys.
pub fn read_known(file: &[u8], trusted: &TrustedRoot) -> Result<OpenedInformation, FileError> {
    let (roots, envelope) = parse(file)?;
    let root = roots::follow(trusted, &roots)?;
    open(&envelope, root)
}

fn parse(file: &[u8]) -> Result<(Vec<&[u8]>, Envelope), FileError> {
    let frame = Frame::parse_as(file, FileType::LicenseInformation)?;
    frame.allow(&[(SectionType::Root, MAX_ROOTS), (SectionType::Envelope, 1)])?;
    Ok((frame.all(SectionType::Root).collect(), Envelope::from_bytes(frame.only(SectionType::Envelope)?)?))
}

fn open(envelope: &Envelope, root: TrustedRoot) -> Result<OpenedInformation, FileError> {
    Ok(OpenedInformation { information: root.open(envelope)?, root })
}

impl SignedPayload for LicenseInformation {
    const PAYLOAD_TYPE: PayloadType = PayloadType::new("application/vnd.lictor.license-information.v1+cbor");
    const ROLE: Option<Role> = Some(Role::Issue);

    fn firm_code(&self) -> u32 {
        self.firm_code.get()
    }

    fn signed_at(&self) -> Option<Timestamp> {
        Some(self.issued_at)
    }
}

impl Canonical for LicenseInformation {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.uint(u64::from(self.firm_code.get())));
            fields.field(1, |w| w.uint(u64::from(self.bindings.to_bits())));
            let address = (!self.activation_address.is_empty()).then_some(&self.activation_address);
            fields.option(2, address, |w, address| w.text(address));
            fields.field(3, |w| w.time(self.issued_at));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let information = Self {
            firm_code: fields.required(0, read_firm)?,
            bindings: fields.required(1, |r| {
                Bindings::from_bits(r.u32()?).ok_or(CborError::Value("a kind of container that is not known"))
            })?,
            activation_address: fields.optional(2, |r| r.text(MAX_ADDRESS_BYTES))?.unwrap_or_default().to_owned(),
            issued_at: fields.required(3, Reader::time)?,
        };
        fields.end()?;
        Ok(information)
    }
}
