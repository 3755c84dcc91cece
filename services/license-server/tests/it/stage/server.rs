//! A licence server in this process, on a folder of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use lictor_api::server::v1::container_service_client::ContainerServiceClient;
use lictor_api::server::v1::{
    CreateContainerRequest, CreateContextRequest, ImportUpdateRequest, ImportUpdateResponse, ListContainersRequest,
    ListSessionsRequest, ServerContainer, Session,
};
use lictor_clock::{ManualClock, SharedClock};
use lictor_license_file::segment::Operation;
use lictor_license_server::{LicenseServer, Settings, start_server};
use tempfile::TempDir;
use tonic::transport::Channel;

use super::client::unix_channel;
use super::vendor::{FIRM, Vendor, start_of_tests};

pub(crate) struct TestServer {
    pub(crate) server: LicenseServer,
    pub(crate) folder: TempDir,
    pub(crate) clock: ManualClock,
    pub(crate) containers: ContainerServiceClient<Channel>,
}

impl TestServer {
    /// A server with nothing in it, whose time stands still.
    pub(crate) async fn empty() -> Self {
        Self::on(tempfile::tempdir().expect("a folder"), ManualClock::new(start_of_tests()), |_| {}).await
    }

    /// A server whose container holds what `operations` put into it.
    pub(crate) async fn with(operations: Vec<Operation>) -> (Self, Vendor) {
        let mut this = Self::empty().await;
        let vendor = this.licensed(operations).await;
        (this, vendor)
    }

    /// Makes a container with these licences.
    pub(crate) async fn licensed(&mut self, operations: Vec<Operation>) -> Vendor {
        let mut vendor = Vendor::new(FIRM, 1);
        self.create(&vendor.lif()).await.expect("created");
        let context = self.context(FIRM).await;
        self.import(&vendor.update(&context, operations)).await.expect("imported");
        vendor
    }

    pub(crate) async fn on(folder: TempDir, clock: ManualClock, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::loopback(folder.path().to_owned());
        change(&mut settings);
        let server = start_server(settings, clock.shared()).await.expect("a server");
        let containers = ContainerServiceClient::new(unix_channel(&server.socket).await);
        Self { server, folder, clock, containers }
    }

    /// Stops it and starts another one on the same folder and clock.
    pub(crate) async fn restarted(self) -> Self {
        self.server.running.shutdown();
        self.server.running.wait().await.expect("a clean stop");
        let Self { folder, clock, .. } = self;
        Self::on(folder, clock, |_| {}).await
    }

    pub(crate) async fn create(
        &mut self,
        lif: &[u8],
    ) -> Result<lictor_api::server::v1::CreateContainerResponse, tonic::Status> {
        let request = CreateContainerRequest { lif: lif.to_vec(), kind: 0 };
        self.containers.create_container(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn context(&mut self, firm_code: u32) -> Vec<u8> {
        let request = CreateContextRequest { firm_code, serial: String::new(), challenge: Vec::new() };
        self.containers.create_context(request).await.expect("a context").into_inner().context
    }

    /// A context that carries a challenge of the vendor.
    pub(crate) async fn challenged(&mut self, firm_code: u32, challenge: [u8; 32]) -> Vec<u8> {
        let request = CreateContextRequest { firm_code, serial: String::new(), challenge: challenge.to_vec() };
        self.containers.create_context(request).await.expect("a context").into_inner().context
    }

    pub(crate) async fn import(&mut self, update: &[u8]) -> Result<ImportUpdateResponse, tonic::Status> {
        let request = ImportUpdateRequest { update: update.to_vec() };
        self.containers.import_update(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn sessions(&mut self) -> Vec<Session> {
        self.containers.list_sessions(ListSessionsRequest {}).await.expect("sessions").into_inner().sessions
    }

    pub(crate) async fn listed(&mut self) -> Vec<ServerContainer> {
        self.containers.list_containers(ListContainersRequest {}).await.expect("containers").into_inner().containers
    }

    /// Waits until sessions are as they should be: other tasks of the server bring them there.
    pub(crate) async fn until_sessions(&mut self, what: &str, holds: impl Fn(&[Session]) -> bool) -> Vec<Session> {
        let started = Instant::now();
        loop {
            let sessions = self.sessions().await;
            if holds(&sessions) {
                return sessions;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{what} did not come true: {sessions:?}");
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn shared_clock(&self) -> SharedClock {
        self.clock.shared()
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}
