//! Chains: one row per container and firm. Its row lock serialises everything that happens to the chain.

use lictor_license_file::{
    ContainerId,
    device::{DeviceKeys, DeviceProfile},
    seal::SealingPublicKey,
};
use lictor_licensing::id::FirmCode;
use lictor_signing::cbor;
use lictor_storage::{
    Database, StorageError, Tx,
    sqlx::{self, any::AnyRow},
    to_i64,
};

use super::row::Columns;
use crate::domain::{
    container::{Chain, ChainKey, Identity},
    suspicion::Suspicions,
    verdict::Place,
};

macro_rules! columns {
    () => {
        "SELECT container_id, firm_code, serial, kind, virtual_machine, runtime, device_key, sealing_key, lease_key, \
         epoch, genesis_head, genesis_digest, confirmed, issued, reserved, file_base, state, root_version, \
         context_sequence, context_counter, suspicion, device_counters, block_reference, version, first_seen_at, \
         last_contact_at FROM container "
    };
}

macro_rules! locked_columns {
    () => {
        "SELECT container.container_id, container.firm_code, serial, kind, virtual_machine, runtime, device_key, \
         sealing_key, lease_key, epoch, genesis_head, genesis_digest, confirmed, issued, reserved, file_base, state, \
         root_version, context_sequence, context_counter, suspicion, device_counters, block_reference, version, \
         first_seen_at, last_contact_at, \
         (SELECT vendor.root_version FROM vendor WHERE vendor.firm_code = container.firm_code) AS newest_root \
         FROM container "
    };
}

/// The chain, if the container was registered for this firm.
pub async fn find(db: &Database, key: &ChainKey) -> Result<Option<Chain>, StorageError> {
    sqlx::query(concat!(columns!(), "WHERE container_id = $1 AND firm_code = $2"))
        .bind(key.container.to_string())
        .bind(i64::from(key.firm.get()))
        .fetch_optional(db.pool())
        .await?
        .map(|row| chain(&row))
        .transpose()
}

/// The chain by its container's display name.
pub async fn find_by_serial(db: &Database, firm: FirmCode, serial: &str) -> Result<Option<Chain>, StorageError> {
    sqlx::query(concat!(columns!(), "WHERE firm_code = $1 AND serial = $2"))
        .bind(i64::from(firm.get()))
        .bind(serial)
        .fetch_optional(db.pool())
        .await?
        .map(|row| chain(&row))
        .transpose()
}

/// A chain that is held alone, and what goes with it at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The chain.
    pub chain: Chain,
    /// Version of the firm's newest root document.
    pub newest_root: u64,
}

/// What is read of a chain that is locked.
pub(super) const LOCKED: &str = locked_columns!();

/// The chain, held alone until the transaction ends.
pub async fn lock(tx: &mut Tx, key: &ChainKey) -> Result<Option<Locked>, StorageError> {
    let statement = tx.dialect().lock_rows(concat!(locked_columns!(), "WHERE container_id = $1 AND firm_code = $2"));
    sqlx::query(statement)
        .bind(key.container.to_string())
        .bind(i64::from(key.firm.get()))
        .fetch_optional(tx.conn())
        .await?
        .map(|row| locked(&row))
        .transpose()
}

/// Reads what [`LOCKED`] names.
pub(super) fn locked(row: &AnyRow) -> Result<Locked, StorageError> {
    Ok(Locked { newest_root: Columns::of(row, "vendor").count("newest_root")?, chain: chain(row)? })
}

/// Whether the chain is there and its bytes are fixed up to this counter of this epoch, or it is in a later epoch.
pub async fn reaches(db: &Database, key: &ChainKey, epoch: u32, to: u64) -> Result<bool, StorageError> {
    let row = sqlx::query(
        "SELECT 1 FROM container WHERE container_id = $1 AND firm_code = $2 \
         AND (epoch > $3 OR (epoch = $3 AND reserved >= $4))",
    )
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .bind(i64::from(epoch))
    .bind(to_i64(to)?)
    .fetch_optional(db.pool())
    .await?;
    Ok(row.is_some())
}

