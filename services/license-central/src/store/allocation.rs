//! Parts of licenses.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;
use lictor_licensing::id::{ActivationId, LicenseId};
use lictor_storage::{
    StorageError, Tx,
    sqlx::{self, AnyConnection, Row, any::AnyRow},
};

use super::sql::{list, maybe, parsed, rows, small, statement};
use crate::domain::{
    allocation::{AllocationState, Intent},
    license::{Allocation, License, Loan, Planned},
    plan::Mark,
};

/// The parts of these licenses that are not over, oldest first.
pub(super) async fn alive(conn: &mut AnyConnection, licenses: &[String]) -> Result<Vec<Allocation>, StorageError> {
    let mut query = statement(format!(
        "SELECT a.allocation_id, a.license_id, a.activation_id, a.withdrawn_by, a.withdrawn_as, a.container_id, \
         a.serial, a.quantity, a.state, a.expires_at, a.subscription, a.transfer_id, a.moves, a.replaces, \
         a.planned_by, a.planned_as, a.planned_seats, a.planned_end, a.merges_into, t.lend_until, t.from_serial \
         FROM allocation a LEFT JOIN transfer t ON t.transfer_id = a.transfer_id \
         WHERE a.license_id IN ({}) AND a.state NOT IN ('ended', 'written-off') ORDER BY a.allocation_id",
        list(1, licenses.len())
    ));
    for license in licenses {
        query = query.bind(license.clone());
    }
    query.fetch_all(conn).await?.iter().map(row).collect()
}

fn row(row: &AnyRow) -> Result<Allocation, StorageError> {
    let time = |column: &'static str| -> Result<Option<Timestamp>, StorageError> {
        let micros: Option<i64> = row.try_get(column)?;
        Ok(micros.map(Timestamp::from_micros))
    };
    let both = |by: Option<ActivationId>, how: Option<Intent>, place: &'static str| match (by, how) {
        (Some(by), Some(how)) => Ok(Some((by, how))),
        (None, None) => Ok(None),
        _ => Err(StorageError::inconsistent(place, "half of it is missing")),
    };
    let planned = both(maybe(row, "planned_by")?, maybe(row, "planned_as")?, "allocation.planned_by")?;
    let planned = match planned {
        None => None,
        Some((by, intent)) => {
            Some(Planned { by, intent, seats: small(row, "planned_seats")?, end: time("planned_end")? })
        }
    };
    let loan = match time("lend_until")? {
        None => None,
        Some(until) => Some(Loan { until, lender: row.try_get("from_serial")? }),
    };
    Ok(Allocation {
        id: parsed(row, "allocation_id")?,
        license: parsed(row, "license_id")?,
        activation: parsed(row, "activation_id")?,
        withdrawn: both(maybe(row, "withdrawn_by")?, maybe(row, "withdrawn_as")?, "allocation.withdrawn_by")?,
        planned,
        container: row.try_get("container_id")?,
        serial: row.try_get("serial")?,
        quantity: small(row, "quantity")?,
        state: parsed(row, "state")?,
        expires_at: time("expires_at")?,
        subscription: row.try_get("subscription")?,
        transfer: maybe(row, "transfer_id")?,
        loan,
        moves: small(row, "moves")?,
        replaces: maybe(row, "replaces")?,
        merges_into: maybe(row, "merges_into")?,
    })
}

/// Most parts that one statement writes.
const ROWS: usize = 500;

/// Writes new parts.
pub(super) async fn insert<'a>(
    tx: &mut Tx,
    parts: impl Iterator<Item = &'a Allocation>,
    now: Timestamp,
) -> Result<(), StorageError> {
    let parts: Vec<&Allocation> = parts.collect();
    for parts in parts.chunks(ROWS) {
        let mut query = statement(format!(
            "INSERT INTO allocation (allocation_id, license_id, activation_id, container_id, serial, quantity, state, \
             expires_at, subscription, transfer_id, moves, replaces, merges_into, planned_by, planned_as, \
             planned_seats, planned_end, created_at, changed_at) VALUES {}",
            rows(parts.len(), 19)
        ));
        for part in parts {
            let planned = part.planned;
            query = query
                .bind(part.id.to_string())
                .bind(part.license.to_string())
                .bind(part.activation.to_string())
                .bind(part.container.clone())
                .bind(part.serial.clone())
                .bind(i64::from(part.quantity))
                .bind(part.state.name())
                .bind(part.expires_at.map(Timestamp::as_micros))
                .bind(part.subscription.clone())
                .bind(part.transfer.map(|id| id.to_string()))
                .bind(i64::from(part.moves))
                .bind(part.replaces.map(|id| id.to_string()))
                .bind(part.merges_into.map(|id| id.to_string()))
                .bind(planned.map(|planned| planned.by.to_string()))
                .bind(planned.map(|planned| planned.intent.name()))
                .bind(planned.map(|planned| i64::from(planned.seats)))
                .bind(planned.and_then(|planned| planned.end).map(Timestamp::as_micros))
                .bind(now.as_micros())
                .bind(now.as_micros());
        }
        query.execute(tx.conn()).await?;
    }
    Ok(())
}

