//! Blocks of seats: other servers borrow here, and people look at what is lent and borrowed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lictor_api::convert::timestamp;
use lictor_api::server::v1 as wire;
use lictor_api::server::v1::block_service_server::BlockService;
use lictor_licensing::access::{AccessMode, Origin, Seats as SeatCount};
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::feature::FeatureMap;
use lictor_licensing::id::ProductCode;
use lictor_signing::PublicKey;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status};

use super::seats::{Identity, bad_proof, remote_denied};
use super::{channel, local_only, parse, status, view};
use crate::domain::ask::Ask;
use crate::domain::blocks::{Borrowing, MAX_BLOCK_SEATS, Witness, lent_for, shown};
use crate::domain::keeper::Keeper;
use crate::domain::session::ClientNames;
use crate::listen::Channel;
use crate::upstream::Upstreams;
use crate::writer::{Ledger, Lending};

const COPIES: &str = "two licence servers borrow seats with one key, so one of them is a copy of the other";
const STOP_ONE: &str = "stop the copy and let it begin in an empty state folder";

/// The RPCs of blocks.
#[derive(Clone, Debug)]
pub(crate) struct BlockDesk {
    pub(crate) identity: Arc<Identity>,
    pub(crate) ledger: Ledger,
    pub(crate) upstreams: Upstreams,
    /// Who borrows over which connection.
    pub(crate) witness: Arc<Mutex<Witness>>,
}

impl BlockDesk {
    /// Whether two servers borrow with the key of this question.
    fn is_doubled(&self, ask: &Ask, channel: &Channel) -> bool {
        let mut witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = lent_for(self.identity.times.block_time);
        let doubled = witness.saw(
            ask.client_key.as_bytes(),
            &ask.request_id,
            channel.binding(),
            self.identity.clock.boottime(),
            memory,
        );
        if doubled {
            tracing::warn!(address = ?channel.address(), "{COPIES}: they get no more seats than they have");
        }
        doubled
    }

    /// What people should know of those who borrow.
    pub(crate) fn remark(&self) -> Option<String> {
        let witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = lent_for(self.identity.times.block_time);
        let doubled = witness.doubled(self.identity.clock.boottime(), memory);
        (doubled > 0).then(|| format!("{COPIES} ({doubled} of those that borrow here); next: {STOP_ONE}"))
    }

    fn borrowing(&self, channel: &Channel, request: wire::BorrowRequest) -> Result<Borrowing, Problem> {
        let key = parse::exactly::<32>(&request.borrower_key, "borrower_key")?;
        let client_key = match channel.proved_key(&key) {
            Some(known) => known,
            None => PublicKey::from_bytes(&key).map_err(|_| parse::invalid("borrower_key is no key"))?,
        };
        if request.number == 0 {
            return Err(parse::invalid("number must be 1 or more"));
        }
        if request.seats > MAX_BLOCK_SEATS {
            return Err(parse::invalid(format!("a block has at most {MAX_BLOCK_SEATS} seats")));
        }
        // All that makes the block what it is: a later question may only change its size.
        let mut asked = Sha256::new_with_prefix(b"lictor-block-v1");
        for part in [request.firm_code, request.product_code, request.feature_map] {
            asked.update(part.to_be_bytes());
        }
        let ask = Ask {
            request_id: parse::exactly(&request.block_id, "block_id")?,
            asked: asked.finalize().into(),
            client_key,
            nonce: [0; 32],
            firm_code: parse::firm_code(request.firm_code)?,
            product_code: ProductCode(request.product_code),
            feature_map: FeatureMap(request.feature_map),
            mode: AccessMode::UserLimit,
            seats: SeatCount::ONE,
            release_date: None,
            names: ClientNames { host: parse::name(request.host, "host")?, ..ClientNames::default() },
            station: self.identity.station(channel),
            origin: channel.origin(),
            address: channel.address(),
            container: channel.container().cloned(),
        };
        Ok(Borrowing { ask, number: request.number, seats: request.seats, needed: request.needed })
    }
}

