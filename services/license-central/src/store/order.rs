//! Orders with their tickets and licenses.

use lictor_clock::Timestamp;
use lictor_licensing::{
    FirmCode, ProductCode,
    error::ErrorCode,
    id::{OrderId, TicketId},
};
use lictor_storage::{
    StorageError, Tx,
    command::{self, Begun, Command},
    outbox, retry,
    sqlx::{self, AnyConnection, Row, any::AnyRow},
};

use super::{
    Store, catalogue, customer,
    history::{self, Note},
    license,
    sql::{list, parsed, small, statement},
};
use crate::{
    domain::{license::License, order::NewOrder, page::Page, ticket_key::TicketKey},
    events::Moment,
    failure::Failure,
    ids::OrderIds,
};

/// Licenses that one page of orders may carry; a page with more is cut short.
const LICENSES_PER_PAGE: u32 = 2_000;

/// A ticket with what lies on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketRow {
    /// Its id.
    pub id: TicketId,
    /// First group of its code.
    pub masked: String,
    /// Which ticket key derived its code.
    pub key_id: String,
    /// Its licenses, by line.
    pub licenses: Vec<License>,
}

/// An order with its tickets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// Its id.
    pub id: OrderId,
    /// The vendor.
    pub firm: FirmCode,
    /// Who bought.
    pub customer: String,
    /// The vendor's own number; may be empty.
    pub reference: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its tickets.
    pub tickets: Vec<TicketRow>,
}

/// What became of the command to make an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MadeOrder {
    /// It was made now; this answer was stored.
    Now(Vec<u8>),
    /// It had been made before, with this answer.
    Before(Vec<u8>),
}

impl Store {
    /// Makes an order, its ticket and its licenses, announces them and stores `answer`: all or nothing, once per command.
    pub async fn create_order(
        &self,
        order: &NewOrder,
        ids: &OrderIds,
        key: &TicketKey,
        command: &Command<'_>,
        moment: &Moment,
        answer: impl Fn(&OrderRow) -> Vec<u8>,
    ) -> Result<MadeOrder, Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let open = match command::begin(&mut tx, command, moment.now).await? {
                Begun::Replay(answer) => return Ok(MadeOrder::Before(answer)),
                Begun::Conflict => return Err(request_id_reused()),
                Begun::Fresh(open) => open,
            };
            let made = make(&mut tx, order, ids, key, moment).await?;
            let answer = answer(&made);
            command::finish(&mut tx, open, &answer).await?;
            tx.commit().await?;
            Ok(MadeOrder::Now(answer))
        })
        .await
    }

    /// One order.
    pub async fn order(&self, id: OrderId) -> Result<Option<OrderRow>, StorageError> {
        let mut read = self.db.begin_read().await?;
        let row = statement(format!("{SELECT} WHERE o.order_id = $1"))
            .bind(id.to_string())
            .fetch_optional(read.conn())
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(with_tickets(read.conn(), vec![order_row(&row)?.0]).await?.pop())
    }

    /// A page of a firm's orders, newest first, and the id after which the next page begins.
    pub async fn orders(
        &self,
        firm: FirmCode,
        customer: Option<&str>,
        page: &Page,
    ) -> Result<(Vec<OrderRow>, Option<String>), StorageError> {
        let mut text = format!("{SELECT} WHERE o.firm_code = $1");
        let mut values = Vec::new();
        if let Some(customer) = customer {
            values.extend([customer.to_owned(), customer.to_owned()]);
            text.push_str(" AND (c.name = $2 OR c.customer_id = $3)");
        }
        if let Some(below) = &page.below {
            values.push(below.clone());
            text.push_str(&format!(" AND o.order_id < ${}", values.len() + 1));
        }
        text.push_str(&format!(" ORDER BY o.order_id DESC LIMIT ${}", values.len() + 2));
        let mut query = statement(text).bind(i64::from(firm.get()));
        for value in values {
            query = query.bind(value);
        }
        let mut read = self.db.begin_read().await?;
        let rows = query.bind(i64::from(page.size) + 1).fetch_all(read.conn()).await?;
        let (mut orders, mut licenses) = (Vec::new(), 0);
        let mut more = false;
        for row in &rows {
            let (order, lines) = order_row(row)?;
            licenses += lines;
            more = orders.len() == page.size as usize || (licenses > LICENSES_PER_PAGE && !orders.is_empty());
            if more {
                break;
            }
            orders.push(order);
        }
        let next = orders.last().filter(|_| more).map(|last| last.id.to_string());
        Ok((with_tickets(read.conn(), orders).await?, next))
    }

    /// The order that a ticket belongs to, found by the hash of the ticket's code; without other tickets of that order.
    pub async fn order_of_ticket(&self, code_hash: [u8; 32]) -> Result<Option<(OrderRow, TicketRow)>, StorageError> {
        let mut read = self.db.begin_read().await?;
        let row = sqlx::query("SELECT order_id, ticket_id FROM ticket WHERE code_hash = $1")
            .bind(code_hash.to_vec())
            .fetch_optional(read.conn())
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let ticket: TicketId = parsed(&row, "ticket_id")?;
        let order: OrderId = parsed(&row, "order_id")?;
        let row =
            statement(format!("{SELECT} WHERE o.order_id = $1")).bind(order.to_string()).fetch_one(read.conn()).await?;
        let order = with_tickets(read.conn(), vec![order_row(&row)?.0]).await?.pop();
        Ok(order.and_then(|order| {
            let ticket = order.tickets.iter().find(|row| row.id == ticket)?.clone();
            Some((order, ticket))
        }))
    }

    /// The id of the ticket whose code has this hash.
    pub async fn ticket_by_hash(&self, code_hash: [u8; 32]) -> Result<Option<TicketId>, StorageError> {
        let row = sqlx::query("SELECT ticket_id FROM ticket WHERE code_hash = $1")
            .bind(code_hash.to_vec())
            .fetch_optional(self.db.pool())
            .await?;
        row.as_ref().map(|row| parsed(row, "ticket_id")).transpose()
    }
}

