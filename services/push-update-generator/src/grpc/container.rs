//! Containers as the vendor sees them.

use lictor_api::update::v1 as wire;
use lictor_license_file::state::VendorState;
use lictor_storage::Database;
use tonic::{Request, Response, Status};

use super::{
    parse::{self, ContainerName},
    present,
};
use crate::{
    domain::container::{Chain, ChainKey},
    failure::Failure,
    issue::unreadable,
    problem, store,
};

/// Most segments that one answer shows.
const SEGMENTS: u32 = 256;

/// Answers the calls about containers.
#[derive(Clone, Debug)]
pub(crate) struct Containers {
    db: Database,
}

impl Containers {
    /// Over this database.
    #[must_use]
    pub(crate) const fn new(db: Database) -> Self {
        Self { db }
    }
}

#[tonic::async_trait]
impl wire::container_service_server::ContainerService for Containers {
    async fn list_containers(
        &self,
        request: Request<wire::ListContainersRequest>,
    ) -> Result<Response<wire::ListContainersResponse>, Status> {
        let wire::ListContainersRequest { firm_code, page } = request.into_inner();
        let firm = parse::firm(firm_code)?;
        let (size, after) = parse::page(page)?;
        let chains = store::container::list(&self.db, firm, after, size)
            .await
            .map_err(|error| problem::status(problem::storage(&error)))?;
        let full = chains.len() == size as usize;
        let next_page_token = match chains.last() {
            Some(last) if full => last.identity.key.container.to_string(),
            _ => String::new(),
        };
        Ok(Response::new(wire::ListContainersResponse {
            containers: chains.iter().map(present::container).collect(),
            next_page_token,
        }))
    }

    async fn get_container(
        &self,
        request: Request<wire::GetContainerRequest>,
    ) -> Result<Response<wire::GetContainerResponse>, Status> {
        let wire::GetContainerRequest { firm_code, serial } = request.into_inner();
        let chain = find(&self.db, firm_code, &serial).await?;
        self.answer(&chain).await.map(Response::new).map_err(|failure| failure.status())
    }
}

impl Containers {
    async fn answer(&self, chain: &Chain) -> Result<wire::GetContainerResponse, Failure> {
        let segments = store::segment::newest(&self.db, &chain.identity.key, chain.epoch, SEGMENTS).await?;
        let state = VendorState::decode(&chain.state).map_err(unreadable("a predicted state"))?;
        Ok(wire::GetContainerResponse {
            container: Some(present::container(chain)),
            segments: segments.into_iter().map(present::segment).collect(),
            entries: present::entries(&state).map_err(unreadable("a predicted entry"))?,
        })
    }
}

/// Finds a chain by the name that people gave.
pub(crate) async fn find(db: &Database, firm_code: u32, name: &str) -> Result<Chain, Status> {
    let firm = parse::firm(firm_code)?;
    let found = match parse::container(name)? {
        ContainerName::Id(container) => store::container::find(db, &ChainKey { container, firm }).await,
        ContainerName::Serial(serial) => store::container::find_by_serial(db, firm, &serial).await,
    };
    found
        .map_err(|error| problem::status(problem::storage(&error)))?
        .ok_or_else(|| problem::status(problem::unknown_container()))
}
