//! `lictor transfer return`: lent seats back to their lender before the date.

use clap::Args;
use lictor_api::activation::v1::{Transfer, TransferLicenseRequest};
use lictor_licensing::error::ErrorCode;
use lictor_licensing::ticket::TicketCode;
use serde_json::json;

use super::{opened, transfer_object, transfer_text};
use crate::args::{self, StateFolder};
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::remote::{Change, FilePair, Online, Vendor, by_files, silent};
use crate::resume::{Begun, Journal, Subject, state_folder};

#[derive(Debug, Args)]
pub(crate) struct Return {
    /// Id of the transfer that lent the seats
    #[arg(value_name = "TRANSFER")]
    transfer: String,

    /// The ticket that the license came from; - reads it from stdin
    #[arg(long, value_name = "TICKET")]
    ticket: String,

    #[command(flatten)]
    files: FilePair,

    #[command(flatten)]
    state: StateFolder,
}

impl Return {
    pub(super) async fn run(self, environment: &Environment) -> Outcome {
        let ticket = args::ticket(&self.ticket)?;
        let vendor = Vendor::open(environment)?;
        let subject = Subject::new("transfer return", Some(&ticket), std::slice::from_ref(&self.transfer));
        let loan = vendor.transfer(&self.transfer).await?;
        if loan.lend_until.is_none() {
            return Err(Failure::new(
                ErrorCode::WrongState,
                format!("transfer {} lent nothing: it moved the seats for good", self.transfer),
                "move them back with lictor move",
            ));
        }
        if let Some(way) = self.files.way()? {
            let ask = async |begun: &Begun| ask_back(&ticket, &loan, &vendor, begun).await;
            let transfer = by_files(&way, &subject, environment, ask).await?;
            let mut object = transfer_object(&transfer);
            object["file"] = json!(way.target);
            environment.out.one(&object, || format!("{}\n{}", transfer_text(&transfer), way.next()));
            return Ok(());
        }
        let online = Online::open(environment).await?;
        let journal = Journal::of(&state_folder(self.state.folder.as_deref(), environment)?, subject, &loan.to_serial);
        let change = Change { firm_code: loan.firm_code, serial: loan.to_serial.clone(), fresh: true, journal };
        let ask = async |begun: &Begun| ask_back(&ticket, &loan, &online.vendor, begun).await;
        let (transfer, _) = online.carry_out(&change, &silent(environment), ask).await?;
        let transfer = online.vendor.departed(transfer).await;
        environment.out.one(&transfer_object(&transfer), || {
            format!("{}\nnext: lictor pull, at the licence server of {}", transfer_text(&transfer), transfer.to_serial)
        });
        Ok(())
    }
}

async fn ask_back(
    ticket: &TicketCode,
    loan: &Transfer,
    vendor: &Vendor,
    begun: &Begun,
) -> Outcome<(Transfer, Vec<u8>)> {
    let request = TransferLicenseRequest {
        request_id: begun.request_id.clone(),
        firm_code: loan.firm_code,
        ticket: ticket.reveal(),
        license_id: loan.license_id.clone(),
        quantity: loan.quantity,
        context: begun.context.clone(),
        to_serial: loan.from_serial.clone(),
        returns_transfer_id: loan.transfer_id.clone(),
        ..TransferLicenseRequest::default()
    };
    opened(vendor.transfer_license(request).await?, vendor)
}
