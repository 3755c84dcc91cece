//! The steps: what each asks of the other services, and what the saga looks like after it.

use lictor_api::{
    central::v1::ReservedLicense,
    update::v1::{AddLicense, IssueUpdateResponse, Operation, WithdrawLicense, operation},
};
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::LicenseId,
};

use super::{Runner, Step};
use crate::{
    domain::{
        saga::{Container, Saga},
        state::{Kind, State},
    },
    failure::Failure,
};

/// Answers of this run that a later step, or the caller, can use without asking again.
#[derive(Debug, Default)]
pub(super) struct Carried {
    reserved: Option<Vec<ReservedLicense>>,
    pub(super) issued: Option<IssueUpdateResponse>,
}

/// A fault of this service.
pub(super) fn fault(error: &dyn std::error::Error) -> Failure {
    tracing::error!(%error, "a fault of this service");
    Failure::refused(ErrorCode::Internal, "the activation service failed inside", "look into its log")
}

/// Something that another service should never answer.
fn odd(what: &str) -> Failure {
    tracing::error!(what, "another service answered oddly");
    Failure::refused(ErrorCode::Internal, "the activation service failed inside", "look into its log")
}

fn moved(saga: &Saga, to: State) -> Result<Saga, Failure> {
    let state = saga.state.to(to).map_err(|wrong| fault(&wrong))?;
    Ok(Saga { state, problem: None, ..saga.clone() })
}

fn license_id(text: &str) -> Result<LicenseId, Failure> {
    text.parse().map_err(|_| odd("a license id that is none"))
}

impl Runner {
    pub(super) async fn reserve(&self, saga: &Saga, carried: &mut Carried) -> Result<Saga, Failure> {
        let mut licenses = Vec::new();
        if saga.ticket.is_some() {
            let reserved = self.peers.reserve(saga).await?;
            if reserved.firm_code != saga.firm {
                return Err(odd("a ticket of another firm"));
            }
            for part in &reserved.licenses {
                licenses.push(license_id(&part.license_id)?);
            }
            carried.reserved = Some(reserved.licenses);
        }
        self.reached(Step::Reserved)?;
        licenses.extend(&saga.withdrawn);
        Ok(Saga { licenses, ..moved(saga, State::Reserved)? })
    }

    pub(super) async fn begin_withdrawal(&self, saga: &Saga) -> Result<Saga, Failure> {
        let answer = self.peers.begin_withdrawal(saga, None).await?;
        self.reached(Step::Reserved)?;
        let own = saga.id.to_string();
        let mut parts = answer.licenses.into_iter().filter(|part| part.activation_id == own);
        let Some(first) = parts.next() else {
            // No container holds it, or another activation's segment takes it out already.
            let done = moved(saga, State::Confirmed)?;
            return Ok(Saga { firm: answer.firm_code, ..done });
        };
        let mut licenses = vec![license_id(&first.license_id)?];
        for part in parts {
            if part.container_id != first.container_id {
                return Err(odd("a license in several containers"));
            }
            licenses.push(license_id(&part.license_id)?);
        }
        let container = Container { id: first.container_id, serial: first.serial, kind: None };
        let reserved = moved(saga, State::Reserved)?;
        Ok(Saga { firm: answer.firm_code, container: Some(container), licenses, ..reserved })
    }

    pub(super) async fn issue(&self, saga: &Saga, carried: &mut Carried) -> Result<Saga, Failure> {
        let (issued, licenses) = self.issued(saga, carried).await?;
        self.reached(Step::Issued)?;
        let (from, to) = (issued.from, issued.to);
        carried.issued = Some(issued);
        Ok(Saga { from, to, licenses, ..moved(saga, State::Issued)? })
    }