/// Chains of a firm in the order of their containers' ids, strictly after `after`.
pub async fn list(
    db: &Database,
    firm: FirmCode,
    after: Option<ContainerId>,
    limit: u32,
) -> Result<Vec<Chain>, StorageError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    sqlx::query(concat!(columns!(), "WHERE firm_code = $1 AND container_id > $2 ORDER BY container_id LIMIT $3"))
        .bind(i64::from(firm.get()))
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(db.pool())
        .await?
        .iter()
        .map(chain)
        .collect()
}

/// Whether another container of the firm has this display name.
pub async fn serial_taken(
    tx: &mut Tx,
    firm: FirmCode,
    serial: &str,
    by_other_than: ContainerId,
) -> Result<bool, StorageError> {
    let row = sqlx::query("SELECT 1 FROM container WHERE firm_code = $1 AND serial = $2 AND container_id <> $3")
        .bind(i64::from(firm.get()))
        .bind(serial)
        .bind(by_other_than.to_string())
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.is_some())
}

/// Stores a new chain and tells whether neither it nor another one with its display name was there before. A first context
/// that comes twice at once may find its twin by either, so neither is an error.
pub async fn insert(tx: &mut Tx, chain: &Chain) -> Result<bool, StorageError> {
    let identity = &chain.identity;
    let inserted = sqlx::query(
        "INSERT INTO container (container_id, firm_code, serial, kind, virtual_machine, runtime, device_key, \
         sealing_key, lease_key, epoch, genesis_head, genesis_digest, confirmed, issued, reserved, file_base, state, \
         root_version, context_sequence, context_counter, suspicion, device_counters, version, first_seen_at, \
         last_contact_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, \
         $22, $23, $24, $25) ON CONFLICT DO NOTHING",
    )
    .bind(identity.key.container.to_string())
    .bind(i64::from(identity.key.firm.get()))
    .bind(&identity.serial)
    .bind(identity.profile.kind.name())
    .bind(i64::from(identity.profile.virtual_machine))
    .bind(identity.profile.runtime.to_string())
    .bind(identity.profile.keys.signing.as_bytes().to_vec())
    .bind(identity.profile.keys.sealing.0.to_vec())
    .bind(identity.profile.keys.lease.as_bytes().to_vec())
    .bind(i64::from(chain.epoch))
    .bind(chain.genesis.head.0.to_vec())
    .bind(chain.genesis.state_digest.0.to_vec())
    .bind(to_i64(chain.confirmed)?)
    .bind(to_i64(chain.issued)?)
    .bind(to_i64(chain.reserved)?)
    .bind(to_i64(chain.file_base)?)
    .bind(chain.state.clone())
    .bind(to_i64(chain.root_version)?)
    .bind(to_i64(chain.context_sequence)?)
    .bind(to_i64(chain.context_counter)?)
    .bind(chain.suspicions.to_string())
    .bind(cbor::encode(&chain.counters))
    .bind(to_i64(chain.version)?)
    .bind(chain.first_seen_at.as_micros())
    .bind(chain.last_contact_at.as_micros())
    .execute(tx.conn())
    .await?
    .rows_affected();
    Ok(inserted == 1)
}

/// Moves the end of the chain: a segment's counter and bytes are fixed. Only under [`lock`].
pub async fn reserve(
    tx: &mut Tx,
    key: &ChainKey,
    reserved: u64,
    file_base: u64,
    state: &[u8],
) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE container SET reserved = $1, file_base = $2, state = $3 WHERE container_id = $4 AND firm_code = $5",
    )
    .bind(to_i64(reserved)?)
    .bind(to_i64(file_base)?)
    .bind(state)
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes back a chain whose end was moved by more than an ordinary segment: into another epoch, or to where the archive
/// is. Only under [`lock`].
pub async fn update_chain(tx: &mut Tx, chain: &Chain) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE container SET epoch = $1, genesis_head = $2, genesis_digest = $3, confirmed = $4, issued = $5, \
         reserved = $6, file_base = $7, state = $8, suspicion = $9, block_reference = $10, version = $11, \
         context_counter = $12 WHERE container_id = $13 AND firm_code = $14",
    )
    .bind(i64::from(chain.epoch))
    .bind(chain.genesis.head.0.to_vec())
    .bind(chain.genesis.state_digest.0.to_vec())
    .bind(to_i64(chain.confirmed)?)
    .bind(to_i64(chain.issued)?)
    .bind(to_i64(chain.reserved)?)
    .bind(to_i64(chain.file_base)?)
    .bind(&chain.state[..])
    .bind(chain.suspicions.to_string())
    .bind(chain.blocked.as_deref().unwrap_or_default())
    .bind(to_i64(chain.version)?)
    .bind(to_i64(chain.context_counter)?)
    .bind(chain.identity.key.container.to_string())
    .bind(i64::from(chain.identity.key.firm.get()))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes back what a context changed: proof, contact, suspicion, event number. Only under [`lock`].
