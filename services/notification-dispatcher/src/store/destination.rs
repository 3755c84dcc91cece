//! Destinations and their secrets.

use std::collections::HashMap;

use lictor_clock::Timestamp;
use lictor_licensing::id::DestinationId;
use lictor_storage::{
    Database, StorageError, Tx,
    sqlx::{self, Row, any::AnyRow},
    to_u64,
};

use crate::domain::{
    destination::{Destination, DestinationState, Health},
    filter::TypeFilter,
    secret::SigningSecret,
    target::Target,
};

/// Most destinations of one installation.
pub const DESTINATIONS: usize = 1_000;

const ALL: &str = "SELECT id, url, types, state, disabled_at, note, failing_since, failures, rests_until, created_at \
     FROM destination ORDER BY id";

/// A destination with what signs for it, newest first.
#[derive(Debug, Clone)]
pub struct WithSecrets {
    /// The destination.
    pub destination: Destination,
    /// Its secrets that are still good.
    pub secrets: Vec<SigningSecret>,
}

/// Adds a destination with its first secret. Needs the ledger's lock.
pub async fn insert(tx: &mut Tx, new: &Destination, secret: &SigningSecret) -> Result<(), StorageError> {
    let types = serde_json::Value::from(new.filter.patterns()).to_string();
    sqlx::query(
        "INSERT INTO destination (id, transmission, url, types, state, note, failures, created_at) \
         VALUES ($1, 'webhook', $2, $3, 'enabled', '', 0, $4)",
    )
    .bind(new.id.to_string())
    .bind(new.target.to_string())
    .bind(types)
    .bind(new.created_at.as_micros())
    .execute(tx.conn())
    .await?;
    sqlx::query("INSERT INTO destination_secret (destination_id, number, secret) VALUES ($1, 1, $2)")
        .bind(new.id.to_string())
        .bind(secret.expose())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// How many there are.
pub async fn count(tx: &mut Tx) -> Result<u64, StorageError> {
    let row = sqlx::query("SELECT COUNT(*) FROM destination").fetch_one(tx.conn()).await?;
    to_u64(row.try_get(0)?)
}

/// One destination, inside a transaction.
pub async fn find(tx: &mut Tx, id: DestinationId) -> Result<Option<Destination>, StorageError> {
    sqlx::query(
        "SELECT id, url, types, state, disabled_at, note, failing_since, failures, rests_until, created_at \
         FROM destination WHERE id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(tx.conn())
    .await?
    .as_ref()
    .map(destination)
    .transpose()
}

/// All destinations, oldest first.
pub async fn all(db: &Database) -> Result<Vec<Destination>, StorageError> {
    sqlx::query(ALL).fetch_all(db.pool()).await?.iter().map(destination).collect()
}

/// All destinations with their secrets, inside a transaction.
pub async fn all_with_secrets(tx: &mut Tx, now: Timestamp) -> Result<Vec<WithSecrets>, StorageError> {
    let rows = sqlx::query(ALL).fetch_all(tx.conn()).await?;
    let mut secrets: HashMap<String, Vec<SigningSecret>> = HashMap::new();
    for row in sqlx::query(
        "SELECT destination_id, secret FROM destination_secret WHERE expires_at IS NULL OR expires_at > $1 \
         ORDER BY destination_id, number DESC",
    )
    .bind(now.as_micros())
    .fetch_all(tx.conn())
    .await?
    {
        let text: String = row.try_get("secret")?;
        let secret = text.parse().map_err(|_| StorageError::inconsistent("destination_secret.secret", "malformed"))?;
        secrets.entry(row.try_get("destination_id")?).or_default().push(secret);
    }
    rows.iter()
        .map(|row| {
            let destination = destination(row)?;
            let secrets = secrets.remove(&destination.id.to_string()).unwrap_or_default();
            Ok(WithSecrets { destination, secrets })
        })
        .collect()
}

/// Writes how a destination fares.
pub async fn write_health(tx: &mut Tx, id: DestinationId, health: &Health, note: &str) -> Result<(), StorageError> {
    sqlx::query("UPDATE destination SET failing_since = $1, failures = $2, rests_until = $3, note = $4 WHERE id = $5")
        .bind(health.failing_since.map(Timestamp::as_micros))
        .bind(i64::from(health.failures))
        .bind(health.rests_until.map(Timestamp::as_micros))
        .bind(note.to_owned())
        .bind(id.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Disables a destination and tells whether it was enabled. Needs the ledger's lock.
pub async fn disable(tx: &mut Tx, id: DestinationId, note: &str, now: Timestamp) -> Result<bool, StorageError> {
    let changed = sqlx::query(
        "UPDATE destination SET state = 'disabled', disabled_at = $1, note = $2 WHERE id = $3 AND state = 'enabled'",
    )
    .bind(now.as_micros())
    .bind(note.to_owned())
    .bind(id.to_string())
    .execute(tx.conn())
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Enables a destination with a clean record. Needs the ledger's lock.
pub async fn enable(tx: &mut Tx, id: DestinationId) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE destination SET state = 'enabled', disabled_at = NULL, note = '', failing_since = NULL, failures = 0, \
         rests_until = NULL WHERE id = $1 AND state = 'disabled'",
    )
    .bind(id.to_string())
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn destination(row: &AnyRow) -> Result<Destination, StorageError> {
    let id: String = row.try_get("id")?;
    let url: String = row.try_get("url")?;
    let types: String = row.try_get("types")?;
    let types: Vec<String> = serde_json::from_str(&types)
        .map_err(|error| StorageError::inconsistent("destination.types", error.to_string()))?;
    let disabled_at: Option<i64> = row.try_get("disabled_at")?;
    let state: String = row.try_get("state")?;
    let state = match (state.as_str(), disabled_at) {
        ("enabled", None) => DestinationState::Enabled,
        ("disabled", Some(since)) => DestinationState::Disabled { since: Timestamp::from_micros(since) },
        _ => return Err(StorageError::inconsistent("destination.state", state)),
    };
    let failing_since: Option<i64> = row.try_get("failing_since")?;
    let rests_until: Option<i64> = row.try_get("rests_until")?;
    let failures: i64 = row.try_get("failures")?;
    Ok(Destination {
        id: id.parse().map_err(|_| StorageError::inconsistent("destination.id", id))?,
        target: Target::stored(&url)
            .map_err(|error| StorageError::inconsistent("destination.url", error.to_string()))?,
        filter: TypeFilter::new(types.iter().map(String::as_str))
            .map_err(|error| StorageError::inconsistent("destination.types", error.to_string()))?,
        state,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        note: row.try_get("note")?,
        health: Health {
            failing_since: failing_since.map(Timestamp::from_micros),
            failures: u32::try_from(failures).unwrap_or(u32::MAX),
            rests_until: rests_until.map(Timestamp::from_micros),
        },
    })
}
