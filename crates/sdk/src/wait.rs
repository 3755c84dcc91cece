//! Waiting for a seat in a server's queue.

use std::sync::Arc;
use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::wait_event::Event;
use tonic::Status;

use crate::Address;
use crate::client::{Client, give_back, may_retry};
use crate::connection::{ConnectError, Connection};
use crate::error::{AcquireError, Refusal, TrustError};
use crate::request::Request;
use crate::seat::{self, Seat};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The number of a refusal that passes by waiting.
const NO_MORE_SEATS: u32 = 212;

/// How a program stands in the queue of a licence server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it waits.
    pub address: Address,
    /// 1 is served next.
    pub position: u32,
    /// How many wait for the same product.
    pub waiting: u32,
    /// How long it may take, as seats were held lately.
    pub estimate: Option<Duration>,
}

/// How one visit to the queue came to its end.
enum Visit {
    Seat(Box<Seat>),
    /// Contact is gone, or the server restarts: come again.
    Again(String),
}

/// Whether waiting can bring a seat after this refusal.
pub(crate) fn passes(refusal: &Refusal) -> bool {
    refusal.reasons.iter().any(|reason| reason.code == NO_MORE_SEATS)
}

impl Client {
    /// Waits at one server, over as many connections as it takes. The same request id keeps the place in the queue for as
    /// long as the server knows it; after a restart of the server it begins anew.
    pub(crate) async fn wait_at(
        &self,
        address: &Address,
        request: &Request,
        id: &[u8; 16],
        nonce: &[u8; 32],
        told: &mut (dyn FnMut(Standing) + Send),
    ) -> Result<Seat, AcquireError> {
        let until = self.0.clock.boottime().saturating_add(request.wait);
        let mut pause = FIRST_PAUSE;
        let mut last = String::from("the time to wait was over");
        loop {
            let left = until.saturating_sub(self.0.clock.boottime());
            if left.is_zero() {
                return Err(AcquireError::Unreachable(vec![(address.clone(), last)]));
            }
            match self.0.connection(address).await {
                Ok(connection) => match self.visit(address, &connection, request, id, nonce, left, told).await? {
                    Visit::Seat(seat) => return Ok(*seat),
                    Visit::Again(reason) => {
                        connection.give_up();
                        last = reason;
                    }
                },
                Err(ConnectError::NotTrusted(reason)) => {
                    return Err(AcquireError::NotTrusted { address: address.clone(), reason });
                }
                Err(ConnectError::Unreachable(reason)) => last = reason,
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn visit(
        &self,
        address: &Address,
        connection: &Arc<Connection>,
        request: &Request,
        id: &[u8; 16],
        nonce: &[u8; 32],
        left: Duration,
        told: &mut (dyn FnMut(Standing) + Send),
    ) -> Result<Visit, AcquireError> {
        let message = wire::WaitRequest {
            request: Some(request.to_wire(id, self.0.public.as_bytes(), nonce, connection.proof())),
            wait_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1),
        };
        let failed = |status: Status| {
            if may_retry(&status) {
                return Ok(Visit::Again(status.message().to_owned()));
            }
            let problem = lictor_api::error::problem(&status);
            Err(AcquireError::Failed { address: address.clone(), problem })
        };
        let mut stream = match connection.seats.clone().wait(message).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return failed(status),
        };
        connection.proved();
        loop {
            let event = match stream.message().await {
                Ok(Some(event)) => event.event,
                Ok(None) => return Ok(Visit::Again("the licence server ended the wait".to_owned())),
                Err(status) => return failed(status),
            };
            match event {
                Some(Event::Waiting(waiting)) => told(Standing {
                    address: address.clone(),
                    position: waiting.position,
                    waiting: waiting.waiting,
                    estimate: waiting.estimated_ms.map(Duration::from_millis),
                }),
                Some(Event::Refusal(refusal)) => return Err(AcquireError::Refused(refusal.into())),
                Some(Event::Grant(grant)) => return self.take(address, connection, request, nonce, &grant).await,
                None => {}
            }
        }
    }

    /// Believes a grant that was waited for. How long it was on its way nobody knows, so its time counts from a call that
    /// is made now.
    async fn take(
        &self,
        address: &Address,
        connection: &Arc<Connection>,
        request: &Request,
        nonce: &[u8; 32],
        grant: &wire::Grant,
    ) -> Result<Visit, AcquireError> {
        let statement = match self.believe(connection, request, nonce, grant) {
            Ok(statement) => statement,
            // The firm may have come to the server after this connection was made.
            Err(TrustError::NoCertificate(_)) => return Ok(Visit::Again("its certificates changed".to_owned())),
            Err(reason) => {
                give_back(connection, grant.session_id.clone());
                return Err(AcquireError::NotTrusted { address: address.clone(), reason });
            }
        };
        let asked_at = self.0.clock.boottime();
        let beat = wire::RevalidateRequest { session_id: grant.session_id.clone(), proof: connection.proof() };
        match connection.seats.clone().revalidate(beat).await {
            Ok(_) => {
                let (client, connection) = (Arc::clone(&self.0), Arc::clone(connection));
                let seat = seat::hold(client, address.clone(), connection, statement, grant, asked_at);
                Ok(Visit::Seat(Box::new(seat)))
            }
            Err(status) if may_retry(&status) => Ok(Visit::Again(status.message().to_owned())),
            Err(status) => {
                let problem = lictor_api::error::problem(&status);
                Err(AcquireError::Failed { address: address.clone(), problem })
            }
        }
    }
}
