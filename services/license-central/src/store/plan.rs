//! Making plans: the licenses concerned are locked and read, the plan is drawn by the domain, and what it sets aside is
//! written down together with its answer.

use std::collections::{BTreeSet, HashMap};

use lictor_clock::Timestamp;
use lictor_licensing::{
    FirmCode,
    error::ErrorCode,
    id::{ActivationId, AllocationId, LicenseId, TicketId, TransferId},
};
use lictor_storage::{StorageError, Tx, retry, sqlx};

use super::{
    Store, allocation, assignment, block, license,
    order::request_id_reused,
    reservation::{self, Head, Reservation},
    sql::{list, parsed, statement},
    transfer, withdrawal,
};
use crate::{
    domain::{
        allocation::AllocationState,
        license::License,
        plan::{Board, Departure, Draft, Fresh, Holder, Place, PlanRequest, Purpose, Situation, Sold},
        reservation::ReservationState,
        transfer::Transfer,
    },
    events::Moment,
    failure::Failure,
    ids,
};

/// A plan as its answer tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The vendor.
    pub firm: FirmCode,
    /// First group of the ticket's code; empty when no ticket is involved.
    pub ticket_masked: String,
    /// What it does.
    pub draft: Draft,
}

impl Store {
    /// Decides what an activation changes in one container, sets it aside, and stores `answer`, which a repeat gets again.
    pub async fn plan(
        &self,
        request: &PlanRequest,
        moment: &Moment,
        answer: impl Fn(&Plan) -> Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let answer = plan(&mut tx, request, moment, &answer).await?;
            tx.commit().await?;
            Ok(answer)
        })
        .await
    }
}

async fn plan(
    tx: &mut Tx,
    request: &PlanRequest,
    moment: &Moment,
    answer: &impl Fn(&Plan) -> Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let coming = match &request.purpose {
        Purpose::Arrive { transfer: id } => {
            Some(transfer::by_id(tx.conn(), *id).await?.ok_or_else(|| no_transfer(*id))?.license)
        }
        _ => None,
    };
    let sold = concerned(tx, request).await?;
    if let Some(before) = reservation::head(tx, request.activation).await? {
        return repeated(tx, request, &before).await;
    }
    let (firm, ticket_masked) = whose(request, coming, &sold)?;
    block::refuse(tx, firm, request).await?;
    // Containers are shared by vendors, plans are not.
    let sold: Vec<Sold> = sold.into_iter().filter(|one| one.license.firm == firm).collect();
    let sold = withdrawal::settle_awaited(tx, request, sold, moment).await?;
    let before: Vec<License> = sold.iter().map(|one| one.license.clone()).collect();

    let holders = holders(tx, &sold).await?;
    let mut fresh = || ids::allocation(moment.now);
    let situation = Situation {
        activation: request.activation,
        now: moment.now,
        place: place_of(request, &sold)?,
        fresh: Fresh(&mut fresh),
    };
    let forced = by_force(&request.purpose);
    let (mut board, giving_way) = Board::new(sold, &holders, |license| forced.contains(&license), situation);
    let arriving = draw(tx, request, firm, &mut board).await?;
    let plan = Plan { firm, ticket_masked, draft: board.finish()? };
    let answer = answer(&plan);

    for lapsed in giving_way {
        reservation::give_way(tx, lapsed, "its time was over, or the vendor took a license of it back", moment.now)
            .await?;
    }
    let head = Head {
        activation: request.activation,
        firm,
        purpose: request.purpose.name(),
        asked: request.hash(),
        answer: &answer,
        state: first_state(&request.purpose, &plan.draft),
    };
    reservation::insert_head(tx, head, moment.now).await?;
    set_aside(tx, request.activation, &plan.draft, arriving, moment.now).await?;
    if let Purpose::Withdraw { reason, .. } = &request.purpose {
        withdrawal::announce_withdrawal(tx, request.activation, &plan.draft, &before, reason, moment).await?;
    }
    Ok(answer)
}

/// The answer to a plan that was made before.
async fn repeated(tx: &mut Tx, request: &PlanRequest, before: &Reservation) -> Result<Vec<u8>, Failure> {
    if before.asked != request.hash() {
        return Err(request_id_reused());
    }
    if before.state == ReservationState::Released {
        return Err(Failure::refused(
            ErrorCode::WrongState,
            format!("the plan was given up: {}", before.reason),
            "start the activation anew",
        ));
    }
    Ok(reservation::answer(tx, request.activation).await?)
}