pub(super) fn request_id_reused() -> Failure {
    Failure::refused(
        ErrorCode::RequestIdReused,
        "this request id came before with another request",
        "use a new request id for a new request",
    )
}

async fn make(
    tx: &mut Tx,
    order: &NewOrder,
    ids: &OrderIds,
    key: &TicketKey,
    moment: &Moment,
) -> Result<OrderRow, Failure> {
    let names: Vec<&str> = order.lines.iter().map(|line| line.item.as_str()).collect();
    let items = catalogue::newest(tx.conn(), order.firm, &names).await?;
    let code = key.code(ids.ticket);
    let masked = code.masked();
    let customer = customer::find_or_make(tx, order.firm, &order.customer, ids.customer, moment.now).await?;

    let mut licenses = Vec::with_capacity(order.lines.len());
    for (place, (line, id)) in order.lines.iter().zip(&ids.licenses).enumerate() {
        let item = items.get(line.item.as_str()).ok_or_else(|| {
            Failure::refused(
                ErrorCode::NotFound,
                format!("the catalogue of firm code {} has no item {}", order.firm, line.item),
                "see the catalogue for the names of items",
            )
        })?;
        licenses.push(License {
            id: *id,
            firm: order.firm,
            ticket: ids.ticket,
            ticket_masked: masked.clone(),
            order: ids.order,
            customer,
            customer_name: order.customer.to_string(),
            item: item.name.clone(),
            item_id: item.id.clone(),
            item_version: item.version,
            product_code: ProductCode(item.product_code),
            line: u32::try_from(place + 1).unwrap_or(u32::MAX),
            quantity: line.seats_of(item.quantity)?,
            expires_at: item.expires_at,
            withdrawn_at: None,
            merged_into: None,
            subscription: item.subscription.clone(),
            remaining: None,
            renewal_cancelled_at: None,
            replaced_at: None,
            replaced_for: None,
            policy: item.policy,
            version: 1,
            created_at: moment.now,
            allocations: Vec::new(),
        });
    }
    let ticket = TicketRow { id: ids.ticket, masked, key_id: key.id(), licenses };
    let mut made = OrderRow {
        id: ids.order,
        firm: order.firm,
        customer: order.customer.to_string(),
        reference: order.reference.as_str().to_owned(),
        created_at: moment.now,
        tickets: Vec::new(),
    };
    insert(tx, &made, customer.to_string(), &ticket, code.hash()).await?;
    outbox::append_all(tx, &moment.order_made(&made, &ticket, &ids.events)).await?;
    made.tickets.push(ticket);
    Ok(made)
}

