//! `lictor return`: licenses out of a container, available again for another one.

use clap::Args;
use lictor_api::activation::v1::{Activation, ReturnLicensesRequest};
use lictor_licensing::ticket::TicketCode;
use serde_json::json;

use crate::args::{self, StateFolder};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::remote::{
    Change, FilePair, Online, Pick, Vendor, activation_object, activation_text, by_files, inspected, opened, picks,
    silent,
};
use crate::resume::{Begun, Journal, Subject, state_folder};

/// Give licenses back, so that they can be activated elsewhere
///
/// Takes a fresh context of the container, asks for the update that takes the licenses out, imports it and sends the
/// receipt. They are available again when the receipt proved that they are gone. Interrupted anywhere, the same command
/// goes on where it ended.
///
/// With --context: the vendor's half by files. The context must carry a challenge of the vendor, because an old one would
/// prove nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lictor return 7Q2VK-0M8RT-5XJ4E-9HCPA-63WZD
  lictor return 7Q2VK-0M8RT-5XJ4E-9HCPA-63WZD \\
    --license lic_01JD3X7Q2V0000000000000000=2

By files:
  lictor challenge --firm-code 6000010                   # reaching the vendor
  lictor server context --challenge CHALLENGE -o box.rac # at the licence server
  lictor return TICKET --context box.rac -o box.rau      # reaching the vendor
  lictor server import box.rau -o box-receipt.rac        # at the licence server
  lictor push context box-receipt.rac                    # at the vendor
CHALLENGE is what the first command prints. Only the receipt makes the licenses
available again.")]
pub(crate) struct Return {
    /// The ticket that they came from, five groups of five characters; - reads it from stdin
    #[arg(value_name = "TICKET")]
    ticket: String,

    /// Only this license, or so many of its seats; may be given more than once [default: all of the ticket that lie in the
    /// container]
    #[arg(long = "license", value_name = "LICENSE[=N]", value_parser = Pick::parse)]
    licenses: Vec<Pick>,

    /// Container, when the licence server has several
    #[arg(long, value_name = "SERIAL", conflicts_with = "context")]
    serial: Option<String>,

    #[command(flatten)]
    files: FilePair,

    #[command(flatten)]
    state: StateFolder,
}

impl Return {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let ticket = args::ticket(&self.ticket)?;
        let subject = Subject::new("return", Some(&ticket), &picks(&self.licenses).2);
        if let Some(way) = self.files.way()? {
            let vendor = Vendor::open(environment)?;
            let ask = async |begun: &Begun| self.ask(&ticket, &vendor, begun).await;
            let activation = by_files(&way, &subject, environment, ask).await?;
            let holds = inspected(&vendor, &ticket).await;
            let mut object = activation_object(&activation, &holds);
            object["file"] = json!(way.target);
            environment.out.one(&object, || {
                format!(
                    "{}\n{}\nthen: lictor push context RECEIPT.rac, which makes them available again",
                    activation_text(&activation, &holds),
                    way.next()
                )
            });
            return Ok(());
        }
        let vendor = Vendor::open(environment)?;
        let firm_code = vendor.inspect(&ticket).await?.firm_code;
        let online = Online::open(environment).await?;
        let serial = online.site.container(self.serial.as_deref(), firm_code).await?;
        let journal = Journal::of(&state_folder(self.state.folder.as_deref(), environment)?, subject, &serial);
        let change = Change { firm_code, serial, fresh: true, journal };
        let ask = async |begun: &Begun| self.ask(&ticket, &online.vendor, begun).await;
        let (activation, _) = online.carry_out(&change, &silent(environment), ask).await?;
        let activation = online.vendor.settled(activation).await;
        let holds = inspected(&online.vendor, &ticket).await;
        environment.out.one(&activation_object(&activation, &holds), || activation_text(&activation, &holds));
        Ok(())
    }

    async fn ask(&self, ticket: &TicketCode, vendor: &Vendor, begun: &Begun) -> Outcome<(Activation, Vec<u8>)> {
        let (license_ids, quantities, _) = picks(&self.licenses);
        let request = ReturnLicensesRequest {
            request_id: begun.request_id.clone(),
            ticket: ticket.reveal(),
            license_ids,
            quantities,
            context: begun.context.clone(),
        };
        let answer = vendor.return_licenses(request).await?;
        opened(answer.activation, answer.update, vendor)
    }
}
