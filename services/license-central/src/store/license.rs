//! Licenses with their allocations.

use std::collections::{BTreeMap, HashMap};

use lictor_clock::Timestamp;
use lictor_licensing::{
    FirmCode, ProductCode,
    id::{LicenseId, TicketId},
};
use lictor_storage::{
    Dialect, StorageError, Tx,
    sqlx::{AnyConnection, Row, any::AnyRow},
    to_u64,
};

use super::{
    Store,
    sql::{list, parsed, rows, small, statement},
};
use crate::domain::{
    license::{Allocation, License, LicenseState},
    page::Page,
};

const SELECT: &str = "SELECT l.license_id, l.firm_code, l.ticket_id, t.masked, l.order_id, l.customer_id, \
    c.name AS customer_name, i.name AS item, l.item_id, l.item_version, v.product_code, l.line, l.quantity, \
    v.expires_at, l.withdrawn_at, l.version, l.created_at \
    FROM license l JOIN ticket t ON t.ticket_id = l.ticket_id JOIN customer c ON c.customer_id = l.customer_id \
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
        let mut text = format!("{SELECT} WHERE l.firm_code = $1");
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
                 AND a.state IN ('collected', 'confirmed', 'returning'))",
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
        let mut query =
            statement(format!("{SELECT} WHERE l.{column} IN ({}) ORDER BY l.order_id, l.line", list(1, part.len())));
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
        let mut query = statement(format!(
            "SELECT allocation_id, license_id, activation_id, withdrawn_by, container_id, serial, quantity, state \
             FROM allocation WHERE license_id IN ({}) AND state <> 'ended' ORDER BY allocation_id",
            list(1, part.len())
        ));
        for id in part {
            query = query.bind(id.clone());
        }
        for row in query.fetch_all(&mut *conn).await? {
            let allocation = allocation_row(&row)?;
            if let Some(place) = places.get(&allocation.license) {
                licenses[*place].allocations.push(allocation);
            }
        }
    }
    Ok(licenses)
}

/// Locks the licenses that `select` names (it must give `license_id` in ascending order), reads them, and only then
/// gives them back: what others committed while we waited is seen.
pub(super) async fn locked(tx: &mut Tx, select: &'static str, value: &str) -> Result<Vec<License>, StorageError> {
    let lock = tx.dialect().lock_rows(select);
    let rows = lictor_storage::sqlx::query(lock).bind(value.to_owned()).fetch_all(tx.conn()).await?;
    let ids = rows.iter().map(|row| parsed(row, "license_id")).collect::<Result<Vec<LicenseId>, _>>()?;
    by_ids(tx.conn(), &ids).await
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

/// Locks licenses by id, in ascending order, and reads them then; those that do not exist are left out.
pub(super) async fn locked_by_ids(tx: &mut Tx, ids: &[LicenseId]) -> Result<Vec<License>, StorageError> {
    let suffix = match tx.dialect() {
        Dialect::Postgres => " FOR UPDATE",
        // Its write transactions run one at a time.
        Dialect::Sqlite => "",
    };
    let mut query = statement(format!(
        "SELECT license_id FROM license WHERE license_id IN ({}) ORDER BY license_id{suffix}",
        list(1, ids.len())
    ));
    for id in ids {
        query = query.bind(id.to_string());
    }
    query.fetch_all(tx.conn()).await?;
    by_ids(tx.conn(), ids).await
}

/// Writes licenses whose state changed: the derived state, one version more, the end of a withdrawal that was called
/// off, and the states of their allocations. Licenses and allocations that change alike share a statement.
pub(super) async fn save_changed(tx: &mut Tx, licenses: &[License], now: Timestamp) -> Result<(), StorageError> {
    let mut heads: BTreeMap<(&str, bool), Vec<LicenseId>> = BTreeMap::new();
    for license in licenses {
        heads.entry((license.state().name(), license.withdrawn_at.is_some())).or_default().push(license.id);
    }
    for ((state, withdrawn), ids) in heads {
        let call_off = if withdrawn { "" } else { "withdrawn_at = NULL, withdrawn_for = NULL, " };
        let mut query = statement(format!(
            "UPDATE license SET state = $1, {call_off}version = version + 1 WHERE license_id IN ({})",
            list(2, ids.len())
        ))
        .bind(state);
        for id in ids {
            query = query.bind(id.to_string());
        }
        query.execute(tx.conn()).await?;
    }
    save_allocations(tx, licenses.iter().flat_map(|license| &license.allocations), now).await
}

/// Writes that licenses were withdrawn now; their allocations are left to [`save_allocations`].
pub(super) async fn save_withdrawn(
    tx: &mut Tx,
    state: &'static str,
    ids: &[LicenseId],
    reason: &str,
    now: Timestamp,
) -> Result<(), StorageError> {
    let mut query = statement(format!(
        "UPDATE license SET state = $1, withdrawn_at = $2, withdrawn_for = $3, version = version + 1 \
         WHERE license_id IN ({})",
        list(4, ids.len())
    ))
    .bind(state)
    .bind(now.as_micros())
    .bind(reason.to_owned());
    for id in ids {
        query = query.bind(id.to_string());
    }
    query.execute(tx.conn()).await?;
    Ok(())
}

/// Writes the states of allocations; those that stand alike share a statement.
pub(super) async fn save_allocations<'a>(
    tx: &mut Tx,
    allocations: impl Iterator<Item = &'a Allocation>,
    now: Timestamp,
) -> Result<(), StorageError> {
    let mut parts: BTreeMap<(&str, Option<String>), Vec<String>> = BTreeMap::new();
    for allocation in allocations {
        let key = (allocation.state.name(), allocation.withdrawn_by.map(|by| by.to_string()));
        parts.entry(key).or_default().push(allocation.id.to_string());
    }
    for ((state, withdrawn_by), ids) in parts {
        let mut query = statement(format!(
            "UPDATE allocation SET state = $1, withdrawn_by = $2, changed_at = $3 WHERE allocation_id IN ({})",
            list(4, ids.len())
        ))
        .bind(state)
        .bind(withdrawn_by)
        .bind(now.as_micros());
        for id in ids {
            query = query.bind(id);
        }
        query.execute(tx.conn()).await?;
    }
    Ok(())
}

fn license_row(row: &AnyRow) -> Result<License, StorageError> {
    let firm = small(row, "firm_code")?;
    let expires_at: Option<i64> = row.try_get("expires_at")?;
    let withdrawn_at: Option<i64> = row.try_get("withdrawn_at")?;
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
        withdrawn_at: withdrawn_at.map(Timestamp::from_micros),
        version: to_u64(row.try_get("version")?)?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        allocations: Vec::new(),
    })
}

pub(super) fn allocation_row(row: &AnyRow) -> Result<Allocation, StorageError> {
    let withdrawn_by: Option<String> = row.try_get("withdrawn_by")?;
    Ok(Allocation {
        id: parsed(row, "allocation_id")?,
        license: parsed(row, "license_id")?,
        activation: parsed(row, "activation_id")?,
        withdrawn_by: withdrawn_by
            .map(|text| text.parse().map_err(|_| StorageError::inconsistent("allocation.withdrawn_by", text)))
            .transpose()?,
        container: row.try_get("container_id")?,
        serial: row.try_get("serial")?,
        quantity: small(row, "quantity")?,
        state: parsed(row, "state")?,
    })
}
