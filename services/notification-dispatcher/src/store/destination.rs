//! Destinations and their keys. What may be secret about either is sealed.

use std::{collections::HashMap, sync::Arc};

use lictor_api::notification::v1 as wire;
use lictor_clock::Timestamp;
use lictor_licensing::id::DestinationId;
use lictor_storage::{
    Database, StorageError, Tx,
    sqlx::{self, Row, any::AnyRow},
    to_i64, to_u64,
};
use prost::Message;

use crate::{
    domain::{
        destination::{Destination, DestinationState, Health},
        kind::{self, Kind},
        options::Options,
        seal::Seal,
        secret::{HeldKey, SigningKey, SigningKind},
    },
    random,
};

/// Most destinations of one installation.
pub const DESTINATIONS: usize = 1_000;

const ALL: &str = "SELECT id, settings, options, state, disabled_at, note, failing_since, failures, rests_until, \
     created_at, revision FROM destination WHERE state <> 'deleted' ORDER BY id";
const ONE: &str = "SELECT id, settings, options, state, disabled_at, note, failing_since, failures, rests_until, \
     created_at, revision FROM destination WHERE state <> 'deleted' AND id = $1";

/// A destination with what signs for it, newest first.
#[derive(Debug, Clone)]
pub struct WithKeys {
    /// The destination.
    pub destination: Destination,
    /// Its keys that still sign.
    pub keys: Vec<HeldKey>,
}

/// Adds a destination. Needs the ledger's lock.
pub async fn insert(tx: &mut Tx, new: &Destination, seal: &Seal) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO destination (id, transmission, address, settings, options, state, note, failures, created_at, \
         revision) VALUES ($1, $2, $3, $4, $5, 'enabled', '', 0, $6, $7)",
    )
    .bind(new.id.to_string())
    .bind(Kind::of(&new.transmission).map_or("", Kind::name))
    .bind(kind::address(&new.transmission))
    .bind(sealed_settings(new.id, &new.transmission, seal))
    .bind(new.options.wire().encode_to_vec())
    .bind(new.created_at.as_micros())
    .bind(to_i64(new.revision)?)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes what an administrator changed. Needs the ledger's lock.