/// Locks and reads the licenses that a plan may touch.
async fn concerned(tx: &mut Tx, request: &PlanRequest) -> Result<Vec<Sold>, Failure> {
    let here = request.place.as_ref().map(|place| place.id.clone()).unwrap_or_default();
    // What runs here as a subscription may be joined, whatever ticket it came from.
    const JOINABLE: &str = "SELECT license_id FROM allocation WHERE container_id = $1 AND subscription IS NOT NULL \
        AND state NOT IN ('ended', 'written-off')";
    let (which, values): (String, Vec<String>) = match &request.purpose {
        Purpose::Activate { ticket, withdraw, .. } => {
            let mut which = JOINABLE.to_owned();
            let mut values = vec![here];
            if let Some(ticket) = ticket {
                values.push(ticket.to_string());
                which.push_str(" UNION SELECT license_id FROM license WHERE ticket_id = $2");
            }
            if !withdraw.is_empty() {
                let marks = list(values.len() + 1, withdraw.len());
                which.push_str(&format!(" UNION SELECT license_id FROM license WHERE license_id IN ({marks})"));
                values.extend(withdraw.iter().map(ToString::to_string));
            }
            (which, values)
        }
        Purpose::Replace { ticket, .. } => (
            format!("{JOINABLE} UNION SELECT license_id FROM license WHERE ticket_id = $2"),
            vec![here, ticket.to_string()],
        ),
        Purpose::GiveBack { ticket, .. } => {
            ("SELECT license_id FROM license WHERE ticket_id = $1".to_owned(), vec![ticket.to_string()])
        }
        Purpose::Withdraw { licenses, .. } | Purpose::Renew { licenses } => {
            (list(1, licenses.len()), licenses.iter().map(ToString::to_string).collect())
        }
        Purpose::Depart(departure) => ("$1".to_owned(), vec![departure.pick.license.to_string()]),
        Purpose::Arrive { transfer } => (
            format!("{JOINABLE} UNION SELECT license_id FROM transfer WHERE transfer_id = $2"),
            vec![here, transfer.to_string()],
        ),
    };
    let sold = license::locked(tx, &which, &values).await?;
    let joins = !matches!(request.purpose, Purpose::GiveBack { .. } | Purpose::Withdraw { .. } | Purpose::Depart(_));
    match sold.iter().find(|one| one.license.subscription.is_some()) {
        Some(one) if joins => {
            // Two tickets of a subscription for one container come one after the other, and the second sees the first.
            lock_container(tx, one.license.firm, &values[0]).await?;
            Ok(license::locked(tx, &which, &values).await?)
        }
        _ => Ok(sold),
    }
}

/// Holds a container against other plans that put subscriptions into it.
async fn lock_container(tx: &mut Tx, firm: FirmCode, container: &str) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO subscription_place (firm_code, container_id) VALUES ($1, $2) \
         ON CONFLICT (firm_code, container_id) DO UPDATE SET container_id = excluded.container_id",
    )
    .bind(i64::from(firm.get()))
    .bind(container.to_owned())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The vendor whose licenses they are, and the ticket to show.
fn whose(request: &PlanRequest, coming: Option<LicenseId>, sold: &[Sold]) -> Result<(FirmCode, String), Failure> {
    let named = |ids: &[LicenseId]| -> Result<(FirmCode, String), Failure> {
        let mut firm = None;
        for id in ids {
            let one = sold.iter().find(|one| one.license.id == *id).ok_or_else(|| {
                Failure::refused(
                    ErrorCode::NotFound,
                    format!("there is no license {id}"),
                    "list the licenses to see their ids",
                )
            })?;
            if firm.replace(one.license.firm).is_some_and(|other| other != one.license.firm) {
                return Err(Failure::invalid(
                    "the licenses belong to several firms",
                    "change those of each firm by themselves",
                ));
            }
        }
        let firm = firm.ok_or_else(|| Failure::invalid("the plan names no license", "name a license"))?;
        Ok((firm, String::new()))
    };
    let of_ticket = |ticket: TicketId| {
        let one = sold
            .iter()
            .find(|one| one.license.ticket == ticket)
            .ok_or_else(|| Failure::refused(ErrorCode::TicketUnknown, "there is no such ticket", "check the ticket"))?;
        Ok((one.license.firm, one.license.ticket_masked.clone()))
    };
    match &request.purpose {
        Purpose::Activate { ticket: Some(ticket), withdraw, .. } => {
            let (firm, masked) = of_ticket(*ticket)?;
            if !withdraw.is_empty() && named(withdraw)?.0 != firm {
                return Err(Failure::invalid(
                    "the licenses belong to several firms",
                    "change those of each firm by themselves",
                ));
            }
            Ok((firm, masked))
        }
        Purpose::Activate { ticket: None, withdraw, .. } => named(withdraw),
        Purpose::GiveBack { ticket, .. } | Purpose::Replace { ticket, .. } => of_ticket(*ticket),
        Purpose::Withdraw { licenses, .. } | Purpose::Renew { licenses } => named(licenses),
        Purpose::Depart(departure) => {
            let (firm, _) = named(&[departure.pick.license])?;
            Ok((firm, departure.ticket.map(of_ticket).transpose()?.map(|(_, masked)| masked).unwrap_or_default()))
        }
        Purpose::Arrive { .. } => named(coming.as_slice()),
    }
}

