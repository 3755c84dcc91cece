//! `lictor customer`: who has ordered.

use clap::{Args, Subcommand};
use lictor_api::central::v1::customer_service_client::CustomerServiceClient;
use lictor_api::central::v1::{Customer, GetCustomerRequest, ListCustomersRequest};
use serde_json::{Value, json};

use super::page;
use crate::connect::Service;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::show;

#[derive(Debug, Subcommand)]
pub(crate) enum CustomerVerbs {
    /// List customers
    #[command(after_help = "Example:\n  lictor customer list")]
    List,
    /// Show a customer
    #[command(after_help = "Example:\n  lictor customer show \"Nova GmbH\"")]
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Name or id of the customer
    #[arg(value_name = "CUSTOMER")]
    customer: String,
}

impl CustomerVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let firm_code = environment.firm_code()?;
        let link = environment.link(Service::Central)?;
        let mut client = CustomerServiceClient::new(link.channel());
        match self {
            Self::List => {
                let mut request = ListCustomersRequest { firm_code, page: page(String::new()) };
                let mut customers = Vec::new();
                loop {
                    let answer = client
                        .list_customers(request.clone())
                        .await
                        .map_err(|status| link.failed(status))?
                        .into_inner();
                    customers.extend(answer.customers);
                    if answer.next_page_token.is_empty() {
                        break;
                    }
                    request.page = page(answer.next_page_token);
                }
                let objects: Vec<_> = customers.iter().map(customer_object).collect();
                let rows = customers
                    .iter()
                    .map(|customer| {
                        vec![
                            customer.customer_id.clone(),
                            customer.name.clone(),
                            customer.orders.to_string(),
                            show::time_word(customer.created_at.as_ref()),
                        ]
                    })
                    .collect();
                environment.out.many(
                    &objects,
                    &["customer", "name", "orders", "since"],
                    rows,
                    "there are no customers",
                );
            }
            Self::Show(verb) => {
                let request = GetCustomerRequest { firm_code, customer: verb.customer };
                let answer = client.get_customer(request).await.map_err(|status| link.failed(status))?.into_inner();
                let customer = answer.customer.ok_or_else(|| link.incomplete())?;
                environment.out.one(&customer_object(&customer), || {
                    show::sheet(&[
                        ("customer", customer.customer_id.clone()),
                        ("name", customer.name.clone()),
                        ("orders", customer.orders.to_string()),
                        ("since", show::time_word(customer.created_at.as_ref())),
                    ])
                });
            }
        }
        Ok(())
    }
}

fn customer_object(customer: &Customer) -> Value {
    json!({
        "customer_id": customer.customer_id,
        "name": customer.name,
        "firm_code": customer.firm_code,
        "orders": customer.orders,
        "created_at": show::time(customer.created_at.as_ref()),
    })
}
