//! `lictor notify`: where events are delivered, and how that went.

mod deliveries;
mod destination;
mod events;
mod quarantine;
mod replay;
mod report;
mod way;
mod wishes;

use clap::Subcommand;

use crate::connect::Service;
use crate::environment::Environment;
use crate::failure::Outcome;

pub(crate) use destination::DestinationVerbs;

#[derive(Debug, Subcommand)]
pub(crate) enum NotifyVerbs {
    /// Receivers of notifications
    #[command(subcommand)]
    Destination(DestinationVerbs),
    /// List deliveries, newest first
    #[command(after_help = "\
Examples:
  lictor notify deliveries --state parked
  lictor notify deliveries --event ord_01JD3X7Q2V0000000000000000")]
    Deliveries(deliveries::Deliveries),
    /// Show one delivery with all of its attempts and its body
    #[command(after_help = "Example:\n  lictor notify delivery dlv_01JD3X7Q2V0000000000000000")]
    Delivery(deliveries::One),
    /// Send again: one delivery, everything of a time, what was given up, or what was never tried
    ///
    /// The dispatcher does it in steps and goes on after a restart; see lictor notify replays.
    #[command(after_help = "\
Examples:
  lictor notify replay --delivery dlv_01JD3X7Q2V0000000000000000
  lictor notify replay --destination dst_01JD3X7Q2V0000000000000000 \\
    --since 2027-01-31 --failed
  lictor notify replay --destination dst_01JD3X7Q2V0000000000000000 \\
    --since 2027-01-31 --never-attempted")]
    Replay(replay::Start),
    /// List replays, newest first, or cancel one
    #[command(after_help = "Example:\n  lictor notify replays --cancel rpl_01JD3X7Q2V0000000000000000")]
    Replays(replay::Replays),
    /// Read events in their order, from a cursor on
    #[command(after_help = "\
Examples:
  lictor notify events --after 4711 --limit 100 --json
  lictor notify events --type 'lictor.license.*' --follow")]
    Events(events::Events),
    /// List events that were not understood and are kept aside, or look at them again after an update
    #[command(after_help = "\
Examples:
  lictor notify quarantine
  lictor notify quarantine --source license-central --reprocess")]
    Quarantine(quarantine::Quarantine),
    /// What happened in a day, a week or a month: new licenses and transactions, by item
    #[command(subcommand)]
    Report(report::ReportVerbs),
}

impl NotifyVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let link = environment.link(Service::Notification)?;
        match self {
            Self::Destination(verb) => destination::run(verb, &link, environment).await,
            Self::Deliveries(verb) => verb.run(&link, environment).await,
            Self::Delivery(verb) => verb.run(&link, environment).await,
            Self::Replay(verb) => verb.run(&link, environment).await,
            Self::Replays(verb) => verb.run(&link, environment).await,
            Self::Events(verb) => verb.run(&link, environment).await,
            Self::Quarantine(verb) => verb.run(&link, environment).await,
            Self::Report(verb) => verb.run(&link, environment).await,
        }
    }
}