    /// Has the update issued, or gets it again.
    async fn issued(
        &self,
        saga: &Saga,
        carried: &mut Carried,
    ) -> Result<(IssueUpdateResponse, Vec<LicenseId>), Failure> {
        let mut operations = Vec::new();
        let mut licenses = Vec::new();
        if saga.ticket.is_some() {
            if saga.state == State::Reserved {
                self.peers.keep(saga).await?;
                self.reached(Step::Kept)?;
            }
            let reserved = match carried.reserved.take() {
                Some(reserved) => reserved,
                None => self.peers.reserve(saga).await?.licenses,
            };
            for part in reserved {
                licenses.push(license_id(&part.license_id)?);
                operations.push(operation::Operation::AddLicense(AddLicense {
                    license_id: part.license_id,
                    product_item: part.product_item,
                    quantity: part.quantity,
                }));
            }
        }
        for license in self.taken_out(saga).await? {
            licenses.push(license);
            operations.push(operation::Operation::WithdrawLicense(WithdrawLicense { license_id: license.to_string() }));
        }
        if operations.is_empty() {
            return Err(Failure::refused(
                ErrorCode::WrongState,
                "there is nothing to do: the licenses are being withdrawn already",
                "fetch the pending update of the container",
            ));
        }
        let operations = operations.into_iter().map(|operation| Operation { operation: Some(operation) }).collect();
        Ok((self.peers.issue(saga, operations).await?, licenses))
    }

    /// The licenses that this saga's own segment takes out.
    async fn taken_out(&self, saga: &Saga) -> Result<Vec<LicenseId>, Failure> {
        if saga.kind == Kind::Withdraw {
            return Ok(saga.licenses.clone());
        }
        if saga.withdrawn.is_empty() {
            return Ok(Vec::new());
        }
        if saga.state != State::Reserved {
            // Settled when it was issued; what has happened since changes nothing.
            return Ok(saga.withdrawn.iter().filter(|id| saga.licenses.contains(id)).copied().collect());
        }
        let container = saga.container.as_ref().map(|container| container.id.as_str());
        let answer = self.peers.begin_withdrawal(saga, container).await?;
        self.reached(Step::WithdrawalBegun)?;
        let own = saga.id.to_string();
        let mut licenses = Vec::new();
        for part in answer.licenses.iter().filter(|part| part.activation_id == own) {
            licenses.push(license_id(&part.license_id)?);
        }
        licenses.sort_unstable();
        Ok(licenses)
    }

    pub(super) async fn commit(&self, saga: &Saga) -> Result<Saga, Failure> {
        self.peers.commit(saga).await?;
        self.reached(Step::Committed)?;
        moved(saga, State::Completed)
    }

    pub(super) async fn confirm(&self, saga: &Saga) -> Result<Saga, Failure> {
        self.peers.confirm(saga).await?;
        self.reached(Step::Confirmed)?;
        moved(saga, State::Confirmed)
    }

    pub(super) async fn release(&self, saga: &Saga) -> Result<Saga, Failure> {
        let reason = saga.problem.as_ref().map_or("", |problem| problem.message.as_str());
        self.peers.release(saga, reason).await?;
        self.reached(Step::Released)?;
        let problem = saga.problem.clone();
        Ok(Saga { problem, ..moved(saga, State::Refused)? })
    }

    /// The update file of a saga whose update was issued; the same bytes every time.
    ///
    /// # Errors
    /// The refusal of a saga that was refused, or what went wrong.
    pub async fn update_of(
        &self,
        saga: &Saga,
        issued: Option<IssueUpdateResponse>,
    ) -> Result<IssueUpdateResponse, Failure> {
        match (saga.state, issued) {
            (_, Some(issued)) => Ok(issued),
            (State::Refused | State::Refusing, None) => Err(refusal(saga).into()),
            (_, None) => Ok(self.issued(saga, &mut Carried::default()).await?.0),
        }
    }
}

/// Why a saga was refused.
#[must_use]
pub fn refusal(saga: &Saga) -> Problem {
    saga.problem.clone().unwrap_or_else(|| {
        Problem::new(ErrorCode::WrongState, "the activation was refused", "start it anew with a new request id")
    })
}
