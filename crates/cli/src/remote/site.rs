//! The licence server with its containers, for verbs that change them.

use lictor_api::server::v1::container_service_client::ContainerServiceClient;
use lictor_api::server::v1::{
    CreateContextRequest, CreateContextResponse, CreateTimeNonceRequest, ImportTimeRequest, ImportTimeResponse,
    ImportUpdateRequest, ImportUpdateResponse, ListContainersRequest, ListContainersResponse,
};
use lictor_licensing::error::ErrorCode;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::connect::{Caller, MAX_ANSWER_BYTES, ServerLink};
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};

/// The licence server, reached as its administrator.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    link: ServerLink,
    client: ContainerServiceClient<InterceptedService<Channel, Caller>>,
}

/// One vendor's part of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldFirm {
    pub(crate) serial: String,
    pub(crate) firm_code: u32,
    pub(crate) kind: i32,
    /// Entries of the firm in it, modules not counted.
    pub(crate) entries: usize,
}

impl Site {
    pub(crate) async fn open(environment: &Environment) -> Outcome<Self> {
        let link = environment.server_as_admin().await?;
        let client = ContainerServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
        Ok(Self { link, client })
    }

    /// Where it is, in words.
    pub(crate) fn address(&self) -> String {
        self.link.address()
    }

    pub(crate) async fn list(&self) -> Outcome<ListContainersResponse> {
        let answer = self.client.clone().list_containers(ListContainersRequest {}).await;
        Ok(answer.map_err(|status| self.link.failed(status))?.into_inner())
    }

    /// Every vendor in every container, in the server's order.
    pub(crate) async fn firms(&self) -> Outcome<Vec<HeldFirm>> {
        let mut all = Vec::new();
        for container in self.list().await?.containers {
            all.extend(container.firms.iter().map(|firm| HeldFirm {
                serial: container.serial.clone(),
                firm_code: firm.firm_code,
                kind: container.kind,
                entries: firm.entries.iter().filter(|entry| entry.module_of.is_none()).count(),
            }));
        }
        Ok(all)
    }

    /// The serial to work on: as named, else the only container that holds this firm.
    pub(crate) async fn container(&self, named: Option<&str>, firm_code: u32) -> Outcome<String> {
        if let Some(serial) = named {
            return Ok(serial.to_owned());
        }
        let mut firms = self.firms().await?;
        firms.retain(|held| held.firm_code == firm_code);
        match firms.len() {
            1 => Ok(firms.remove(0).serial),
            0 => Err(self.no_container(&format!("firm {firm_code}"))),
            _ => Err(Failure::usage(
                format!("the licence server has several containers for firm {firm_code}"),
                format!("choose one with --serial: {}", serials(&firms)),
            )),
        }
    }

    /// The firm and serial to work on, of what the command line leaves open.
    pub(crate) async fn only(&self, firm_code: Option<u32>, serial: Option<&str>) -> Outcome<HeldFirm> {
        let mut firms = self.firms().await?;
        firms.retain(|held| {
            firm_code.is_none_or(|code| code == held.firm_code) && serial.is_none_or(|serial| serial == held.serial)
        });
        match firms.len() {
            1 => Ok(firms.remove(0)),
            0 => Err(self.no_container(&match (firm_code, serial) {
                (Some(code), Some(serial)) => format!("firm {code} with the serial {serial}"),
                (Some(code), None) => format!("firm {code}"),
                (None, Some(serial)) => format!("the serial {serial}"),
                (None, None) => "any firm".to_owned(),
            })),
            _ => {
                let all: Vec<_> = firms.iter().map(|held| format!("{} of {}", held.serial, held.firm_code)).collect();
                Err(Failure::usage(
                    "the licence server has several containers or firms",
                    format!("choose with --serial and --firm-code: {}", all.join(", ")),
                ))
            }
        }
    }

    fn no_container(&self, of: &str) -> Failure {
        Failure::new(
            ErrorCode::NotFound,
            format!("the licence server at {} has no container for {of}", self.address()),
            "make one with the vendor's file: lictor server create-container --lif F.lif",
        )
    }

    /// What the container says about itself; with a challenge the vendor can tell that it is fresh.
    pub(crate) async fn context(
        &self,
        firm_code: u32,
        serial: &str,
        challenge: Vec<u8>,
    ) -> Outcome<CreateContextResponse> {
        let request = CreateContextRequest { firm_code, serial: serial.to_owned(), challenge };
        Ok(self.client.clone().create_context(request).await.map_err(|status| self.link.failed(status))?.into_inner())
    }

    /// All that is new in an update file, or nothing. The server verifies before it changes anything.
    pub(crate) async fn import(&self, update: Vec<u8>) -> Outcome<ImportUpdateResponse> {
        let answer = self.client.clone().import_update(ImportUpdateRequest { update }).await;
        Ok(answer.map_err(|status| self.link.failed(status))?.into_inner())
    }

    /// Random bytes that a statement of the time has to carry.
    pub(crate) async fn time_nonce(&self, firm_code: u32) -> Outcome<Vec<u8>> {
        let answer = self.client.clone().create_time_nonce(CreateTimeNonceRequest { firm_code }).await;
        Ok(answer.map_err(|status| self.link.failed(status))?.into_inner().nonce)
    }

    /// Takes a signed statement of the time.
    pub(crate) async fn import_time(&self, firm_code: u32, statement: Vec<u8>) -> Outcome<ImportTimeResponse> {
        let answer = self.client.clone().import_time(ImportTimeRequest { firm_code, statement }).await;
        Ok(answer.map_err(|status| self.link.failed(status))?.into_inner())
    }
}

fn serials(firms: &[HeldFirm]) -> String {
    firms.iter().map(|held| held.serial.as_str()).collect::<Vec<_>>().join(", ")
}
