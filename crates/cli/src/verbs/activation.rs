//! `lictor activation`: changes of containers that are under way, for support.

use clap::{Args, Subcommand};
use lictor_api::activation::v1::{Activation, InspectTicketResponse, ListActivationsRequest, RetryActivationRequest};

use super::page;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::remote::{Vendor, activation_object, activation_row, activation_text};
use crate::show;

#[derive(Debug, Subcommand)]
pub(crate) enum ActivationVerbs {
    /// List changes that are not finished, the longest waiting first, and what each waits for
    #[command(after_help = "Examples:\n  lictor activation list\n  lictor activation list --all --json")]
    List(List),
    /// Show one change, its state and what it waits for
    #[command(after_help = "Example:\n  lictor activation show act_01JD3X7Q2V0000000000000000")]
    Show(Named),
    /// Try a waiting or stalled change again now
    #[command(after_help = "\
Examples:
  lictor activation retry act_01JD3X7Q2V0000000000000000
  lictor activation retry act_01JD3X7Q2V0000000000000000 --to 130-7715520011

With --to the seats of a transfer whose container does not take them go into
another one of the customer; named is the second leg. Their old container
stands for calling the transfer off.")]
    Retry(Retry),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Also those that are finished
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Id of the activation
    // Not `activation`: that is the option of every verb that names the service.
    #[arg(value_name = "ACTIVATION")]
    id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    activation: Named,

    /// Serial of the container that the seats go into instead
    #[arg(long, value_name = "SERIAL", default_value = "", hide_default_value = true)]
    to: String,
}

impl ActivationVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let vendor = Vendor::open(environment)?;
        match self {
            Self::List(verb) => return list(&verb, &vendor, environment).await,
            Self::Show(verb) => tell(&vendor.activation(&verb.id).await?, environment),
            Self::Retry(verb) => {
                let answer = vendor
                    .retry(RetryActivationRequest { activation_id: verb.activation.id, to_serial: verb.to })
                    .await?;
                tell(&answer.activation.ok_or_else(|| vendor.incomplete())?, environment);
            }
        }
        Ok(())
    }
}

async fn list(verb: &List, vendor: &Vendor, environment: &Environment) -> Outcome {
    let mut request =
        ListActivationsRequest { firm_code: environment.firm_code()?, all: verb.all, page: page(String::new()) };
    let mut activations = Vec::new();
    loop {
        let answer = vendor.list(request.clone()).await?;
        activations.extend(answer.activations);
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page = page(answer.next_page_token);
    }
    let nothing = InspectTicketResponse::default();
    let objects: Vec<_> = activations.iter().map(|activation| activation_object(activation, &nothing)).collect();
    let rows = activations.iter().map(activation_row).collect();
    let headings = ["activation", "kind", "container", "state", "waits for", "next attempt", "since"];
    environment.out.many(&objects, &headings, rows, "nothing is under way");
    Ok(())
}

fn tell(activation: &Activation, environment: &Environment) {
    let nothing = InspectTicketResponse::default();
    environment.out.one(&activation_object(activation, &nothing), || {
        let mut text = activation_text(activation, &nothing);
        if !activation.reason.is_empty() {
            text.push_str(&format!("\nreason: {}", activation.reason));
        }
        if activation.next_attempt_at.is_some() {
            text.push_str(&format!("\nnext attempt: {}", show::time_word(activation.next_attempt_at.as_ref())));
        }
        text
    });
}
