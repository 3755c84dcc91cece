//! Whom a program believes: the root documents of its vendor, compiled in or read from a licence information file.

use std::collections::BTreeMap;

use lictor_api::server::v1::LeaseChain;
use lictor_clock::Timestamp;
use lictor_signing::{
    BatchProof, BlockCertificate, Envelope, GrantStatement, LeaseCertificate, PublicKey, RootError, TrustedRoot, cbor,
};

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
        let certificate = self.lease_certificate(chain)?;
        if certificate.lease_key != *lease_key {
            return Err(TrustError::Chain("it is the certificate of another key".to_owned()));
        }
        Ok(certificate)
    }

    /// Follows a chain over the server that lends a block of seats to the one that hands them out with `key`.
    ///
    /// # Errors
    /// As for [`Trust::certificate`], and when the lender did not lend to this key.
    pub(crate) fn delegated(&self, chain: &LeaseChain, key: &PublicKey) -> Result<Issuer, TrustError> {
        let lender = self.lease_certificate(chain)?;
        let envelope = Envelope::from_bytes(&chain.delegation)
            .map_err(|_| TrustError::Malformed("the delegation is not an envelope"))?;
        let block: BlockCertificate = envelope
            .open_by_key(&lender.lease_key)
            .map_err(|_| TrustError::Chain("the lender did not sign the delegation".to_owned()))?;
        let checks = [
            (block.key == *key, "it lends to another key"),
            (block.firm_code == lender.firm_code, "the lender speaks for another firm"),
            (block.container_id == lender.container_id, "it names another container than the lender's"),
            (within(lender.limits.max_seats, u64::from(block.seats)), "it lends more than the lender may grant"),
            (
                within(lender.limits.max_grant_seconds, u64::from(block.max_grant_seconds)),
                "it lends for longer than the lender may grant",
            ),
        ];
        match checks.into_iter().find(|(holds, _)| !holds) {
            None => Ok(Issuer::Block { block, lender: Box::new(lender) }),
            Some((_, reason)) => Err(TrustError::Chain(reason.to_owned())),
        }
    }

    fn lease_certificate(&self, chain: &LeaseChain) -> Result<LeaseCertificate, TrustError> {
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
        root.open(&envelope).map_err(|error| TrustError::Chain(error.to_string()))
    }
}

/// By what a server may grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Issuer {
    /// The vendor's certificate for its own container.
    Container(LeaseCertificate),
    /// Another server's certificate for a block of seats.
    Block {
        /// For the block.
        block: BlockCertificate,
        /// For the server that lends it.
        lender: Box<LeaseCertificate>,
    },
}

impl Issuer {
    const fn key(&self) -> &PublicKey {
        match self {
            Self::Container(certificate) => &certificate.lease_key,
            Self::Block { block, .. } => &block.key,
        }
    }

    const fn firm_and_container(&self) -> (u32, [u8; 32]) {
        match self {
            Self::Container(certificate) => (certificate.firm_code, certificate.container_id),
            Self::Block { block, .. } => (block.firm_code, block.container_id),
        }
    }

    /// Whether it lets its holder grant this product with these features.
    const fn covers(&self, product_code: u32, feature_map: u32) -> bool {
        match self {
            Self::Container(_) => true,
            Self::Block { block, .. } => block.product_code == product_code && feature_map & !block.feature_map == 0,
        }
    }

    fn valid_at(&self, at: Timestamp) -> bool {
        match self {
            Self::Container(certificate) => certificate.valid_at(at),
            Self::Block { block, lender } => block.valid_at(at) && lender.valid_at(at),
        }
    }

    const fn limits(&self) -> (Option<u32>, Option<u32>) {
        match self {
            Self::Container(certificate) => (certificate.limits.max_seats, certificate.limits.max_grant_seconds),
            Self::Block { block, .. } => (Some(block.seats), Some(block.max_grant_seconds)),
        }
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
    issuer: &Issuer,
    (statement, proof): (&[u8], &[u8]),
    asked: &Asked<'_>,
) -> Result<GrantStatement, TrustError> {
    let proof: BatchProof = cbor::decode(proof).map_err(|_| TrustError::Malformed("the proof of the grant is none"))?;
    let grant: GrantStatement =
        proof.open(statement, issuer.key()).map_err(|_| TrustError::Grant("the lease key did not sign it"))?;
    let (firm_code, container_id) = issuer.firm_and_container();
    let (max_seats, max_grant_seconds) = issuer.limits();
    let checks = [
        (grant.nonce == *asked.nonce, "it answers another request"),
        (grant.client_key == *asked.client_key, "it was made for another client"),
        (grant.firm_code == asked.firm_code && firm_code == asked.firm_code, "it is of another firm"),
        (grant.product_code == asked.product_code, "it is for another product"),
        (grant.feature_map & asked.feature_map == asked.feature_map, "it lacks features"),
        (grant.container_id == container_id, "it comes from another container"),
        (issuer.covers(grant.product_code, grant.feature_map), "the server may not grant this product"),
        (issuer.valid_at(grant.issued_at), "the certificate was not valid then"),
        (within(max_seats, u64::from(grant.units)), "it exceeds what the certificate allows"),
        (within(max_grant_seconds, grant.revalidate_within_ms / 1_000), "it lasts longer than the certificate allows"),
    ];
    match checks.into_iter().find(|(holds, _)| !holds) {
        None => Ok(grant),
        Some((_, reason)) => Err(TrustError::Grant(reason)),
    }
}

fn within(limit: Option<u32>, value: u64) -> bool {
    limit.is_none_or(|limit| value <= u64::from(limit))
}
