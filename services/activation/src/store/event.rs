//! What the generator's events tell: which activations a container proved.

use lictor_clock::Timestamp;
use lictor_licensing::id::ActivationId;
use lictor_storage::{
    StorageError, inbox, retry,
    sqlx::{self, AnyConnection, AssertSqlSafe},
};

use super::Store;

/// Most activations of one statement.
const AT_ONCE: usize = 500;

/// A part of a source's feed that was read.
#[derive(Debug, Clone, Copy)]
pub struct ReadThrough {
    /// Name of the consumer.
    pub consumer: &'static str,
    /// The service that announced it.
    pub source: &'static str,
    /// Number of the last event that was read.
    pub sequence: u64,
}

impl Store {
    /// Notes that containers proved these activations; tells whether one became due by it. Doing it again changes nothing, so
    /// nobody has to remember which event was taken.
    pub async fn take_proofs(&self, activations: &[ActivationId], now: Timestamp) -> Result<bool, StorageError> {
        if activations.is_empty() {
            return Ok(false);
        }
        retry(|| async {
            let mut alone = self.alone().await?;
            let due = prove(alone.conn(), activations, now).await?;
            alone.done().await?;
            Ok(due)
        })
        .await
    }

    /// The same, and that everything up to an event was read.
    pub async fn take_page(
        &self,
        activations: &[ActivationId],
        read: ReadThrough,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let due = prove(tx.conn(), activations, now).await?;
            inbox::advance(&mut tx, read.consumer, read.source, read.sequence).await?;
            tx.commit().await?;
            Ok(due)
        })
        .await
    }
}

async fn prove(
    connection: &mut AnyConnection,
    activations: &[ActivationId],
    now: Timestamp,
) -> Result<bool, StorageError> {
    let mut due = 0;
    for part in activations.chunks(AT_ONCE) {
        let places: Vec<String> = (3..part.len() + 3).map(|place| format!("${place}")).collect();
        let mut query = sqlx::query(AssertSqlSafe(format!(
            "UPDATE activation SET proven_at = $1, next_attempt_at = $2 \
             WHERE proven_at IS NULL AND state NOT IN ('confirmed', 'refused') AND activation_id IN ({})",
            places.join(",")
        )))
        .bind(now.as_micros())
        .bind(now.as_micros());
        for id in part {
            query = query.bind(id.to_string());
        }
        due += query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(due > 0)
}
