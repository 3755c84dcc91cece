//! Licenses with their allocations.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    time::Duration,
};

use lictor_clock::Timestamp;
use lictor_licensing::{
    FirmCode, ProductCode, ProductItem,
    id::{ActivationId, LicenseId, TicketId},
};
use lictor_storage::{
    Dialect, StorageError, Tx,
    sqlx::{AnyConnection, Row, any::AnyRow},
    to_i64, to_u64,
};

use super::{
    Store, allocation,
    sql::{list, maybe, parsed, rows, small, statement},
};
use crate::domain::{
    license::{License, LicenseState},
    page::Page,
    plan::Sold,
    policy::Policy,
};

const COLUMNS: &str = "l.license_id, l.firm_code, l.ticket_id, t.masked, l.order_id, l.customer_id, \
    c.name AS customer_name, i.name AS item, l.item_id, l.item_version, v.product_code, v.subscription, v.policy, \
    l.line, l.quantity, v.expires_at, l.withdrawn_at, l.merged_into, l.remaining, l.renewal_cancelled_at, \
    l.replaced_at, l.replaced_for, l.version, l.created_at";
const FROM: &str = "FROM license l JOIN ticket t ON t.ticket_id = l.ticket_id JOIN customer c ON c.customer_id = l.customer_id \
    JOIN item i ON i.item_id = l.item_id \
    JOIN item_version v ON v.item_id = l.item_id AND v.version = l.item_version";

/// Which licenses a listing wants; nothing set means all of the firm.
#[derive(Debug, Clone, Default)]
pub struct LicenseFilter {
    /// Only those on this ticket.
    pub ticket: Option<TicketId>,
    /// Only those that may lie in the container with this serial.
    pub serial: Option<String>,
    /// Only those in this state.
    pub state: Option<LicenseState>,
}

impl Store {
    /// A page of a firm's licenses, newest first; one more than asked for tells that there is a next page.
    pub async fn licenses(
        &self,
        firm: FirmCode,
        filter: &LicenseFilter,
        page: &Page,
    ) -> Result<Vec<License>, StorageError> {
        let mut text = format!("SELECT {COLUMNS} {FROM} WHERE l.firm_code = $1");
        let mut values = Vec::new();
        let mut also = |condition: &str, value: String| {
            values.push(value);
            text.push_str(&condition.replace('?', &format!("${}", values.len() + 1)));
        };
        if let Some(ticket) = filter.ticket {
            also(" AND l.ticket_id = ?", ticket.to_string());
        }
        if let Some(serial) = &filter.serial {
            also(
                " AND EXISTS (SELECT 1 FROM allocation a WHERE a.license_id = l.license_id AND a.serial = ? \
                 AND a.state IN ('collected', 'confirmed', 'returning', 'lost'))",
                serial.clone(),
            );
        }
        if let Some(state) = filter.state {
            also(" AND l.state = ?", state.name().to_owned());
        }
        if let Some(below) = &page.below {
            also(" AND l.license_id < ?", below.clone());
        }
        text.push_str(&format!(" ORDER BY l.license_id DESC LIMIT ${}", values.len() + 2));
        let mut query = statement(text).bind(i64::from(firm.get()));
        for value in values {
            query = query.bind(value);
        }
        let mut read = self.db.begin_read().await?;
        let rows = query.bind(i64::from(page.size) + 1).fetch_all(read.conn()).await?;
        with_allocations(read.conn(), rows.iter().map(license_row).collect::<Result<_, _>>()?).await
    }

    /// One license.
    pub async fn license(&self, id: LicenseId) -> Result<Option<License>, StorageError> {
        let mut read = self.db.begin_read().await?;
        Ok(by_ids(read.conn(), &[id]).await?.pop())
    }

    /// All licenses of a ticket, in the order of their lines.
    pub async fn licenses_of_ticket(&self, ticket: TicketId) -> Result<Vec<License>, StorageError> {
        let mut read = self.db.begin_read().await?;
        of_parents(read.conn(), "ticket_id", &[ticket.to_string()]).await
    }
}

