//! The verbs, one file per noun.

mod activate;
mod catalogue;
mod completions;
mod container;
mod customer;
mod license;
mod notify;
mod order;
mod push;
mod run;
mod server;
mod ticket;
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
            Self::Catalogue(verb) => verb.run(environment).await,
            Self::Order(verb) => verb.run(environment).await,
            Self::Ticket(verb) => verb.run(environment).await,
            Self::Customer(verb) => verb.run(environment).await,
            Self::License(verb) => verb.run(environment).await,
            Self::Container(verb) => verb.run(environment).await,
            Self::Push(verb) => verb.run(environment).await,
            Self::Notify(verb) => verb.run(environment).await,
        }
    }
}

impl CustomerVerb {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::Activate(verb) => verb.run(environment).await,
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
