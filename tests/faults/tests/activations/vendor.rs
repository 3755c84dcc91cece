//! The vendor's services as customers and back office call them: each call is repeated until it is answered.

use lictor_api::activation::v1 as activation;
use lictor_api::activation::v1::activation_service_client::ActivationServiceClient;
use lictor_api::activation::v1::push_service_client::PushServiceClient;
use lictor_api::central::v1 as central;
use lictor_api::central::v1::license_service_client::LicenseServiceClient;
use lictor_api::central::v1::order_service_client::OrderServiceClient;
use lictor_api::event::v1::event_feed_service_client::EventFeedServiceClient;
use lictor_api::event::v1::{Event, ListEventsRequest};
use lictor_api::types::v1::{License, PageRequest};
use lictor_api::update::v1 as update;
use lictor_api::update::v1::container_service_client::ContainerServiceClient;
use lictor_runtime::client::ServiceChannel;
use lictor_signing::TrustedRoot;
use lictor_test_support::calls::{Caller, insist};
use lictor_test_support::fleet::{FIRM_CODE, Fleet, Service};

/// Events of one page.
const EVENTS: u32 = 1_000;

pub(crate) struct Vendor {
    pub(crate) root: TrustedRoot,
    customers: ActivationServiceClient<ServiceChannel>,
    pushes: PushServiceClient<ServiceChannel>,
    orders: OrderServiceClient<ServiceChannel>,
    licenses: LicenseServiceClient<ServiceChannel>,
    containers: ContainerServiceClient<ServiceChannel>,
    feeds: Vec<(Service, EventFeedServiceClient<ServiceChannel>)>,
    pub(crate) database: String,
}

/// A ticket with its only licence.
#[derive(Clone)]
pub(crate) struct Sold {
    pub(crate) ticket: String,
    pub(crate) license: String,
    pub(crate) seats: u32,
}

impl Vendor {
    pub(crate) fn of(fleet: &Fleet) -> anyhow::Result<Self> {
        let channel = |service| fleet.channel(service, Caller::Admin);
        let feeds = [Service::Central, Service::Activation, Service::Update];
        Ok(Self {
            root: fleet.root()?,
            customers: ActivationServiceClient::new(fleet.channel(Service::Activation, Caller::Public)?),
            pushes: PushServiceClient::new(channel(Service::Activation)?),
            orders: OrderServiceClient::new(channel(Service::Central)?),
            licenses: LicenseServiceClient::new(channel(Service::Central)?),
            containers: ContainerServiceClient::new(channel(Service::Update)?),
            feeds: feeds
                .into_iter()
                .map(|service| Ok((service, EventFeedServiceClient::new(channel(service)?))))
                .collect::<anyhow::Result<_>>()?,
            database: fleet.database().to_owned(),
        })
    }

    pub(crate) async fn order(&self, request_id: &str, item: &str) -> anyhow::Result<Sold> {
        let request = central::CreateOrderRequest {
            request_id: request_id.to_owned(),
            firm_code: FIRM_CODE,
            customer: "Nova".to_owned(),
            lines: vec![central::OrderLine { item: item.to_owned(), quantity: 0 }],
            reference: String::new(),
        };
        let answer = insist(request_id, async || self.orders.clone().create_order(request.clone()).await).await?;
        let ticket = answer.into_inner().order.and_then(|order| order.tickets.into_iter().next()).unwrap_or_default();
        let license = ticket.licenses.into_iter().next().unwrap_or_default();
        Ok(Sold { ticket: ticket.ticket, license: license.license_id, seats: license.quantity })
    }

    /// Gives the update file.
    pub(crate) async fn activate(&self, request_id: &str, ticket: &str, context: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let request = activation::ActivateRequest {
            request_id: request_id.to_owned(),
            ticket: ticket.to_owned(),
            context,
            ..activation::ActivateRequest::default()
        };
        let answer = insist(request_id, async || self.customers.clone().activate(request.clone()).await).await?;
        Ok(answer.into_inner().update)
    }

    /// Gives the update file.
    pub(crate) async fn push(&self, request_id: &str, serial: &str, ticket: &str) -> anyhow::Result<Vec<u8>> {
        let request = activation::CreatePushRequest {
            request_id: request_id.to_owned(),
            firm_code: FIRM_CODE,
            serial: serial.to_owned(),
            ticket: ticket.to_owned(),
            withdraw: Vec::new(),
        };
        let answer = insist(request_id, async || self.pushes.clone().create_push(request.clone()).await).await?;
        Ok(answer.into_inner().update)
    }

    /// Gives the update that takes a ticket's licences out of the container.
    pub(crate) async fn give_back(&self, request_id: &str, ticket: &str, context: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let request = activation::ReturnLicensesRequest {
            request_id: request_id.to_owned(),
            ticket: ticket.to_owned(),
            context,
            ..activation::ReturnLicensesRequest::default()
        };
        let answer = insist(request_id, async || self.customers.clone().return_licenses(request.clone()).await).await?;
        Ok(answer.into_inner().update)
    }

