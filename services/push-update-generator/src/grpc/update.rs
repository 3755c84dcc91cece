//! Contexts in, update files out.

use lictor_api::{
    convert,
    types::v1::{self as types, license_change::Change as Kind},
    update::v1 as wire,
};
use lictor_license_file::limits::MAX_FILE_BYTES;
use lictor_licensing::item::Part;
use tonic::{Request, Response, Status};

use super::{container, parse};
use crate::{
    domain::request::{BlockRequest, Change, IssueRequest, MAX_CHANGES, RequestError},
    issue::Issuer,
    problem,
    take::Intake,
};

/// Answers the calls about contexts and updates.
#[derive(Clone, Debug)]
pub(crate) struct Updates {
    issuer: Issuer,
    intake: Intake,
}

impl Updates {
    /// Over this issuer.
    #[must_use]
    pub(crate) fn new(issuer: Issuer) -> Self {
        Self { intake: Intake::new(issuer.clone()), issuer }
    }
}

#[tonic::async_trait]
impl wire::update_service_server::UpdateService for Updates {
    async fn take_context(
        &self,
        request: Request<wire::TakeContextRequest>,
    ) -> Result<Response<wire::TakeContextResponse>, Status> {
        let file = checked_file(request.into_inner().context)?;
        let taken = self.intake.take(&file).await.map_err(|failure| failure.status())?;
        let context = taken.context;
        let (confirmed, latest, blocked) =
            taken.chain.map_or((0, 0, false), |chain| (chain.confirmed, chain.issued, chain.blocked.is_some()));
        Ok(Response::new(wire::TakeContextResponse {
            container_id: context.container_id().to_string(),
            firm_code: context.firm_code.get(),
            kind: types::ContainerKind::from(context.kind).into(),
            counter: context.counter,
            serial: context.serial,
            confirmed,
            latest,
            verdict: taken.verdict.name().to_owned(),
            fresh: taken.fresh,
            blocked,
        }))
    }

