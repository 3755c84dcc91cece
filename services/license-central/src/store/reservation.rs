//! How far the plan of an activation is, and its steps after it was made. Locks are always taken in one order: licenses by
//! ascending id, then reservations.

use std::collections::HashMap;

use lictor_clock::Timestamp;
use lictor_licensing::{
    FirmCode,
    error::{ErrorCode, Problem},
    id::ActivationId,
};
use lictor_storage::{
    StorageError, Tx, outbox, retry,
    sqlx::{self, AnyConnection, Row, any::AnyRow},
    to_i64,
};

use super::{
    Store, allocation,
    history::{self, Note},
    license, lost,
    sql::{list, parsed, statement},
    transfer,
};
use crate::{
    domain::{
        license::License,
        plan::{Fresh, Holder, Outcome, Stepping, written_off_by},
        reservation::{RESERVATION_TIME, ReservationState, Step},
        transfer::Transfer,
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
    /// What its plan is for.
    pub purpose: String,
    /// SHA-256 of what was asked for.
    pub asked: Vec<u8>,
    /// Where it stands.
    pub state: ReservationState,
    /// Its time limit while it is reserved.
    pub until: Timestamp,
    /// Counter that the container reaches with the update; 0 while nothing was issued.
    pub counter: i64,
    /// Why it was released.
    pub reason: String,
}

impl Store {
    /// Lifts the time limit: the issuer is about to be asked.
    pub async fn keep(&self, activation: ActivationId, now: Timestamp) -> Result<(), Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let kept = sqlx::query(
                "UPDATE reservation SET state = 'kept', changed_at = $1 \
                 WHERE activation_id = $2 AND state = 'reserved' AND reserved_until > $1",
            )
            .bind(now.as_micros())
            .bind(activation.to_string())
            .execute(tx.conn())
            .await?;
            if kept.rows_affected() == 0 {
                let reservation = head(&mut tx, activation).await?.ok_or_else(unknown)?;
                reservation.state.keep(reservation.until, now)?;
                return Ok(());
            }
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// The update was issued: what comes in is collected, what leaves is returning.
    pub async fn commit(&self, activation: ActivationId, counter: u64, moment: &Moment) -> Result<(), Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let mut before = of_activation(&mut tx, activation).await?;
            if !written_off_by(&before, activation).is_empty() {
                before = locked(&mut tx, license::LOST_WITH_ACTIVATION, activation).await?;
            }
            let reservation = head(&mut tx, activation).await?.ok_or_else(unknown)?;
            if let Step::To(state) = reservation.state.commit()? {
                let blocked = written_off_by(&before, activation);
                if !blocked.is_empty() {
                    lost::end_those_without_issue(&mut tx, &mut before, &blocked, activation, moment.now).await?;
                }
                let transfers = transfer::of_leg(&mut tx, &reservation).await?;
                let mut fresh = || ids::allocation(moment.now);
                let mut stepping =
                    Stepping { by: activation, now: moment.now, departs: None, fresh: Fresh(&mut fresh) };
                let mut after = before.clone();
                let mut outcomes = Vec::with_capacity(after.len());
                for license in &mut after {
                    let done = stepping.commit(license);
                    outcomes.push(
                        done.map_err(|wrong| Problem::new(ErrorCode::WrongState, wrong.to_string(), "ask support"))?,
                    );
                }
                let mut back = Vec::new();
                for (license, outcome) in after.iter_mut().zip(&mut outcomes) {
                    let lent = stepping.lose(license, &blocked, outcome);
                    back.extend(
                        lent.map_err(|wrong| Problem::new(ErrorCode::WrongState, wrong.to_string(), "ask support"))?,
                    );
                }
                let mut told: Vec<Transfer> = transfers.into_iter().filter(|one| one.state.is_open()).collect();
                if lost::departs_from(&before, activation) {
                    // The container was blocked while this was being issued: nothing will be seen to leave it.
                    let ids: Vec<_> = told.iter().map(|transfer| transfer.id).collect();
                    told = transfer::call_off(&mut tx, &ids, moment.now).await?;
                }
                if !blocked.is_empty() || reservation.purpose == "arrive" {
                    let ended = transfer::end_lost(&mut tx, &before, &after, moment.now).await?;
                    told.retain(|open| ended.iter().all(|one| one.id != open.id));
                    told.extend(ended);
                    told.extend(transfer::send_back(&mut tx, &back, activation, moment.now).await?);
                }
                set_committed(&mut tx, activation, state, counter, moment.now).await?;
                write(&mut tx, &reservation, (&before, &mut after), &outcomes, &told, counter, moment).await?;
                if reservation.purpose == "replace" {
                    transfer::follow_replaced(&mut tx, &after, activation, moment.now).await?;
                }
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
            let mut before = of_activation(&mut tx, activation).await?;
            let reservation = head(&mut tx, activation).await?.ok_or_else(unknown)?;
            if let Step::To(state) = reservation.state.confirm()? {
                end_lapsed(&mut tx, &mut before, activation, moment.now).await?;
                let mut transfers = transfer::of_leg(&mut tx, &reservation).await?;
                let departs = transfers.iter().find(|one| one.depart_by == activation).cloned();
                let mut fresh = || ids::allocation(moment.now);
                let mut stepping =
                    Stepping { by: activation, now: moment.now, departs: departs.as_ref(), fresh: Fresh(&mut fresh) };
                let mut after = before.clone();
                let mut outcomes = Vec::with_capacity(after.len());
                for license in &mut after {
                    outcomes.push(stepping.confirm(license)?);
                }
                let waits = outcomes.iter().any(|outcome| outcome.waits);
                let told = transfer::proven(&mut tx, &mut transfers, activation, waits, moment.now).await?;
                set_state(&mut tx, activation, state, "", moment.now).await?;
                write(&mut tx, &reservation, (&before, &mut after), &outcomes, &told, 0, moment).await?;
                if reservation.purpose == "renew" {
                    history::renewals_proven(&mut tx, activation, moment.now).await?;
                }
                tx.commit().await?;
            }
            Ok(())
        })
        .await
    }

    /// Ends a plan with nothing issued; nothing of it ever showed. One that never was is no error.
    pub async fn release(
        &self,
        activation: ActivationId,
        reason: &str,
        not_issued: bool,
        moment: &Moment,
    ) -> Result<(), Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            license::lock_of_activation(&mut tx, activation).await?;
            let Some(reservation) = head(&mut tx, activation).await? else {
                // A rebase has no plan; its count is all that there is to give back.
                if not_issued && super::rebase::take_back(&mut tx, activation, moment.now).await? {
                    tx.commit().await?;
                }
                return Ok(());
            };
            if reservation.state == ReservationState::Confirmed && reservation.counter == 0 {
                // Nothing had to be issued for it: there is nothing to give back.
                return Ok(());
            }
            if let Step::To(state) = reservation.state.release(not_issued)? {
                undo(&mut tx, &reservation, moment).await?;
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
    Failure::refused(
        ErrorCode::NotFound,
        "license-central has no plan of this activation: none was made, or its database was restored from a backup",
        "compare what was issued with what is known here: lictor container check",
    )
}