/// Writes what a plan is about to do with parts; those that are marked alike share a statement.
pub(super) async fn mark(tx: &mut Tx, marks: &[Mark], now: Timestamp) -> Result<(), StorageError> {
    type Alike = (ActivationId, Intent, u32, Option<Timestamp>, Option<LicenseId>);
    let mut alike: BTreeMap<Alike, Vec<String>> = BTreeMap::new();
    for mark in marks {
        let Planned { by, intent, seats, end } = mark.planned;
        alike.entry((by, intent, seats, end, mark.merges_into)).or_default().push(mark.part.to_string());
    }
    for ((by, intent, seats, end, into), ids) in alike {
        for ids in ids.chunks(ROWS) {
            let mut query = statement(format!(
                "UPDATE allocation SET planned_by = $1, planned_as = $2, planned_seats = $3, planned_end = $4, \
                 merges_into = $5, changed_at = $6 WHERE allocation_id IN ({})",
                list(7, ids.len())
            ))
            .bind(by.to_string())
            .bind(intent.name())
            .bind(i64::from(seats))
            .bind(end.map(Timestamp::as_micros))
            .bind(into.map(|id| id.to_string()))
            .bind(now.as_micros());
            for id in ids {
                query = query.bind(id.clone());
            }
            query.execute(tx.conn()).await?;
        }
    }
    Ok(())
}

/// Gives free what a plan set aside that has issued nothing.
pub(super) async fn release(tx: &mut Tx, activation: ActivationId, now: Timestamp) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE allocation SET state = 'ended', changed_at = $1 WHERE activation_id = $2 AND state = 'reserved'",
    )
    .bind(now.as_micros())
    .bind(activation.to_string())
    .execute(tx.conn())
    .await?;
    sqlx::query(
        "UPDATE allocation SET planned_by = NULL, planned_as = NULL, planned_seats = NULL, planned_end = NULL, \
         merges_into = NULL, changed_at = $1 WHERE planned_by = $2",
    )
    .bind(now.as_micros())
    .bind(activation.to_string())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What many parts have in common after a step.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Common {
    // What frees seats is written before what takes them.
    takes: bool,
    state: AllocationState,
    activation: Option<ActivationId>,
    withdrawn: Option<(ActivationId, Intent)>,
    done_with: bool,
    quantity: Option<u32>,
    expires_at: Option<Option<Timestamp>>,
}

/// Writes what a step changed in the parts of licenses, and the parts that it made; those that change alike share a
/// statement. `before` and `after` are the same licenses in the same order.
pub(super) async fn save(
    tx: &mut Tx,
    before: &[License],
    after: &[License],
    now: Timestamp,
) -> Result<(), StorageError> {
    let mut alike: BTreeMap<Common, Vec<String>> = BTreeMap::new();
    let mut new = Vec::new();
    for (old, license) in before.iter().zip(after) {
        for part in &license.allocations {
            let Some(old) = old.allocations.iter().find(|old| old.id == part.id) else {
                new.push(part);
                continue;
            };
            if old == part {
                continue;
            }
            let common = Common {
                takes: part.weight() > old.weight(),
                state: part.state,
                activation: (part.activation != old.activation).then_some(part.activation),
                withdrawn: part.withdrawn,
                done_with: old.planned.is_some() && part.planned.is_none(),
                quantity: (part.quantity != old.quantity).then_some(part.quantity),
                expires_at: (part.expires_at != old.expires_at).then_some(part.expires_at),
            };
            alike.entry(common).or_default().push(part.id.to_string());
        }
    }
    for (common, ids) in alike {
        for ids in ids.chunks(ROWS) {
            write(tx, &common, ids, now).await?;
        }
    }
    insert(tx, new.into_iter(), now).await
}

async fn write(tx: &mut Tx, common: &Common, ids: &[String], now: Timestamp) -> Result<(), StorageError> {
    let mut text = "UPDATE allocation SET state = $1, withdrawn_by = $2, withdrawn_as = $3, changed_at = $4".to_owned();
    let mut next = 5;
    let mut also = |column: &str, wanted: bool| {
        if wanted {
            text.push_str(&format!(", {column} = ${next}"));
            next += 1;
        }
    };
    also("activation_id", common.activation.is_some());
    also("quantity", common.quantity.is_some());
    also("expires_at", common.expires_at.is_some());
    if common.done_with {
        text.push_str(", planned_by = NULL, planned_as = NULL, planned_seats = NULL, planned_end = NULL");
    }
    text.push_str(&format!(" WHERE allocation_id IN ({})", list(next, ids.len())));
    let mut query = statement(text)
        .bind(common.state.name())
        .bind(common.withdrawn.map(|(by, _)| by.to_string()))
        .bind(common.withdrawn.map(|(_, how)| how.name()))
        .bind(now.as_micros());
    if let Some(activation) = common.activation {
        query = query.bind(activation.to_string());
    }
    if let Some(quantity) = common.quantity {
        query = query.bind(i64::from(quantity));
    }
    if let Some(end) = common.expires_at {
        query = query.bind(end.map(Timestamp::as_micros));
    }
    for id in ids {
        query = query.bind(id.clone());
    }
    query.execute(tx.conn()).await?;
    Ok(())
}