pub(super) fn no_transfer(id: TransferId) -> Failure {
    Failure::refused(ErrorCode::NotFound, format!("there is no transfer {id}"), "list the transfers to see their ids")
}

/// The container of the plan; an empty one for the purposes that find it themselves.
fn place_of(request: &PlanRequest, sold: &[Sold]) -> Result<Place, Failure> {
    if let Some(place) = &request.place {
        return Ok(place.clone());
    }
    let mut place = Place { id: String::new(), serial: String::new(), kind: None, virtual_machine: false };
    match &request.purpose {
        Purpose::Withdraw { .. } | Purpose::Renew { .. } => Ok(place),
        Purpose::Arrive { transfer } => {
            let waits = sold
                .iter()
                .flat_map(|one| &one.license.allocations)
                .find(|part| part.transfer == Some(*transfer) && part.state == AllocationState::Awaited);
            if let Some(part) = waits {
                place.id.clone_from(&part.container);
                place.serial.clone_from(&part.serial);
            }
            Ok(place)
        }
        _ => Err(Failure::invalid("the container is missing", "name the container that changes")),
    }
}

fn by_force(purpose: &Purpose) -> BTreeSet<LicenseId> {
    match purpose {
        Purpose::Withdraw { licenses, .. } => licenses.iter().copied().collect(),
        Purpose::Activate { withdraw, .. } => withdraw.iter().copied().collect(),
        _ => BTreeSet::new(),
    }
}

pub(super) async fn holders(tx: &mut Tx, sold: &[Sold]) -> Result<HashMap<ActivationId, Holder>, StorageError> {
    let held = sold.iter().flat_map(|one| &one.license.allocations).flat_map(|part| {
        let putting = (part.state == AllocationState::Reserved).then_some(part.activation);
        putting.into_iter().chain(part.planned.map(|planned| planned.by))
    });
    let held: Vec<ActivationId> = held.collect();
    reservation::holders(tx.conn(), held.into_iter()).await
}

/// Draws the plan; gives the transfer whose seats come in by it.
async fn draw(
    tx: &mut Tx,
    request: &PlanRequest,
    firm: FirmCode,
    board: &mut Board<'_>,
) -> Result<Option<TransferId>, Failure> {
    match &request.purpose {
        Purpose::Activate { ticket, picks, withdraw } => board.activate(*ticket, picks, withdraw)?,
        Purpose::Withdraw { licenses, .. } => board.withdraw(licenses)?,
        Purpose::GiveBack { ticket, picks } => board.give_back(*ticket, picks)?,
        Purpose::Depart(departure) => depart(tx, request, departure, firm, board).await?,
        Purpose::Arrive { transfer: id } => {
            let transfer = transfer::by_id(tx.conn(), *id).await?.ok_or_else(|| no_transfer(*id))?;
            board.arrive(&transfer)?;
            return Ok(Some(*id));
        }
        Purpose::Renew { licenses } => board.renew(licenses)?,
        Purpose::Replace { ticket, lost_serial, by_hand } => board.replace(*ticket, lost_serial, *by_hand)?,
    }
    Ok(None)
}

async fn depart(
    tx: &mut Tx,
    request: &PlanRequest,
    departure: &Departure,
    firm: FirmCode,
    board: &mut Board<'_>,
) -> Result<(), Failure> {
    if transfer::by_id(tx.conn(), departure.transfer).await?.is_some() {
        return Err(request_id_reused());
    }
    let loan = match departure.returns {
        None => None,
        Some(id) => Some(transfer::by_id(tx.conn(), id).await?.ok_or_else(|| no_transfer(id))?),
    };
    let target = match (&loan, &departure.target) {
        (Some(loan), _) => lender(loan, departure)?,
        (None, Some(target)) => target.clone(),
        (None, None) => return Err(Failure::invalid("the new container is missing", "name the new container")),
    };
    if loan.is_none() {
        let from = request.place.as_ref().map_or("", |place| place.serial.as_str());
        same_customer(tx, firm, departure.pick.license, from, &target).await?;
    }
    board.depart(departure, &target, loan.as_ref())?;
    Ok(())
}

