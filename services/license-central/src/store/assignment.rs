//! Which customer a container belongs to, also before it was ever seen.

use std::collections::HashSet;

use lictor_clock::Timestamp;
use lictor_licensing::{
    FirmCode,
    error::ErrorCode,
    id::{CustomerId, EventId},
};
use lictor_storage::{
    Dialect, StorageError, Tx,
    command::{self, Begun, Command},
    outbox, retry,
    sqlx::{self, AnyConnection, Row, any::AnyRow},
    to_u64,
};

use super::{
    Store, customer,
    order::request_id_reused,
    sql::{list, parsed, rows, statement},
};
use crate::{
    domain::{order::CustomerName, page::Page},
    events::Moment,
    failure::Failure,
};

/// Most containers that one request assigns.
pub const MAX_SERIALS: usize = 1_000;

/// Who gets containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignee {
    /// A customer that there must be.
    Known(CustomerId),
    /// A customer by name, made when the name is new.
    Named(CustomerName),
}

/// Containers that go to a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigning {
    /// The vendor.
    pub firm: FirmCode,
    /// Who gets them.
    pub customer: Assignee,
    /// 1 to 1000 serials, ascending, each once.
    pub serials: Vec<String>,
    /// Also those that belong to somebody else.
    pub reassign: bool,
}

/// A container with its customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignmentRow {
    /// Display serial of the container.
    pub serial: String,
    /// Name of the customer.
    pub customer: String,
    /// Since when.
    pub assigned_at: Timestamp,
}

#[derive(Debug)]
struct Present {
    serial: String,
    customer: CustomerId,
    name: String,
    version: u64,
    assigned_at: Timestamp,
}

impl Store {
    /// Assigns containers and stores `answer`: all of them or none, once per command. `ids` has one for each serial.
    pub async fn assign(
        &self,
        assigning: &Assigning,
        fresh: CustomerId,
        ids: &[EventId],
        command: &Command<'_>,
        moment: &Moment,
        answer: impl Fn(&[AssignmentRow]) -> Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let open = match command::begin(&mut tx, command, moment.now).await? {
                Begun::Replay(answer) => return Ok(answer),
                Begun::Conflict => return Err(request_id_reused()),
                Begun::Fresh(open) => open,
            };
            let assigned = assign(&mut tx, assigning, fresh, ids, moment).await?;
            let answer = answer(&assigned);
            command::finish(&mut tx, open, &answer).await?;
            tx.commit().await?;
            Ok(answer)
        })
        .await
    }

    /// A page of a firm's assigned containers by serial, of one customer or of all; one more than asked for tells that
    /// there is a next page.
    pub async fn assignments(
        &self,
        firm: FirmCode,
        customer: &str,
        page: &Page,
    ) -> Result<Vec<AssignmentRow>, StorageError> {
        let rows = sqlx::query(
            "SELECT a.serial, c.name, a.assigned_at FROM assignment a \
             JOIN customer c ON c.customer_id = a.customer_id WHERE a.firm_code = $1 AND a.serial > $2 \
             AND ($3 = '' OR c.name = $4 OR c.customer_id = $5) ORDER BY a.serial LIMIT $6",
        )
        .bind(i64::from(firm.get()))
        .bind(page.below.clone().unwrap_or_default())
        .bind(customer)
        .bind(customer)
        .bind(customer)
        .bind(i64::from(page.size) + 1)
        .fetch_all(self.db.pool())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(AssignmentRow {
                    serial: row.try_get("serial")?,
                    customer: row.try_get("name")?,
                    assigned_at: Timestamp::from_micros(row.try_get("assigned_at")?),
                })
            })
            .collect()
    }
}

async fn assign(
    tx: &mut Tx,
    assigning: &Assigning,
    fresh: CustomerId,
    ids: &[EventId],
    moment: &Moment,
) -> Result<Vec<AssignmentRow>, Failure> {
    let firm = assigning.firm;
    let (customer, name) = customer(tx, assigning, fresh, moment.now).await?;
    // Ours at once when nobody had them; a second request for the same containers waits here for the first.
    let new = claim(tx, firm, customer, &assigning.serials, moment.now).await?;
    let present = present(tx, firm, &assigning.serials).await?;
    let foreign = || present.iter().filter(|row| row.customer != customer);
    if let (Some(first), false) = (foreign().next(), assigning.reassign) {
        return Err(Failure::refused(
            ErrorCode::Conflict,
            format!(
                "{} of these containers belong to somebody else; {} belongs to {}",
                foreign().count(),
                first.serial,
                first.name
            ),
            "leave them out, or say that they are to be reassigned",
        ));
    }
    let moved: Vec<String> = foreign().map(|row| row.serial.clone()).collect();
    for part in moved.chunks(500) {
        hand_over(tx, firm, customer, part, moment.now).await?;
    }
    let announced = present.iter().filter_map(|row| {
        let moved = row.customer != customer;
        (moved || new.contains(&row.serial)).then(|| (&row.serial, row.version + u64::from(moved)))
    });
    let events: Vec<_> = announced
        .zip(ids)
        .map(|((serial, version), id)| moment.container_assigned(firm, serial, &name, version, *id))
        .collect();
    outbox::append_all(tx, &events).await?;
    Ok(present
        .iter()
        .map(|row| AssignmentRow {
            serial: row.serial.clone(),
            customer: name.clone(),
            assigned_at: if row.customer == customer { row.assigned_at } else { moment.now },
        })
        .collect())
}

