//! RPCs about units of pay-per-use.

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::unit_service_server::UnitService;
use tonic::{Request, Response, Status};

use super::{Seats, channel, parse, status, view};
use crate::domain::units::{UnitsAnswer, UnitsWish};

/// Takes units for programs.
#[derive(Clone, Debug)]
pub(crate) struct Units(pub(crate) Seats);

#[tonic::async_trait]
impl UnitService for Units {
    async fn consume_units(
        &self,
        request: Request<wire::ConsumeUnitsRequest>,
    ) -> Result<Response<wire::ConsumeUnitsResponse>, Status> {
        let channel = channel(&request)?;
        let wire::ConsumeUnitsRequest { request_id, session_id, proof, units } = request.into_inner();
        let wish = parse::units(&request_id, &session_id, units).map_err(|problem| status(&problem))?;
        self.0.take_proof_of_taking(&channel, &wish, &proof).await?;
        let answer = self.0.ledger.take_units(wish, channel).await.map_err(|problem| status(&problem))?;
        let outcome = match answer {
            UnitsAnswer::Taken { left } => wire::consume_units_response::Outcome::Left(left),
            UnitsAnswer::Refused(refusal) => wire::consume_units_response::Outcome::Refusal(view::refusal(&refusal)),
        };
        Ok(Response::new(wire::ConsumeUnitsResponse { outcome: Some(outcome) }))
    }
}

impl Seats {
    /// Lets the proof of a client count that asks for units. One whose session is over may still ask what became of a
    /// taking of its own.
    async fn take_proof_of_taking(
        &self,
        channel: &crate::listen::Channel,
        wish: &UnitsWish,
        proof: &[u8],
    ) -> Result<(), Status> {
        if proof.is_empty() {
            return Ok(());
        }
        let (session, request) = (wish.session, wish.request_id);
        let look = self.ledger.read(move |keeper, _| {
            let known = keeper.client_key(session);
            known.or_else(|| {
                let taken = keeper.state.takings.get(&request)?;
                lictor_signing::PublicKey::from_bytes(&taken.client).ok()
            })
        });
        let key = look.await.map_err(|problem| status(&problem))?;
        if key.is_some_and(|key| !channel.proves(&key, proof)) {
            return Err(super::seats::bad_proof());
        }
        Ok(())
    }
}
