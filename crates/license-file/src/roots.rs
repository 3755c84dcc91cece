//! Following a vendor's root documents through a file.

use lictor_signing::cbor;
use lictor_signing::{Envelope, RootDocument, RootError, TrustedRoot};
use sha2::{Digest as _, Sha256};

use crate::FileError;

/// Takes every root document that is newer than the trusted one, in steps of exactly one version. Older ones are no
/// news; an equal version with other content is refused.
pub(crate) fn follow(trusted: &TrustedRoot, roots: &[&[u8]]) -> Result<TrustedRoot, FileError> {
    let mut current = trusted.clone();
    for bytes in roots {
        let envelope = Envelope::from_bytes(bytes)?;
        let document: RootDocument = cbor::decode(envelope.unverified_payload())?;
        if document.firm_code != current.firm_code() {
            return Err(wrong_vendor(&current, document.firm_code));
        }
        if document.version < current.version() {
            continue;
        }
        if document.version == current.version() {
            if Sha256::digest(envelope.unverified_payload()).as_slice() != current.digest() {
                let version = document.version;
                return Err(FileError::Root(RootError::WrongVersion { trusted: version, found: version }));
            }
            continue;
        }
        current = current.update(bytes)?;
    }
    Ok(current)
}

fn wrong_vendor(root: &TrustedRoot, found: u32) -> FileError {
    match lictor_licensing::id::FirmCode::new(root.firm_code()) {
        Ok(expected) => FileError::WrongVendor { expected, found },
        Err(_) => FileError::Damaged("a root document without a firm"),
    }
}
