//! The verbs, one file per noun.

mod activate;
mod activation;
mod catalogue;
mod challenge;
mod completions;
mod container;
mod content;
mod customer;
mod file;
mod give_back;
mod key;
mod license;
mod move_license;
mod notify;
mod order;
mod pull;
mod push;
mod rebase;
mod replace;
mod run;
mod server;
mod ticket;
mod transfer;
mod vendor;

use clap::Subcommand;
use lictor_api::types::v1::PageRequest;

use crate::environment::Environment;
use crate::failure::Outcome;

/// Verbs of the vendor: back office, product management, support.
#[derive(Debug, Subcommand)]
pub(crate) enum VendorVerb {
    /// The vendor itself: root document, keys, licence information file
    #[command(subcommand)]
    Vendor(vendor::VendorVerbs),
    /// Root keys in the hands of people: made, shown and used without any network
    #[command(subcommand)]
    Key(key::KeyVerbs),
    /// The items that can be sold
    #[command(subcommand)]
    Catalogue(catalogue::CatalogueVerbs),
    /// Orders and their tickets
    #[command(subcommand)]
    Order(order::OrderVerbs),
    /// What a ticket holds
    #[command(subcommand)]
    Ticket(ticket::TicketVerbs),
    /// Customers
    #[command(subcommand)]
    Customer(customer::CustomerVerbs),
    /// Licenses and where they lie
    #[command(subcommand)]
    License(license::LicenseVerbs),
    /// Containers of customers and their chains of updates
    #[command(subcommand)]
    Container(container::ContainerVerbs),
    /// Changes of containers that are under way: what each waits for, and trying again
    #[command(subcommand)]
    Activation(activation::ActivationVerbs),
    /// Content that programs can read only with a seat: its keys, and sealing it
    #[command(subcommand)]
    Content(content::ContentVerbs),
    /// Updates from the vendor's side, with nothing needed from the customer
    #[command(subcommand)]
    Push(push::PushVerbs),
    /// Webhooks to the back office
    #[command(subcommand)]
    Notify(notify::NotifyVerbs),
}

/// Verbs of customers and of protected programs.
#[derive(Debug, Subcommand)]
pub(crate) enum CustomerVerb {
    Activate(activate::Activate),
    Return(give_back::Return),
    Move(move_license::Move),
    /// Seats on their way between containers, and loans
    #[command(subcommand)]
    Transfer(transfer::TransferVerbs),
    Replace(replace::Replace),
    Rebase(rebase::Rebase),
    Pull(pull::Pull),
    Challenge(challenge::Challenge),
    /// Files of remote programming: what they are, as text, as QR codes
    #[command(subcommand)]
    File(file::FileVerbs),
    /// The licence server: containers, files, sessions
    #[command(subcommand)]
    Server(server::ServerVerbs),
    Run(run::Run),
    Completions(completions::Completions),
}

impl VendorVerb {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::Vendor(verb) => verb.run(environment).await,
            Self::Key(verb) => verb.run(environment).await,
            Self::Catalogue(verb) => verb.run(environment).await,
            Self::Order(verb) => verb.run(environment).await,
            Self::Ticket(verb) => verb.run(environment).await,
            Self::Customer(verb) => verb.run(environment).await,
            Self::License(verb) => verb.run(environment).await,
            Self::Container(verb) => verb.run(environment).await,
            Self::Activation(verb) => verb.run(environment).await,
            Self::Content(verb) => verb.run(environment).await,
            Self::Push(verb) => verb.run(environment).await,
            Self::Notify(verb) => verb.run(environment).await,
        }
    }
}

impl CustomerVerb {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::Activate(verb) => verb.run(environment).await,
            Self::Return(verb) => verb.run(environment).await,
            Self::Move(verb) => verb.run(environment).await,
            Self::Transfer(verb) => verb.run(environment).await,
            Self::Replace(verb) => verb.run(environment).await,
            Self::Rebase(verb) => verb.run(environment).await,
            Self::Pull(verb) => verb.run(environment).await,
            Self::Challenge(verb) => verb.run(environment).await,
            Self::File(verb) => verb.run(environment),
            Self::Server(verb) => verb.run(environment).await,
            Self::Run(verb) => verb.run(environment).await,
            // Needs the whole command line, so the program runs it itself.
            Self::Completions(_) => Ok(()),
        }
    }
}

/// Things per call of a listing.
const PAGE_SIZE: u32 = 200;

/// Asks for a page.
fn page(token: String) -> Option<PageRequest> {
    Some(PageRequest { size: PAGE_SIZE, token })
}
