//! Transfers: seats that go from one container to another.

use lictor_clock::Timestamp;
use lictor_licensing::{
    FirmCode,
    id::{ActivationId, LicenseId, TransferId},
};
use lictor_storage::{
    StorageError, Tx,
    sqlx::{self, AnyConnection, Row, any::AnyRow},
};

use super::{
    Store,
    reservation::Reservation,
    sql::{list, maybe, parsed, small, statement},
};
use crate::{
    domain::{
        allocation::{AllocationState, Intent},
        license::License,
        page::Page,
        plan::GoesBack,
        transfer::{CLOCK_TOLERANCE, Transfer, TransferState},
    },
    ids,
};

const SELECT: &str = "SELECT transfer_id, firm_code, license_id, quantity, from_container, from_serial, to_container, \
    to_serial, to_kind, lend_until, returns, gone_by, state, depart_by, arrive_by, created_at FROM transfer";

impl Store {
    /// One transfer.
    pub async fn transfer(&self, id: TransferId) -> Result<Option<Transfer>, StorageError> {
        let row = statement(format!("{SELECT} WHERE transfer_id = $1"))
            .bind(id.to_string())
            .fetch_optional(self.db.pool())
            .await?;
        row.as_ref().map(transfer_row).transpose()
    }

    /// A page of a firm's transfers, newest first; one more than asked for tells that there is a next page.
    pub async fn transfers(
        &self,
        firm: FirmCode,
        license: Option<LicenseId>,
        page: &Page,
    ) -> Result<Vec<Transfer>, StorageError> {
        let mut text = format!("{SELECT} WHERE firm_code = $1");
        let mut values = Vec::new();
        if let Some(license) = license {
            values.push(license.to_string());
            text.push_str(&format!(" AND license_id = ${}", values.len() + 1));
        }
        if let Some(below) = &page.below {
            values.push(below.clone());
            text.push_str(&format!(" AND transfer_id < ${}", values.len() + 1));
        }
        text.push_str(&format!(" ORDER BY transfer_id DESC LIMIT ${}", values.len() + 2));
        let mut query = statement(text).bind(i64::from(firm.get()));
        for value in values {
            query = query.bind(value);
        }
        let rows = query.bind(i64::from(page.size) + 1).fetch_all(self.db.pool()).await?;
        rows.iter().map(transfer_row).collect()
    }
}

pub(super) async fn by_id(conn: &mut AnyConnection, id: TransferId) -> Result<Option<Transfer>, StorageError> {
    let row = statement(format!("{SELECT} WHERE transfer_id = $1")).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(transfer_row).transpose()
}

/// The transfer that an activation's plan is a leg of; none for plans of other purposes.
pub(super) async fn of_leg(tx: &mut Tx, reservation: &Reservation) -> Result<Vec<Transfer>, StorageError> {
    let column = match reservation.purpose.as_str() {
        "depart" => "depart_by",
        "arrive" => "arrive_by",
        _ => return Ok(Vec::new()),
    };
    let rows = statement(format!("{SELECT} WHERE {column} = $1"))
        .bind(reservation.activation.to_string())
        .fetch_all(tx.conn())
        .await?;
    rows.iter().map(transfer_row).collect()
}

