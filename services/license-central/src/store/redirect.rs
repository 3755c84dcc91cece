//! Seats that left one container and cannot come into the other: they are sent elsewhere, or back.

use lictor_clock::Timestamp;
use lictor_licensing::{
    binding,
    error::{ErrorCode, Problem},
    id::TransferId,
};
use lictor_storage::{StorageError, Tx, retry, sqlx};

use super::{
    Store, license,
    plan::{no_transfer, same_customer},
    transfer,
};
use crate::{
    domain::{
        allocation::AllocationState,
        license::{Allocation, Loan},
        plan::{Place, Sold},
        transfer::{Transfer, TransferState},
    },
    failure::Failure,
};

impl Store {
    /// Sends the seats of a transfer into another container than they were to go into. One that goes there already stays
    /// as it is. Back in the container that they came from they are as they were before: a loan is none any more.
    pub async fn redirect(&self, id: TransferId, target: &Place, now: Timestamp) -> Result<(), Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let known = transfer::by_id(tx.conn(), id).await?.ok_or_else(|| no_transfer(id))?;
            let sold = license::locked(&mut tx, "$1", &[known.license.to_string()]).await?.pop();
            let sold = sold.ok_or_else(|| StorageError::inconsistent("transfer.license_id", "no such license"))?;
            // Everything that changes a transfer holds its license, so from here on it stands still.
            let transfer = transfer::by_id(tx.conn(), id).await?.ok_or_else(|| no_transfer(id))?;
            if transfer.to_container == target.id {
                return Ok(());
            }
            may_be_redirected(&transfer)?;
            let until = may_go_into(&mut tx, &sold, &transfer, target).await?;
            write(&mut tx, &transfer, target, until, now).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }
}

fn may_be_redirected(transfer: &Transfer) -> Result<(), Problem> {
    let (code, text, next) = match transfer.state {
        TransferState::Departing | TransferState::Departed => return Ok(()),
        TransferState::Arriving => (
            ErrorCode::Conflict,
            "an activation carries the seats in right now",
            "if its container does not take them, block the container, and replace it or try again",
        ),
        TransferState::Arrived => {
            (ErrorCode::WrongState, "the seats have arrived", "begin another transfer from where they are")
        }
        TransferState::CalledOff => (ErrorCode::WrongState, "the transfer was called off", "begin another one"),
    };
    Err(Problem::new(code, text, next))
}

/// Whether the seats may lie in that container, and until when they are lent to it.
async fn may_go_into(
    tx: &mut Tx,
    sold: &Sold,
    transfer: &Transfer,
    target: &Place,
) -> Result<Option<Timestamp>, Failure> {
    let home = target.id == transfer.from_container;
    if home && transfer.returns.is_some() {
        return Err(Failure::refused(
            ErrorCode::LicenseForbids,
            "lent seats do not go back to the one who borrowed them",
            "name a container of the lender",
        ));
    }
    if !home {
        same_customer(tx, transfer.firm, transfer.license, &transfer.from_serial, target).await?;
        let kind =
            target.kind.ok_or_else(|| Failure::invalid("the kind of the new container is missing", "name it"))?;
        binding::may_live(sold.item.bindings(), kind, target.virtual_machine).map_err(|forbidden| {
            Problem::new(
                ErrorCode::BindingForbidden,
                format!("{} of {}: {forbidden}", sold.license.id, sold.license.item),
                "use a container of a kind that the license allows",
            )
        })?;
    }
    let until = transfer.lend_until.filter(|_| !home);
    let loan = until.map(|until| Loan { until, lender: transfer.from_serial.clone() });
    let there = |part: &&Allocation| {
        part.container == target.id && !part.state.is_over() && part.state != AllocationState::Returning
    };
    match sold.license.allocations.iter().filter(there).find(|part| !part.same_terms(loan.as_ref())) {
        None => Ok(until),
        Some(part) => Err(Failure::refused(
            ErrorCode::LicenseForbids,
            format!("container {} has seats of the license {} on other terms", part.serial, part.license),
            "lent seats and own seats of one license never lie in one container: use another one",
        )),
    }
}

async fn write(
    tx: &mut Tx,
    transfer: &Transfer,
    target: &Place,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE transfer SET to_container = $1, to_serial = $2, to_kind = $3, lend_until = $4, changed_at = $5 \
         WHERE transfer_id = $6",
    )
    .bind(target.id.clone())
    .bind(target.serial.clone())
    .bind(target.kind.map(lictor_licensing::ContainerKind::name))
    .bind(until.map(Timestamp::as_micros))
    .bind(now.as_micros())
    .bind(transfer.id.to_string())
    .execute(tx.conn())
    .await?;
    // A move that ends where it began was none.
    let fewer = i64::from(target.id == transfer.from_container);
    sqlx::query(
        "UPDATE allocation SET container_id = $1, serial = $2, changed_at = $3, \
         moves = CASE WHEN moves > $4 THEN moves - $4 ELSE 0 END WHERE transfer_id = $5 AND state = $6",
    )
    .bind(target.id.clone())
    .bind(target.serial.clone())
    .bind(now.as_micros())
    .bind(fewer)
    .bind(transfer.id.to_string())
    .bind(AllocationState::Awaited.name())
    .execute(tx.conn())
    .await?;
    Ok(())
}