    /// Moves seats of a licence into the container with this serial; gives the transfer's id and the update for the old one.
    pub(crate) async fn transfer(
        &self,
        request_id: &str,
        sold: &Sold,
        quantity: u32,
        context: Vec<u8>,
        to_serial: &str,
    ) -> anyhow::Result<(String, Vec<u8>)> {
        let request = activation::TransferLicenseRequest {
            request_id: request_id.to_owned(),
            firm_code: FIRM_CODE,
            ticket: sold.ticket.clone(),
            license_id: sold.license.clone(),
            quantity,
            context,
            to_serial: to_serial.to_owned(),
            ..activation::TransferLicenseRequest::default()
        };
        let answer =
            insist(request_id, async || self.customers.clone().transfer_license(request.clone()).await).await?;
        let answer = answer.into_inner();
        Ok((answer.transfer.unwrap_or_default().transfer_id, answer.update))
    }

    /// How far a transfer is.
    pub(crate) async fn transfer_state(&self, transfer_id: &str) -> anyhow::Result<String> {
        let request = activation::GetTransferRequest { transfer_id: transfer_id.to_owned() };
        let answer = insist("a transfer", async || self.customers.clone().get_transfer(request.clone()).await).await?;
        Ok(answer.into_inner().transfer.unwrap_or_default().state)
    }

    /// Bytes that make a context fresh.
    pub(crate) async fn challenge(&self) -> anyhow::Result<[u8; 32]> {
        let request = activation::CreateChallengeRequest { firm_code: FIRM_CODE };
        let answer = insist("a challenge", async || self.customers.clone().create_challenge(request).await).await?;
        answer.into_inner().challenge.try_into().map_err(|_| anyhow::anyhow!("a challenge has 32 bytes"))
    }

    /// Seats of a licence that lie nowhere.
    pub(crate) async fn available(&self, license_id: &str) -> anyhow::Result<u32> {
        let request = central::GetLicenseRequest { license_id: license_id.to_owned() };
        let answer = insist("a license", async || self.licenses.clone().get_license(request.clone()).await).await?;
        Ok(answer.into_inner().license.unwrap_or_default().available)
    }

    pub(crate) async fn withdraw(&self, request_id: &str, license: &str) -> anyhow::Result<()> {
        let request = activation::WithdrawLicenseRequest {
            request_id: request_id.to_owned(),
            license_id: license.to_owned(),
            reason: "refund".to_owned(),
        };
        insist(request_id, async || self.pushes.clone().withdraw_license(request.clone()).await).await?;
        Ok(())
    }

    /// The file with everything that is not proven; empty when nothing is pending.
    pub(crate) async fn pending(&self, serial: &str) -> anyhow::Result<Vec<u8>> {
        let request = activation::GetPendingUpdateRequest { firm_code: FIRM_CODE, serial: serial.to_owned() };
        let what = format!("pending {serial}");
        let answer = insist(&what, async || self.pushes.clone().get_pending_update(request.clone()).await).await?;
        Ok(answer.into_inner().update)
    }

    /// Activations that have not ended.
    pub(crate) async fn open(&self) -> anyhow::Result<Vec<activation::Activation>> {
        let request = activation::ListActivationsRequest { firm_code: FIRM_CODE, ..Default::default() };
        let answer =
            insist("open activations", async || self.pushes.clone().list_activations(request.clone()).await).await?;
        Ok(answer.into_inner().activations)
    }

    pub(crate) async fn submit(&self, receipt: Vec<u8>) -> anyhow::Result<activation::SubmitContextResponse> {
        let request = activation::SubmitContextRequest { context: receipt };
        let answer = insist("a receipt", async || self.customers.clone().submit_context(request.clone()).await).await?;
        Ok(answer.into_inner())
    }

    pub(crate) async fn all_licenses(&self) -> anyhow::Result<Vec<License>> {
        let mut all = Vec::new();
        let mut token = String::new();
        loop {
            let request = central::ListLicensesRequest {
                firm_code: FIRM_CODE,
                page: Some(PageRequest { size: 1_000, token }),
                ..central::ListLicensesRequest::default()
            };
            let page = insist("licenses", async || self.licenses.clone().list_licenses(request.clone()).await).await?;
            let page = page.into_inner();
            all.extend(page.licenses);
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn all_containers(&self) -> anyhow::Result<Vec<update::Container>> {
        let mut all = Vec::new();
        let mut token = String::new();
        loop {
            let request =
                update::ListContainersRequest { firm_code: FIRM_CODE, page: Some(PageRequest { size: 1_000, token }) };
            let page =
                insist("containers", async || self.containers.clone().list_containers(request.clone()).await).await?;
            let page = page.into_inner();
            all.extend(page.containers);
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// What every service says that it announced, in order.
    pub(crate) async fn feeds(&self) -> anyhow::Result<Vec<(Service, Vec<Event>)>> {
        let mut all = Vec::new();
        for (service, feed) in &self.feeds {
            let mut events = Vec::<Event>::new();
            loop {
                let after_sequence = events.last().map_or(0, |event| event.sequence);
                let request = ListEventsRequest { after_sequence, limit: EVENTS };
                let page = insist("events", async || feed.clone().list_events(request).await).await?.into_inner();
                if page.events.is_empty() {
                    break;
                }
                events.extend(page.events);
            }
            all.push((*service, events));
        }
        Ok(all)
    }
}