/// Licenses by id, in the order of ids; those that do not exist are left out.
pub(super) async fn by_ids(conn: &mut AnyConnection, ids: &[LicenseId]) -> Result<Vec<License>, StorageError> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut licenses = of_parents(conn, "license_id", &ids).await?;
    licenses.sort_by_key(|license| license.id);
    Ok(licenses)
}

/// Licenses whose `column` (one of this table's ids) is among `values`, by order and line.
pub(super) async fn of_parents(
    conn: &mut AnyConnection,
    column: &'static str,
    values: &[String],
) -> Result<Vec<License>, StorageError> {
    let mut licenses = Vec::new();
    for part in values.chunks(1_000) {
        let mut query = statement(format!(
            "SELECT {COLUMNS} {FROM} WHERE l.{column} IN ({}) ORDER BY l.order_id, l.line",
            list(1, part.len())
        ));
        for value in part {
            query = query.bind(value.clone());
        }
        for row in query.fetch_all(&mut *conn).await? {
            licenses.push(license_row(&row)?);
        }
    }
    with_allocations(conn, licenses).await
}

async fn with_allocations(conn: &mut AnyConnection, mut licenses: Vec<License>) -> Result<Vec<License>, StorageError> {
    let mut places: HashMap<LicenseId, usize> = HashMap::new();
    for (place, license) in licenses.iter().enumerate() {
        places.insert(license.id, place);
    }
    let ids: Vec<String> = licenses.iter().map(|license| license.id.to_string()).collect();
    for part in ids.chunks(1_000) {
        for allocation in allocation::alive(&mut *conn, part).await? {
            if let Some(place) = places.get(&allocation.license) {
                licenses[*place].allocations.push(allocation);
            }
        }
    }
    Ok(licenses)
}

/// Locks the licenses whose ids `which` selects (its place holders are bound to `values`), in ascending order, and reads
/// them with the product items that they were sold as and with their parts: what others committed while we waited is
/// seen.
pub(super) async fn locked(tx: &mut Tx, which: &str, values: &[String]) -> Result<Vec<Sold>, StorageError> {
    let suffix = match tx.dialect() {
        Dialect::Postgres => " FOR UPDATE OF l",
        // Its write transactions run one at a time.
        Dialect::Sqlite => "",
    };
    let mut query = statement(format!(
        "SELECT {COLUMNS}, v.product_item {FROM} WHERE l.license_id IN ({which}) ORDER BY l.license_id{suffix}"
    ));
    for value in values {
        query = query.bind(value.clone());
    }
    let rows = query.fetch_all(tx.conn()).await?;
    let licenses = rows.iter().map(license_row).collect::<Result<Vec<_>, _>>()?;
    let licenses = with_allocations(tx.conn(), licenses).await?;
    let mut items: HashMap<(String, u64), ProductItem> = HashMap::new();
    let mut sold = Vec::with_capacity(licenses.len());
    for (row, license) in rows.iter().zip(licenses) {
        let item = match items.entry((license.item_id.clone(), license.item_version)) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => new.insert(product_item(row)?).clone(),
        };
        sold.push(Sold { license, item });
    }
    Ok(sold)
}

/// Locks licenses by id, in ascending order, and reads them then; those that do not exist are left out.
pub(super) async fn locked_by_ids(tx: &mut Tx, ids: &[LicenseId]) -> Result<Vec<License>, StorageError> {
    let values: Vec<String> = ids.iter().map(ToString::to_string).collect();
    Ok(locked(tx, &list(1, values.len()), &values).await?.into_iter().map(|sold| sold.license).collect())
}