pub async fn update_standing(tx: &mut Tx, chain: &Chain) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE container SET confirmed = $1, root_version = $2, context_sequence = $3, context_counter = $4, \
         suspicion = $5, version = $6, last_contact_at = $7, virtual_machine = $8, runtime = $9, device_counters = $10 \
         WHERE container_id = $11 AND firm_code = $12",
    )
    .bind(to_i64(chain.confirmed)?)
    .bind(to_i64(chain.root_version)?)
    .bind(to_i64(chain.context_sequence)?)
    .bind(to_i64(chain.context_counter)?)
    .bind(chain.suspicions.to_string())
    .bind(to_i64(chain.version)?)
    .bind(chain.last_contact_at.as_micros())
    .bind(i64::from(chain.identity.profile.virtual_machine))
    .bind(chain.identity.profile.runtime.to_string())
    .bind(cbor::encode(&chain.counters))
    .bind(chain.identity.key.container.to_string())
    .bind(i64::from(chain.identity.key.firm.get()))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// How many chains there are, and how many of them are under suspicion, for metrics.
pub async fn totals(db: &Database) -> Result<(u64, u64), StorageError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS chains, CAST(COALESCE(SUM(CASE WHEN suspicion <> '' THEN 1 ELSE 0 END), 0) AS BIGINT) \
         AS suspected FROM container",
    )
    .fetch_one(db.pool())
    .await?;
    let columns = Columns::of(&row, "container");
    Ok((columns.count("chains")?, columns.count("suspected")?))
}

fn chain(row: &AnyRow) -> Result<Chain, StorageError> {
    let columns = Columns::of(row, "container");
    Ok(Chain {
        identity: Identity {
            key: ChainKey { container: columns.container_id("container_id")?, firm: columns.firm("firm_code")? },
            serial: columns.text("serial")?,
            profile: DeviceProfile {
                keys: DeviceKeys {
                    signing: columns.public_key("device_key")?,
                    sealing: SealingPublicKey(columns.fixed("sealing_key")?),
                    lease: columns.public_key("lease_key")?,
                },
                kind: columns.parsed("kind", |text| text.parse().ok())?,
                virtual_machine: columns.int("virtual_machine")? != 0,
                runtime: columns.parsed("runtime", |text| text.parse().ok())?,
            },
        },
        epoch: columns.small("epoch")?,
        genesis: Place { head: columns.digest("genesis_head")?, state_digest: columns.digest("genesis_digest")? },
        confirmed: columns.count("confirmed")?,
        issued: columns.count("issued")?,
        reserved: columns.count("reserved")?,
        file_base: columns.count("file_base")?,
        state: columns.bytes("state")?,
        root_version: columns.count("root_version")?,
        context_sequence: columns.count("context_sequence")?,
        context_counter: columns.count("context_counter")?,
        suspicions: columns.parsed("suspicion", Suspicions::parse)?,
        counters: cbor::decode(&columns.bytes("device_counters")?).map_err(|_| columns.wrong("device_counters"))?,
        blocked: Some(columns.text("block_reference")?).filter(|reference| !reference.is_empty()),
        version: columns.count("version")?,
        first_seen_at: columns.time("first_seen_at")?,
        last_contact_at: columns.time("last_contact_at")?,
    })
}
