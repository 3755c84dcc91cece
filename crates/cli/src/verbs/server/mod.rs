//! `lictor server`: what the licence server holds, its files, its sessions, its time.

mod blocks;
mod containers;
mod events;
mod rules;
mod sessions;
mod time;
mod transport;

use clap::Subcommand;
use lictor_api::server::v1::container_service_client::ContainerServiceClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::connect::{Caller, MAX_ANSWER_BYTES, ServerLink};
use crate::environment::Environment;
use crate::failure::Outcome;

#[derive(Debug, Subcommand)]
pub(crate) enum ServerVerbs {
    /// List containers with their entries and what is free
    #[command(after_help = "\
Examples:
  lictor server list
  CODEMETER_HOST=license-server lictor server list --json")]
    List,
    /// Make an empty container from a vendor's licence information file
    ///
    /// If there is a container already, the vendor is added to it.
    #[command(after_help = "Example:\n  lictor server create-container --lif example.lif --binding folder")]
    CreateContainer(containers::CreateContainer),
    /// Write a context file: what the container says about itself, for the vendor
    #[command(after_help = "\
Examples:
  lictor server context --firm-code 6000010 -o box.rac
  lictor server context --challenge CHALLENGE -o box.rac

CHALLENGE is what `lictor challenge` printed; - reads it from stdin. It makes
the context provably fresh: return, move, pull and rebase by files ask for that.")]
    Context(transport::Context),
    /// Import an update file: everything new in it, or nothing
    #[command(after_help = "\
Examples:
  lictor server import box.rau -o box-receipt.rac
  lictor server import - < mail.txt

A file may come as text with whatever mail is around it. Importing it again is
safe: what is applied already is skipped.")]
    Import(transport::Import),
    /// Prove the time to a licence server whose clock is wrong or suspect
    ///
    /// The server gives a nonce, the vendor signs the time for it, the server takes it: licences with dates are judged by it
    /// from then on, whatever the clock of the machine says.
    #[command(after_help = "Examples:\n  lictor server time\n  lictor server time --firm-code 6000010 --json")]
    Time,
    /// List who holds seats
    #[command(after_help = "Example:\n  lictor server sessions")]
    Sessions,
    /// List seats that are lent to other licence servers, and seats that are borrowed
    ///
    /// A licence server behind a network server (CM_REMOTE_SERVER) borrows seats in blocks and hands them out by itself. What is
    /// lent counts as taken until it is given back or its time is over.
    #[command(after_help = "Example:\n  lictor server blocks")]
    Blocks,
    /// Say what a request for a seat would be answered, and why; takes nothing
    #[command(after_help = "Example:\n  lictor server explain --firm-code 6000010 --product-code 201")]
    Explain(sessions::Explain),
    /// Show what has happened: seats given, given back and denied, licenses that came and went
    #[command(after_help = "Examples:\n  lictor server log\n  lictor server log --type seat.denied --limit 200 --json")]
    Log(events::Log),
    /// Show what happens from now on, line by line
    #[command(after_help = "Examples:\n  lictor server watch\n  lictor server watch --type license --json")]
    Watch(events::Which),
    /// Show for each hour how many seats were in use at most, given and denied
    #[command(after_help = "Examples:\n  lictor server usage\n  lictor server usage --hours 168 --product-code 201")]
    Usage(events::Usage),
    /// Access rules: who may take which seats, and for whom seats are kept
    #[command(subcommand)]
    Rules(rules::RuleVerbs),
}

type Client = ContainerServiceClient<InterceptedService<Channel, Caller>>;

fn client(link: &ServerLink) -> Client {
    ContainerServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
}

impl ServerVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::List => containers::list(environment).await,
            Self::CreateContainer(verb) => containers::create_container(verb, environment).await,
            Self::Context(verb) => transport::context(verb, environment).await,
            Self::Import(verb) => transport::import(verb, environment).await,
            Self::Time => time::time(environment).await,
            Self::Sessions => sessions::sessions(environment).await,
            Self::Blocks => blocks::blocks(environment).await,
            Self::Explain(verb) => sessions::explain(verb, environment).await,
            Self::Log(verb) => events::log(verb, environment).await,
            Self::Watch(which) => events::watch(which, environment).await,
            Self::Usage(verb) => events::usage(verb, environment).await,
            Self::Rules(verb) => verb.run(environment).await,
        }
    }
}
