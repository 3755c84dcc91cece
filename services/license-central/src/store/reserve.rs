//! Taking licenses of a ticket for an activation.

use std::collections::HashMap;

use lictor_clock::Timestamp;
use lictor_licensing::{
    ContainerKind, FirmCode, ProductItem, binding,
    error::{ErrorCode, Problem},
    id::{ActivationId, AllocationId, LicenseId, TicketId},
};
use lictor_storage::{
    StorageError, Tx, retry,
    sqlx::{self, AnyConnection, Row},
    to_i64,
};
use sha2::{Digest, Sha256};

use super::{
    Store, license,
    order::request_id_reused,
    reservation::{Reservation, give_way, head, holders, insert_head},
    sql::{parsed, rows, small, statement},
};
use crate::{
    domain::{allocation::AllocationState, choice, license::License, order::with_seats, reservation::ReservationState},
    failure::Failure,
    ids,
};

/// What an activation wants to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReserveRequest {
    /// The activation.
    pub activation: ActivationId,
    /// The ticket that it takes from.
    pub ticket: TicketId,
    /// Which licenses; empty for all that are free.
    pub licenses: Vec<LicenseId>,
    /// SHA-256 of the container's device key, hex.
    pub container: String,
    /// Display serial of the container.
    pub serial: String,
    /// What the container is bound to.
    pub kind: ContainerKind,
}

/// One license as it has to be programmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservedLicense {
    /// The license.
    pub license: LicenseId,
    /// Deterministic CBOR of the product item, its quantity set.
    pub product_item: Vec<u8>,
    /// Seats; 0 when it is not counted.
    pub quantity: u32,
    /// The allocation.
    pub allocation: AllocationId,
}

/// What an activation took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// The vendor.
    pub firm: FirmCode,
    /// First group of the ticket's code.
    pub ticket_masked: String,
    /// What has to be programmed, by license id.
    pub licenses: Vec<ReservedLicense>,
}

impl ReserveRequest {
    /// What a repeat has to equal.
    fn hash(&self) -> Vec<u8> {
        let mut licenses: Vec<String> = self.licenses.iter().map(ToString::to_string).collect();
        licenses.sort_unstable();
        let mut hash = Sha256::new();
        for part in
            [self.ticket.to_string().as_str(), &self.container, &self.serial, self.kind.name(), &licenses.join(",")]
        {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hash.finalize().to_vec()
    }
}

impl Store {
    /// Takes licenses of a ticket for 15 minutes; a repeat gets the same answer.
    pub async fn reserve(&self, request: &ReserveRequest, now: Timestamp) -> Result<Reserved, Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let reserved = reserve(&mut tx, request, now).await?;
            tx.commit().await?;
            Ok(reserved)
        })
        .await
    }
}

async fn reserve(tx: &mut Tx, request: &ReserveRequest, now: Timestamp) -> Result<Reserved, Failure> {
    let licenses = license::locked(
        tx,
        "SELECT license_id FROM license WHERE ticket_id = $1 ORDER BY license_id",
        &request.ticket.to_string(),
    )
    .await?;
    let Some(first) = licenses.first() else {
        return Err(Failure::refused(ErrorCode::TicketUnknown, "there is no such ticket", "check the ticket"));
    };
    let (firm, ticket_masked) = (first.firm, first.ticket_masked.clone());
    if let Some(before) = head(tx, request.activation).await? {
        return repeated(tx, request, &before, &licenses, firm, ticket_masked).await;
    }

    let holders = holders(tx.conn(), &licenses).await?;
    let choice = choice::choose(&licenses, &holders, &request.licenses, now)?;
    let items = product_items(tx.conn(), &licenses).await?;
    let ids = ids::allocations(choice.licenses.len(), now);
    let mut taken = Vec::with_capacity(ids.len());
    for (place, id) in choice.licenses.iter().zip(ids) {
        let license = &licenses[*place];
        let item = programmed(license, &items)?;
        binding::may_live(item.bindings(), request.kind, false).map_err(|forbidden| {
            Problem::new(
                ErrorCode::BindingForbidden,
                format!("{} of {}: {forbidden}", license.id, license.item),
                "use a container of a kind that the license allows, or ask the vendor for another binding",
            )
        })?;
        taken.push(ReservedLicense {
            license: license.id,
            product_item: encoded(&item)?,
            quantity: license.quantity,
            allocation: id,
        });
    }
    for lapsed in &choice.lapsed {
        give_way(tx, *lapsed, "its time was over", now).await?;
    }
    insert_head(tx, request.activation, firm, Some(request.ticket), &request.hash(), ReservationState::Reserved, now)
        .await?;
    insert_allocations(tx, request, &taken, now).await?;
    Ok(Reserved { firm, ticket_masked, licenses: taken })
}