#[tonic::async_trait]
impl BlockService for BlockDesk {
    async fn borrow(&self, request: Request<wire::BorrowRequest>) -> Result<Response<wire::BorrowResponse>, Status> {
        use wire::borrow_response::Outcome;
        let channel = channel(&request)?;
        let mut request = request.into_inner();
        let proof = std::mem::take(&mut request.proof);
        let borrowing = self.borrowing(&channel, request).map_err(|problem| status(&problem))?;
        if !channel.proves(&borrowing.ask.client_key, &proof) {
            return Err(bad_proof());
        }
        if channel.origin() != Origin::Local && !self.identity.network_server {
            let refusal = view::refusal(&remote_denied(&borrowing.ask));
            return Ok(Response::new(wire::BorrowResponse { outcome: Some(Outcome::Refusal(refusal)) }));
        }
        let number = borrowing.number;
        let doubled = self.is_doubled(&borrowing.ask, &channel);
        let lending = self.ledger.change(move |writer, moment| {
            // What they hold stays theirs until its time is over; only one of them would use more.
            let held = if doubled { writer.keeper.lent_to(&borrowing.ask.request_id) } else { MAX_BLOCK_SEATS };
            if held == 0 && borrowing.seats > 0 {
                return Err(Problem::new(ErrorCode::Unavailable, COPIES, STOP_ONE));
            }
            let borrowing = Borrowing { seats: borrowing.seats.min(held), ..borrowing };
            writer.lend(&borrowing, moment)
        });
        let lending = lending.await;
        let outcome = match lending.map_err(|problem| status(&problem))? {
            Lending::Refused(refusal) => Outcome::Refusal(view::refusal(&refusal)),
            Lending::Lent(None) => Outcome::Block(wire::Block { number, ..wire::Block::default() }),
            Lending::Lent(Some(lent)) => Outcome::Block(wire::Block {
                number,
                seats: lent.session.seats.get(),
                time_to_live_ms: millis(self.identity.times.block_time),
                chain: Some(wire::LeaseChain {
                    firm_code: lent.session.firm_code.get(),
                    root_documents: lent.roots,
                    lease_certificate: lent.lease_certificate,
                    delegation: lent.delegation,
                }),
                item: lent.item,
                scarce: lent.scarce,
                serial: crate::domain::serial(&self.identity.container_id),
                container_id: self.identity.container_id.to_vec(),
            }),
        };
        Ok(Response::new(wire::BorrowResponse { outcome: Some(outcome) }))
    }

    async fn list_blocks(
        &self,
        request: Request<wire::ListBlocksRequest>,
    ) -> Result<Response<wire::ListBlocksResponse>, Status> {
        local_only(&channel(&request)?, self.identity.network_server)?;
        let upstreams = self.upstreams.view();
        let listed = self
            .ledger
            .read(move |keeper, moment| wire::ListBlocksResponse { upstreams, ..listed(keeper, moment.boottime) });
        listed.await.map(Response::new).map_err(|problem| status(&problem))
    }
}

fn listed(keeper: &Keeper, boottime: Duration) -> wire::ListBlocksResponse {
    let sessions = keeper.state.sessions.values().filter(|session| session.block.is_some());
    let mut lent: Vec<wire::LentBlock> = sessions
        .map(|session| wire::LentBlock {
            block_id: shown(&session.request_id),
            firm_code: session.firm_code.get(),
            product_code: session.product_code.get(),
            seats: session.seats.get(),
            host: session.names.host.clone(),
            address: session.address.map(|address| address.to_string()).unwrap_or_default(),
            since: Some(timestamp(session.since)),
        })
        .collect();
    lent.sort_by(|left, right| left.block_id.cmp(&right.block_id));
    let borrowed = keeper.state.blocks.values().map(|block| wire::BorrowedBlock {
        block_id: shown(&block.id),
        firm_code: block.wish.firm_code.get(),
        product_code: block.wish.product_code.get(),
        seats: block.seats,
        used: block.used(),
        server: block.server.clone(),
        serial: block.terms.as_ref().map(|terms| terms.serial.clone()).unwrap_or_default(),
        usable_ms: if block.is_usable(boottime) { millis(block.promised_until().saturating_sub(boottime)) } else { 0 },
    });
    wire::ListBlocksResponse { borrowed: borrowed.collect(), lent, upstreams: Vec::new() }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