const SELECT: &str = "SELECT activation_id, purpose, asked, state, reserved_until, counter, reason FROM reservation";

async fn of_activation(tx: &mut Tx, activation: ActivationId) -> Result<Vec<License>, StorageError> {
    locked(tx, license::OF_ACTIVATION, activation).await
}

pub(super) async fn locked(tx: &mut Tx, which: &str, activation: ActivationId) -> Result<Vec<License>, StorageError> {
    let sold = license::locked(tx, which, &[activation.to_string()]).await?;
    Ok(sold.into_iter().map(|sold| sold.license).collect())
}

/// Writes what a step did: parts, licenses, history, and the events of both, each with a version of its license.
pub(super) async fn write(
    tx: &mut Tx,
    reservation: &Reservation,
    (before, after): (&[License], &mut [License]),
    outcomes: &[Outcome],
    transfers: &[Transfer],
    counter: u64,
    moment: &Moment,
) -> Result<(), StorageError> {
    let (mut events, mut notes) = (Vec::new(), Vec::new());
    for ((old, license), outcome) in before.iter().zip(after.iter_mut()).zip(outcomes) {
        notes.extend(outcome.facts.iter().map(|fact| Note {
            license: license.id,
            what: fact.what,
            container: fact.container.clone(),
            serial: fact.serial.clone(),
            quantity: fact.quantity,
            activation: Some(reservation.activation),
            counter,
            expires_at: fact.expires_at,
            why: fact.why.clone(),
        }));
        let mut tell = |license: &mut License, event: &dyn Fn(&License) -> outbox::NewEvent| {
            license.version += 1;
            events.push(event(license));
        };
        let id = || ids::event(moment.now);
        if outcome.withdrawn {
            tell(license, &|license| moment.license_withdrawn(license, id()));
        } else if license.state() != old.state() || license.available() != old.available() {
            tell(license, &|license| moment.license_changed(license, old.state(), id()));
        }
        if let Some(end) = outcome.renewed {
            tell(license, &|license| moment.license_renewed(license, end, id()));
        }
        if let Some(carrier) = license.merged_into.filter(|_| old.merged_into.is_none()) {
            let end = carried_until(before, carrier);
            tell(license, &|license| moment.license_merged(license, carrier, end.unwrap_or(moment.now), id()));
        }
        let of = license.id;
        for transfer in transfers.iter().filter(|transfer| transfer.license == of) {
            tell(license, &|license| moment.transfer_changed(license, transfer, id()));
        }
    }
    allocation::save(tx, before, after, moment.now).await?;
    license::save(tx, before, after).await?;
    history::note(tx, &notes, moment.now).await?;
    outbox::append_all(tx, &events).await
}