/// Gives the customer those containers that belong to nobody, and tells which these were.
async fn claim(
    tx: &mut Tx,
    firm: FirmCode,
    customer: CustomerId,
    serials: &[String],
    now: Timestamp,
) -> Result<HashSet<String>, StorageError> {
    let mut new = HashSet::new();
    // Engines bind a limited number of values in one statement.
    for part in serials.chunks(500) {
        let mut query = statement(format!(
            "INSERT INTO assignment (firm_code, serial, customer_id, version, assigned_at) VALUES {} \
             ON CONFLICT (firm_code, serial) DO NOTHING RETURNING serial",
            rows(part.len(), 5)
        ));
        for serial in part {
            query = query
                .bind(i64::from(firm.get()))
                .bind(serial.clone())
                .bind(customer.to_string())
                .bind(1_i64)
                .bind(now.as_micros());
        }
        for row in query.fetch_all(tx.conn()).await? {
            new.insert(row.try_get("serial")?);
        }
    }
    Ok(new)
}

/// Gives the customer containers that belonged to somebody else.
async fn hand_over(
    tx: &mut Tx,
    firm: FirmCode,
    customer: CustomerId,
    serials: &[String],
    now: Timestamp,
) -> Result<(), StorageError> {
    let mut query = statement(format!(
        "UPDATE assignment SET customer_id = $1, version = version + 1, assigned_at = $2 \
         WHERE firm_code = $3 AND serial IN ({})",
        list(4, serials.len())
    ))
    .bind(customer.to_string())
    .bind(now.as_micros())
    .bind(i64::from(firm.get()));
    for serial in serials {
        query = query.bind(serial.clone());
    }
    query.execute(tx.conn()).await?;
    Ok(())
}

/// The customer by id and name.
async fn customer(
    tx: &mut Tx,
    assigning: &Assigning,
    fresh: CustomerId,
    now: Timestamp,
) -> Result<(CustomerId, String), Failure> {
    match &assigning.customer {
        Assignee::Named(name) => {
            let id = customer::find_or_make(tx, assigning.firm, name, fresh, now).await?;
            Ok((id, name.as_str().to_owned()))
        }
        Assignee::Known(id) => {
            let row = sqlx::query("SELECT name FROM customer WHERE customer_id = $1 AND firm_code = $2")
                .bind(id.to_string())
                .bind(i64::from(assigning.firm.get()))
                .fetch_optional(tx.conn())
                .await?;
            let row = row.ok_or_else(|| {
                Failure::refused(ErrorCode::NotFound, format!("there is no customer {id}"), "list the customers")
            })?;
            Ok((*id, row.try_get("name")?))
        }
    }
}

/// Where these containers belong now, locked, by serial.
async fn present(tx: &mut Tx, firm: FirmCode, serials: &[String]) -> Result<Vec<Present>, StorageError> {
    let suffix = match tx.dialect() {
        Dialect::Postgres => " FOR UPDATE OF a",
        // Its write transactions run one at a time.
        Dialect::Sqlite => "",
    };
    let mut found = Vec::new();
    for part in serials.chunks(500) {
        let mut query = statement(format!(
            "SELECT a.serial, a.customer_id, c.name, a.version, a.assigned_at FROM assignment a \
             JOIN customer c ON c.customer_id = a.customer_id WHERE a.firm_code = $1 AND a.serial IN ({}) \
             ORDER BY a.serial{suffix}",
            list(2, part.len())
        ))
        .bind(i64::from(firm.get()));
        for serial in part {
            query = query.bind(serial.clone());
        }
        for row in query.fetch_all(tx.conn()).await? {
            found.push(present_row(&row)?);
        }
    }
    Ok(found)
}

fn present_row(row: &AnyRow) -> Result<Present, StorageError> {
    Ok(Present {
        serial: row.try_get("serial")?,
        customer: parsed(row, "customer_id")?,
        name: row.try_get("name")?,
        version: to_u64(row.try_get("version")?)?,
        assigned_at: Timestamp::from_micros(row.try_get("assigned_at")?),
    })
}

/// The customer that a container is assigned to; none when nobody assigned it.
pub(super) async fn customer_of(
    conn: &mut AnyConnection,
    firm: FirmCode,
    serial: &str,
) -> Result<Option<CustomerId>, StorageError> {
    let row = sqlx::query("SELECT customer_id FROM assignment WHERE firm_code = $1 AND serial = $2")
        .bind(i64::from(firm.get()))
        .bind(serial)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(|row| parsed(row, "customer_id")).transpose()
}