async fn insert(
    tx: &mut Tx,
    order: &OrderRow,
    customer: String,
    ticket: &TicketRow,
    code_hash: [u8; 32],
) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO \"order\" (order_id, firm_code, customer_id, reference, lines, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(order.id.to_string())
    .bind(i64::from(order.firm.get()))
    .bind(customer)
    .bind(order.reference.clone())
    .bind(i64::try_from(ticket.licenses.len()).unwrap_or(i64::MAX))
    .bind(order.created_at.as_micros())
    .execute(tx.conn())
    .await?;
    sqlx::query(
        "INSERT INTO ticket (ticket_id, firm_code, order_id, code_hash, masked, key_id, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(ticket.id.to_string())
    .bind(i64::from(order.firm.get()))
    .bind(order.id.to_string())
    .bind(code_hash.to_vec())
    .bind(ticket.masked.clone())
    .bind(ticket.key_id.clone())
    .bind(order.created_at.as_micros())
    .execute(tx.conn())
    .await?;
    license::insert(tx, &ticket.licenses).await?;
    let created = ticket.licenses.iter().map(|license| Note {
        license: license.id,
        what: "created",
        container: String::new(),
        serial: String::new(),
        quantity: license.quantity,
        activation: None,
        counter: 0,
        expires_at: license.expires_at,
        why: format!("it was sold to {} on ticket {}", license.customer_name, ticket.masked),
    });
    history::note(tx, &created.collect::<Vec<_>>(), order.created_at).await
}

const SELECT: &str = "SELECT o.order_id, o.firm_code, c.name AS customer, o.reference, o.lines, o.created_at \
    FROM \"order\" o JOIN customer c ON c.customer_id = o.customer_id";

/// The order without tickets, and how many lines it has.
fn order_row(row: &AnyRow) -> Result<(OrderRow, u32), StorageError> {
    let firm = FirmCode::new(small(row, "firm_code")?)
        .map_err(|error| StorageError::inconsistent("order", error.to_string()))?;
    let order = OrderRow {
        id: parsed(row, "order_id")?,
        firm,
        customer: row.try_get("customer")?,
        reference: row.try_get("reference")?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        tickets: Vec::new(),
    };
    Ok((order, small(row, "lines")?))
}

async fn with_tickets(conn: &mut AnyConnection, mut orders: Vec<OrderRow>) -> Result<Vec<OrderRow>, StorageError> {
    if orders.is_empty() {
        return Ok(orders);
    }
    let ids: Vec<String> = orders.iter().map(|order| order.id.to_string()).collect();
    let mut licenses = license::of_parents(conn, "order_id", &ids).await?;
    let mut query = statement(format!(
        "SELECT ticket_id, order_id, masked, key_id FROM ticket WHERE order_id IN ({}) ORDER BY ticket_id",
        list(1, ids.len())
    ));
    for id in ids {
        query = query.bind(id);
    }
    for row in query.fetch_all(&mut *conn).await? {
        let id: TicketId = parsed(&row, "ticket_id")?;
        let order: OrderId = parsed(&row, "order_id")?;
        let (own, others) = licenses.into_iter().partition(|license| license.ticket == id);
        licenses = others;
        let ticket = TicketRow { id, masked: row.try_get("masked")?, key_id: row.try_get("key_id")?, licenses: own };
        if let Some(order) = orders.iter_mut().find(|row| row.id == order) {
            order.tickets.push(ticket);
        }
    }
    Ok(orders)
}