pub(super) async fn insert(tx: &mut Tx, transfer: &Transfer, now: Timestamp) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO transfer (transfer_id, firm_code, license_id, quantity, from_container, from_serial, \
         to_container, to_serial, to_kind, lend_until, returns, gone_by, state, depart_by, created_at, changed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(transfer.id.to_string())
    .bind(i64::from(transfer.firm.get()))
    .bind(transfer.license.to_string())
    .bind(i64::from(transfer.quantity))
    .bind(transfer.from_container.clone())
    .bind(transfer.from_serial.clone())
    .bind(transfer.to_container.clone())
    .bind(transfer.to_serial.clone())
    .bind(transfer.to_kind.map(lictor_licensing::ContainerKind::name))
    .bind(transfer.lend_until.map(Timestamp::as_micros))
    .bind(transfer.returns.map(|loan| loan.to_string()))
    .bind(transfer.gone_by.map(Timestamp::as_micros))
    .bind(transfer.state.name())
    .bind(transfer.depart_by.to_string())
    .bind(transfer.created_at.as_micros())
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A plan to carry the seats of a transfer in was made.
pub(super) async fn arriving(
    tx: &mut Tx,
    transfer: TransferId,
    by: ActivationId,
    now: Timestamp,
) -> Result<(), StorageError> {
    sqlx::query("UPDATE transfer SET state = $1, arrive_by = $2, changed_at = $3 WHERE transfer_id = $4")
        .bind(TransferState::Arriving.name())
        .bind(by.to_string())
        .bind(now.as_micros())
        .bind(transfer.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// A leg was proven; gives the transfers that moved by it. `waits` says whether the seats that left wait to come in.
pub(super) async fn proven(
    tx: &mut Tx,
    transfers: &mut [Transfer],
    by: ActivationId,
    waits: bool,
    now: Timestamp,
) -> Result<Vec<Transfer>, StorageError> {
    let mut moved = Vec::new();
    for transfer in transfers {
        let next = match transfer.state {
            TransferState::Departing if transfer.depart_by == by && waits => TransferState::Departed,
            TransferState::Departing if transfer.depart_by == by => TransferState::CalledOff,
            TransferState::Arriving if transfer.arrive_by == Some(by) => TransferState::Arrived,
            // The seats had come in by date, or were called off.
            _ => continue,
        };
        transfer.state = next;
        set_state(tx, &[transfer.id], next, now).await?;
        moved.push(transfer.clone());
    }
    Ok(moved)
}

/// The plan of a leg ended with nothing issued.
pub(super) async fn release(tx: &mut Tx, by: ActivationId, now: Timestamp) -> Result<(), StorageError> {
    sqlx::query("UPDATE transfer SET state = $1, changed_at = $2 WHERE depart_by = $3 AND state = $4")
        .bind(TransferState::CalledOff.name())
        .bind(now.as_micros())
        .bind(by.to_string())
        .bind(TransferState::Departing.name())
        .execute(tx.conn())
        .await?;
    sqlx::query(
        "UPDATE transfer SET state = $1, arrive_by = NULL, changed_at = $2 WHERE arrive_by = $3 AND state = $4",
    )
    .bind(TransferState::Departed.name())
    .bind(now.as_micros())
    .bind(by.to_string())
    .bind(TransferState::Arriving.name())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends transfers whose seats wait and are to arrive nowhere any more; gives them in their new state.
pub(super) async fn call_off(tx: &mut Tx, ids: &[TransferId], now: Timestamp) -> Result<Vec<Transfer>, StorageError> {
    let mut ended = Vec::new();
    for id in ids {
        if let Some(mut transfer) = by_id(tx.conn(), *id).await?.filter(|transfer| transfer.state.is_open()) {
            transfer.state = TransferState::CalledOff;
            ended.push(transfer);
        }
    }
    set_state(tx, ids, TransferState::CalledOff, now).await?;
    Ok(ended)
}

/// Ends the transfers of seats that were leaving a container that is lost by this step, or waited to come into it; gives
/// them in their new state.
pub(super) async fn end_lost(
    tx: &mut Tx,
    before: &[License],
    after: &[License],
    now: Timestamp,
) -> Result<Vec<Transfer>, StorageError> {
    let mut ids = Vec::new();
    for (old, new) in before.iter().zip(after) {
        for (old, new) in old.allocations.iter().zip(&new.allocations) {
            match (old.state, old.withdrawn, new.state) {
                (
                    AllocationState::Returning,
                    Some((leaving, Intent::Departed)),
                    AllocationState::Lost | AllocationState::WrittenOff,
                ) => {
                    let rows = statement(format!("{SELECT} WHERE depart_by = $1 AND license_id = $2"))
                        .bind(leaving.to_string())
                        .bind(old.license.to_string())
                        .fetch_all(tx.conn())
                        .await?;
                    for row in &rows {
                        ids.push(transfer_row(row)?.id);
                    }
                }
                (AllocationState::Awaited, _, AllocationState::Lost | AllocationState::Returning) => {
                    ids.extend(old.transfer);
                }
                _ => {}
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    call_off(tx, &ids, now).await
}

/// Borrowed seats of a lost container begin their way back to their lender: they arrive when the loan is over by more than
/// any clock is wrong.
pub(super) async fn send_back(
    tx: &mut Tx,
    lost: &[GoesBack],
    by: ActivationId,
    now: Timestamp,
) -> Result<Vec<Transfer>, StorageError> {
    let mut begun: Vec<Transfer> = Vec::new();
    for part in lost.iter().map(|lost| &lost.part) {
        let Some(loan) = part.transfer else { continue };
        if let Some(known) = begun.iter_mut().find(|known| known.returns == Some(loan)) {
            known.quantity = known.quantity.saturating_add(part.quantity);
            continue;
        }
        let Some(loan) = by_id(tx.conn(), loan).await? else { continue };
        begun.push(Transfer {
            id: TransferId::new(now, ids::random()),
            quantity: part.quantity,
            from_container: part.container.clone(),
            from_serial: part.serial.clone(),
            to_container: loan.from_container,
            to_serial: loan.from_serial,
            to_kind: None,
            lend_until: None,
            returns: Some(loan.id),
            gone_by: loan.lend_until.map(|end| end.saturating_add(CLOCK_TOLERANCE)),
            state: TransferState::Departing,
            depart_by: by,
            arrive_by: None,
            created_at: now,
            ..loan
        });
    }
    for transfer in &begun {
        insert(tx, transfer, now).await?;
    }
    Ok(begun)
}

async fn set_state(tx: &mut Tx, ids: &[TransferId], state: TransferState, now: Timestamp) -> Result<(), StorageError> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut query = statement(format!(
        "UPDATE transfer SET state = $1, changed_at = $2 WHERE state <> 'arrived' AND transfer_id IN ({})",
        list(3, ids.len())
    ))
    .bind(state.name())
    .bind(now.as_micros());
    for id in ids {
        query = query.bind(id.to_string());
    }
    query.execute(tx.conn()).await?;
    Ok(())
}

/// A lost container was replaced: loans that it gave come back to the new one, loans that it got go back from the new one,
/// and seats that were to come into it come into the new one.
pub(super) async fn follow_replaced(
    tx: &mut Tx,
    licenses: &[License],
    by: ActivationId,
    now: Timestamp,
) -> Result<(), StorageError> {
    let parts = || licenses.iter().flat_map(|license| &license.allocations);
    let Some(new) = parts().find(|part| part.activation == by && part.replaces.is_some()) else {
        return Ok(());
    };
    let lost = parts().find(|part| Some(part.id) == new.replaces);
    let Some(lost) = lost else { return Ok(()) };
    // What else was lost with the container goes its own way.
    let carried =
        |license: &&License| license.allocations.iter().any(|part| part.activation == by && part.replaces.is_some());
    let ids: Vec<String> = licenses.iter().filter(carried).map(|license| license.id.to_string()).collect();
    let marks = list(5, ids.len());
    let (fresh, old) = ((&new.container, &new.serial), &lost.container);
    for text in [
        format!(
            "UPDATE transfer SET from_container = $1, from_serial = $2, changed_at = $3 WHERE from_container = $4 \
             AND lend_until IS NOT NULL AND state <> 'called-off' AND license_id IN ({marks})"
        ),
        format!(
            "UPDATE transfer SET to_container = $1, to_serial = $2, changed_at = $3, \
             state = CASE WHEN state = 'arriving' THEN 'arrived' ELSE state END WHERE to_container = $4 \
             AND (state IN ('departing', 'departed') OR (state IN ('arriving', 'arrived') AND lend_until IS NOT NULL)) \
             AND license_id IN ({marks})"
        ),
        format!(
            "UPDATE allocation SET container_id = $1, serial = $2, changed_at = $3 WHERE container_id = $4 \
             AND state = '{}' AND license_id IN ({marks})",
            AllocationState::Awaited.name()
        ),
    ] {
        let mut query =
            statement(text).bind(fresh.0.clone()).bind(fresh.1.clone()).bind(now.as_micros()).bind(old.clone());
        for id in &ids {
            query = query.bind(id.clone());
        }
        query.execute(tx.conn()).await?;
    }
    Ok(())
}

fn transfer_row(row: &AnyRow) -> Result<Transfer, StorageError> {
    let time = |column: &'static str| -> Result<Option<Timestamp>, StorageError> {
        let micros: Option<i64> = row.try_get(column)?;
        Ok(micros.map(Timestamp::from_micros))
    };
    Ok(Transfer {
        id: parsed(row, "transfer_id")?,
        firm: FirmCode::new(small(row, "firm_code")?)
            .map_err(|error| StorageError::inconsistent("transfer", error.to_string()))?,
        license: parsed(row, "license_id")?,
        quantity: small(row, "quantity")?,
        from_container: row.try_get("from_container")?,
        from_serial: row.try_get("from_serial")?,
        to_container: row.try_get("to_container")?,
        to_serial: row.try_get("to_serial")?,
        to_kind: maybe(row, "to_kind")?,
        lend_until: time("lend_until")?,
        returns: maybe(row, "returns")?,
        gone_by: time("gone_by")?,
        state: parsed(row, "state")?,
        depart_by: parsed(row, "depart_by")?,
        arrive_by: maybe(row, "arrive_by")?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
    })
}