/// Locks all licenses that an activation holds parts of, in ascending order.
pub(super) async fn lock_of_activation(tx: &mut Tx, activation: ActivationId) -> Result<(), StorageError> {
    if tx.dialect() == Dialect::Postgres {
        statement(format!(
            "SELECT license_id FROM license WHERE license_id IN ({OF_ACTIVATION}) ORDER BY license_id FOR UPDATE"
        ))
        .bind(activation.to_string())
        .fetch_all(tx.conn())
        .await?;
    }
    Ok(())
}

/// The licenses that an activation puts in, takes out or is about to change.
pub(super) const OF_ACTIVATION: &str = "SELECT license_id FROM allocation WHERE activation_id = $1 \
    UNION SELECT license_id FROM allocation WHERE planned_by = $1 \
    UNION SELECT license_id FROM allocation WHERE withdrawn_by = $1";

/// The same, and what else lies in, or is on its way into, containers that it writes off as lost.
pub(super) const LOST_WITH_ACTIVATION: &str = "SELECT license_id FROM allocation WHERE activation_id = $1 \
    UNION SELECT license_id FROM allocation WHERE planned_by = $1 \
    UNION SELECT license_id FROM allocation WHERE withdrawn_by = $1 \
    UNION SELECT a.license_id FROM allocation lost JOIN license o ON o.license_id = lost.license_id \
    JOIN allocation a ON a.serial = lost.serial AND a.state NOT IN ('ended', 'written-off') \
    JOIN license n ON n.license_id = a.license_id AND n.firm_code = o.firm_code \
    WHERE lost.planned_by = $1 AND lost.planned_as = 'written-off'";

fn product_item(row: &AnyRow) -> Result<ProductItem, StorageError> {
    let cbor: Vec<u8> = row.try_get("product_item")?;
    lictor_license_file::product_item::decode(&cbor)
        .map_err(|error| StorageError::inconsistent("item_version.product_item", error.to_string()))
}

/// Writes new licenses, all in one statement.
pub(super) async fn insert(tx: &mut Tx, licenses: &[License]) -> Result<(), StorageError> {
    let mut query = statement(format!(
        "INSERT INTO license (license_id, firm_code, ticket_id, order_id, customer_id, item_id, item_version, line, \
         quantity, state, version, created_at) VALUES {}",
        rows(licenses.len(), 12)
    ));
    for license in licenses {
        query = query
            .bind(license.id.to_string())
            .bind(i64::from(license.firm.get()))
            .bind(license.ticket.to_string())
            .bind(license.order.to_string())
            .bind(license.customer.to_string())
            .bind(license.item_id.clone())
            .bind(lictor_storage::to_i64(license.item_version)?)
            .bind(i64::from(license.line))
            .bind(i64::from(license.quantity))
            .bind(license.state().name())
            .bind(lictor_storage::to_i64(license.version)?)
            .bind(license.created_at.as_micros());
    }
    query.execute(tx.conn()).await?;
    Ok(())
}

/// Writes what a step changed in licenses themselves; those that change alike share a statement. `before` and `after` are
/// the same licenses in the same order. Their parts are left to [`allocation::save`].
pub(super) async fn save(tx: &mut Tx, before: &[License], after: &[License]) -> Result<(), StorageError> {
    let mut alike: BTreeMap<(&str, u64), Vec<LicenseId>> = BTreeMap::new();
    for (old, new) in before.iter().zip(after) {
        let same = Rare::of(old) == Rare::of(new);
        let more = new.version.saturating_sub(old.version);
        if !same {
            save_whole(tx, new).await?;
        } else if more > 0 || old.state() != new.state() {
            alike.entry((new.state().name(), more)).or_default().push(new.id);
        }
    }
    for ((state, more), ids) in alike {
        let mut query = statement(format!(
            "UPDATE license SET state = $1, version = version + $2 WHERE license_id IN ({})",
            list(3, ids.len())
        ))
        .bind(state)
        .bind(to_i64(more)?);
        for id in ids {
            query = query.bind(id.to_string());
        }
        query.execute(tx.conn()).await?;
    }
    Ok(())
}

