//! Blocking a container that its customer lost: everything goes out with one segment, and only withdrawals follow.

use lictor_licensing::id::LicenseId;

use super::Issuer;
use crate::{
    domain::{
        container::{Chain, ChainKey},
        record::Record,
        request::{BlockRequest, Job},
    },
    failure::Failure,
    problem, store,
};

/// A container that is blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The container.
    pub chain: Chain,
    /// Licenses that the blocking segment takes out.
    pub licenses: Vec<LicenseId>,
}

impl Issuer {
    /// Blocks a container, or gives the answer again when it is blocked already, under whatever name.
    ///
    /// # Errors
    /// As [`Issuer::issue`].
    pub async fn block(&self, request: &BlockRequest) -> Result<Blocked, Failure> {
        self.may_issue().await?;
        if self.chain(&request.key).await?.blocked.is_none() {
            self.run(Job::Block(request)).await?;
        } else {
            // Another run may have been killed on its way.
            self.finish_chain(&request.key).await?;
        }
        let chain = self.chain(&request.key).await?;
        let mut licenses = Vec::new();
        if let Some(reference) = &chain.blocked {
            let mut tx = self.db.begin().await?;
            let segment = store::segment::find_by_reference(&mut tx, request.key.firm, reference).await?;
            tx.rollback().await?;
            if let Some(segment) = segment {
                let record = Record::decode(&segment.operations)
                    .map_err(|error| Failure::Refused(problem::internal("the record of a segment", &error)))?;
                licenses = record.withdrawn().collect();
            }
        }
        Ok(Blocked { chain, licenses })
    }

    /// A chain.
    ///
    /// # Errors
    /// When the firm knows no such container.
    pub async fn chain(&self, key: &ChainKey) -> Result<Chain, Failure> {
        store::container::find(&self.db, key).await?.ok_or_else(|| Failure::Refused(problem::unknown_container()))
    }
}