/// Where lent seats go back to.
fn lender(loan: &Transfer, departure: &Departure) -> Result<Place, Failure> {
    if loan.lend_until.is_none() || loan.license != departure.pick.license {
        return Err(Failure::refused(
            ErrorCode::WrongState,
            format!("the transfer {} lent no seats of this license", loan.id),
            "name the transfer that lent them",
        ));
    }
    if departure.lend_until.is_some() {
        return Err(Failure::invalid("seats that go back to their lender are not lent again", "leave the date out"));
    }
    if departure.target.as_ref().is_some_and(|target| target.id != loan.from_container) {
        return Err(Failure::refused(
            ErrorCode::LicenseForbids,
            format!("lent seats go back to their lender, container {}", loan.from_serial),
            "leave the new container out",
        ));
    }
    let kind = departure.target.as_ref().and_then(|target| target.kind);
    Ok(Place { id: loan.from_container.clone(), serial: loan.from_serial.clone(), kind, virtual_machine: false })
}

/// Refuses to move seats to another customer. A container belongs to whom it is assigned; one that is assigned to nobody
/// to those whose licenses lie in it, and to nobody yet when none do.
pub(super) async fn same_customer(
    tx: &mut Tx,
    firm: FirmCode,
    license: LicenseId,
    from_serial: &str,
    target: &Place,
) -> Result<(), Failure> {
    let row = sqlx::query("SELECT customer_id FROM license WHERE license_id = $1")
        .bind(license.to_string())
        .fetch_one(tx.conn())
        .await?;
    let bought = parsed(&row, "customer_id")?;
    let owner = assignment::customer_of(tx.conn(), firm, from_serial).await?.unwrap_or(bought);
    let foreign = match assignment::customer_of(tx.conn(), firm, &target.serial).await? {
        Some(other) => other != owner,
        None => sqlx::query(
            "SELECT 1 FROM allocation a JOIN license l ON l.license_id = a.license_id \
             WHERE a.serial = $1 AND a.state NOT IN ('ended', 'written-off') AND l.firm_code = $2 \
             AND l.customer_id <> $3 LIMIT 1",
        )
        .bind(target.serial.clone())
        .bind(i64::from(firm.get()))
        .bind(owner.to_string())
        .fetch_optional(tx.conn())
        .await?
        .is_some(),
    };
    if foreign {
        return Err(Failure::refused(
            ErrorCode::LicenseForbids,
            format!("container {} belongs to another customer", target.serial),
            "assign the container to the customer first, or use another one",
        ));
    }
    Ok(())
}

/// Where a plan begins. The vendor's withdrawal does not lapse; a plan with nothing to issue is over at once.
fn first_state(purpose: &Purpose, draft: &Draft) -> ReservationState {
    match purpose {
        _ if draft.changes.is_empty() && draft.marks.is_empty() && draft.puts.is_empty() => ReservationState::Confirmed,
        Purpose::Withdraw { .. } => ReservationState::Kept,
        _ => ReservationState::Reserved,
    }
}

/// Writes what a plan sets aside. What frees seats goes first.
async fn set_aside(
    tx: &mut Tx,
    activation: ActivationId,
    draft: &Draft,
    arriving: Option<TransferId>,
    now: Timestamp,
) -> Result<(), StorageError> {
    end_parts(tx, &draft.gone, AllocationState::Ended, now).await?;
    if let Some(transfer) = &draft.begins {
        transfer::insert(tx, transfer, now).await?;
    }
    if let Some(transfer) = arriving {
        transfer::arriving(tx, transfer, activation, now).await?;
    }
    allocation::mark(tx, &draft.marks, now).await?;
    allocation::insert(tx, draft.puts.iter(), now).await
}

pub(super) async fn end_parts(
    tx: &mut Tx,
    parts: &[AllocationId],
    state: AllocationState,
    now: Timestamp,
) -> Result<(), StorageError> {
    if parts.is_empty() {
        return Ok(());
    }
    let mut query = statement(format!(
        "UPDATE allocation SET state = $1, planned_by = NULL, planned_as = NULL, planned_seats = NULL, \
         planned_end = NULL, changed_at = $2 WHERE allocation_id IN ({})",
        list(3, parts.len())
    ))
    .bind(state.name())
    .bind(now.as_micros());
    for part in parts {
        query = query.bind(part.to_string());
    }
    query.execute(tx.conn()).await?;
    Ok(())
}
