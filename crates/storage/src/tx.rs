//! Transactions: visible begin, visible commit, undone when dropped.

use std::sync::Arc;

use sqlx::{Any, AnyConnection, Transaction};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::{Dialect, StorageError};

/// A write transaction. Without [`Tx::commit`] everything in it is undone.
#[must_use = "a transaction that is not committed is undone"]
pub struct Tx {
    // Dropped before the permit, so that on SQLite the rollback is queued before the next writer may begin.
    inner: Transaction<'static, Any>,
    dialect: Dialect,
    outbox_filled: Arc<Notify>,
    appended: bool,
    _writer: Option<OwnedSemaphorePermit>,
}

impl Tx {
    pub(crate) fn new(
        inner: Transaction<'static, Any>,
        dialect: Dialect,
        outbox_filled: Arc<Notify>,
        writer: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { inner, dialect, outbox_filled, appended: false, _writer: writer }
    }

    /// The connection to run statements on.
    pub fn conn(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    /// The engine, for row locks.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Makes the changes durable and wakes the relay when events were appended.
    ///
    /// # Errors
    /// `Transient`: nothing happened. `Unavailable`: the outcome is unknown, so ask before doing it again.
    pub async fn commit(self) -> Result<(), StorageError> {
        self.inner.commit().await?;
        if self.appended {
            self.outbox_filled.notify_one();
        }
        Ok(())
    }

    /// Undoes everything at once; dropping does the same, a moment later.
    pub async fn rollback(self) -> Result<(), StorageError> {
        self.inner.rollback().await?;
        Ok(())
    }

    /// Remembers that the relay has work once this transaction is committed.
    pub(crate) fn mark_appended(&mut self) {
        self.appended = true;
    }
}

impl std::fmt::Debug for Tx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

/// Several reads of one moment. Nothing can be changed through it.
pub struct ReadTx {
    inner: Transaction<'static, Any>,
}

impl ReadTx {
    pub(crate) fn new(inner: Transaction<'static, Any>) -> Self {
        Self { inner }
    }

    /// The connection to run reads on.
    pub fn conn(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }
}

impl std::fmt::Debug for ReadTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadTx").finish_non_exhaustive()
    }
}
