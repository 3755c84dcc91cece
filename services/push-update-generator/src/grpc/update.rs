//! Contexts in, update files out.

use lictor_api::update::v1 as wire;
use lictor_license_file::limits::MAX_FILE_BYTES;
use tonic::{Request, Response, Status};

use super::{container, parse};
use crate::{
    domain::request::{Change, IssueRequest, MAX_OPERATIONS, RequestError},
    events::wire_kind,
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
        let (confirmed, latest) = taken.chain.map_or((0, 0), |chain| (chain.confirmed, chain.issued));
        Ok(Response::new(wire::TakeContextResponse {
            container_id: context.container_id().to_string(),
            firm_code: context.firm_code.get(),
            kind: wire_kind(context.kind) as i32,
            counter: context.counter,
            serial: context.serial,
            confirmed,
            latest,
            verdict: taken.verdict.name().to_owned(),
            fresh: false,
            blocked: false,
        }))
    }

    async fn inspect_context(
        &self,
        request: Request<wire::InspectContextRequest>,
    ) -> Result<Response<wire::InspectContextResponse>, Status> {
        let file = checked_file(request.into_inner().context)?;
        let context = self.intake.inspect(&file).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::InspectContextResponse {
            container_id: context.container_id().to_string(),
            firm_code: context.firm_code.get(),
            kind: wire_kind(context.kind) as i32,
            counter: context.counter,
            virtual_machine: context.virtual_machine,
            fresh: false,
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
        _: Request<wire::CreateChallengeRequest>,
    ) -> Result<Response<wire::CreateChallengeResponse>, Status> {
        Err(Status::unimplemented("CreateChallenge is not served yet"))
    }

    async fn issue_rebase(
        &self,
        _: Request<wire::IssueRebaseRequest>,
    ) -> Result<Response<wire::IssueRebaseResponse>, Status> {
        Err(Status::unimplemented("IssueRebase is not served yet"))
    }

    async fn block_container(
        &self,
        _: Request<wire::BlockContainerRequest>,
    ) -> Result<Response<wire::BlockContainerResponse>, Status> {
        Err(Status::unimplemented("BlockContainer is not served yet"))
    }

    async fn sign_time(&self, _: Request<wire::SignTimeRequest>) -> Result<Response<wire::SignTimeResponse>, Status> {
        Err(Status::unimplemented("SignTime is not served yet"))
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
    if request.operations.len() > MAX_OPERATIONS {
        return Err(RequestError::Operations(request.operations.len()));
    }
    let changes = request.operations.into_iter().enumerate().map(|(place, operation)| {
        let license = |text: &str| text.parse().map_err(|_| RequestError::License(place));
        match operation.operation.ok_or(RequestError::NoOperation(place))? {
            wire::operation::Operation::AddLicense(add) => {
                Ok(Change::Add { license: license(&add.license_id)?, item: add.product_item, quantity: add.quantity })
            }
            wire::operation::Operation::WithdrawLicense(withdraw) => {
                Ok(Change::Withdraw { license: license(&withdraw.license_id)? })
            }
        }
    });
    let changes = changes.collect::<Result<Vec<_>, _>>()?;
    IssueRequest::new(request.reference, request.firm_code, &request.container_id, changes)
}
