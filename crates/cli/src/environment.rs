//! What every verb is handed: settings, output, and ways to the services.

use lictor_clock::SharedClock;

use crate::config::Settings;
use crate::connect::{Link, ServerLink, Service};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// The surroundings of one verb.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    pub(crate) settings: Settings,
    pub(crate) out: Output,
    pub(crate) clock: SharedClock,
}

impl Environment {
    /// The firm code from flag, environment or file.
    pub(crate) fn firm_code(&self) -> Outcome<u32> {
        self.settings.firm_code.ok_or_else(|| {
            Failure::usage("no firm code was given", "give --firm-code, LICTOR_FIRM_CODE, or firm_code in client.toml")
        })
    }

    pub(crate) fn link(&self, service: Service) -> Outcome<Link> {
        Link::open(service, &self.settings)
    }

    /// The licence server, for looking.
    pub(crate) async fn server(&self) -> Outcome<ServerLink> {
        ServerLink::reading(&self.settings).await
    }

    /// The licence server, for changing.
    pub(crate) async fn server_as_admin(&self) -> Outcome<ServerLink> {
        ServerLink::changing(&self.settings).await
    }
}
