//! What happened to licenses, one row per fact, written in the transaction of the change.
//!
//! For whoever changes something: note every step of every license, with these words, because
//! [`domain::history`](crate::domain::history) reads from them what a container could run.
//!
//! | `what` | when | `quantity` and `expires_at` |
//! |---|---|---|
//! | `planned`, `released` | set aside for an activation; given back with nothing issued | as wanted |
//! | `issued` | a segment that puts it in, or adds to it, was issued (commit) | what the container holds after it |
//! | `renewed` | a segment that moves its end was issued | what the container holds after it |
//! | `lessened` | a segment that takes a part out was issued | what stays |
//! | `leaving` | a segment that takes all of it out was issued | 0, none |
//! | `proven` | the container proved that it took the segment of this activation | as issued |
//! | `gone`, `returned` | the same, when that segment took all of it out | 0, none |
//! | `written-off` | its container was lost and blocked | what it held |
//! | `created`, `withdrawn`, `merged`, `cancelled`, `resumed`, `transferred` | decisions; they say why | as it helps people |

use lictor_clock::Timestamp;
use lictor_licensing::{
    FirmCode,
    id::{ActivationId, LicenseId},
};
use lictor_storage::{
    StorageError, Tx,
    sqlx::{AnyConnection, Row, any::AnyRow},
    to_i64, to_u64,
};

use super::{
    Store,
    sql::{parsed, rows, small, statement},
};
use crate::domain::history::{Fact, What};

/// Most facts that one answer is computed from; more are refused, not left out.
pub const MAX_FACTS: u32 = 50_000;

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// What it is about.
    pub license: LicenseId,
    /// One of the words above.
    pub what: &'static str,
    /// SHA-256 of the container's device key, hex; empty when no container is concerned.
    pub container: String,
    /// Its display serial.
    pub serial: String,
    /// Seats that the container holds after this; 0 when it is not counted, or nothing is left.
    pub quantity: u32,
    /// Activation that did it.
    pub activation: Option<ActivationId>,
    /// Counter of the segment; 0 when none is involved.
    pub counter: u64,
    /// When the entry ends by date after this.
    pub expires_at: Option<Timestamp>,
    /// One sentence; may be empty.
    pub why: String,
}

/// Writes facts down, all in one statement.
pub(super) async fn note(tx: &mut Tx, notes: &[Note], now: Timestamp) -> Result<(), StorageError> {
    // Engines bind a limited number of values in one statement.
    for part in notes.chunks(500) {
        let mut query = statement(format!(
            "INSERT INTO license_history (license_id, happened_at, what, container_id, serial, quantity, \
             activation_id, counter, expires_at, why) VALUES {}",
            rows(part.len(), 10)
        ));
        for note in part {
            query = query
                .bind(note.license.to_string())
                .bind(now.as_micros())
                .bind(note.what)
                .bind(note.container.clone())
                .bind(note.serial.clone())
                .bind(i64::from(note.quantity))
                .bind(note.activation.map(|id| id.to_string()))
                .bind(to_i64(note.counter)?)
                .bind(note.expires_at.map(Timestamp::as_micros))
                .bind(note.why.clone());
        }
        query.execute(tx.conn()).await?;
    }
    Ok(())
}

/// Notes that the container proved the renewals of an activation: nothing but their facts names their licenses once they
/// were issued. A repeat notes nothing.
pub(super) async fn renewals_proven(tx: &mut Tx, activation: ActivationId, now: Timestamp) -> Result<(), StorageError> {
    lictor_storage::sqlx::query(
        "INSERT INTO license_history (license_id, happened_at, what, container_id, serial, quantity, activation_id, \
         counter, expires_at, why) SELECT h.license_id, $1, 'proven', h.container_id, h.serial, h.quantity, \
         h.activation_id, h.counter, h.expires_at, '' FROM license_history h \
         WHERE h.activation_id = $2 AND h.what = 'renewed' AND NOT EXISTS (SELECT 1 FROM license_history p \
         WHERE p.license_id = h.license_id AND p.activation_id = h.activation_id AND p.what = 'proven') \
         ORDER BY h.history_id",
    )
    .bind(now.as_micros())
    .bind(activation.to_string())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Whose history is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryOf {
    /// One license, wherever it lay.
    License(LicenseId),
    /// Every license that ever lay in a container.
    Container(FirmCode, String),
}

impl Store {
    /// The facts, oldest first; one more than [`MAX_FACTS`] when there are more.
    pub async fn history(&self, of: &HistoryOf) -> Result<Vec<Fact>, StorageError> {
        let mut read = self.db.begin_read().await?;
        facts(read.conn(), of).await
    }
}

async fn facts(conn: &mut AnyConnection, of: &HistoryOf) -> Result<Vec<Fact>, StorageError> {
    let from = "SELECT h.license_id, h.happened_at, h.what, h.container_id, h.serial, h.quantity, h.activation_id, \
        h.counter, h.expires_at, h.why, i.name AS item, v.product_code, v.expires_at AS item_end, l.quantity AS sold \
        FROM license_history h JOIN license l ON l.license_id = h.license_id JOIN item i ON i.item_id = l.item_id \
        JOIN item_version v ON v.item_id = l.item_id AND v.version = l.item_version";
    let order = format!("ORDER BY h.history_id LIMIT {}", MAX_FACTS + 1);
    let query = match of {
        HistoryOf::License(license) => {
            statement(format!("{from} WHERE h.license_id = $1 {order}")).bind(license.to_string())
        }
        HistoryOf::Container(firm, serial) => {
            statement(format!("{from} WHERE h.serial = $1 AND h.serial <> '' AND l.firm_code = $2 {order}"))
                .bind(serial.clone())
                .bind(i64::from(firm.get()))
        }
    };
    query.fetch_all(conn).await?.iter().map(fact).collect()
}

fn fact(row: &AnyRow) -> Result<Fact, StorageError> {
    let activation: Option<String> = row.try_get("activation_id")?;
    let expires_at: Option<i64> = row.try_get("expires_at")?;
    let item_end: Option<i64> = row.try_get("item_end")?;
    let what: String = row.try_get("what")?;
    Ok(Fact {
        license: parsed(row, "license_id")?,
        item: row.try_get("item")?,
        product_code: small(row, "product_code")?,
        counted: small(row, "sold")? > 0,
        at: Timestamp::from_micros(row.try_get("happened_at")?),
        what: What::named(&what),
        container: row.try_get("container_id")?,
        serial: row.try_get("serial")?,
        quantity: small(row, "quantity")?,
        activation: activation
            .map(|text| text.parse().map_err(|_| StorageError::inconsistent("license_history.activation_id", text)))
            .transpose()?,
        counter: to_u64(row.try_get("counter")?)?,
        expires_at: expires_at.into_iter().chain(item_end).min().map(Timestamp::from_micros),
        why: row.try_get("why")?,
    })
}