/// When the subscription that took days over ends.
fn carried_until(licenses: &[License], carrier: lictor_licensing::id::LicenseId) -> Option<Timestamp> {
    let license = licenses.iter().find(|license| license.id == carrier)?;
    license.allocations.iter().filter_map(|part| part.expires_at).max()
}

/// The plans behind parts that are set aside or about to change.
pub(super) async fn holders(
    conn: &mut AnyConnection,
    activations: impl Iterator<Item = ActivationId>,
) -> Result<HashMap<ActivationId, Holder>, StorageError> {
    let mut ids: Vec<String> = activations.map(|id| id.to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut query = statement(format!("{SELECT} WHERE activation_id IN ({})", list(1, ids.len())));
    for id in ids {
        query = query.bind(id);
    }
    let mut found = HashMap::new();
    for row in query.fetch_all(conn).await? {
        let row = reservation_row(&row)?;
        found.insert(row.activation, Holder { state: row.state, until: row.until });
    }
    Ok(found)
}

/// A reservation, locked.
pub(super) async fn head(tx: &mut Tx, activation: ActivationId) -> Result<Option<Reservation>, StorageError> {
    let lock = tx.dialect().lock_rows(
        "SELECT activation_id, purpose, asked, state, reserved_until, counter, reason FROM reservation \
         WHERE activation_id = $1",
    );
    let row = sqlx::query(lock).bind(activation.to_string()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(reservation_row).transpose()
}

/// The answer that a plan was given.
pub(super) async fn answer(tx: &mut Tx, activation: ActivationId) -> Result<Vec<u8>, StorageError> {
    let row = sqlx::query("SELECT answer FROM reservation WHERE activation_id = $1")
        .bind(activation.to_string())
        .fetch_one(tx.conn())
        .await?;
    Ok(row.try_get("answer")?)
}

fn reservation_row(row: &AnyRow) -> Result<Reservation, StorageError> {
    Ok(Reservation {
        activation: parsed(row, "activation_id")?,
        purpose: row.try_get("purpose")?,
        asked: row.try_get("asked")?,
        state: parsed(row, "state")?,
        until: Timestamp::from_micros(row.try_get("reserved_until")?),
        counter: row.try_get("counter")?,
        reason: row.try_get("reason")?,
    })
}

/// A new plan.
pub(super) struct Head<'a> {
    pub(super) activation: ActivationId,
    pub(super) firm: FirmCode,
    pub(super) purpose: &'static str,
    pub(super) asked: [u8; 32],
    pub(super) answer: &'a [u8],
    pub(super) state: ReservationState,
}

pub(super) async fn insert_head(tx: &mut Tx, head: Head<'_>, now: Timestamp) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO reservation (activation_id, firm_code, purpose, asked, answer, state, reserved_until, counter, \
         reason, created_at, changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '', $8, $9)",
    )
    .bind(head.activation.to_string())
    .bind(i64::from(head.firm.get()))
    .bind(head.purpose)
    .bind(head.asked.to_vec())
    .bind(head.answer.to_vec())
    .bind(head.state.name())
    .bind(now.saturating_add(RESERVATION_TIME).as_micros())
    .bind(now.as_micros())
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends another activation's plan that was not kept.
///
/// # Errors
/// A refusal when it was kept at this moment.
pub(super) async fn give_way(
    tx: &mut Tx,
    activation: ActivationId,
    reason: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let ended = sqlx::query(
        "UPDATE reservation SET state = 'released', reason = $1, changed_at = $2 \
         WHERE activation_id = $3 AND state = 'reserved'",
    )
    .bind(reason.to_owned())
    .bind(now.as_micros())
    .bind(activation.to_string())
    .execute(tx.conn())
    .await?;
    if ended.rows_affected() == 0 {
        return Err(Failure::refused(
            ErrorCode::Conflict,
            "a license is being changed by somebody else right now",
            "try again in a moment",
        ));
    }
    allocation::release(tx, activation, now).await?;
    transfer::release(tx, activation, now).await?;
    Ok(())
}

/// Undoes what a plan set aside. A withdrawal that was announced is called off with it.
async fn undo(tx: &mut Tx, reservation: &Reservation, moment: &Moment) -> Result<(), Failure> {
    if reservation.purpose == "withdraw" {
        super::withdrawal::call_withdrawal_off(tx, reservation.activation, moment).await?;
    }
    let waits = match reservation.purpose.as_str() {
        "arrive" => of_activation(tx, reservation.activation).await?,
        _ => Vec::new(),
    };
    allocation::release(tx, reservation.activation, moment.now).await?;
    if matches!(reservation.purpose.as_str(), "depart" | "arrive") {
        transfer::release(tx, reservation.activation, moment.now).await?;
    }
    if reservation.purpose == "arrive" {
        lost::lose_what_waits(tx, waits, reservation, moment).await?;
    }
    Ok(())
}

/// Lets plans that lapsed go that are about to write off what this activation's container proves.
async fn end_lapsed(
    tx: &mut Tx,
    licenses: &mut Vec<License>,
    activation: ActivationId,
    now: Timestamp,
) -> Result<(), Failure> {
    let disturbing: Vec<ActivationId> = licenses
        .iter()
        .flat_map(|license| &license.allocations)
        .filter(|part| part.withdrawn.is_some_and(|(by, _)| by == activation))
        .filter_map(|part| part.planned.map(|planned| planned.by))
        .collect();
    if disturbing.is_empty() {
        return Ok(());
    }
    for (by, holder) in holders(tx.conn(), disturbing.into_iter()).await? {
        if holder.state.has_lapsed(holder.until, now) {
            give_way(tx, by, "its time was over", now).await?;
        }
    }
    *licenses = of_activation(tx, activation).await?;
    Ok(())
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

async fn set_committed(
    tx: &mut Tx,
    activation: ActivationId,
    state: ReservationState,
    counter: u64,
    now: Timestamp,
) -> Result<(), StorageError> {
    sqlx::query("UPDATE reservation SET state = $1, counter = $2, changed_at = $3 WHERE activation_id = $4")
        .bind(state.name())
        .bind(to_i64(counter)?)
        .bind(now.as_micros())
        .bind(activation.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}
