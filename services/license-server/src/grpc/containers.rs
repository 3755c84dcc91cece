//! The container: lists for local callers, changes for administrators.

use std::sync::Arc;

use lictor_api::convert::timestamp;
use lictor_api::server::v1 as wire;
use lictor_api::server::v1::container_service_server::ContainerService;
use lictor_api::types::v1::ContainerKind as WireKind;
use lictor_clock::Timestamp;
use lictor_licensing::access::Origin;
use lictor_licensing::error::{ErrorCode, Problem};
use tonic::{Request, Response, Status};

use super::admin::AdminToken;
use super::seats::{Identity, remote_denied};
use super::{channel, local_only, parse, status, view};
use crate::domain::keeper::Keeper;
use crate::writer::Ledger;

/// The RPCs around the container.
#[derive(Clone, Debug)]
pub(crate) struct Containers {
    pub(crate) identity: Arc<Identity>,
    pub(crate) ledger: Ledger,
    pub(crate) token: AdminToken,
}

impl Containers {
    fn admin<T>(&self, request: &Request<T>) -> Result<(), Status> {
        self.token.require(&channel(request)?, request.metadata())
    }

    /// Programs have to see a new firm's certificate from the next hello on.
    async fn refresh(&self) -> Result<(), Status> {
        self.identity.refresh(&self.ledger).await.map_err(|problem| status(&problem))
    }
}

#[tonic::async_trait]
impl ContainerService for Containers {
    async fn list_containers(
        &self,
        request: Request<wire::ListContainersRequest>,
    ) -> Result<Response<wire::ListContainersResponse>, Status> {
        local_only(&channel(&request)?, self.identity.network_server)?;
        let id: String = self.identity.container_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let kind = self.identity.kind;
        let listed = self.ledger.read(move |keeper, moment| {
            let floor = keeper.state.time.floor(moment.boottime);
            wire::ListContainersResponse {
                containers: view::containers(&keeper.state, &id, kind),
                clock_suspect: keeper.state.time.is_suspect(moment),
                proven_time: (floor > Timestamp::UNIX_EPOCH).then(|| timestamp(floor)),
            }
        });
        listed.await.map(Response::new).map_err(|problem| status(&problem))
    }

    async fn create_container(
        &self,
        request: Request<wire::CreateContainerRequest>,
    ) -> Result<Response<wire::CreateContainerResponse>, Status> {
        self.admin(&request)?;
        let request = request.into_inner();
        let kind = parse::kind(WireKind::try_from(request.kind).unwrap_or_default());
        let created = self
            .ledger
            .change(move |writer, moment| writer.create_container(&request.lif, kind, moment))
            .await
            .map_err(|problem| status(&problem))?;
        self.refresh().await?;
        Ok(Response::new(wire::CreateContainerResponse {
            serial: created.serial,
            kind: WireKind::from(self.identity.kind).into(),
            firm_code: created.firm_code.get(),
            counter: created.counter,
            created: created.created,
        }))
    }

    async fn create_context(
        &self,
        request: Request<wire::CreateContextRequest>,
    ) -> Result<Response<wire::CreateContextResponse>, Status> {
        self.admin(&request)?;
        let request = request.into_inner();
        let firm = parse::firm_code(request.firm_code).map_err(|problem| status(&problem))?;
        let challenge = parse::challenge(&request.challenge).map_err(|problem| status(&problem))?;
        let serial = crate::domain::serial(&self.identity.container_id);
        if !request.serial.is_empty() && request.serial != serial {
            return Err(status(&Problem::new(
                ErrorCode::NotFound,
                format!("this licence server has no container {}", request.serial),
                format!("leave the serial out, or name {serial}"),
            )));
        }
        let (context, counter) = self
            .ledger
            .change(move |writer, moment| writer.create_context(firm, challenge, moment))
            .await
            .map_err(|problem| status(&problem))?;
        Ok(Response::new(wire::CreateContextResponse {
            context,
            serial,
            counter,
            kind: WireKind::from(self.identity.kind).into(),
        }))
    }

    async fn import_update(
        &self,
        request: Request<wire::ImportUpdateRequest>,
    ) -> Result<Response<wire::ImportUpdateResponse>, Status> {
        self.admin(&request)?;
        let update = request.into_inner().update;
        let imported = self.ledger.change(move |writer, moment| writer.import(&update, moment)).await;
        // Also after a failure: the steps before it hold.
        self.refresh().await?;
        let imported = imported.map_err(|problem| status(&problem))?;
        Ok(Response::new(wire::ImportUpdateResponse {
            serial: imported.serial,
            firm_code: imported.firm_code.get(),
            from: imported.from,
            to: imported.to,
            applied: imported.applied,
            skipped: imported.skipped,
            receipt: imported.receipt,
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<wire::ListSessionsRequest>,
    ) -> Result<Response<wire::ListSessionsResponse>, Status> {
        local_only(&channel(&request)?, self.identity.network_server)?;
        let sessions = self.ledger.read(|keeper, _| view::sessions(keeper)).await.map_err(|p| status(&p))?;
        Ok(Response::new(wire::ListSessionsResponse { sessions }))
    }

    async fn explain(&self, request: Request<wire::ExplainRequest>) -> Result<Response<wire::ExplainResponse>, Status> {
        let channel = channel(&request)?;
        local_only(&channel, self.identity.network_server)?;
        let asked = request.into_inner().request.unwrap_or_default();
        let station = self.identity.station(&channel);
        let ask = parse::ask(asked, station, &channel, true).map_err(|problem| status(&problem))?;
        if channel.origin() != Origin::Local && !self.identity.network_server {
            let refusal = Some(view::refusal(&remote_denied(&ask)));
            return Ok(Response::new(wire::ExplainResponse { refusal, ..Default::default() }));
        }
        let serial = crate::domain::serial(&self.identity.container_id);
        let look = move |keeper: &Keeper, moment| super::explain::explained(keeper, &ask, serial, moment);
        let explained = self.ledger.read(look).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(explained))
    }

    async fn import_time(
        &self,
        request: Request<wire::ImportTimeRequest>,
    ) -> Result<Response<wire::ImportTimeResponse>, Status> {
        self.admin(&request)?;
        let request = request.into_inner();
        let firm = parse::firm_code(request.firm_code).map_err(|problem| status(&problem))?;
        let imported =
            self.ledger.change(move |writer, moment| writer.import_time(firm, &request.statement, moment)).await;
        let imported = imported.map_err(|problem| status(&problem))?;
        Ok(Response::new(wire::ImportTimeResponse {
            proven: Some(timestamp(imported.proven)),
            was_suspect: imported.was_suspect,
            is_suspect: imported.is_suspect,
        }))
    }

    async fn create_time_nonce(
        &self,
        request: Request<wire::CreateTimeNonceRequest>,
    ) -> Result<Response<wire::CreateTimeNonceResponse>, Status> {
        self.admin(&request)?;
        let firm = parse::firm_code(request.get_ref().firm_code).map_err(|problem| status(&problem))?;
        let nonce = self.ledger.change(move |writer, moment| writer.create_time_nonce(firm, moment)).await;
        let nonce = nonce.map_err(|problem| status(&problem))?;
        Ok(Response::new(wire::CreateTimeNonceResponse { nonce: nonce.to_vec() }))
    }
}
