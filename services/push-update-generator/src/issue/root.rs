//! The newest root document of a firm. Another process may make a newer one at any time, so what is remembered here is
//! compared with the version that the tables name.

use std::sync::Arc;

use lictor_licensing::id::FirmCode;
use lictor_signing::TrustedRoot;

use super::Issuer;
use crate::{failure::Failure, problem, store};

impl Issuer {
    /// The newest root document that this process knows, or the stored one when it knows none.
    pub(crate) async fn root(&self, firm: FirmCode) -> Result<Arc<TrustedRoot>, Failure> {
        match self.keys.known_root(firm) {
            Some(root) => Ok(root),
            None => self.load_root(firm).await,
        }
    }

    /// The newest root document that is stored at this moment.
    pub(crate) async fn newest_root(&self, firm: FirmCode) -> Result<Arc<TrustedRoot>, Failure> {
        let stored = store::vendor::find(&self.db, firm).await?;
        let version = stored.ok_or_else(|| Failure::Refused(problem::unknown_firm(firm)))?.root_version;
        self.root_at(firm, version).await
    }

    /// A root document of at least this version, which the tables name as the newest.
    pub(crate) async fn root_at(&self, firm: FirmCode, version: u64) -> Result<Arc<TrustedRoot>, Failure> {
        match self.keys.known_root(firm) {
            Some(root) if root.version() >= version => Ok(root),
            _ => self.load_root(firm).await,
        }
    }

    /// Reads and verifies the documents, and puts them into the archive before anything is signed under them.
    pub(crate) async fn load_root(&self, firm: FirmCode) -> Result<Arc<TrustedRoot>, Failure> {
        let stored = store::vendor::roots_after(&self.db, firm, 0).await?;
        let mut trusted: Option<TrustedRoot> = None;
        for document in &stored {
            let next = match &trusted {
                None => TrustedRoot::trust(&document.envelope),
                Some(root) => root.update(&document.envelope),
            };
            trusted =
                Some(next.map_err(|error| Failure::Refused(problem::internal("a stored root document", &error)))?);
        }
        let root = trusted.ok_or_else(|| Failure::Refused(problem::unknown_firm(firm)))?;
        if let Some(archive) = &self.archive {
            archive.put_roots(firm, &stored).await?;
        }
        Ok(self.keys.remember_root(firm, root))
    }
}
