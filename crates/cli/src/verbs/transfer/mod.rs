//! `lictor transfer`: seats on their way between containers, and loans.

mod give_back;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lictor_api::activation::v1::{Transfer, TransferLicenseRequest, TransferLicenseResponse};
use lictor_api::central::v1::license_service_client::LicenseServiceClient;
use lictor_api::central::v1::{self as central, ListTransfersRequest, TransferState};
use lictor_licensing::error::ErrorCode;
use serde_json::{Value, json};

use super::move_license::Target;
use super::page;
use crate::connect::Service;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::remote::{Pick, Vendor};
use crate::request::RequestId;
use crate::{files, show};

#[derive(Debug, Subcommand)]
pub(crate) enum TransferVerbs {
    /// Show how far a transfer is
    #[command(after_help = "Example:\n  lictor transfer show trf_01JD3X7Q2V0000000000000000")]
    Show(Show),
    /// List transfers; for the vendor's staff
    #[command(after_help = "\
Examples:
  lictor transfer list
  lictor transfer list --license lic_01JD3X7Q2V0000000000000000 --json")]
    List(List),
    /// Give lent seats back before their date, from the container that borrowed them
    #[command(after_help = "\
Examples:
  lictor transfer return trf_01JD3X7Q2V0000000000000000 --ticket TICKET

That is run at the borrower's licence server. By files, with a context of the
borrower that carries a challenge:
  lictor transfer return trf_01JD3X7Q2V0000000000000000 --ticket TICKET \\
    --context laptop.rac -o laptop.rau")]
    Return(give_back::Return),
    /// Start a transfer from the vendor's side, with nothing needed from the customer; for the vendor's staff
    #[command(after_help = "\
Example:
  lictor transfer create lic_01JD3X7Q2V0000000000000000=2 \\
    --from 130-4823901234 --to 130-7715520011 -o old.rau

The file is for the old container; the new one gets its part when the old one's
receipt proved the leaving.")]
    Create(Create),
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Id of the transfer
    #[arg(value_name = "TRANSFER")]
    transfer: String,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this license
    #[arg(long, value_name = "LICENSE", default_value = "", hide_default_value = true)]
    license: String,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The license, or so many of its seats [default: all that lie in the old container]
    #[arg(value_name = "LICENSE[=N]", value_parser = Pick::parse)]
    license: Pick,

    /// Serial of the container that they leave
    #[arg(long, value_name = "SERIAL")]
    from: String,

    #[command(flatten)]
    target: Target,

    /// Update file to write, for the old container
    #[arg(short, long, value_name = "F.rau")]
    output: PathBuf,

    /// Replace the update file if it exists and differs
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    request_id: RequestId,
}

impl TransferVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::Show(verb) => {
                let transfer = Vendor::open(environment)?.transfer(&verb.transfer).await?;
                environment.out.one(&transfer_object(&transfer), || transfer_text(&transfer));
                Ok(())
            }
            Self::List(verb) => list(verb, environment).await,
            Self::Return(verb) => verb.run(environment).await,
            Self::Create(verb) => create(verb, environment).await,
        }
    }
}

async fn create(verb: Create, environment: &Environment) -> Outcome {
    verb.target.check(environment.clock.now())?;
    files::check_target(&verb.output, verb.force)?;
    let mut request = TransferLicenseRequest {
        request_id: verb.request_id.named(environment)?,
        firm_code: environment.firm_code()?,
        license_id: verb.license.license,
        quantity: verb.license.quantity,
        from_serial: verb.from,
        ..TransferLicenseRequest::default()
    };
    verb.target.fill(&mut request)?;
    let vendor = Vendor::open(environment)?;
    let (transfer, update) = opened(vendor.transfer_by_hand(request).await?, &vendor)?;
    files::write(&verb.output, &update, verb.force)?;
    let mut object = transfer_object(&transfer);
    object["file"] = json!(verb.output);
    environment.out.one(&object, || {
        format!(
            "{}\nwrote {}\nnext: get it to the customer, who runs: lictor server import {1} -o RECEIPT.rac",
            transfer_text(&transfer),
            verb.output.display()
        )
    });
    Ok(())
}

