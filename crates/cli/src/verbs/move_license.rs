//! `lictor move`: seats of a license out of one container and into another of the same customer, for good or lent.

use std::path::PathBuf;

use clap::Args;
use lictor_api::activation::v1::{Transfer, TransferLicenseRequest};
use lictor_clock::Timestamp;
use lictor_licensing::ticket::TicketCode;
use serde_json::json;

use super::transfer::{transfer_object, transfer_text};
use crate::args::{self, StateFolder, moment, wire_time};
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::remote::{Change, FilePair, Online, Pick, Vendor, by_files, silent};
use crate::resume::{Begun, Journal, Subject, state_folder};

/// Move seats of a license to another container, or lend them
///
/// The seats leave the container of this licence server first; when its receipt proved that, the vendor issues them for the
/// other container, which fetches them with lictor pull. Nothing is ever in two places. Modules go along. Lent seats come
/// back by themselves after their date. Interrupted anywhere, the same command goes on where it ended.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lictor move TICKET lic_01JD3X7Q2V0000000000000000 --to 130-7715520011
  lictor move TICKET lic_01JD3X7Q2V0000000000000000=2 --to 130-7715520011
  lictor move TICKET lic_01JD3X7Q2V0000000000000000=1 --to-context laptop.rac \\
    --lend-until 2027-03-31

The first moves all seats for good, the second two of them; the third lends one.
A container that the vendor never saw is named by its context (--to-context)
instead of its serial.

By files:
  lictor challenge --firm-code 6000010                   # reaching the vendor
  lictor server context --challenge CHALLENGE -o old.rac # at the old container
  lictor move TICKET LICENSE --to SERIAL --context old.rac -o old.rau
  lictor server import old.rau -o old-receipt.rac        # at the old container
  lictor push context old-receipt.rac                    # at the vendor
  lictor push pending SERIAL -o new.rau                  # at the vendor
CHALLENGE is what the first command prints. Only the old container's receipt
lets the seats go on; new.rau is for the new container.")]
pub(crate) struct Move {
    /// The ticket that the license came from; - reads it from stdin
    #[arg(value_name = "TICKET")]
    ticket: String,

    /// The license, or so many of its seats [default: all that lie in the container]
    #[arg(value_name = "LICENSE[=N]", value_parser = Pick::parse)]
    license: Pick,

    #[command(flatten)]
    target: Target,

    /// Container that they leave, when the licence server has several
    #[arg(long, value_name = "SERIAL", conflicts_with = "context")]
    serial: Option<String>,

    #[command(flatten)]
    files: FilePair,

    #[command(flatten)]
    state: StateFolder,
}

/// Where seats go, and for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// Serial of the container that gets them
    #[arg(long, value_name = "SERIAL", required_unless_present = "to_context", conflicts_with = "to_context")]
    to: Option<String>,

    /// Context of the container that gets them, when the vendor has not seen it before
    #[arg(long, value_name = "F.rac")]
    to_context: Option<PathBuf>,

    /// Lend them: they come back on this day, or at this time (UTC)
    #[arg(long, value_name = "DATE", value_parser = moment)]
    lend_until: Option<Timestamp>,
}

impl Target {
    /// Fills in where the seats go.
    pub(crate) fn fill(&self, request: &mut TransferLicenseRequest) -> Outcome {
        request.to_serial = self.to.clone().unwrap_or_default();
        request.target_context =
            self.to_context.as_deref().map(files::read_license_file).transpose()?.unwrap_or_default();
        request.lend_until = self.lend_until.map(wire_time);
        Ok(())
    }

    fn words(&self) -> Vec<String> {
        let context = self.to_context.as_ref().map(|path| format!("context {}", path.display()));
        let until = self.lend_until.map(|time| format!("until {time}"));
        self.to.clone().into_iter().chain(context).chain(until).collect()
    }

    pub(crate) fn check(&self, now: Timestamp) -> Outcome {
        match self.lend_until {
            Some(until) if until <= now => Err(Failure::usage(
                format!("{until} has passed already"),
                "name a later date after --lend-until, or leave it out to move for good",
            )),
            _ => Ok(()),
        }
    }
}

impl Move {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        self.target.check(environment.clock.now())?;
        let ticket = args::ticket(&self.ticket)?;
        let mut choices = self.target.words();
        choices.push(self.license.to_string());
        let subject = Subject::new("move", Some(&ticket), &choices);
        let vendor = Vendor::open(environment)?;
        let firm_code = vendor.inspect(&ticket).await?.firm_code;
        if let Some(way) = self.files.way()? {
            let ask = async |begun: &Begun| self.ask(&ticket, firm_code, &vendor, begun).await;
            let transfer = by_files(&way, &subject, environment, ask).await?;
            let mut object = transfer_object(&transfer);
            object["file"] = json!(way.target);
            environment.out.one(&object, || {
                format!(
                    "{}\n{}\nthen: lictor push context RECEIPT.rac, which lets the seats go on",
                    transfer_text(&transfer),
                    way.next()
                )
            });
            return Ok(());
        }
        let online = Online::open(environment).await?;
        let serial = online.site.container(self.serial.as_deref(), firm_code).await?;
        let journal = Journal::of(&state_folder(self.state.folder.as_deref(), environment)?, subject, &serial);
        let change = Change { firm_code, serial, fresh: true, journal };
        let ask = async |begun: &Begun| self.ask(&ticket, firm_code, &online.vendor, begun).await;
        let (transfer, _) = online.carry_out(&change, &silent(environment), ask).await?;
        let transfer = online.vendor.departed(transfer).await;
        environment.out.one(&transfer_object(&transfer), || {
            format!("{}\nnext: lictor pull, at the licence server of {}", transfer_text(&transfer), transfer.to_serial)
        });
        Ok(())
    }

    async fn ask(
        &self,
        ticket: &TicketCode,
        firm_code: u32,
        vendor: &Vendor,
        begun: &Begun,
    ) -> Outcome<(Transfer, Vec<u8>)> {
        let mut request = TransferLicenseRequest {
            request_id: begun.request_id.clone(),
            firm_code,
            ticket: ticket.reveal(),
            license_id: self.license.license.clone(),
            quantity: self.license.quantity,
            context: begun.context.clone(),
            ..TransferLicenseRequest::default()
        };
        self.target.fill(&mut request)?;
        let answer = vendor.transfer_license(request).await?;
        super::transfer::opened(answer, vendor)
    }
}
