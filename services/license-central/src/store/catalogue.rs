//! Items and their versions.

use std::{collections::HashMap, time::Duration};

use lictor_clock::Timestamp;
use lictor_licensing::{FirmCode, id::ItemId};
use lictor_storage::{
    StorageError, Tx,
    command::{self, Begun, Command},
    retry,
    sqlx::{self, AnyConnection, Row},
    to_i64, to_u64,
};

use super::{
    Store,
    order::request_id_reused,
    sql::{list, rows, small, statement},
};
use crate::{
    domain::{catalogue::EncodedItem, policy::Policy},
    failure::Failure,
};

/// An item in its newest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRow {
    /// Its id.
    pub id: String,
    /// What orders call it.
    pub name: String,
    /// The newest version.
    pub version: u64,
    /// Product code of that version.
    pub product_code: u32,
    /// Seats of that version; 0 when it is not counted.
    pub quantity: u32,
    /// When a license of that version expires by date.
    pub expires_at: Option<Timestamp>,
    /// Deterministic CBOR of the product item.
    pub product_item: Vec<u8>,
    /// Display name of the subscription that it is.
    pub subscription: Option<String>,
    /// What the vendor settles beside it.
    pub policy: Policy,
}

/// An item as it was before a document changed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// Deterministic CBOR of the product item.
    pub product_item: Vec<u8>,
    /// What the vendor settled beside it.
    pub policy: Policy,
}

/// What applying a document did, by places in the document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Items that are new.
    pub created: Vec<usize>,
    /// Items that have a new version, with the version before.
    pub changed: Vec<(usize, Before)>,
    /// Items that are as they were.
    pub unchanged: Vec<usize>,
}

impl Store {
    /// All items of a firm, by name.
    pub async fn items(&self, firm: FirmCode) -> Result<Vec<ItemRow>, StorageError> {
        let rows = sqlx::query(
            "SELECT i.item_id, i.name, i.version, v.product_code, v.quantity, v.expires_at, v.product_item, v.subscription, \
             v.policy \
             FROM item i JOIN item_version v ON v.item_id = i.item_id AND v.version = i.version \
             WHERE i.firm_code = $1 ORDER BY i.name",
        )
        .bind(i64::from(firm.get()))
        .fetch_all(self.db.pool())
        .await?;
        rows.iter().map(item_row).collect()
    }

    /// Compares `items` with what is stored and makes it so, once per command; without a command it only compares.
    /// `ids` has one for each item; `answer` tells what was done, and is stored.
    pub async fn apply_items(
        &self,
        firm: FirmCode,
        items: &[EncodedItem],
        ids: &[ItemId],
        command: Option<&Command<'_>>,
        now: Timestamp,
        answer: impl Fn(&Applied) -> Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let Some(command) = command else {
                let applied = apply(&mut tx, firm, items, ids, true, now).await?;
                tx.rollback().await?;
                return Ok(answer(&applied));
            };
            let open = match command::begin(&mut tx, command, now).await? {
                Begun::Replay(answer) => return Ok(answer),
                Begun::Conflict => return Err(request_id_reused()),
                Begun::Fresh(open) => open,
            };
            let applied = apply(&mut tx, firm, items, ids, false, now).await?;
            let answer = answer(&applied);
            command::finish(&mut tx, open, &answer).await?;
            tx.commit().await?;
            Ok(answer)
        })
        .await
    }
}

async fn apply(
    tx: &mut Tx,
    firm: FirmCode,
    items: &[EncodedItem],
    ids: &[ItemId],
    dry_run: bool,
    now: Timestamp,
) -> Result<Applied, StorageError> {
    let lock = tx.dialect().lock_rows("SELECT item_id FROM item WHERE firm_code = $1 ORDER BY item_id");
    sqlx::query(lock).bind(i64::from(firm.get())).fetch_all(tx.conn()).await?;
    let names: Vec<&str> = items.iter().map(|encoded| encoded.item.name.as_str()).collect();
    let stored = newest(tx.conn(), firm, &names).await?;

    let mut applied = Applied::default();
    let mut versions = Vec::new();
    for (place, (encoded, fresh)) in items.iter().zip(ids).enumerate() {
        match stored.get(encoded.item.name.as_str()) {
            Some(row) if row.product_item == encoded.cbor && row.policy == encoded.item.policy => {
                applied.unchanged.push(place);
            }
            Some(row) => {
                versions.push((place, row.id.clone(), row.version + 1));
                let before = Before { product_item: row.product_item.clone(), policy: row.policy };
                applied.changed.push((place, before));
            }
            None => {
                versions.push((place, fresh.to_string(), 1));
                applied.created.push(place);
            }
        }
    }
    if dry_run || versions.is_empty() {
        return Ok(applied);
    }
    for part in versions.chunks(500) {
        write_items(tx, firm, items, part, now).await?;
    }
    Ok(applied)
}

