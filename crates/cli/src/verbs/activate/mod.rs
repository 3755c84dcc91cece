//! `lictor activate`: a ticket's licenses into a container, in one go, by files, or led by questions.

mod questions;
mod wizard;

use clap::Args;
use lictor_api::activation::v1::{ActivateRequest, Activation};
use lictor_licensing::ticket::TicketCode;
use serde_json::json;

use crate::args::{self, StateFolder};
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::remote::{
    Change, FilePair, Online, Pick, Step, Vendor, activation_object, activation_text, by_files, inspected, opened,
    picks, silent,
};
use crate::resume::{Begun, Journal, Subject, state_folder};

/// The verb in the journal.
pub(crate) const VERB: &str = "activate";

/// Put a ticket's licenses into a container
///
/// Online: takes the container's context from the licence server, activates, imports the update and sends the receipt, all
/// in one go. Interrupted anywhere, the same command finishes the same activation; nothing is spent twice.
///
/// With --context: the vendor's half of the offline way. Reads a context file and writes the update file.
///
/// Without a ticket, in a terminal: asks for everything, step by step, online and by files.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lictor activate                                        # asks for everything
  lictor activate 7Q2VK-0M8RT-5XJ4E-9HCPA-63WZD
  lictor activate 7Q2VK-0M8RT-5XJ4E-9HCPA-63WZD \\
    --license lic_01JD3X7Q2V0000000000000000=3
  echo \"$TICKET\" | lictor activate -

By files, where the licence server has no way to the vendor:
  lictor server context --firm-code 6000010 -o box.rac   # at the licence server
  lictor activate TICKET --context box.rac -o box.rau    # reaching the vendor
  lictor server import box.rau -o box-receipt.rac        # at the licence server
  lictor push context box-receipt.rac                    # at the vendor
The last one may be left out.")]
pub(crate) struct Activate {
    /// The ticket, five groups of five characters; - reads it from stdin [default: asks, in a terminal]
    #[arg(value_name = "TICKET")]
    ticket: Option<String>,

    /// Only this license of the ticket, or so many of its seats; may be given more than once [default: all that are
    /// available]
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

/// What is activated.
#[derive(Clone, Debug)]
struct Wanted {
    ticket: TicketCode,
    licenses: Vec<Pick>,
}

impl Wanted {
    fn subject(&self) -> Subject {
        Subject::new(VERB, Some(&self.ticket), &picks(&self.licenses).2)
    }

    async fn ask(&self, vendor: &Vendor, begun: &Begun) -> Outcome<(Activation, Vec<u8>)> {
        let (license_ids, quantities, _) = picks(&self.licenses);
        let request = ActivateRequest {
            request_id: begun.request_id.clone(),
            ticket: self.ticket.reveal(),
            license_ids,
            context: begun.context.clone(),
            quantities,
        };
        let answer = vendor.activate(request).await?;
        opened(answer.activation, answer.update, vendor)
    }

    async fn online(&self, online: &Online, change: &Change, watch: &dyn Fn(Step)) -> Outcome<Activation> {
        let ask = async |begun: &Begun| self.ask(&online.vendor, begun).await;
        let (activation, _) = online.carry_out(change, watch, ask).await?;
        Ok(online.vendor.settled(activation).await)
    }
}

impl Activate {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let Some(ticket) = &self.ticket else {
            if !self.licenses.is_empty() || self.serial.is_some() || self.files.way()?.is_some() {
                return Err(Failure::usage(
                    "a ticket is missing",
                    "give it as the first argument, or - to read it from stdin",
                ));
            }
            return wizard::run(&state_folder(self.state.folder.as_deref(), environment)?, environment).await;
        };
        let wanted = Wanted { ticket: args::ticket(ticket)?, licenses: self.licenses.clone() };
        if let Some(way) = self.files.way()? {
            let vendor = Vendor::open(environment)?;
            let ask = async |begun: &Begun| wanted.ask(&vendor, begun).await;
            let activation = by_files(&way, &wanted.subject(), environment, ask).await?;
            let holds = inspected(&vendor, &wanted.ticket).await;
            let mut object = activation_object(&activation, &holds);
            object["file"] = json!(way.target);
            environment.out.one(&object, || format!("{}\n{}", activation_text(&activation, &holds), way.next()));
            return Ok(());
        }
        let vendor = Vendor::open(environment)?;
        let firm_code = vendor.inspect(&wanted.ticket).await?.firm_code;
        let online = Online::open(environment).await?;
        let serial = online.site.container(self.serial.as_deref(), firm_code).await?;
        let folder = state_folder(self.state.folder.as_deref(), environment)?;
        let journal = Journal::of(&folder, wanted.subject(), &serial);
        let change = Change { firm_code, serial, fresh: false, journal };
        let activation = wanted.online(&online, &change, &silent(environment)).await?;
        let holds = inspected(&online.vendor, &wanted.ticket).await;
        environment.out.one(&activation_object(&activation, &holds), || activation_text(&activation, &holds));
        Ok(())
    }
}
