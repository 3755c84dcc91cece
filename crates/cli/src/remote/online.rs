//! A change of a container online, from its context to its receipt, and going on with one that was interrupted.

use lictor_api::server::v1::ImportUpdateResponse;

use super::{Site, Vendor};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::output::Output;
use crate::request::Request;
use crate::resume::{Begun, Journal};

/// Both ends of a change.
#[derive(Clone, Debug)]
pub(crate) struct Online {
    pub(crate) vendor: Vendor,
    pub(crate) site: Site,
    /// Told which request is sent.
    pub(crate) out: Output,
}

/// Which container is changed, and where the change is noted down.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) firm_code: u32,
    pub(crate) serial: String,
    /// Whether the context has to carry a challenge of the vendor.
    pub(crate) fresh: bool,
    pub(crate) journal: Journal,
}

/// How far a change is, for those who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An earlier run was interrupted; its request is used again.
    Resumed,
    /// The container's context is here and noted down.
    ContextTaken,
    /// The vendor issued the update.
    UpdateIssued,
    /// The container took it.
    Imported,
    /// The vendor has the proof.
    ReceiptSent,
}

/// Watches nothing but a resumption, which is worth a word.
pub(crate) fn silent(environment: &Environment) -> impl Fn(Step) + '_ {
    |step| {
        if step == Step::Resumed {
            environment.out.note("an earlier run of this command was interrupted; going on with it");
        }
    }
}

impl Online {
    pub(crate) async fn open(environment: &Environment) -> Outcome<Self> {
        let vendor = Vendor::open(environment)?;
        Ok(Self { vendor, site: Site::open(environment).await?, out: environment.out.clone() })
    }

    /// A context that proves to be no older than now.
    pub(crate) async fn fresh_context(&self, firm_code: u32, serial: &str) -> Outcome<Vec<u8>> {
        let challenge = self.vendor.challenge(firm_code).await?.challenge;
        Ok(self.site.context(firm_code, serial, challenge).await?.context)
    }

    /// Brings an update into the container and the proof of it to the vendor.
    pub(crate) async fn deliver(&self, update: Vec<u8>, watch: &dyn Fn(Step)) -> Outcome<ImportUpdateResponse> {
        let imported = self.site.import(update).await?;
        watch(Step::Imported);
        self.vendor.submit(imported.receipt.clone()).await?;
        watch(Step::ReceiptSent);
        Ok(imported)
    }

    /// Does the whole change. `ask` sends the request and gives what the vendor answered and the update file; it may be
    /// called with the request of an earlier, interrupted run.
    pub(crate) async fn carry_out<T>(
        &self,
        change: &Change,
        watch: &dyn Fn(Step),
        ask: impl AsyncFn(&Begun) -> Outcome<(T, Vec<u8>)>,
    ) -> Outcome<(T, ImportUpdateResponse)> {
        let (answer, update) = match change.journal.load() {
            None => self.ask_anew(change, watch, &ask).await?,
            Some(begun) => {
                watch(Step::Resumed);
                self.out.asks(Request::by_command(&begun.request_id));
                match ask(&begun).await {
                    Ok(answered) => answered,
                    // Refused for good means that nothing was issued: what was noted down has become useless (a challenge
                    // that is too old, a container that went on), and asking anew cannot double anything.
                    Err(failure) if failure.is_final() => {
                        change.journal.forget();
                        self.ask_anew(change, watch, &ask).await?
                    }
                    Err(failure) => return Err(failure),
                }
            }
        };
        watch(Step::UpdateIssued);
        let imported = self.deliver(update, watch).await?;
        change.journal.forget();
        Ok((answer, imported))
    }

    async fn ask_anew<T>(
        &self,
        change: &Change,
        watch: &dyn Fn(Step),
        ask: &impl AsyncFn(&Begun) -> Outcome<(T, Vec<u8>)>,
    ) -> Outcome<(T, Vec<u8>)> {
        let context = if change.fresh {
            self.fresh_context(change.firm_code, &change.serial).await?
        } else {
            self.site.context(change.firm_code, &change.serial, Vec::new()).await?.context
        };
        let begun = change.journal.begin(context)?;
        watch(Step::ContextTaken);
        self.out.asks(Request::by_command(&begun.request_id));
        let answered = ask(&begun).await;
        if let Err(failure) = &answered
            && failure.is_final()
        {
            change.journal.forget();
        }
        answered
    }
}
