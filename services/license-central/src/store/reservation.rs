//! Central's half of a saga. Locks are always taken in one order: licenses by ascending id, then reservations.

use std::collections::HashMap;

use lictor_clock::Timestamp;
use lictor_licensing::{
    FirmCode,
    error::{ErrorCode, Problem},
    id::{ActivationId, TicketId},
};
use lictor_storage::{
    StorageError, Tx, outbox, retry,
    sqlx::{self, AnyConnection, Row, any::AnyRow},
    to_i64,
};

use super::{
    Store, license,
    sql::{list, parsed, statement},
};
use crate::{
    domain::{
        allocation::{AllocationState, WrongStep},
        choice::Holder,
        license::{Allocation, License},
        reservation::{RESERVATION_TIME, ReservationState, Step},
    },
    events::Moment,
    failure::Failure,
    ids,
};

/// A reservation as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The activation.
    pub activation: ActivationId,
    /// SHA-256 of what was asked for.
    pub asked: Vec<u8>,
    /// Where it stands.
    pub state: ReservationState,
    /// Its time limit while it is reserved.
    pub until: Timestamp,
    /// Why it was released.
    pub reason: String,
}

impl Store {
    /// Lifts the time limit: the issuer is about to be asked.
    pub async fn keep(&self, activation: ActivationId, now: Timestamp) -> Result<(), Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let (_, reservation) = locked(&mut tx, activation).await?;
            let reservation = reservation.ok_or_else(unknown)?;
            if let Step::To(state) = reservation.state.keep(reservation.until, now)? {
                set_state(&mut tx, activation, state, "", now).await?;
                tx.commit().await?;
            }
            Ok(())
        })
        .await
    }

    /// The update was issued: allocations become collected.
    pub async fn commit(&self, activation: ActivationId, counter: u64, moment: &Moment) -> Result<(), Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let (mut licenses, reservation) = locked(&mut tx, activation).await?;
            let reservation = reservation.ok_or_else(unknown)?;
            if let Step::To(state) = reservation.state.commit()? {
                change(&mut tx, &mut licenses, moment, |part| {
                    if part.activation == activation { part.state.commit() } else { Ok(part.state) }
                })
                .await?;
                sqlx::query("UPDATE reservation SET counter = $1 WHERE activation_id = $2")
                    .bind(to_i64(counter)?)
                    .bind(activation.to_string())
                    .execute(tx.conn())
                    .await?;
                set_state(&mut tx, activation, state, "", moment.now).await?;
                tx.commit().await?;
            }
            Ok(())
        })
        .await
    }

    /// The container proved that it took the update.
    pub async fn confirm(&self, activation: ActivationId, moment: &Moment) -> Result<(), Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let (mut licenses, reservation) = locked(&mut tx, activation).await?;
            let reservation = reservation.ok_or_else(unknown)?;
            if let Step::To(state) = reservation.state.confirm()? {
                change(&mut tx, &mut licenses, moment, |part| {
                    if part.withdrawn_by == Some(activation) {
                        part.state.end()
                    } else if part.activation == activation {
                        part.state.confirm()
                    } else {
                        Ok(part.state)
                    }
                })
                .await?;
                set_state(&mut tx, activation, state, "", moment.now).await?;
                tx.commit().await?;
            }
            Ok(())
        })
        .await
    }

    /// Ends a reservation with nothing issued and calls its withdrawals off. One that never was is no error.
    pub async fn release(
        &self,
        activation: ActivationId,
        reason: &str,
        not_issued: bool,
        moment: &Moment,
    ) -> Result<(), Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let (mut licenses, reservation) = locked(&mut tx, activation).await?;
            let Some(reservation) = reservation else {
                return Ok(());
            };
            if let Step::To(state) = reservation.state.release(not_issued)? {
                let arrived = arrived(tx.conn(), &licenses).await?;
                for license in &mut licenses {
                    if license.allocations.iter().any(|part| part.withdrawn_by == Some(activation)) {
                        license.withdrawn_at = None;
                    }
                }
                change(&mut tx, &mut licenses, moment, |part| {
                    if part.withdrawn_by == Some(activation) {
                        part.state.call_return_off(arrived.get(&part.activation).copied().unwrap_or(false))
                    } else if part.activation == activation {
                        part.state.release()
                    } else {
                        Ok(part.state)
                    }
                })
                .await?;
                set_state(&mut tx, activation, state, reason, moment.now).await?;
                tx.commit().await?;
            }
            Ok(())
        })
        .await
    }

    /// A reservation, for tests and support.
    pub async fn reservation(&self, activation: ActivationId) -> Result<Option<Reservation>, StorageError> {
        let row = statement(format!("{SELECT} WHERE activation_id = $1"))
            .bind(activation.to_string())
            .fetch_optional(self.db.pool())
            .await?;
        row.as_ref().map(reservation_row).transpose()
    }
}

fn unknown() -> Failure {
    Failure::refused(ErrorCode::NotFound, "there is no reservation of this activation", "reserve first")
}

const SELECT: &str = "SELECT activation_id, asked, state, reserved_until, reason FROM reservation";

/// The reservations behind reserved allocations.
pub(super) async fn holders(
    conn: &mut AnyConnection,
    licenses: &[License],
) -> Result<HashMap<ActivationId, Holder>, StorageError> {
    let reserved = licenses
        .iter()
        .flat_map(|license| &license.allocations)
        .filter(|part| part.state == AllocationState::Reserved)
        .map(|part| part.activation);
    let found = heads(conn, reserved).await?;
    Ok(found.into_iter().map(|row| (row.activation, Holder { state: row.state, until: row.until })).collect())
}