/// The answer to a reservation that was made before.
async fn repeated(
    tx: &mut Tx,
    request: &ReserveRequest,
    before: &Reservation,
    licenses: &[License],
    firm: FirmCode,
    ticket_masked: String,
) -> Result<Reserved, Failure> {
    if before.asked != request.hash() {
        return Err(request_id_reused());
    }
    if before.state == ReservationState::Released {
        return Err(Failure::refused(
            ErrorCode::WrongState,
            format!("the reservation was released: {}", before.reason),
            "start the activation anew",
        ));
    }
    let items = product_items(tx.conn(), licenses).await?;
    let rows = sqlx::query(
        "SELECT allocation_id, license_id, quantity FROM allocation WHERE activation_id = $1 ORDER BY license_id",
    )
    .bind(request.activation.to_string())
    .fetch_all(tx.conn())
    .await?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: LicenseId = parsed(row, "license_id")?;
        let license = licenses
            .iter()
            .find(|license| license.id == id)
            .ok_or_else(|| StorageError::inconsistent("allocation", "of a license on another ticket"))?;
        taken.push(ReservedLicense {
            license: id,
            product_item: encoded(&programmed(license, &items)?)?,
            quantity: small(row, "quantity")?,
            allocation: parsed(row, "allocation_id")?,
        });
    }
    Ok(Reserved { firm, ticket_masked, licenses: taken })
}

type Items = HashMap<(String, u64), Vec<u8>>;

/// The stored product items of these licenses.
async fn product_items(conn: &mut AnyConnection, licenses: &[License]) -> Result<Items, StorageError> {
    let mut wanted: Vec<(&str, u64)> =
        licenses.iter().map(|license| (license.item_id.as_str(), license.item_version)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let conditions: Vec<String> = (0..wanted.len())
        .map(|place| format!("(item_id = ${} AND version = ${})", place * 2 + 1, place * 2 + 2))
        .collect();
    let mut query =
        statement(format!("SELECT item_id, version, product_item FROM item_version WHERE {}", conditions.join(" OR ")));
    for (id, version) in wanted {
        query = query.bind(id.to_owned()).bind(to_i64(version)?);
    }
    let mut items = Items::new();
    for row in query.fetch_all(conn).await? {
        let version = lictor_storage::to_u64(row.try_get("version")?)?;
        items.insert((row.try_get("item_id")?, version), row.try_get("product_item")?);
    }
    Ok(items)
}

/// What has to be programmed for a license: the item as it was sold, with the seats that were sold.
fn programmed(license: &License, items: &Items) -> Result<ProductItem, StorageError> {
    let cbor = items
        .get(&(license.item_id.clone(), license.item_version))
        .ok_or_else(|| StorageError::inconsistent("license", "its item version is missing"))?;
    let item = lictor_license_file::product_item::decode(cbor)
        .map_err(|error| StorageError::inconsistent("item_version.product_item", error.to_string()))?;
    with_seats(&item, license.quantity).map_err(|what| StorageError::inconsistent("license.quantity", what))
}

fn encoded(item: &ProductItem) -> Result<Vec<u8>, StorageError> {
    lictor_license_file::product_item::encode(item)
        .map_err(|error| StorageError::inconsistent("item_version.product_item", error.to_string()))
}

async fn insert_allocations(
    tx: &mut Tx,
    request: &ReserveRequest,
    taken: &[ReservedLicense],
    now: Timestamp,
) -> Result<(), StorageError> {
    let mut query = statement(format!(
        "INSERT INTO allocation (allocation_id, license_id, activation_id, container_id, serial, quantity, state, \
         created_at, changed_at) VALUES {}",
        rows(taken.len(), 9)
    ));
    for part in taken {
        query = query
            .bind(part.allocation.to_string())
            .bind(part.license.to_string())
            .bind(request.activation.to_string())
            .bind(request.container.clone())
            .bind(request.serial.clone())
            .bind(i64::from(part.quantity))
            .bind(AllocationState::Reserved.name())
            .bind(now.as_micros())
            .bind(now.as_micros());
    }
    query.execute(tx.conn()).await?;
    Ok(())
}
