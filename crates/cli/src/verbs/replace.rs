//! `lictor replace`: a ticket's licenses into a new container, because the old one is lost.

use clap::Args;
use lictor_api::activation::v1::{Activation, ReplaceContainerRequest};
use lictor_licensing::ticket::TicketCode;
use serde_json::json;

use crate::args::{self, StateFolder};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::remote::{
    Change, FilePair, Online, Vendor, activation_object, activation_text, by_files, inspected, opened, silent,
};
use crate::resume::{Begun, Journal, Subject, state_folder};

/// Put a ticket's licenses into a new container in place of a lost one
///
/// For a device that broke, was stolen or is gone otherwise. The lost container is blocked for good: should it turn up
/// again, its next update takes everything of this vendor out. How often a license may be replaced is up to the vendor:
/// never, once per period, or by its staff. A container that still works is no lost one: use lictor move, or lictor return.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lictor replace 7Q2VK-0M8RT-5XJ4E-9HCPA-63WZD --lost 130-4823901234

By files, with the context of the new container:
  lictor replace TICKET --lost 130-4823901234 --context new.rac -o new.rau")]
pub(crate) struct Replace {
    /// The ticket, five groups of five characters; - reads it from stdin
    #[arg(value_name = "TICKET")]
    ticket: String,

    /// Serial of the lost container; blocked for good
    #[arg(long, value_name = "SERIAL")]
    lost: String,

    /// The new container, when the licence server has several
    #[arg(long, value_name = "SERIAL", conflicts_with = "context")]
    serial: Option<String>,

    /// As the vendor's staff, with a token: also where the license's rule leaves it to staff
    #[arg(long)]
    by_hand: bool,

    #[command(flatten)]
    files: FilePair,

    #[command(flatten)]
    state: StateFolder,
}

impl Replace {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let ticket = args::ticket(&self.ticket)?;
        let subject = Subject::new("replace", Some(&ticket), std::slice::from_ref(&self.lost));
        let vendor = Vendor::open(environment)?;
        if let Some(way) = self.files.way()? {
            let ask = async |begun: &Begun| self.ask(&ticket, &vendor, begun).await;
            let activation = by_files(&way, &subject, environment, ask).await?;
            let holds = inspected(&vendor, &ticket).await;
            let mut object = activation_object(&activation, &holds);
            object["lost"] = json!(self.lost);
            object["file"] = json!(way.target);
            environment
                .out
                .one(&object, || format!("{}\n{}", self.text(&activation_text(&activation, &holds)), way.next()));
            return Ok(());
        }
        let firm_code = vendor.inspect(&ticket).await?.firm_code;
        let online = Online::open(environment).await?;
        let serial = online.site.container(self.serial.as_deref(), firm_code).await?;
        let journal = Journal::of(&state_folder(self.state.folder.as_deref(), environment)?, subject, &serial);
        let change = Change { firm_code, serial, fresh: false, journal };
        let ask = async |begun: &Begun| self.ask(&ticket, &online.vendor, begun).await;
        let (activation, _) = online.carry_out(&change, &silent(environment), ask).await?;
        let activation = online.vendor.settled(activation).await;
        let holds = inspected(&online.vendor, &ticket).await;
        let mut object = activation_object(&activation, &holds);
        object["lost"] = json!(self.lost);
        environment.out.one(&object, || self.text(&activation_text(&activation, &holds)));
        Ok(())
    }

    fn text(&self, activation: &str) -> String {
        format!("{activation}\ncontainer {} is blocked for good", self.lost)
    }

    async fn ask(&self, ticket: &TicketCode, vendor: &Vendor, begun: &Begun) -> Outcome<(Activation, Vec<u8>)> {
        let request = ReplaceContainerRequest {
            request_id: begun.request_id.clone(),
            ticket: ticket.reveal(),
            lost_serial: self.lost.clone(),
            context: begun.context.clone(),
        };
        let answer = if self.by_hand {
            vendor.replace_by_hand(request).await?
        } else {
            vendor.replace_container(request).await?
        };
        opened(answer.activation, answer.update, vendor)
    }
}