async fn list(verb: List, environment: &Environment) -> Outcome {
    let link = environment.link(Service::Central)?;
    let mut client = LicenseServiceClient::new(link.channel());
    let mut request = ListTransfersRequest {
        firm_code: environment.firm_code()?,
        license_id: verb.license,
        page: page(String::new()),
    };
    let mut transfers = Vec::new();
    loop {
        let answer = client.list_transfers(request.clone()).await.map_err(|status| link.failed(status))?.into_inner();
        transfers.extend(answer.transfers.into_iter().map(from_central));
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page = page(answer.next_page_token);
    }
    let objects: Vec<_> = transfers.iter().map(transfer_object).collect();
    let rows = transfers.iter().map(transfer_row).collect();
    let headings = ["transfer", "license", "seats", "from", "to", "state", "lent until"];
    environment.out.many(&objects, &headings, rows, "there are no such transfers");
    Ok(())
}

fn from_central(transfer: central::Transfer) -> Transfer {
    let state = match TransferState::try_from(transfer.state).unwrap_or_default() {
        TransferState::Unspecified => "unknown",
        TransferState::Departing => "departing",
        TransferState::Departed => "departed",
        TransferState::Arriving => "arriving",
        TransferState::Arrived => "arrived",
        TransferState::CalledOff => "called-off",
    };
    Transfer {
        transfer_id: transfer.transfer_id,
        firm_code: transfer.firm_code,
        license_id: transfer.license_id,
        quantity: transfer.quantity,
        from_serial: transfer.from_serial,
        to_serial: transfer.to_serial,
        state: state.to_owned(),
        lend_until: transfer.lend_until,
        ..Transfer::default()
    }
}

/// The two halves of an answer; a saga that is not that far says so.
pub(crate) fn opened(answer: TransferLicenseResponse, vendor: &Vendor) -> Outcome<(Transfer, Vec<u8>)> {
    let transfer = answer.transfer.ok_or_else(|| vendor.incomplete())?;
    if answer.update.is_empty() {
        return Err(Failure::new(
            ErrorCode::Conflict,
            format!("transfer {} gave no update file yet", transfer.transfer_id),
            "repeat the command",
        ));
    }
    Ok((transfer, answer.update))
}

/// A transfer with its documented keys.
pub(crate) fn transfer_object(transfer: &Transfer) -> Value {
    json!({
        "transfer_id": transfer.transfer_id,
        "firm_code": transfer.firm_code,
        "license_id": transfer.license_id,
        "quantity": transfer.quantity,
        "from": transfer.from_serial,
        "to": transfer.to_serial,
        "state": transfer.state,
        "lend_until": show::time(transfer.lend_until.as_ref()),
    })
}

fn transfer_row(transfer: &Transfer) -> Vec<String> {
    vec![
        transfer.transfer_id.clone(),
        transfer.license_id.clone(),
        show::seats(transfer.quantity),
        transfer.from_serial.clone(),
        transfer.to_serial.clone(),
        transfer.state.clone(),
        show::time_word(transfer.lend_until.as_ref()),
    ]
}

/// A transfer for people.
pub(crate) fn transfer_text(transfer: &Transfer) -> String {
    let mut pairs = vec![
        ("transfer", transfer.transfer_id.clone()),
        ("license", transfer.license_id.clone()),
        ("seats", show::seats(transfer.quantity)),
        ("from", transfer.from_serial.clone()),
        ("to", transfer.to_serial.clone()),
        ("state", transfer.state.clone()),
    ];
    if transfer.lend_until.is_some() {
        pairs.push(("lent until", show::time_word(transfer.lend_until.as_ref())));
    }
    show::sheet(&pairs)
}
