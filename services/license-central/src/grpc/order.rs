//! OrderService: orders and their tickets. The whole ticket leaves in the answer to CreateOrder and nowhere else.

use lictor_api::{
    central::v1::{
        CreateOrderRequest, CreateOrderResponse, GetOrderRequest, GetOrderResponse, GetTicketRequest,
        GetTicketResponse, ListOrdersRequest, ListOrdersResponse, Order, Ticket, order_service_server::OrderService,
    },
    convert::timestamp,
};
use lictor_licensing::{
    error::ErrorCode,
    id::{OrderId, TicketId},
};
use lictor_storage::{StorageError, command::Command};
use prost::Message;
use tonic::{Request, Response, Status};

use super::{Counter, edge};
use crate::{
    domain::{
        order::{CustomerName, MAX_LINES, NewOrder, OrderLine, Reference},
        page::Page,
        ticket_key::TicketKey,
    },
    events::Moment,
    failure::Failure,
    ids::OrderIds,
    present,
    store::{MadeOrder, OrderRow, TicketRow},
};

#[tonic::async_trait]
impl OrderService for Counter {
    async fn create_order(
        &self,
        request: Request<CreateOrderRequest>,
    ) -> Result<Response<CreateOrderResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let request = request.into_inner();
        let order = new_order(&request)?;
        let body = request.encode_to_vec();
        let command = Command {
            caller: &caller,
            method: "CreateOrder",
            request_id: edge::request_id(&request.request_id)?,
            body: &body,
        };
        let moment = Moment::of_call(self.0.now());
        let ids = OrderIds::fresh(order.lines.len(), moment.now);
        let made = self
            .0
            .store
            .create_order(&order, &ids, &self.0.key, &command, &moment, |row| {
                CreateOrderResponse { order: Some(shown(row)) }.encode_to_vec()
            })
            .await?;
        let stored = match made {
            MadeOrder::Now(answer) => {
                self.0.metrics.orders.inc();
                self.0.metrics.licenses.inc_by(order.lines.len() as u64);
                answer
            }
            MadeOrder::Before(answer) => answer,
        };
        Ok(Response::new(with_whole_tickets(&stored, &self.0.key)?))
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        let id: OrderId = edge::id(&request.get_ref().order_id)?;
        let found = self.0.store.order(id).await.map_err(|error| edge::broken(&error))?;
        let row = found.ok_or_else(|| edge::not_found(format!("there is no order {id}"), "list the orders"))?;
        Ok(Response::new(GetOrderResponse { order: Some(shown(&row)) }))
    }

    async fn list_orders(&self, request: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        let request = request.into_inner();
        let firm = edge::firm(request.firm_code)?;
        let page = edge::page(request.page.as_ref(), OrderId::PREFIX)?;
        let customer = edge::line("a customer's id or name", request.customer.trim(), 128)?;
        let customer = (!customer.is_empty()).then_some(customer.as_str());
        let (rows, next) = self.0.store.orders(firm, customer, &page).await.map_err(|error| edge::broken(&error))?;
        Ok(Response::new(ListOrdersResponse {
            orders: rows.iter().map(shown).collect(),
            next_page_token: next.map(|last| Page::token_after(&last)).unwrap_or_default(),
        }))
    }

    async fn get_ticket(&self, request: Request<GetTicketRequest>) -> Result<Response<GetTicketResponse>, Status> {
        let code = edge::ticket(&request.get_ref().ticket)?;
        let found = self.0.store.order_of_ticket(code.hash()).await.map_err(|error| edge::broken(&error))?;
        let (order, ticket) = found.ok_or_else(edge::ticket_unknown)?;
        Ok(Response::new(GetTicketResponse {
            ticket: Some(shown_ticket(&ticket)),
            order_id: order.id.to_string(),
            customer: order.customer,
            firm_code: order.firm.get(),
        }))
    }
}

fn new_order(request: &CreateOrderRequest) -> Result<NewOrder, Status> {
    let firm = edge::firm(request.firm_code)?;
    let parse = || {
        let customer = CustomerName::new(&request.customer)?;
        let reference = Reference::new(&request.reference)?;
        // One more than may be: the rule below then refuses with the right words.
        let lines = request.lines.iter().take(MAX_LINES + 1);
        let lines = lines.map(|line| OrderLine::new(&line.item, line.quantity)).collect::<Result<_, _>>()?;
        NewOrder::new(firm, customer, reference, lines)
    };
    parse().map_err(|problem| Failure::from(problem).into())
}

/// The stored answer with the tickets' codes, which are derived and never stored.
fn with_whole_tickets(stored: &[u8], key: &TicketKey) -> Result<CreateOrderResponse, Status> {
    let broken = |what: String| edge::broken(&StorageError::inconsistent("command.answer", what));
    let mut answer = CreateOrderResponse::decode(stored).map_err(|error| broken(error.to_string()))?;
    for ticket in answer.order.iter_mut().flat_map(|order| &mut order.tickets) {
        let id: TicketId = ticket.ticket_id.parse().map_err(|_| broken(ticket.ticket_id.clone()))?;
        let code = key.code(id);
        if code.masked() != ticket.ticket {
            let changed = Failure::refused(
                ErrorCode::WrongState,
                "the ticket key was changed since this order was made, so its ticket cannot be shown again",
                "start license-central with the former key, or withdraw the licenses and order anew",
            );
            return Err(changed.into());
        }
        ticket.ticket = code.reveal();
    }
    Ok(answer)
}

fn shown(row: &OrderRow) -> Order {
    Order {
        order_id: row.id.to_string(),
        firm_code: row.firm.get(),
        customer: row.customer.clone(),
        reference: row.reference.clone(),
        created_at: Some(timestamp(row.created_at)),
        tickets: row.tickets.iter().map(shown_ticket).collect(),
    }
}

fn shown_ticket(row: &TicketRow) -> Ticket {
    Ticket {
        ticket_id: row.id.to_string(),
        ticket: row.masked.clone(),
        licenses: row.licenses.iter().map(present::license).collect(),
    }
}