    async fn inspect_context(
        &self,
        request: Request<wire::InspectContextRequest>,
    ) -> Result<Response<wire::InspectContextResponse>, Status> {
        let file = checked_file(request.into_inner().context)?;
        let (context, fresh) = self.intake.inspect(&file).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::InspectContextResponse {
            container_id: context.container_id().to_string(),
            firm_code: context.firm_code.get(),
            kind: types::ContainerKind::from(context.kind).into(),
            counter: context.counter,
            virtual_machine: context.virtual_machine,
            fresh,
            serial: context.serial,
        }))
    }

    async fn issue_update(
        &self,
        request: Request<wire::IssueUpdateRequest>,
    ) -> Result<Response<wire::IssueUpdateResponse>, Status> {
        let request = issue_request(request.into_inner())
            .map_err(|error| problem::status(problem::invalid(&error, "correct the request; nothing was issued")))?;
        let issued = self.issuer.issue(&request).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::IssueUpdateResponse {
            from: issued.from,
            to: issued.to,
            update: issued.file.bytes,
            file_from: issued.file.from,
            segments: issued.file.segments,
        }))
    }

    async fn get_pending_update(
        &self,
        request: Request<wire::GetPendingUpdateRequest>,
    ) -> Result<Response<wire::GetPendingUpdateResponse>, Status> {
        let wire::GetPendingUpdateRequest { firm_code, serial } = request.into_inner();
        let chain = container::find(&self.issuer.db, firm_code, &serial).await?;
        let pending = self.issuer.pending(&chain).await.map_err(|failure| failure.status())?;
        Ok(Response::new(pending.map_or_else(
            || wire::GetPendingUpdateResponse { update: Vec::new(), from: chain.issued, to: chain.issued, segments: 0 },
            |file| wire::GetPendingUpdateResponse {
                update: file.bytes,
                from: file.from,
                to: file.to,
                segments: file.segments,
            },
        )))
    }

    async fn export_modified_context(
        &self,
        request: Request<wire::ExportModifiedContextRequest>,
    ) -> Result<Response<wire::ExportModifiedContextResponse>, Status> {
        let wire::ExportModifiedContextRequest { firm_code, serial } = request.into_inner();
        let chain = container::find(&self.issuer.db, firm_code, &serial).await?;
        let modified_context =
            self.issuer.modified_context(&chain.identity.key).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::ExportModifiedContextResponse { modified_context }))
    }

    async fn create_challenge(
        &self,
        request: Request<wire::CreateChallengeRequest>,
    ) -> Result<Response<wire::CreateChallengeResponse>, Status> {
        let firm = parse::firm(request.into_inner().firm_code)?;
        let (challenge, until) = self.issuer.challenge(firm).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::CreateChallengeResponse {
            challenge: challenge.to_vec(),
            valid_until: Some(convert::timestamp(until)),
        }))
    }

    async fn issue_rebase(
        &self,
        request: Request<wire::IssueRebaseRequest>,
    ) -> Result<Response<wire::IssueRebaseResponse>, Status> {
        let wire::IssueRebaseRequest { reference, firm_code, context, reason } = request.into_inner();
        let firm = parse::firm(firm_code)?;
        let file = checked_file(context)?;
        let (context, _) = self.intake.inspect(&file).await.map_err(|failure| failure.status())?;
        if context.firm_code != firm {
            return Err(parse::invalid(
                "the context is for another firm",
                "give the context of a container of this firm",
            ));
        }
        // Whatever the context proves counts, and what speaks against the container is kept.
        let taken = self.intake.take(&file).await.map_err(|failure| failure.status())?;
        let rebased = self.issuer.rebase(&taken, reference, reason).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::IssueRebaseResponse {
            serial: rebased.serial,
            container_id: rebased.key.container.to_string(),
            epoch: rebased.epoch,
            to: rebased.to,
            update: rebased.file.bytes,
        }))
    }

    async fn block_container(
        &self,
        request: Request<wire::BlockContainerRequest>,
    ) -> Result<Response<wire::BlockContainerResponse>, Status> {
        let wire::BlockContainerRequest { firm_code, serial, reason, reference } = request.into_inner();
        // A restored database may not know the container, and that would be the wrong answer.
        self.issuer.may_issue().await.map_err(|failure| failure.status())?;
        let chain = container::find(&self.issuer.db, firm_code, &serial).await?;
        let request = BlockRequest::new(reference, chain.identity.key, reason)
            .map_err(|error| problem::status(problem::invalid(&error, "correct the request; nothing was done")))?;
        let blocked = self.issuer.block(&request).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::BlockContainerResponse {
            serial: blocked.chain.identity.serial,
            container_id: blocked.chain.identity.key.container.to_string(),
            license_ids: blocked.licenses.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn sign_time(
        &self,
        request: Request<wire::SignTimeRequest>,
    ) -> Result<Response<wire::SignTimeResponse>, Status> {
        let wire::SignTimeRequest { firm_code, nonce } = request.into_inner();
        let firm = parse::firm(firm_code)?;
        let statement = self.issuer.sign_time(firm, &nonce).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::SignTimeResponse { statement }))
    }
}

fn checked_file(file: Vec<u8>) -> Result<Vec<u8>, Status> {
    if file.is_empty() {
        return Err(parse::invalid("the request holds no file", "give a context or receipt file"));
    }
    if file.len() > MAX_FILE_BYTES {
        let error = lictor_license_file::FileError::TooLarge { what: "the file", limit: MAX_FILE_BYTES };
        return Err(problem::status(error.problem()));
    }
    Ok(file)
}

fn issue_request(request: wire::IssueUpdateRequest) -> Result<IssueRequest, RequestError> {
    if request.changes.len() > MAX_CHANGES {
        return Err(RequestError::Changes(request.changes.len()));
    }
    let license = |place: usize, text: &str| text.parse().map_err(|_| RequestError::License(place));
    let changes = request.changes.into_iter().enumerate().map(|(place, change)| {
        let license = license(place, &change.license_id)?;
        Ok(match change.change.ok_or(RequestError::NoChange(place))? {
            Kind::Add(put) => Change::Add { license, item: put.product_item, quantity: put.quantity },
            Kind::Replace(put) => Change::Replace { license, item: put.product_item, quantity: put.quantity },
            Kind::Withdraw(_) => Change::Withdraw { license },
            Kind::RaiseUnits(raise) => {
                let part = usize::try_from(raise.part).ok().and_then(Part::from_index);
                Change::RaiseUnits { license, part: part.ok_or(RequestError::Part(place))?, by: raise.by }
            }
        })
    });
    let changes = changes.collect::<Result<Vec<_>, _>>()?;
    IssueRequest::new(request.reference, request.firm_code, &request.container_id, changes)
}
