//! The RPCs. Each file reads requests of one group into the domain's types, has sagas carried out, and writes answers.
//! `public` and `staff` are the two doors: which call leads to which group.

mod access;
mod activation;
mod edge;
mod events;
mod give_back;
mod listing;
mod present;
mod public;
mod pull;
mod push;
mod rebase;
mod replace;
mod staff;
mod ticket;
mod transfer;
mod withdraw;

use std::{net::IpAddr, sync::Arc};

use lictor_api::{activation::v1 as wire, event::v1 as event, update::v1::TakeContextResponse};
use lictor_clock::{SharedClock, Timestamp};
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::ActivationId,
};
use lictor_runtime::{Lifecycle, MESSAGE_BYTES};
use tokio::sync::oneshot;
use tonic::{Request, Status, service::Routes};
use tracing::Instrument;

pub use access::ACCESS;

use crate::{
    domain::{
        proxy::Proxies,
        purpose::{Container, Purpose},
        saga::{Asked, Saga},
    },
    failure::Failure,
    ids,
    limit::Limiter,
    metrics::Metrics,
    saga::{Runner, Settled},
};

/// What every RPC works with.
#[derive(Debug)]
pub struct Desk {
    /// Carries sagas out.
    pub runner: Runner,
    /// Limits on what the public may do.
    pub limiter: Limiter,
    /// Proxies whose word about the caller's address is believed.
    pub proxies: Proxies,
    /// The time.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: Metrics,
    /// Sagas go on when their caller has gone.
    pub lifecycle: Lifecycle,
}

impl Desk {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Carries a saga out. A caller that goes away does not stop it.
    async fn carry_out(&self, saga: Saga, context: Option<Vec<u8>>) -> Result<Settled, Failure> {
        let runner = self.runner.clone();
        self.outlive(async move { runner.run(saga, context).await }).await
    }

    /// Carries on a saga that the same request began before.
    async fn carry_on(&self, saga: Saga) -> Result<Settled, Failure> {
        let runner = self.runner.clone();
        self.outlive(async move { runner.finish(saga).await }).await
    }

    async fn outlive<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let (tell, told) = oneshot::channel();
        let work = async move {
            // Nobody may be there to hear it.
            let _ = tell.send(work.await);
        };
        self.lifecycle.spawn_work(work.in_current_span());
        told.await.unwrap_or(Err(Failure::Stopped))
    }
}

/// One group of RPCs over the desk.
#[derive(Debug, Clone)]
struct Counter(Arc<Desk>);

impl Counter {
    /// Who calls.
    fn address<T>(&self, request: &Request<T>) -> IpAddr {
        edge::address(request, &self.0.proxies)
    }

    /// Counts a call that needs no ticket.
    async fn visit(&self, address: IpAddr, bytes: usize) -> Result<(), Status> {
        self.0.limiter.visit(address, bytes).await.map_err(|too_many| {
            self.0.metrics.calls_limited.inc();
            status(Failure::refused(ErrorCode::TooManyRequests, too_many.to_string(), "wait, then ask again"))
        })
    }

    fn fresh(&self, purpose: Purpose, asked: Asked) -> Saga {
        let now = self.0.now();
        Saga::new(ActivationId::new(now, ids::random()), purpose, asked, now)
    }

    /// The saga that this very request began before.
    async fn before(&self, asked: &Asked) -> Result<Option<Saga>, Failure> {
        let before = self.0.runner.store().by_request(&asked.caller, &asked.request_id).await?;
        if let Some(before) = &before {
            before.check_repeat(&asked.body_hash)?;
        }
        Ok(before)
    }

    /// How a settled saga is answered: itself and its update file.
    async fn answer(&self, settled: Settled) -> Result<(wire::Activation, Vec<u8>), Failure> {
        let issued = self.0.runner.update_of(&settled.saga, settled.issued).await?;
        Ok((present::activation(&settled.saga), issued.update))
    }

    /// A container that the vendor has seen before.
    async fn known(&self, firm: u32, serial: String, receives: bool) -> Result<Container, Failure> {
        let found = self.0.runner.peers().container(firm, serial).await?;
        if receives && found.blocked {
            return Err(Failure::refused(
                ErrorCode::ContainerSuspected,
                format!("the container {} is blocked", found.serial),
                "use another one",
            ));
        }
        if receives && !found.suspicion.is_empty() {
            return Err(Failure::refused(
                ErrorCode::ContainerSuspected,
                format!("the container {} is under suspicion: {}", found.serial, found.suspicion.join(", ")),
                "let support look at it; licenses can still be withdrawn from it",
            ));
        }
        let kind = edge::kind(found.kind()).map_err(|status| lictor_api::error::problem(&status))?;
        Ok(Container {
            id: found.container_id,
            serial: found.serial,
            kind: Some(kind),
            virtual_machine: found.virtual_machine,
        })
    }
}

/// Who asked, by a request of his own.
fn asked(caller: String, request_id: String, body_hash: [u8; 32]) -> Asked {
    Asked { caller, request_id, body_hash, traceparent: lictor_telemetry::current_traceparent() }
}

/// Whether licenses may go into a container with this verdict, or provably leave it. Looked at before anything is set
/// aside; the issuer has the last word.
fn is_sound(taken: &TakeContextResponse) -> Result<(), Problem> {
    let serial = &taken.serial;
    if taken.blocked {
        return Err(Problem::new(
            ErrorCode::ContainerSuspected,
            format!("the container {serial} was given up as lost and is blocked"),
            "ask the vendor's support",
        ));
    }
    match taken.verdict.as_str() {
        "ok" | "old" => Ok(()),
        "unknown-container" => Err(Problem::new(
            ErrorCode::ContainerSuspected,
            format!("the container {serial} holds updates that this vendor knows nothing of"),
            "ask the vendor's support",
        )),
        verdict => Err(Problem::new(
            ErrorCode::ContainerSuspected,
            format!("the container {serial} is under suspicion ({verdict}) and gets no licenses"),
            "rebase it, or ask the vendor's support",
        )),
    }
}

/// Whether a context proves that it is new.
fn is_fresh(fresh: bool, serial: &str) -> Result<(), Problem> {
    if fresh {
        return Ok(());
    }
    Err(Problem::new(
        ErrorCode::WrongState,
        format!("the context of {serial} is not fresh: it carries no challenge of this vendor that is still good"),
        "get a challenge, make a new context with it, and send that",
    ))
}

/// All RPCs of the service.
#[must_use]
pub fn routes(desk: Desk) -> Routes {
    let counter = Counter(Arc::new(desk));
    macro_rules! server {
        ($server:path) => {
            <$server>::new(counter.clone())
                .max_decoding_message_size(MESSAGE_BYTES)
                .max_encoding_message_size(MESSAGE_BYTES)
        };
    }
    Routes::default()
        .add_service(server!(wire::activation_service_server::ActivationServiceServer<_>))
        .add_service(server!(wire::push_service_server::PushServiceServer<_>))
        .add_service(server!(event::event_feed_service_server::EventFeedServiceServer<_>))
}

/// What a failed call answers.
fn status(failure: Failure) -> Status {
    failure.into()
}
