//! Update files, put together from stored bytes only: the same question gets the same bytes.

use lictor_license_file::{modified_context::ModifiedContext, state::VendorState, update};
use lictor_signing::Role;
use lictor_storage::{Database, StorageError};

use super::{Issuer, finish::Finished, unreadable};
use crate::{
    domain::container::{Chain, ChainKey},
    failure::Failure,
    gather::Gather,
    problem,
    store::{self, crowd::Wanted},
};

/// Files that are read for at once.
const AT_ONCE: usize = 64;

/// An update file and what it spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateFile {
    /// The file.
    pub bytes: Vec<u8>,
    /// Counter before its first segment.
    pub from: u64,
    /// Counter after its last one.
    pub to: u64,
    /// How many there are.
    pub segments: u32,
}

/// What a file has to span.
#[derive(Clone, Copy, Debug)]
struct Span {
    epoch: u32,
    above: u64,
    through: u64,
    roots_above: u64,
    /// Nothing: up to the newest.
    roots_through: Option<u64>,
}

/// Reads signed bytes for a crowd of files at once. Clones work together.
#[derive(Clone)]
pub(super) struct Reader {
    gather: Gather<Wanted, Vec<Vec<u8>>>,
}

impl Reader {
    pub(super) fn new(db: Database) -> Self {
        let gather = Gather::new(AT_ONCE, move |wanted: Vec<Wanted>| {
            let db = db.clone();
            async move {
                match store::crowd::envelopes(&db, &wanted).await {
                    Ok(found) => found.into_iter().map(Ok).collect(),
                    Err(error) => {
                        // Nothing was changed, so each may simply ask again.
                        let what = error.to_string();
                        let error = || StorageError::Unavailable { what: what.clone(), source: None };
                        wanted.iter().map(|_| Err(Failure::Storage(error()))).collect()
                    }
                }
            }
        });
        Self { gather }
    }

    async fn envelopes(&self, wanted: Wanted) -> Result<Vec<Vec<u8>>, Failure> {
        self.gather.done(wanted).await
    }
}

impl Issuer {
    /// The file that answers the request for this segment. It starts where the container was known to be at that time,
    /// so asking again gives the same bytes, whatever was proven since.
    pub(super) async fn answer(&self, finished: &Finished) -> Result<UpdateFile, Failure> {
        let segment = &finished.segment;
        let mut span = Span {
            epoch: segment.epoch,
            above: segment.file_from,
            through: segment.to,
            roots_above: segment.file_root,
            roots_through: segment.root_through,
        };
        if let Some(kept) = &finished.kept {
            span.roots_through = Some(kept.root_through);
            if span.above == segment.from && span.roots_above >= kept.root_through {
                // It stands alone and was just signed: there is nothing to look up.
                return file(&[], std::slice::from_ref(&kept.envelope), span);
            }
        } else if segment.root_through.is_none() {
            // Another run finished it, and knows which documents were the newest.
            let stored = store::segment::at(&self.db, &segment.key, segment.epoch, segment.to).await?;
            span.roots_through = stored.and_then(|stored| stored.root_through);
        }
        self.file(&segment.key, span).await
    }

    /// The file with everything that was issued and is not proven; nothing when that is nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn pending(&self, chain: &Chain) -> Result<Option<UpdateFile>, Failure> {
        if chain.issued <= chain.file_from() {
            return Ok(None);
        }
        let span = Span {
            epoch: chain.epoch,
            above: chain.file_from(),
            through: chain.issued,
            roots_above: chain.root_version,
            roots_through: None,
        };
        self.file(&chain.identity.key, span).await.map(Some)
    }

    /// The modified context as a file that stays with the vendor.
    ///
    /// # Errors
    /// When the database or the key store does not answer.
    pub async fn modified_context(&self, key: &ChainKey) -> Result<Vec<u8>, Failure> {
        // The prediction counts what is reserved, so the file waits until that is issued.
        let chain = loop {
            self.finish_chain(key).await?;
            let chain = store::container::find(&self.db, key)
                .await?
                .ok_or_else(|| Failure::Refused(problem::unknown_container()))?;
            if chain.reserved == chain.issued {
                break chain;
            }
        };
        let pending = store::segment::envelopes(&self.db, key, chain.epoch, chain.file_from(), chain.issued).await?;
        let modified = ModifiedContext {
            confirmed: store::context::accepted(&self.db, key).await?,
            pending,
            predicted: VendorState::decode(&chain.state).map_err(unreadable("a predicted state"))?,
        };
        let now = self.clock.now();
        let signers = self.signers(key.firm, Role::Issue, now).await?;
        let file = tokio::task::spawn_blocking(move || modified.to_file(now, &signers.refs()))
            .await
            .map_err(|error| Failure::Refused(problem::internal("the writing of a modified context", &error)))?;
        file.map_err(|error| Failure::Refused(problem::internal("the writing of a modified context", &error)))
    }

    async fn file(&self, key: &ChainKey, span: Span) -> Result<UpdateFile, Failure> {
        let Span { epoch, above, through, .. } = span;
        let segments = self.reader.envelopes(Wanted { key: *key, epoch, above, through }).await?;
        let through = span.roots_through.unwrap_or(u64::MAX);
        let roots: Vec<_> = if through <= span.roots_above {
            Vec::new()
        } else {
            let newer = store::vendor::roots_after(&self.db, key.firm, span.roots_above).await?;
            newer.into_iter().filter(|root| root.version <= through).map(|root| root.envelope).collect()
        };
        let segments = self.under_newer_root(key, span.epoch, span.roots_through, segments).await?;
        file(&roots, &segments, span)
    }
}

fn file(roots: &[Vec<u8>], segments: &[Vec<u8>], span: Span) -> Result<UpdateFile, Failure> {
    let bytes = update::build(roots, segments).map_err(unreadable("an update file"))?;
    let count = u32::try_from(segments.len()).unwrap_or(u32::MAX);
    Ok(UpdateFile { bytes, from: span.above, to: span.through, segments: count })
}
