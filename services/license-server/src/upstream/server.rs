//! One network server: the connection to it, and how it answered last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::block_service_client::BlockServiceClient;
use lictor_api::types::v1::{Refusal, RefusalReason};
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::refusal::Reason;
use lictor_sdk::Address;
use lictor_sdk::link::{Link, LinkError};
use lictor_signing::Signer as _;
use prost::Message as _;
use tonic::Code;

use super::Inner;
use crate::domain::blocks::{Answered, Question, Terms, Wish};

/// Longest time for one question.
const CALL: Duration = Duration::from_secs(3);
/// For how long a server that did not answer is left alone at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Most bytes of an answer: root documents and certificates.
const ANSWER_BYTES: usize = 1024 * 1024;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("{0}")]
    Away(String),
    #[error("it refuses")]
    Refused(Refusal),
    /// It knows nothing of the block any more.
    #[error("{0}")]
    Over(Problem),
    #[error("{0}")]
    Failed(Problem),
}

/// A server of the search list.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    address: Address,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    link: Option<Arc<Link>>,
    problem: String,
    /// Not asked before this time since boot.
    rests_until: Duration,
    pause: Duration,
}

impl Server {
    pub(super) fn new(address: Address) -> Self {
        let problem = "it was not asked yet".to_owned();
        Self { name: address.to_string(), address, state: Mutex::new(State { problem, ..State::default() }) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it did not answer last; empty when it did.
    pub(super) fn problem(&self) -> String {
        self.state().problem.clone()
    }

    /// Whether it is left alone for now.
    pub(super) fn may_be_asked(&self, now: Duration) -> Result<(), CallError> {
        let state = self.state();
        if now < state.rests_until { Err(CallError::Away(state.problem.clone())) } else { Ok(()) }
    }

    fn answers(&self) {
        let mut state = self.state();
        state.problem.clear();
        state.pause = Duration::ZERO;
    }

    fn is_away(&self, problem: &str, now: Duration) {
        let mut state = self.state();
        problem.clone_into(&mut state.problem);
        state.link = None;
        state.pause = (state.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        state.rests_until = now.saturating_add(state.pause);
    }

    /// A line of its refusal, with its name.
    pub(super) fn says(&self, reason: RefusalReason) -> RefusalReason {
        let server = if reason.server.is_empty() { self.name.clone() } else { reason.server };
        RefusalReason { server, ..reason }
    }

    /// It answered, and has not enough.
    pub(super) fn has_no_more(&self, wish: &Wish) -> RefusalReason {
        RefusalReason {
            product_code: wish.product_code.get(),
            code: 212,
            reason: "it has not enough free seats".to_owned(),
            instead: "wait until others give seats back".to_owned(),
            server: self.name.clone(),
            ..RefusalReason::default()
        }
    }

    /// It did not answer.
    pub(super) fn away(&self, wish: &Wish, problem: &str) -> RefusalReason {
        RefusalReason {
            product_code: wish.product_code.get(),
            code: u32::from(Reason::NoNetworkServer.code()),
            reason: format!("the network server gives no answer: {problem}"),
            instead: "check that it runs, serves the network and is reachable from this licence server".to_owned(),
            server: self.name.clone(),
            ..RefusalReason::default()
        }
    }
}

/// Too many programs ask at once.
pub(super) fn overloaded(product_code: u32) -> RefusalReason {
    RefusalReason {
        product_code,
        code: u32::from(Reason::Overloaded.code()),
        reason: "too many programs ask the network servers at once".to_owned(),
        instead: "ask again in a moment".to_owned(),
        ..RefusalReason::default()
    }
}

impl Inner {
    /// Puts a question to a server and takes over what it answers.
    pub(super) async fn ask(&self, server: &Server, question: &Question) -> Result<(), CallError> {
        let block = question.block;
        self.metrics.block_asked();
        let called = match tokio::time::timeout(CALL, self.call(server, question)).await {
            Ok(called) => called,
            Err(_) => Err(CallError::Away(format!("no answer within {} s", CALL.as_secs()))),
        };
        match called {
            Ok(answer) => {
                server.answers();
                let taken = self.ledger.change(move |writer, moment| writer.take_block(&block, &answer, moment));
                taken.await.map_err(CallError::Failed)
            }
            Err(CallError::Away(problem)) => {
                server.is_away(&problem, self.clock.boottime());
                Err(CallError::Away(problem))
            }
            Err(error) => {
                if matches!(&error, CallError::Failed(problem) if problem.code == ErrorCode::FileForged) {
                    // The next connection may end somewhere else.
                    server.is_away(&error.to_string(), self.clock.boottime());
                } else {
                    server.answers();
                }
                if matches!(error, CallError::Refused(_) | CallError::Over(_)) {
                    let dropped = self.ledger.change(move |writer, moment| writer.drop_block(&block, moment));
                    dropped.await.map_err(CallError::Failed)?;
                }
                Err(error)
            }
        }
    }

    async fn link(&self, server: &Server) -> Result<Arc<Link>, CallError> {
        if let Some(link) = server.state().link.clone() {
            return Ok(link);
        }
        let mut trust = self.trust.clone();
        let known = self
            .ledger
            .read(|keeper, _| keeper.state.firms.values().map(|firm| firm.trusted.clone()).collect::<Vec<_>>());
        known.await.map_err(CallError::Failed)?.into_iter().for_each(|root| trust.add(root));
        let link = Link::open(&server.address, &trust, &self.key).await.map(Arc::new).map_err(|error| match error {
            LinkError::Unreachable(reason) => CallError::Away(reason),
            LinkError::NotTrusted(reason) => CallError::Failed(forged(&reason.to_string())),
        })?;
        server.state().link = Some(Arc::clone(&link));
        Ok(link)
    }

    async fn call(&self, server: &Server, question: &Question) -> Result<Answered, CallError> {
        let link = self.link(server).await?;
        let wish = &question.wish;
        // Whoever the vendor does not certify is not asked: programs would not believe what it lends.
        if let Err(reason) = link.speaks_for(wish.firm_code.get()) {
            // The vendor may have come to it after this connection was made.
            server.state().link = None;
            return Err(CallError::Failed(forged(&reason.to_string())));
        }
        let request = wire::BorrowRequest {
            block_id: question.block.to_vec(),
            number: question.number,
            seats: question.seats,
            borrower_key: self.key.public_key().as_bytes().to_vec(),
            proof: link.proof(),
            firm_code: wish.firm_code.get(),
            product_code: wish.product_code.get(),
            feature_map: wish.feature_map.bits(),
            host: self.host.clone(),
            needed: question.needed,
        };
        let mut client = BlockServiceClient::new(link.channel()).max_decoding_message_size(ANSWER_BYTES);
        let answer = client.borrow(request).await.map_err(|status| failed(&status))?.into_inner();
        link.proved();
        match answer.outcome {
            Some(wire::borrow_response::Outcome::Refusal(refusal)) => Err(CallError::Refused(refusal)),
            Some(wire::borrow_response::Outcome::Block(block)) => self.believe(question, block, &link),
            None => Err(CallError::Failed(forged("its answer is empty"))),
        }
    }

    /// Checks that programs will believe what was lent.
    fn believe(&self, question: &Question, block: wire::Block, link: &Link) -> Result<Answered, CallError> {
        let wish = &question.wish;
        let time_to_live = Duration::from_millis(block.time_to_live_ms);
        let answered = Answered {
            number: block.number,
            seats: block.seats.min(question.seats),
            time_to_live,
            terms: None,
            scarce: block.scarce,
        };
        if answered.seats == 0 {
            return Ok(answered);
        }
        let chain = block.chain.unwrap_or_default();
        let certificate = link
            .block(&chain, &self.key.public_key())
            .map_err(|error| CallError::Failed(forged(&error.to_string())))?;
        let terms = Terms {
            serial: block.serial,
            container_id: certificate.container_id,
            item: block.item,
            chain: chain.encode_to_vec(),
        };
        let fits = certificate.firm_code == wish.firm_code.get()
            && certificate.product_code == wish.product_code.get()
            && certificate.feature_map & wish.feature_map.bits() == wish.feature_map.bits()
            && block.container_id == certificate.container_id
            && certificate.seats >= answered.seats
            && terms.fits();
        if !fits {
            return Err(CallError::Failed(forged("what it lends is not what was asked for")));
        }
        Ok(Answered { terms: Some(terms), ..answered })
    }
}

fn failed(status: &tonic::Status) -> CallError {
    let problem = lictor_api::error::problem(status);
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded | Code::Unimplemented => {
            CallError::Away(if problem.message.is_empty() { status.code().to_string() } else { problem.message })
        }
        _ if matches!(problem.code, ErrorCode::WrongState | ErrorCode::RequestIdReused) => CallError::Over(problem),
        _ => CallError::Failed(problem),
    }
}

fn forged(reason: &str) -> Problem {
    Problem::new(
        ErrorCode::FileForged,
        format!("the network server is not believed: {reason}"),
        "check CM_REMOTE_SERVER, and that LICTOR_UPSTREAM_TRUST names the vendor's licence information file",
    )
}