async fn write_items(
    tx: &mut Tx,
    firm: FirmCode,
    items: &[EncodedItem],
    versions: &[(usize, String, u64)],
    now: Timestamp,
) -> Result<(), StorageError> {
    let mut heads = statement(format!(
        "INSERT INTO item (item_id, firm_code, name, version, created_at, changed_at) VALUES {} \
         ON CONFLICT (item_id) DO UPDATE SET version = excluded.version, changed_at = excluded.changed_at",
        rows(versions.len(), 6)
    ));
    let mut bodies = statement(format!(
        "INSERT INTO item_version (item_id, version, product_code, quantity, expires_at, product_item, subscription, \
         policy, renewal_lead, created_at) VALUES {}",
        rows(versions.len(), 10)
    ));
    for (place, id, version) in versions {
        let encoded = &items[*place];
        let options = encoded.item.product_item.options();
        let version = to_i64(*version)?;
        heads = heads
            .bind(id.clone())
            .bind(i64::from(firm.get()))
            .bind(encoded.item.name.as_str())
            .bind(version)
            .bind(now.as_micros())
            .bind(now.as_micros());
        bodies = bodies
            .bind(id.clone())
            .bind(version)
            .bind(i64::from(encoded.item.product_item.product_code().get()))
            .bind(i64::from(options.license_quantity.map_or(0, |quantity| quantity.count())))
            .bind(options.expiration_time.map(|at| at.as_micros()))
            .bind(encoded.cbor.clone())
            .bind(options.subscription.as_ref().map(|subscription| subscription.display_name().to_string()))
            .bind(encoded.item.policy.to_text().map_err(|error| StorageError::inconsistent("policy", error))?)
            .bind(encoded.item.policy.renewal.map(|rule| micros(rule.lead)).transpose()?)
            .bind(now.as_micros());
    }
    heads.execute(tx.conn()).await?;
    bodies.execute(tx.conn()).await?;
    Ok(())
}

/// The newest versions of the named items, by name; names that are not stored are left out.
pub(super) async fn newest(
    conn: &mut AnyConnection,
    firm: FirmCode,
    names: &[&str],
) -> Result<HashMap<String, ItemRow>, StorageError> {
    let mut found = HashMap::new();
    for part in names.chunks(1_000) {
        let mut query = statement(format!(
            "SELECT i.item_id, i.name, i.version, v.product_code, v.quantity, v.expires_at, v.product_item, v.subscription, \
             v.policy \
             FROM item i JOIN item_version v ON v.item_id = i.item_id AND v.version = i.version \
             WHERE i.firm_code = $1 AND i.name IN ({})",
            list(2, part.len())
        ))
        .bind(i64::from(firm.get()));
        for name in part {
            query = query.bind((*name).to_owned());
        }
        for row in query.fetch_all(&mut *conn).await? {
            let item = item_row(&row)?;
            found.insert(item.name.clone(), item);
        }
    }
    Ok(found)
}

fn micros(span: Duration) -> Result<i64, StorageError> {
    i64::try_from(span.as_micros()).map_err(|_| StorageError::inconsistent("renewal_lead", format!("{span:?}")))
}

/// The column `policy` of an item's version.
fn policy(row: &sqlx::any::AnyRow) -> Result<Policy, StorageError> {
    let text: String = row.try_get("policy")?;
    Policy::read(&text).map_err(|error| StorageError::inconsistent("item_version.policy", error))
}

fn item_row(row: &sqlx::any::AnyRow) -> Result<ItemRow, StorageError> {
    let expires_at: Option<i64> = row.try_get("expires_at")?;
    Ok(ItemRow {
        id: row.try_get("item_id")?,
        name: row.try_get("name")?,
        version: to_u64(row.try_get("version")?)?,
        product_code: small(row, "product_code")?,
        quantity: small(row, "quantity")?,
        expires_at: expires_at.map(Timestamp::from_micros),
        product_item: row.try_get("product_item")?,
        subscription: row.try_get("subscription")?,
        policy: policy(row)?,
    })
}
