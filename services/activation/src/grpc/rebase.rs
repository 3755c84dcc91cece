//! The way back of a container that was restored, forked, or lost its binding.

use lictor_api::activation::v1::{Activation, RebaseContainerRequest};
use tonic::Status;

use super::{Counter, activation::shown_container, asked, edge, is_fresh, status};
use crate::{domain::purpose::Purpose, failure::Failure, saga::Settled};

/// A request for a rebase.
struct Wish {
    /// Who of the vendor's staff asks; nobody when the container does.
    staff: Option<String>,
    request_id: String,
    context: Vec<u8>,
    reason: String,
}

impl Counter {
    pub(super) async fn rebased(
        &self,
        staff: Option<String>,
        request: RebaseContainerRequest,
    ) -> Result<(Activation, Vec<u8>), Status> {
        let wish = Wish {
            staff,
            request_id: edge::request_id(&request.request_id)?,
            context: edge::file(request.context)?,
            reason: edge::reason(&request.reason)?,
        };
        let settled = self.rebase_wish(wish).await.map_err(status)?;
        self.answer(settled).await.map_err(status)
    }

    async fn rebase_wish(&self, wish: Wish) -> Result<Settled, Failure> {
        let peers = self.0.runner.peers();
        let shown = peers.inspect_context(wish.context.clone()).await?;
        let by_hand = wish.staff.is_some();
        // The container's signature is its own proof, so its id is who asks.
        let caller = wish.staff.unwrap_or_else(|| format!("container:{}/{}", shown.container_id, shown.firm_code));
        let body_hash = edge::hash(&[b"rebase", shown.container_id.as_bytes(), &shown.firm_code.to_be_bytes()]);
        let asked = asked(caller, wish.request_id, body_hash);
        if let Some(before) = self.before(&asked).await? {
            return self.0.carry_on(before).await;
        }
        // Not sound is what it is here for; but its evidence is kept before anything is forgiven.
        let taken = peers.take_context(wish.context.clone()).await?;
        is_fresh(taken.fresh, &taken.serial)?;
        let purpose = Purpose::Rebase { reason: wish.reason, by_hand };
        let saga = self.fresh(purpose, asked).of(shown.firm_code, Some(shown_container(&shown)?));
        self.0.carry_out(saga, Some(wish.context)).await
    }
}
