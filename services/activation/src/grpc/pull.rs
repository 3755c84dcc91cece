//! What a container fetches and proves by itself: contexts, pending updates, challenges, the time. Counted per address.

use std::net::IpAddr;

use lictor_api::activation::v1::{
    CreateChallengeResponse, PullUpdateResponse, SignTimeRequest, SignTimeResponse, SubmitContextResponse,
};
use tonic::Status;

use super::{Counter, edge, is_fresh, status};
use crate::failure::Failure;

/// Bytes of a nonce.
const NONCE: std::ops::RangeInclusive<usize> = 16..=64;

impl Counter {
    pub(super) async fn submitted(&self, address: IpAddr, context: Vec<u8>) -> Result<SubmitContextResponse, Status> {
        self.visit(address, context.len()).await?;
        let taken = self.0.runner.peers().take_context(edge::file(context)?).await.map_err(status)?;
        Ok(SubmitContextResponse {
            serial: taken.serial,
            firm_code: taken.firm_code,
            counter: taken.counter,
            confirmed: taken.confirmed,
            verdict: taken.verdict,
            pending: u32::try_from(taken.latest.saturating_sub(taken.confirmed)).unwrap_or(u32::MAX),
        })
    }

    pub(super) async fn pulled(&self, address: IpAddr, context: Vec<u8>) -> Result<PullUpdateResponse, Status> {
        self.visit(address, context.len()).await?;
        let context = edge::file(context)?;
        self.pull(context).await.map_err(status)
    }

    async fn pull(&self, context: Vec<u8>) -> Result<PullUpdateResponse, Failure> {
        let peers = self.0.runner.peers();
        // What the context tells is taken in even when it fetches nothing.
        let taken = peers.take_context(context).await?;
        is_fresh(taken.fresh, &taken.serial)?;
        let pending = peers.pending_update(taken.firm_code, taken.container_id).await?;
        Ok(PullUpdateResponse {
            serial: taken.serial,
            firm_code: taken.firm_code,
            confirmed: taken.confirmed,
            verdict: taken.verdict,
            update: pending.update,
            from: pending.from,
            to: pending.to,
            segments: pending.segments,
        })
    }

    pub(super) async fn challenged(&self, address: IpAddr, firm: u32) -> Result<CreateChallengeResponse, Status> {
        self.visit(address, 0).await?;
        let made = self.0.runner.peers().challenge(edge::firm(firm)?).await.map_err(status)?;
        Ok(CreateChallengeResponse { challenge: made.challenge, valid_until: made.valid_until })
    }

    pub(super) async fn timed(&self, address: IpAddr, request: SignTimeRequest) -> Result<SignTimeResponse, Status> {
        self.visit(address, request.nonce.len()).await?;
        if !NONCE.contains(&request.nonce.len()) {
            return Err(edge::invalid("a nonce has 16 to 64 bytes", "ask the license server for one"));
        }
        let firm = edge::firm(request.firm_code)?;
        let signed = self.0.runner.peers().sign_time(firm, request.nonce).await.map_err(status)?;
        Ok(SignTimeResponse { statement: signed.statement })
    }
}
