//! `lictor license`: what was sold, where it lies, and taking it back.

mod history;
mod renewal;

use clap::{Args, Subcommand};
use lictor_api::activation::v1::WithdrawLicenseRequest;
use lictor_api::activation::v1::push_service_client::PushServiceClient;
use lictor_api::central::v1::license_service_client::LicenseServiceClient;
use lictor_api::central::v1::{GetLicenseRequest, ListLicensesRequest};
use lictor_api::types::v1::LicenseState;
use serde_json::json;

use super::page;
use crate::args;
use crate::connect::Service;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::request::RequestId;
use crate::{output, show};

#[derive(Debug, Subcommand)]
pub(crate) enum LicenseVerbs {
    /// List licenses
    #[command(after_help = "\
Examples:
  lictor license list --state available
  lictor license list --container 130-4823901234 --json")]
    List(List),
    /// Show a license and where its seats lie
    #[command(after_help = "Example:\n  lictor license show lic_01JD3X7Q2V0000000000000000")]
    Show(Show),
    /// Take a license back for good
    ///
    /// At once when no container holds it. Else every following update file of that container takes it out, and the
    /// container cannot leave that step out: the license is `returning` until a receipt proves that it is gone.
    #[command(after_help = "\
Example:
  lictor license withdraw lic_01JD3X7Q2V0000000000000000 --reason \"refund\"
  lictor push pending 130-4823901234 -o next.rau")]
    Withdraw(Withdraw),
    /// What happened to a license or in a container; with --at, what could be used then, and why
    #[command(after_help = "\
Examples:
  lictor license history lic_01JD3X7Q2V0000000000000000
  lictor license history --container 130-4823901234
  lictor license history --container 130-4823901234 --at 2027-01-31

`proven` means that the container surely held it; `possible`, that it was issued
and not yet proven, or that its taking back was not.")]
    History(history::History),
    /// End the automatic renewal of a license: it runs to its end and is not renewed again
    #[command(after_help = "Example:\n  lictor license cancel-renewal lic_01JD3X7Q2V0000000000000000")]
    CancelRenewal(renewal::Renewal),
    /// Take the end of automatic renewal back, as long as the license has not ended
    #[command(after_help = "Example:\n  lictor license resume-renewal lic_01JD3X7Q2V0000000000000000")]
    ResumeRenewal(renewal::Renewal),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this ticket; - reads it from stdin
    #[arg(long, value_name = "TICKET")]
    ticket: Option<String>,

    /// Only those in the container with this serial
    #[arg(long, value_name = "SERIAL", default_value = "", hide_default_value = true)]
    container: String,

    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = state_names())]
    state: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Id of the license
    #[arg(value_name = "LICENSE")]
    license: String,
}

#[derive(Debug, Args)]
pub(crate) struct Withdraw {
    /// Id of the license
    #[arg(value_name = "LICENSE")]
    license: String,

    /// Why; kept with the withdrawal
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    #[command(flatten)]
    request_id: RequestId,
}

/// Reader of the words for states of licenses.
fn state_names() -> clap::builder::PossibleValuesParser {
    LicenseState::STATES.map(LicenseState::word).into()
}

fn state_number(word: Option<&str>) -> i32 {
    word.and_then(LicenseState::of_word).unwrap_or_default().into()
}

impl LicenseVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::List(verb) => list(verb, environment).await,
            Self::Show(verb) => show(verb, environment).await,
            Self::Withdraw(verb) => withdraw(verb, environment).await,
            Self::History(verb) => history::history(verb, environment).await,
            Self::CancelRenewal(verb) => renewal::cancel(verb, environment).await,
            Self::ResumeRenewal(verb) => renewal::resume(verb, environment).await,
        }
    }
}

async fn list(verb: List, environment: &Environment) -> Outcome {
    let ticket = verb.ticket.as_deref().map(args::ticket).transpose()?;
    let mut request = ListLicensesRequest {
        firm_code: environment.firm_code()?,
        ticket: ticket.map(|ticket| ticket.reveal()).unwrap_or_default(),
        serial: verb.container,
        state: state_number(verb.state.as_deref()),
        page: page(String::new()),
    };
    let link = environment.link(Service::Central)?;
    let mut client = LicenseServiceClient::new(link.channel());
    let mut licenses = Vec::new();
    loop {
        let answer = client.list_licenses(request.clone()).await.map_err(|status| link.failed(status))?.into_inner();
        licenses.extend(answer.licenses);
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page = page(answer.next_page_token);
    }
    let objects: Vec<_> = licenses.iter().map(show::license).collect();
    let rows = licenses.iter().map(show::license_row).collect();
    environment.out.many(&objects, show::LICENSE_HEADINGS, rows, "there are no such licenses");
    Ok(())
}

async fn show(verb: Show, environment: &Environment) -> Outcome {
    let link = environment.link(Service::Central)?;
    let mut client = LicenseServiceClient::new(link.channel());
    let request = GetLicenseRequest { license_id: verb.license };
    let answer = client.get_license(request).await.map_err(|status| link.failed(status))?.into_inner();
    let license = answer.license.ok_or_else(|| link.incomplete())?;
    environment.out.one(&show::license(&license), || {
        let mut pairs = vec![
            ("license", license.license_id.clone()),
            ("item", license.item.clone()),
            ("product code", license.product_code.to_string()),
            ("seats", show::seats(license.quantity)),
            ("state", LicenseState::word_of(license.state).to_owned()),
            ("expires", show::time_word(license.expires_at.as_ref())),
            ("ticket", license.ticket.clone()),
            ("order", license.order_id.clone()),
            ("customer", license.customer.clone()),
        ];
        pairs.extend(show::license_terms(&license));
        let rows: Vec<_> = license
            .allocations
            .iter()
            .map(|allocation| {
                vec![
                    allocation.serial.clone(),
                    show::seats(allocation.quantity),
                    LicenseState::word_of(allocation.state).to_owned(),
                    show::time_word(allocation.expires_at.as_ref()),
                    show::loan(allocation),
                ]
            })
            .collect();
        let sheet = show::sheet(&pairs);
        if rows.is_empty() {
            return format!("{sheet}\nit lies in no container");
        }
        format!("{sheet}\n{}", output::table(&["container", "seats", "state", "expires", "lent"], rows))
    });
    Ok(())
}

async fn withdraw(verb: Withdraw, environment: &Environment) -> Outcome {
    let link = environment.link(Service::Activation)?;
    let mut client = PushServiceClient::new(link.channel());
    let request = WithdrawLicenseRequest {
        request_id: verb.request_id.named(environment)?,
        license_id: verb.license,
        reason: verb.reason,
    };
    let answer = client.withdraw_license(request).await.map_err(|status| link.failed(status))?.into_inner();
    let object = json!({ "license_id": answer.license_id, "state": answer.state, "containers": answer.serials });
    environment.out.one(&object, || {
        let mut text = format!("{} is {}", answer.license_id, answer.state);
        for serial in &answer.serials {
            text.push_str(&format!("\nnext: lictor push pending {serial} -o next.rau, and get it to the customer"));
        }
        text
    });
    Ok(())
}