/// The columns that few steps change.
#[derive(PartialEq)]
struct Rare<'a> {
    withdrawn_at: Option<Timestamp>,
    merged_into: Option<LicenseId>,
    remaining: Option<Duration>,
    replaced_at: Option<Timestamp>,
    replaced_for: Option<&'a str>,
}

impl<'a> Rare<'a> {
    fn of(license: &'a License) -> Self {
        Self {
            withdrawn_at: license.withdrawn_at,
            merged_into: license.merged_into,
            remaining: license.remaining,
            replaced_at: license.replaced_at,
            replaced_for: license.replaced_for.as_deref(),
        }
    }
}

async fn save_whole(tx: &mut Tx, license: &License) -> Result<(), StorageError> {
    let remaining = license.remaining.map(|left| i64::try_from(left.as_micros()).unwrap_or(i64::MAX));
    lictor_storage::sqlx::query(
        "UPDATE license SET state = $1, version = $2, withdrawn_at = $3, merged_into = $4, remaining = $5, \
         replaced_at = $6, replaced_for = $7 WHERE license_id = $8",
    )
    .bind(license.state().name())
    .bind(to_i64(license.version)?)
    .bind(license.withdrawn_at.map(Timestamp::as_micros))
    .bind(license.merged_into.map(|id| id.to_string()))
    .bind(remaining)
    .bind(license.replaced_at.map(Timestamp::as_micros))
    .bind(license.replaced_for.clone())
    .bind(license.id.to_string())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes why licenses were withdrawn.
pub(super) async fn save_reason(tx: &mut Tx, ids: &[LicenseId], reason: &str) -> Result<(), StorageError> {
    if ids.is_empty() || reason.is_empty() {
        return Ok(());
    }
    let mut query =
        statement(format!("UPDATE license SET withdrawn_for = $1 WHERE license_id IN ({})", list(2, ids.len())))
            .bind(reason.to_owned());
    for id in ids {
        query = query.bind(id.to_string());
    }
    query.execute(tx.conn()).await?;
    Ok(())
}

fn license_row(row: &AnyRow) -> Result<License, StorageError> {
    let firm = small(row, "firm_code")?;
    let expires_at: Option<i64> = row.try_get("expires_at")?;
    let policy: String = row.try_get("policy")?;
    let remaining: Option<i64> = row.try_get("remaining")?;
    let remaining = remaining.map(to_u64).transpose()?;
    let time = |column: &'static str| -> Result<Option<Timestamp>, StorageError> {
        let micros: Option<i64> = row.try_get(column)?;
        Ok(micros.map(Timestamp::from_micros))
    };
    Ok(License {
        id: parsed(row, "license_id")?,
        firm: FirmCode::new(firm).map_err(|error| StorageError::inconsistent("license", error.to_string()))?,
        ticket: parsed(row, "ticket_id")?,
        ticket_masked: row.try_get("masked")?,
        order: parsed(row, "order_id")?,
        customer: parsed(row, "customer_id")?,
        customer_name: row.try_get("customer_name")?,
        item: row.try_get("item")?,
        item_id: row.try_get("item_id")?,
        item_version: to_u64(row.try_get("item_version")?)?,
        product_code: ProductCode(small(row, "product_code")?),
        line: small(row, "line")?,
        quantity: small(row, "quantity")?,
        expires_at: expires_at.map(Timestamp::from_micros),
        withdrawn_at: time("withdrawn_at")?,
        merged_into: maybe(row, "merged_into")?,
        subscription: row.try_get("subscription")?,
        remaining: remaining.map(Duration::from_micros),
        renewal_cancelled_at: time("renewal_cancelled_at")?,
        replaced_at: time("replaced_at")?,
        replaced_for: row.try_get("replaced_for")?,
        policy: Policy::read(&policy).map_err(|what| StorageError::inconsistent("item_version.policy", what))?,
        version: to_u64(row.try_get("version")?)?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        allocations: Vec::new(),
    })
}
