//! `lictor rebase`: the way back of a container that was restored, forked or lost its binding.

use clap::Args;
use lictor_api::activation::v1::{Activation, InspectTicketResponse, RebaseContainerRequest};
use serde_json::json;

use crate::args::StateFolder;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::remote::{Change, FilePair, Online, Vendor, activation_object, activation_text, by_files, opened, silent};
use crate::resume::{Begun, Journal, Subject, state_folder};

/// Bring a container back that was restored from a backup, forked, or lost its binding
///
/// Such a container and its vendor disagree about what was done, and it gets no ordinary updates. A rebase closes the old
/// chain and begins a new one with what the vendor knows the container to hold. It needs nobody's help: 3 times in 365 days
/// per customer, more by the vendor's support.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lictor rebase
  lictor rebase --serial 130-4823901234 --reason \"disk restored from a backup\"

By files:
  lictor challenge --firm-code 6000010                   # reaching the vendor
  lictor server context --challenge CHALLENGE -o box.rac # at the licence server
  lictor rebase --context box.rac -o box.rau             # reaching the vendor
  lictor server import box.rau -o box-receipt.rac        # at the licence server
  lictor push context box-receipt.rac                    # at the vendor
CHALLENGE is what the first command prints.")]
pub(crate) struct Rebase {
    /// Container, when the licence server has several
    #[arg(long, value_name = "SERIAL", conflicts_with = "context")]
    serial: Option<String>,

    /// What happened, for the vendor's records
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    /// As the vendor's staff, with a token: also where the customer's own number is used up
    #[arg(long)]
    by_hand: bool,

    #[command(flatten)]
    files: FilePair,

    #[command(flatten)]
    state: StateFolder,
}

impl Rebase {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let nothing = InspectTicketResponse::default();
        let subject = |firm: &str| Subject::new("rebase", None, &[firm.to_owned()]);
        if let Some(way) = self.files.way()? {
            let vendor = Vendor::open(environment)?;
            let ask = async |begun: &Begun| self.ask(&vendor, begun).await;
            let activation = by_files(&way, &subject(""), environment, ask).await?;
            let mut object = activation_object(&activation, &nothing);
            object["file"] = json!(way.target);
            environment.out.one(&object, || format!("{}\n{}", activation_text(&activation, &nothing), way.next()));
            return Ok(());
        }
        let online = Online::open(environment).await?;
        let held = online.site.only(environment.settings.firm_code, self.serial.as_deref()).await?;
        let subject = subject(&held.firm_code.to_string());
        let journal = Journal::of(&state_folder(self.state.folder.as_deref(), environment)?, subject, &held.serial);
        let change = Change { firm_code: held.firm_code, serial: held.serial, fresh: true, journal };
        let ask = async |begun: &Begun| self.ask(&online.vendor, begun).await;
        let (activation, _) = online.carry_out(&change, &silent(environment), ask).await?;
        let activation = online.vendor.settled(activation).await;
        environment.out.one(&activation_object(&activation, &nothing), || activation_text(&activation, &nothing));
        Ok(())
    }

    async fn ask(&self, vendor: &Vendor, begun: &Begun) -> Outcome<(Activation, Vec<u8>)> {
        let request = RebaseContainerRequest {
            request_id: begun.request_id.clone(),
            context: begun.context.clone(),
            reason: self.reason.clone(),
        };
        let answer =
            if self.by_hand { vendor.rebase_by_hand(request).await? } else { vendor.rebase_container(request).await? };
        opened(answer.activation, answer.update, vendor)
    }
}
