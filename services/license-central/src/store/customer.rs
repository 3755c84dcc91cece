//! Customers: made by orders, read by listings.

use lictor_clock::Timestamp;
use lictor_licensing::{FirmCode, id::CustomerId};
use lictor_storage::{
    StorageError, Tx,
    sqlx::{self, Row, any::AnyRow},
    to_u64,
};

use super::Store;
use crate::domain::{order::CustomerName, page::Page};

/// A customer with the number of its orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerRow {
    /// Its id.
    pub id: String,
    /// What orders call it.
    pub name: String,
    /// The vendor.
    pub firm: u32,
    /// Time of its first order.
    pub created_at: Timestamp,
    /// How many orders it has.
    pub orders: u64,
}

const SELECT: &str = "SELECT c.customer_id, c.name, c.firm_code, c.created_at, \
    (SELECT COUNT(*) FROM \"order\" o WHERE o.customer_id = c.customer_id) AS orders FROM customer c";

impl Store {
    /// A page of a firm's customers, newest first; one row more than asked for tells that there is a next page.
    pub async fn customers(&self, firm: FirmCode, page: &Page) -> Result<Vec<CustomerRow>, StorageError> {
        let rows = super::sql::statement(format!(
            "{SELECT} WHERE c.firm_code = $1 AND ($2 = '' OR c.customer_id < $3) ORDER BY c.customer_id DESC LIMIT $4"
        ))
        .bind(i64::from(firm.get()))
        .bind(page.below.clone().unwrap_or_default())
        .bind(page.below.clone().unwrap_or_default())
        .bind(i64::from(page.size) + 1)
        .fetch_all(self.db.pool())
        .await?;
        rows.iter().map(customer_row).collect()
    }

    /// A firm's customer by id or name.
    pub async fn customer(&self, firm: FirmCode, id_or_name: &str) -> Result<Option<CustomerRow>, StorageError> {
        let row = super::sql::statement(format!(
            "{SELECT} WHERE c.firm_code = $1 AND (c.name = $2 OR c.customer_id = $3) ORDER BY c.name = $2 DESC LIMIT 1"
        ))
        .bind(i64::from(firm.get()))
        .bind(id_or_name.to_owned())
        .bind(id_or_name.to_owned())
        .fetch_optional(self.db.pool())
        .await?;
        row.as_ref().map(customer_row).transpose()
    }
}

/// The id of the customer with this name; it is made with `fresh` when there is none.
pub(super) async fn find_or_make(
    tx: &mut Tx,
    firm: FirmCode,
    name: &CustomerName,
    fresh: CustomerId,
    now: Timestamp,
) -> Result<CustomerId, StorageError> {
    if let Some(found) = find(tx, firm, name).await? {
        return Ok(found);
    }
    let made = sqlx::query(
        "INSERT INTO customer (customer_id, firm_code, name, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (firm_code, name) DO NOTHING",
    )
    .bind(fresh.to_string())
    .bind(i64::from(firm.get()))
    .bind(name.as_str())
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    if made.rows_affected() == 1 {
        return Ok(fresh);
    }
    // Another order made it since we looked.
    find(tx, firm, name).await?.ok_or_else(|| StorageError::inconsistent("customer", "neither there nor new"))
}

async fn find(tx: &mut Tx, firm: FirmCode, name: &CustomerName) -> Result<Option<CustomerId>, StorageError> {
    let row = sqlx::query("SELECT customer_id FROM customer WHERE firm_code = $1 AND name = $2")
        .bind(i64::from(firm.get()))
        .bind(name.as_str())
        .fetch_optional(tx.conn())
        .await?;
    row.as_ref().map(|row| super::sql::parsed(row, "customer_id")).transpose()
}

fn customer_row(row: &AnyRow) -> Result<CustomerRow, StorageError> {
    Ok(CustomerRow {
        id: row.try_get("customer_id")?,
        name: row.try_get("name")?,
        firm: super::sql::small(row, "firm_code")?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        orders: to_u64(row.try_get("orders")?)?,
    })
}