/// For each activation that put one of these licenses in: is there proof that it arrived?
async fn arrived(conn: &mut AnyConnection, licenses: &[License]) -> Result<HashMap<ActivationId, bool>, StorageError> {
    let placing = licenses.iter().flat_map(|license| &license.allocations).map(|part| part.activation);
    let found = heads(conn, placing).await?;
    Ok(found.into_iter().map(|row| (row.activation, row.state == ReservationState::Confirmed)).collect())
}

async fn heads(
    conn: &mut AnyConnection,
    activations: impl Iterator<Item = ActivationId>,
) -> Result<Vec<Reservation>, StorageError> {
    let mut ids: Vec<String> = activations.map(|id| id.to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = statement(format!("{SELECT} WHERE activation_id IN ({})", list(1, ids.len())));
    for id in ids {
        query = query.bind(id);
    }
    query.fetch_all(conn).await?.iter().map(reservation_row).collect()
}

/// Locks what an activation holds or takes back, and then its reservation.
async fn locked(tx: &mut Tx, activation: ActivationId) -> Result<(Vec<License>, Option<Reservation>), StorageError> {
    let licenses = license::locked(
        tx,
        "SELECT license_id FROM license WHERE license_id IN \
         (SELECT license_id FROM allocation WHERE activation_id = $1 OR withdrawn_by = $1) ORDER BY license_id",
        &activation.to_string(),
    )
    .await?;
    let reservation = head(tx, activation).await?;
    Ok((licenses, reservation))
}

/// A reservation, locked.
pub(super) async fn head(tx: &mut Tx, activation: ActivationId) -> Result<Option<Reservation>, StorageError> {
    let lock = tx.dialect().lock_rows(
        "SELECT activation_id, asked, state, reserved_until, reason FROM reservation WHERE activation_id = $1",
    );
    let row = sqlx::query(lock).bind(activation.to_string()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(reservation_row).transpose()
}

fn reservation_row(row: &AnyRow) -> Result<Reservation, StorageError> {
    Ok(Reservation {
        activation: parsed(row, "activation_id")?,
        asked: row.try_get("asked")?,
        state: parsed(row, "state")?,
        until: Timestamp::from_micros(row.try_get("reserved_until")?),
        reason: row.try_get("reason")?,
    })
}

pub(super) async fn insert_head(
    tx: &mut Tx,
    activation: ActivationId,
    firm: FirmCode,
    ticket: Option<TicketId>,
    asked: &[u8],
    state: ReservationState,
    now: Timestamp,
) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO reservation (activation_id, firm_code, ticket_id, asked, state, reserved_until, counter, reason, \
         created_at, changed_at) VALUES ($1, $2, $3, $4, $5, $6, 0, '', $7, $7)",
    )
    .bind(activation.to_string())
    .bind(i64::from(firm.get()))
    .bind(ticket.map(|ticket| ticket.to_string()))
    .bind(asked.to_vec())
    .bind(state.name())
    .bind(now.saturating_add(RESERVATION_TIME).as_micros())
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends another activation's reservation that was not kept. The caller holds the lock of one of its licenses at least,
/// and every step of that activation needs the locks of all of them.
pub(super) async fn give_way(
    tx: &mut Tx,
    activation: ActivationId,
    reason: &str,
    now: Timestamp,
) -> Result<(), StorageError> {
    sqlx::query("UPDATE allocation SET state = $1, changed_at = $2 WHERE activation_id = $3 AND state = 'reserved'")
        .bind(AllocationState::Ended.name())
        .bind(now.as_micros())
        .bind(activation.to_string())
        .execute(tx.conn())
        .await?;
    set_state(tx, activation, ReservationState::Released, reason, now).await
}

pub(super) async fn set_state(
    tx: &mut Tx,
    activation: ActivationId,
    state: ReservationState,
    reason: &str,
    now: Timestamp,
) -> Result<(), StorageError> {
    sqlx::query("UPDATE reservation SET state = $1, reason = $2, changed_at = $3 WHERE activation_id = $4")
        .bind(state.name())
        .bind(reason.to_owned())
        .bind(now.as_micros())
        .bind(activation.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Makes a step with every allocation of the licenses; those whose own state changes by it get a version more and are
/// announced.
async fn change(
    tx: &mut Tx,
    licenses: &mut [License],
    moment: &Moment,
    step: impl Fn(&Allocation) -> Result<AllocationState, WrongStep>,
) -> Result<(), Failure> {
    let ids = ids::events(licenses.len(), moment.now);
    let (mut events, mut changed, mut quiet) = (Vec::new(), Vec::new(), Vec::new());
    for (license, id) in licenses.iter_mut().zip(ids) {
        let previous = license.state();
        for part in &mut license.allocations {
            let next = step(part).map_err(|wrong| Problem::new(ErrorCode::WrongState, wrong.to_string(), ""))?;
            if part.state == AllocationState::Returning
                && next != AllocationState::Returning
                && next != AllocationState::Ended
            {
                part.withdrawn_by = None;
            }
            part.state = next;
        }
        if license.state() == previous {
            quiet.push(license.clone());
            continue;
        }
        license.version += 1;
        events.push(moment.license_changed(license, previous, id));
        changed.push(license.clone());
    }
    license::save_changed(tx, &changed, moment.now).await?;
    license::save_allocations(tx, quiet.iter().flat_map(|license| &license.allocations), moment.now).await?;
    outbox::append_all(tx, &events).await?;
    Ok(())
}
