//! Licenses that the vendor takes back for good, wherever they lie.

use std::collections::BTreeSet;

use lictor_api::activation::v1::{WithdrawLicenseRequest, WithdrawLicenseResponse};
use lictor_licensing::id::LicenseId;
use tonic::Status;

use super::{Counter, asked, edge, status};
use crate::{
    domain::{
        purpose::Purpose,
        saga::{Asked, Saga},
        state::State,
    },
    failure::Failure,
    saga::{Settled, refusal},
};

impl Counter {
    pub(super) async fn withdrawn(
        &self,
        caller: String,
        request: WithdrawLicenseRequest,
    ) -> Result<WithdrawLicenseResponse, Status> {
        let request_id = edge::request_id(&request.request_id)?;
        let license: LicenseId = edge::id(&request.license_id)?;
        let reason = edge::reason(&request.reason)?;
        let body_hash = edge::hash(&[b"withdraw", license.to_string().as_bytes(), reason.as_bytes()]);
        let asked = asked(caller, request_id, body_hash);
        let settled = self.withdraw(asked, license, reason).await.map_err(status)?;
        if settled.saga.state == State::Refused {
            return Err(status(refusal(&settled.saga).into()));
        }
        // Asked again, and not remembered: what a repeat wants to know is where the license stands now.
        let serials = self.holding(&settled.saga).await.map_err(status)?;
        let state = if serials.is_empty() { "withdrawn" } else { "returning" };
        Ok(WithdrawLicenseResponse {
            license_id: license.to_string(),
            state: state.to_owned(),
            serials: serials.into_iter().collect(),
        })
    }

    async fn withdraw(&self, asked: Asked, license: LicenseId, reason: String) -> Result<Settled, Failure> {
        if let Some(before) = self.before(&asked).await? {
            return self.0.carry_on(before).await;
        }
        let purpose = Purpose::Withdraw { licenses: vec![license], reason, awaits: Vec::new() };
        self.0.carry_out(self.fresh(purpose, asked), None).await
    }

    /// Serials of the containers that may still hold some of it: one for each saga that takes it out and is not proven.
    async fn holding(&self, first: &Saga) -> Result<BTreeSet<String>, Failure> {
        let store = self.0.runner.store();
        let mut sagas = store.of_caller(&Asked::caller_of(first.id)).await?;
        sagas.push(first.clone());
        let awaited: BTreeSet<_> = sagas
            .iter()
            .filter_map(|saga| match &saga.purpose {
                Purpose::Withdraw { awaits, .. } => Some(awaits.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        for id in awaited {
            sagas.extend(store.saga(id).await?);
        }
        let open = sagas.into_iter().filter(|saga| saga.state != State::Confirmed);
        Ok(open.filter_map(|saga| saga.container).map(|container| container.serial).collect())
    }
}