pub async fn update(tx: &mut Tx, changed: &Destination, seal: &Seal) -> Result<(), StorageError> {
    sqlx::query("UPDATE destination SET address = $1, settings = $2, options = $3, revision = $4 WHERE id = $5")
        .bind(kind::address(&changed.transmission))
        .bind(sealed_settings(changed.id, &changed.transmission, seal))
        .bind(changed.options.wire().encode_to_vec())
        .bind(to_i64(changed.revision)?)
        .bind(changed.id.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Takes a destination out of every list; its rows go in steps ([`super::forget`]). Needs the ledger's lock.
pub async fn delete(tx: &mut Tx, id: DestinationId) -> Result<(), StorageError> {
    sqlx::query("UPDATE destination SET state = 'deleted' WHERE id = $1")
        .bind(id.to_string())
        .execute(tx.conn())
        .await?;
    sqlx::query("DELETE FROM destination_key WHERE destination_id = $1")
        .bind(id.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Adds a key beside those that are there.
pub async fn add_key(
    tx: &mut Tx,
    id: DestinationId,
    key: &SigningKey,
    now: Timestamp,
    seal: &Seal,
) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO destination_key (destination_id, number, kind, secret, created_at) VALUES ($1, \
         (SELECT COALESCE(MAX(number), 0) + 1 FROM destination_key WHERE destination_id = $1), $2, $3, $4)",
    )
    .bind(id.to_string())
    .bind(key.kind().name())
    .bind(seal.seal(&key_place(id), &key.secret_bytes(), random::bytes()))
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Lets the keys that have no end yet sign until `until`, and forgets all but the newest `keep`.
pub async fn retire_keys(tx: &mut Tx, id: DestinationId, until: Timestamp, keep: usize) -> Result<(), StorageError> {
    sqlx::query("UPDATE destination_key SET expires_at = $1 WHERE destination_id = $2 AND expires_at IS NULL")
        .bind(until.as_micros())
        .bind(id.to_string())
        .execute(tx.conn())
        .await?;
    sqlx::query(
        "DELETE FROM destination_key WHERE destination_id = $1 AND number <= \
         (SELECT COALESCE(MAX(number), 0) FROM destination_key WHERE destination_id = $1) - $2",
    )
    .bind(id.to_string())
    .bind(i64::try_from(keep).unwrap_or(i64::MAX))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The keys of one destination that still sign, newest first.
pub async fn keys(tx: &mut Tx, id: DestinationId, now: Timestamp, seal: &Seal) -> Result<Vec<HeldKey>, StorageError> {
    sqlx::query(
        "SELECT destination_id, kind, secret, created_at, expires_at FROM destination_key WHERE destination_id = $1 \
         AND (expires_at IS NULL OR expires_at > $2) ORDER BY number DESC",
    )
    .bind(id.to_string())
    .bind(now.as_micros())
    .fetch_all(tx.conn())
    .await?
    .iter()
    .map(|row| held(row, id, seal))
    .collect()
}

/// How many there are.
pub async fn count(tx: &mut Tx) -> Result<u64, StorageError> {
    let row = sqlx::query("SELECT COUNT(*) FROM destination WHERE state <> 'deleted'").fetch_one(tx.conn()).await?;
    to_u64(row.try_get(0)?)
}

/// One destination, inside a transaction.
pub async fn find(tx: &mut Tx, id: DestinationId, seal: &Seal) -> Result<Option<Destination>, StorageError> {
    let row = sqlx::query(ONE).bind(id.to_string()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(|row| destination(row, seal)).transpose()
}

/// All destinations, oldest first.
pub async fn all(db: &Database, seal: &Seal) -> Result<Vec<Destination>, StorageError> {
    sqlx::query(ALL).fetch_all(db.pool()).await?.iter().map(|row| destination(row, seal)).collect()
}

/// How every destination fares, without the rest.
pub async fn health_of_all(db: &Database) -> Result<Vec<(DestinationId, Health)>, StorageError> {
    sqlx::query("SELECT id, failing_since, failures, rests_until FROM destination WHERE state <> 'deleted'")
        .fetch_all(db.pool())
        .await?
        .iter()
        .map(|row| Ok((id_of(row)?, health(row)?)))
        .collect()
}

/// All destinations with their keys, inside a transaction.
pub async fn all_with_keys(tx: &mut Tx, now: Timestamp, seal: &Seal) -> Result<Vec<WithKeys>, StorageError> {
    let rows = sqlx::query(ALL).fetch_all(tx.conn()).await?;
    let mut keys: HashMap<String, Vec<HeldKey>> = HashMap::new();
    for row in sqlx::query(
        "SELECT destination_id, kind, secret, created_at, expires_at FROM destination_key \
         WHERE expires_at IS NULL OR expires_at > $1 ORDER BY destination_id, number DESC",
    )
    .bind(now.as_micros())
    .fetch_all(tx.conn())
    .await?
    {
        let id: String = row.try_get("destination_id")?;
        let parsed =
            id.parse().map_err(|_| StorageError::inconsistent("destination_key.destination_id", id.clone()))?;
        keys.entry(id).or_default().push(held(&row, parsed, seal)?);
    }
    rows.iter()
        .map(|row| {
            let destination = destination(row, seal)?;
            let keys = keys.remove(&destination.id.to_string()).unwrap_or_default();
            Ok(WithKeys { destination, keys })
        })
        .collect()
}

/// Opens something that was sealed, to see whether the destination key is the right one.
pub async fn opens(db: &Database, seal: &Seal) -> Result<bool, StorageError> {
    let row = sqlx::query("SELECT id, settings FROM destination ORDER BY id LIMIT 1").fetch_optional(db.pool()).await?;
    let Some(row) = row else {
        return Ok(true);
    };
    let settings: Vec<u8> = row.try_get("settings")?;
    Ok(seal.open(&settings_place(id_of(&row)?), &settings).is_ok())
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

fn settings_place(id: DestinationId) -> String {
    format!("{id}/settings")
}

fn key_place(id: DestinationId) -> String {
    format!("{id}/key")
}

fn sealed_settings(id: DestinationId, transmission: &wire::Transmission, seal: &Seal) -> Vec<u8> {
    seal.seal(&settings_place(id), &transmission.encode_to_vec(), random::bytes())
}

fn held(row: &AnyRow, id: DestinationId, seal: &Seal) -> Result<HeldKey, StorageError> {
    let damaged = |what: &str| StorageError::inconsistent("destination_key.secret", what);
    let (kind, sealed): (String, Vec<u8>) = (row.try_get("kind")?, row.try_get("secret")?);
    let bytes = seal.open(&key_place(id), &sealed).map_err(|error| damaged(&error.to_string()))?;
    let expires_at: Option<i64> = row.try_get("expires_at")?;
    Ok(HeldKey {
        key: SigningKind::stored(&kind, &bytes).ok_or_else(|| damaged("malformed"))?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        expires_at: expires_at.map(Timestamp::from_micros),
    })
}

fn id_of(row: &AnyRow) -> Result<DestinationId, StorageError> {
    let id: String = row.try_get("id")?;
    id.parse().map_err(|_| StorageError::inconsistent("destination.id", id))
}

fn health(row: &AnyRow) -> Result<Health, StorageError> {
    let failing_since: Option<i64> = row.try_get("failing_since")?;
    let rests_until: Option<i64> = row.try_get("rests_until")?;
    let failures: i64 = row.try_get("failures")?;
    Ok(Health {
        failing_since: failing_since.map(Timestamp::from_micros),
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        rests_until: rests_until.map(Timestamp::from_micros),
    })
}

fn destination(row: &AnyRow, seal: &Seal) -> Result<Destination, StorageError> {
    let damaged = |column: &'static str, what: String| StorageError::inconsistent(column, what);
    let id = id_of(row)?;
    let (settings, options): (Vec<u8>, Vec<u8>) = (row.try_get("settings")?, row.try_get("options")?);
    let settings = seal
        .open(&settings_place(id), &settings)
        .map_err(|error| damaged("destination.settings", error.to_string()))?;
    let transmission = wire::Transmission::decode(settings.as_slice())
        .map_err(|error| damaged("destination.settings", error.to_string()))?;
    let options = wire::DestinationOptions::decode(options.as_slice())
        .map_err(|error| damaged("destination.options", error.to_string()))?;
    let options = Options::try_from(options).map_err(|error| damaged("destination.options", error.to_string()))?;
    let disabled_at: Option<i64> = row.try_get("disabled_at")?;
    let state: String = row.try_get("state")?;
    let state = match (state.as_str(), disabled_at) {
        ("enabled", None) => DestinationState::Enabled,
        ("disabled", Some(since)) => DestinationState::Disabled { since: Timestamp::from_micros(since) },
        _ => return Err(damaged("destination.state", state)),
    };
    Ok(Destination {
        id,
        transmission: Arc::new(transmission),
        options: Arc::new(options),
        state,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        note: row.try_get("note")?,
        health: health(row)?,
        revision: to_u64(row.try_get("revision")?)?,
    })
}
