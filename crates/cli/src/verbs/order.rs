//! `lictor order`: orders and the tickets that come out of them.

use clap::{Args, Subcommand};
use lictor_api::central::v1::order_service_client::OrderServiceClient;
use lictor_api::central::v1::{CreateOrderRequest, GetOrderRequest, ListOrdersRequest, Order, OrderLine};
use serde_json::{Value, json};

use super::page;
use crate::connect::Service;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::request::RequestId;
use crate::show;

#[derive(Debug, Subcommand)]
pub(crate) enum OrderVerbs {
    /// Make an order; the answer holds the ticket for the customer
    ///
    /// The whole ticket is shown here and never again: whoever has it can activate its licenses.
    #[command(after_help = "\
Examples:
  lictor order create --customer \"Nova GmbH\" --item suite=5
  lictor order create --customer \"Nova GmbH\" --item suite=5 --item plotter \\
    --reference PO-4711

=QTY is the number of seats; without it the item's own quantity counts.
A script that must not order twice gives --request-id and repeats until it gets
an answer. People who got none are told the name that their request had.")]
    Create(Create),
    /// List orders
    #[command(after_help = "Example:\n  lictor order list --customer \"Nova GmbH\"")]
    List(List),
    /// Show an order with its licenses; tickets are masked
    #[command(after_help = "Example:\n  lictor order show ord_01JD3X7Q2V0000000000000000")]
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Name of the customer; a new name makes a new customer
    #[arg(long, value_name = "NAME")]
    customer: String,

    /// Item of the catalogue, and seats; may be given up to 100 times
    #[arg(long = "item", value_name = "ITEM[=QTY]", required = true, value_parser = line)]
    items: Vec<OrderLine>,

    /// The vendor's own number for this order
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reference: String,

    #[command(flatten)]
    request_id: RequestId,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Name or id of a customer
    #[arg(long, value_name = "CUSTOMER", default_value = "", hide_default_value = true)]
    customer: String,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Id of the order
    #[arg(value_name = "ORDER")]
    order: String,
}

/// Reads `ITEM` or `ITEM=QTY`. Zero is refused here, because on the wire it means "as the item says".
fn line(text: &str) -> Result<OrderLine, String> {
    let (item, quantity) = match text.rsplit_once('=') {
        None => (text, 0),
        Some((item, quantity)) => match quantity.parse() {
            Ok(quantity @ 1..=1_000_000) => (item, quantity),
            _ => return Err("a quantity is a number from 1 to 1000000".to_owned()),
        },
    };
    if item.is_empty() {
        return Err("the name of the item is missing".to_owned());
    }
    Ok(OrderLine { item: item.to_owned(), quantity })
}

impl OrderVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let link = environment.link(Service::Central)?;
        let mut client = OrderServiceClient::new(link.channel());
        match self {
            Self::Create(verb) => {
                let request = CreateOrderRequest {
                    request_id: verb.request_id.named(environment)?,
                    firm_code: environment.firm_code()?,
                    customer: verb.customer,
                    lines: verb.items,
                    reference: verb.reference,
                };
                let answer = client.create_order(request).await.map_err(|status| link.failed(status))?.into_inner();
                let order = answer.order.ok_or_else(|| link.incomplete())?;
                environment.out.one(&order_object(&order), || order_text(&order));
            }
            Self::Show(verb) => {
                let request = GetOrderRequest { order_id: verb.order };
                let answer = client.get_order(request).await.map_err(|status| link.failed(status))?.into_inner();
                let order = answer.order.ok_or_else(|| link.incomplete())?;
                environment.out.one(&order_object(&order), || order_text(&order));
            }
            Self::List(verb) => {
                let mut request = ListOrdersRequest {
                    firm_code: environment.firm_code()?,
                    customer: verb.customer,
                    page: page(String::new()),
                };
                let mut orders = Vec::new();
                loop {
                    let answer =
                        client.list_orders(request.clone()).await.map_err(|status| link.failed(status))?.into_inner();
                    orders.extend(answer.orders);
                    if answer.next_page_token.is_empty() {
                        break;
                    }
                    request.page = page(answer.next_page_token);
                }
                let objects: Vec<_> = orders.iter().map(order_object).collect();
                let rows = orders
                    .iter()
                    .map(|order| {
                        let items: Vec<&str> = licenses(order).map(|license| license.item.as_str()).collect();
                        vec![
                            order.order_id.clone(),
                            order.customer.clone(),
                            order.reference.clone(),
                            show::time_word(order.created_at.as_ref()),
                            items.join(", "),
                        ]
                    })
                    .collect();
                let headings = ["order", "customer", "reference", "created", "items"];
                environment.out.many(&objects, &headings, rows, "there are no orders");
            }
        }
        Ok(())
    }
}

fn licenses(order: &Order) -> impl Iterator<Item = &lictor_api::types::v1::License> {
    order.tickets.iter().flat_map(|ticket| &ticket.licenses)
}

fn order_object(order: &Order) -> Value {
    json!({
        "order_id": order.order_id,
        "customer": order.customer,
        "firm_code": order.firm_code,
        "reference": order.reference,
        "created_at": show::time(order.created_at.as_ref()),
        "tickets": order.tickets.iter().map(show::ticket).collect::<Vec<_>>(),
    })
}

fn order_text(order: &Order) -> String {
    let mut pairs = vec![("order", order.order_id.clone()), ("customer", order.customer.clone())];
    if !order.reference.is_empty() {
        pairs.push(("reference", order.reference.clone()));
    }
    pairs.push(("created", show::time_word(order.created_at.as_ref())));
    for ticket in &order.tickets {
        pairs.push(("ticket", ticket.ticket.clone()));
    }
    format!("{}\n{}", show::sheet(&pairs), show::licenses_of_ticket(licenses(order)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_nonsense_is_refused() {
        let read = |text| line(text).map(|line| (line.item, line.quantity));
        assert_eq!(read("suite"), Ok(("suite".to_owned(), 0)));
        assert_eq!(read("suite=5"), Ok(("suite".to_owned(), 5)));
        assert_eq!(read("a=b=2"), Ok(("a=b".to_owned(), 2)));
        for bad in ["suite=0", "suite=", "suite=-1", "suite=1000001", "suite=99999999999999999999", "=5", ""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
