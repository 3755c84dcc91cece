//! Whom a program believes: the root documents of its vendor, compiled in or read from a licence information file.

use std::collections::BTreeMap;

use lictor_api::server::v1::LeaseChain;
use lictor_signing::{Envelope, GrantStatement, LeaseCertificate, PublicKey, RootError, TrustedRoot};

use crate::error::TrustError;

/// Most root documents that a server may lead through.
const MAX_ROOT_STEPS: usize = 1024;

/// The roots that a program trusts, one per firm.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    roots: BTreeMap<u32, TrustedRoot>,
}

impl Trust {
    /// Trusts a root document, and replaces an older one of the same firm.
    ///
    /// # Errors
    /// When the bytes are no root document that its own keys signed.
    pub fn add_root(&mut self, root_document: &[u8]) -> Result<(), RootError> {
        self.add(TrustedRoot::trust(root_document)?);
        Ok(())
    }

    /// Trusts a root that was checked already.
    pub fn add(&mut self, root: TrustedRoot) {
        let newer = self.roots.get(&root.firm_code()).is_none_or(|known| known.version() < root.version());
        if newer {
            self.roots.insert(root.firm_code(), root);
        }
    }

    /// Whether no root is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Whether a root of this firm is trusted.
    #[must_use]
    pub fn knows(&self, firm_code: u32) -> bool {
        self.roots.contains_key(&firm_code)
    }

    /// Follows a server's chain from the trusted root of its firm to the certificate of `lease_key`.
    ///
    /// # Errors
    /// When the chain is for an unknown firm, a step of it is not signed as it must be, or it ends at another key.
    pub(crate) fn certificate(
        &self,
        chain: &LeaseChain,
        lease_key: &PublicKey,
    ) -> Result<LeaseCertificate, TrustError> {
        let trusted = self.roots.get(&chain.firm_code).ok_or(TrustError::UnknownFirm(chain.firm_code))?;
        let mut root = trusted.clone();
        for document in chain.root_documents.iter().take(MAX_ROOT_STEPS) {
            match root.update(document) {
                Ok(next) => root = next,
                // A server keeps the whole way; the part up to what this program knows already is skipped.
                Err(RootError::WrongVersion { trusted, found }) if found <= trusted => {}
                Err(error) => return Err(TrustError::Chain(error.to_string())),
            }
        }
        let envelope = Envelope::from_bytes(&chain.lease_certificate)
            .map_err(|_| TrustError::Malformed("the lease certificate is not an envelope"))?;
        // Checks the signature, the window of the key, and that the firm is the root's own.
        let certificate: LeaseCertificate =
            root.open(&envelope).map_err(|error| TrustError::Chain(error.to_string()))?;
        if certificate.lease_key != *lease_key {
            return Err(TrustError::Chain("it is the certificate of another key".to_owned()));
        }
        Ok(certificate)
    }
}

/// What a grant must answer.
pub(crate) struct Asked<'a> {
    pub(crate) client_key: &'a PublicKey,
    pub(crate) nonce: &'a [u8; 32],
    pub(crate) firm_code: u32,
    pub(crate) product_code: u32,
    pub(crate) feature_map: u32,
}

/// Opens a grant and compares it with what was asked, field by field.
///
/// # Errors
/// The first thing that does not hold.
pub(crate) fn open_grant(
    certificate: &LeaseCertificate,
    statement: &[u8],
    asked: &Asked<'_>,
) -> Result<GrantStatement, TrustError> {
    let envelope =
        Envelope::from_bytes(statement).map_err(|_| TrustError::Malformed("the grant is not an envelope"))?;
    let grant: GrantStatement =
        envelope.open_by_key(&certificate.lease_key).map_err(|_| TrustError::Grant("the lease key did not sign it"))?;
    let checks = [
        (grant.nonce == *asked.nonce, "it answers another request"),
        (grant.client_key == *asked.client_key, "it was made for another client"),
        (grant.firm_code == asked.firm_code && certificate.firm_code == asked.firm_code, "it is of another firm"),
        (grant.product_code == asked.product_code, "it is for another product"),
        (grant.feature_map & asked.feature_map == asked.feature_map, "it lacks features"),
        (grant.container_id == certificate.container_id, "it comes from another container"),
        (certificate.valid_at(grant.issued_at), "the certificate was not valid then"),
        (within(certificate.limits.max_seats, u64::from(grant.units)), "it exceeds what the certificate allows"),
        (
            within(certificate.limits.max_grant_seconds, grant.revalidate_within_ms / 1_000),
            "it lasts longer than the certificate allows",
        ),
    ];
    match checks.into_iter().find(|(holds, _)| !holds) {
        None => Ok(grant),
        Some((_, reason)) => Err(TrustError::Grant(reason)),
    }
}

fn within(limit: Option<u32>, value: u64) -> bool {
    limit.is_none_or(|limit| value <= u64::from(limit))
}
