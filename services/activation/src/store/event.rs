//! What the generator's events tell: which activations a container proved.

use lictor_clock::Timestamp;
use lictor_licensing::id::ActivationId;
use lictor_storage::{
    StorageError,
    inbox::{self, Taken},
    retry,
    sqlx::{self, AssertSqlSafe},
};

use super::Store;

/// An event as it came in, and the activations that it proves.
#[derive(Debug, Clone)]
pub struct ProofOf {
    /// Name of the consumer.
    pub consumer: &'static str,
    /// The service that announced it.
    pub source: String,
    /// The event's id.
    pub event_id: String,
    /// The event's number within its source.
    pub sequence: u64,
    /// References of issued segments that are ids of ours.
    pub activations: Vec<ActivationId>,
}

impl Store {
    /// Takes an event in, once; tells whether a saga became due by it.
    pub async fn take_proof(&self, proof: &ProofOf, now: Timestamp) -> Result<bool, StorageError> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let taken = Taken {
                consumer: proof.consumer,
                source: &proof.source,
                event_id: &proof.event_id,
                sequence: proof.sequence,
            };
            let mut due = 0;
            if inbox::take(&mut tx, &taken, now).await? {
                for part in proof.activations.chunks(500) {
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
                    due += query.execute(tx.conn()).await?.rows_affected();
                }
            }
            tx.commit().await?;
            Ok(due > 0)
        })
        .await
    }
}
