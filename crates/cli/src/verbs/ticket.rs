//! `lictor ticket`: what a ticket holds, for the vendor's staff.

use clap::{Args, Subcommand};
use lictor_api::central::v1::GetTicketRequest;
use lictor_api::central::v1::order_service_client::OrderServiceClient;
use serde_json::json;

use crate::connect::Service;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::{args, show};

#[derive(Debug, Subcommand)]
pub(crate) enum TicketVerbs {
    /// Show what a ticket holds and where it went
    #[command(after_help = "\
Examples:
  lictor ticket show 7Q2VK-0M8RT-5XJ4E-9HCPA-63WZD
  echo \"$TICKET\" | lictor ticket show -")]
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The ticket, five groups of five characters; - reads it from stdin
    #[arg(value_name = "TICKET")]
    ticket: String,
}

impl TicketVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let Self::Show(verb) = self;
        let code = args::ticket(&verb.ticket)?;
        let link = environment.link(Service::Central)?;
        let mut client = OrderServiceClient::new(link.channel());
        let request = GetTicketRequest { ticket: code.reveal() };
        let answer = client.get_ticket(request).await.map_err(|status| link.failed(status))?.into_inner();
        let mut ticket = answer.ticket.ok_or_else(|| link.incomplete())?;
        ticket.ticket = code.masked();
        let object = json!({
            "order_id": answer.order_id,
            "customer": answer.customer,
            "firm_code": answer.firm_code,
            "tickets": [show::ticket(&ticket)],
        });
        environment.out.one(&object, || {
            let pairs = [
                ("ticket", ticket.ticket.clone()),
                ("order", answer.order_id.clone()),
                ("customer", answer.customer.clone()),
            ];
            format!("{}\n{}", show::sheet(&pairs), show::licenses_of_ticket(ticket.licenses.iter()))
        });
        Ok(())
    }
}
