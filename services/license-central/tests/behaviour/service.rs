//! The whole service behind its sockets.

use std::{path::Path, sync::Arc, time::Duration};

use lictor_api::{
    central::v1::{
        ApplyCatalogueRequest, CreateOrderRequest, CreateOrderResponse, GetCatalogueRequest, GetOrderRequest,
        GetTicketRequest, ListLicensesRequest, OrderLine, PlanRequest, ResolveTicketRequest,
        allocation_service_client::AllocationServiceClient, catalogue_service_client::CatalogueServiceClient,
        license_service_client::LicenseServiceClient, order_service_client::OrderServiceClient,
    },
    error::problem,
    types::v1::LicenseState,
};
use lictor_auth::{AuthSettings, LocalIssuer, Role};
use lictor_broker::Broker;
use lictor_clock::{Clock as _, SystemClock};
use lictor_license_central::{Settings, start};
use lictor_licensing::error::ErrorCode;
use lictor_runtime::{
    ListenSettings, Running, StartError,
    client::{self, ServiceChannel},
};
use lictor_storage::DatabaseSettings;
use tonic::Status;

use crate::world::{CATALOGUE, FIRM};

pub(crate) struct Service {
    running: Running,
    issuer: LocalIssuer,
}

fn settings(folder: &Path, issuer: &LocalIssuer) -> Settings {
    Settings {
        listen: ListenSettings::loopback(),
        auth: AuthSettings::local(issuer, "lictor"),
        database: DatabaseSettings::at(lictor_storage::sqlite_url(&folder.join("central.db"))),
        broker: Broker::in_process(),
        ticket_key: lictor_runtime::KeySource::File(folder.join("ticket.key")),
        expiry_notice_days: lictor_license_central::NoticeDays::USUAL,
    }
}

impl Service {
    pub(crate) async fn start(folder: &Path) -> Self {
        let issuer = LocalIssuer::from_seed("test", &[1; 32]).expect("an issuer");
        let running = start(settings(folder, &issuer), SystemClock::shared()).await.expect("a running service");
        Self { running, issuer }
    }

    pub(crate) fn channel(&self, roles: &'static [Role]) -> ServiceChannel {
        let issuer = self.issuer.clone();
        let token = Arc::new(move || {
            issuer
                .mint("somebody", roles, "lictor", Duration::from_secs(60), SystemClock.now())
                .map_err(|error| Status::internal(error.to_string()))
        });
        client::channel(&format!("http://{}", self.running.addresses().grpc), None, Some(token)).expect("a channel")
    }

    pub(crate) async fn order(&self, request: CreateOrderRequest) -> Result<CreateOrderResponse, Status> {
        let mut orders = OrderServiceClient::new(self.channel(&[Role::BackOffice]));
        Ok(orders.create_order(request).await?.into_inner())
    }

    pub(crate) async fn apply(&self) {
        let mut catalogue = CatalogueServiceClient::new(self.channel(&[Role::ProductManager]));
        let request = ApplyCatalogueRequest {
            request_id: "catalogue".to_owned(),
            firm_code: FIRM,
            document: CATALOGUE.to_owned(),
            dry_run: false,
        };
        let answer = catalogue.apply_catalogue(request).await.expect("applied").into_inner();
        assert_eq!(answer.created.len(), 10);
    }

    pub(crate) async fn stop(self) {
        self.running.shutdown();
        self.running.wait().await.expect("a clean end");
    }
}

pub(crate) fn order(request_id: &str) -> CreateOrderRequest {
    CreateOrderRequest {
        request_id: request_id.to_owned(),
        firm_code: FIRM,
        customer: "Example Ltd".to_owned(),
        lines: vec![OrderLine { item: "truck".to_owned(), quantity: 3 }],
        reference: "PO-1".to_owned(),
    }
}

fn ticket(answer: &CreateOrderResponse) -> String {
    answer.order.as_ref().expect("an order").tickets[0].ticket.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_order_gets_its_whole_ticket_again_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::start(folder.path()).await;
    service.apply().await;
    let first = service.order(order("one")).await.expect("an order");
    assert_eq!(ticket(&first).len(), 29);
    assert_eq!(service.order(order("one")).await.expect("repeated"), first);
    let other = CreateOrderRequest { reference: "PO-2".to_owned(), ..order("one") };
    assert_eq!(problem(&service.order(other).await.expect_err("another body")).code, ErrorCode::RequestIdReused);
    service.stop().await;

    let service = Service::start(folder.path()).await;
    assert_eq!(service.order(order("one")).await.expect("after a restart"), first);

    let mut orders = OrderServiceClient::new(service.channel(&[Role::Support]));
    let order_id = first.order.as_ref().expect("an order").order_id.clone();
    let shown = orders.get_order(GetOrderRequest { order_id }).await.expect("shown").into_inner();
    assert!(shown.order.expect("an order").tickets[0].ticket.ends_with("-*****"), "masked everywhere else");
    let found = orders.get_ticket(GetTicketRequest { ticket: ticket(&first) }).await.expect("found").into_inner();
    assert_eq!(found.customer, "Example Ltd");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_under_another_ticket_key_says_so_and_never_shows_a_wrong_ticket() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::start(folder.path()).await;
    service.apply().await;
    let first = service.order(order("one")).await.expect("an order");
    service.stop().await;
    std::fs::write(folder.path().join("ticket.key"), "ab".repeat(32)).expect("another key");
    let service = Service::start(folder.path()).await;
    let refused = problem(&service.order(order("one")).await.expect_err("another key"));
    assert_eq!(refused.code, ErrorCode::WrongState);
    // The ticket itself is good as before: only its hash is compared.
    let mut allocations = AllocationServiceClient::new(service.channel(&[Role::Service]));
    allocations.resolve_ticket(ResolveTicketRequest { ticket: ticket(&first) }).await.expect("still a ticket");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_with_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::start(folder.path()).await;
    service.apply().await;
    let line = |item: &str, quantity| vec![OrderLine { item: item.to_owned(), quantity }];
    for (request, code) in [
        (CreateOrderRequest { request_id: String::new(), ..order("x") }, ErrorCode::InvalidArgument),
        (CreateOrderRequest { request_id: "a b".to_owned(), ..order("x") }, ErrorCode::InvalidArgument),
        (CreateOrderRequest { firm_code: 0, ..order("x") }, ErrorCode::InvalidArgument),
        (CreateOrderRequest { firm_code: FIRM + 1, ..order("x") }, ErrorCode::NotFound),
        (CreateOrderRequest { customer: "\n".to_owned(), ..order("x") }, ErrorCode::InvalidArgument),
        (CreateOrderRequest { lines: Vec::new(), ..order("x") }, ErrorCode::InvalidArgument),
        (CreateOrderRequest { lines: line("truck", u32::MAX), ..order("x") }, ErrorCode::LimitExceeded),
        (CreateOrderRequest { lines: line("tram", 2), ..order("x") }, ErrorCode::InvalidArgument),
        (CreateOrderRequest { lines: line("a=b", 1), ..order("x") }, ErrorCode::InvalidArgument),
        (CreateOrderRequest { lines: line("nothing", 1), ..order("x") }, ErrorCode::NotFound),
        (CreateOrderRequest { reference: "x".repeat(129), ..order("x") }, ErrorCode::LimitExceeded),
    ] {
        let told = problem(&service.order(request.clone()).await.expect_err("refused"));
        assert_eq!(told.code, code, "{request:?}: {told}");
        assert!(!told.message.is_empty() && !told.message.contains('\n') && !told.next.is_empty(), "{told:?}");
    }
    let mut orders = OrderServiceClient::new(service.channel(&[Role::Admin]));
    for (typed, code) in [
        ("", ErrorCode::InvalidArgument),
        ("00000-00000-00000-00000-00001", ErrorCode::InvalidArgument),
        ("00000-00000-00000-00000-00000", ErrorCode::TicketUnknown),
    ] {
        let told = orders.get_ticket(GetTicketRequest { ticket: typed.to_owned() }).await.expect_err("refused");
        assert_eq!(problem(&told).code, code, "{typed}");
    }
    let mut licenses = LicenseServiceClient::new(service.channel(&[Role::Admin]));
    for request in [
        ListLicensesRequest { firm_code: 0, ..ListLicensesRequest::default() },
        ListLicensesRequest { firm_code: FIRM, state: 99, ..ListLicensesRequest::default() },
        ListLicensesRequest {
            firm_code: FIRM,
            page: Some(lictor_api::types::v1::PageRequest { size: 1, token: "zz".to_owned() }),
            ..ListLicensesRequest::default()
        },
    ] {
        let told = licenses.list_licenses(request).await.expect_err("refused");
        assert_eq!(problem(&told).code, ErrorCode::InvalidArgument);
    }
    let none = licenses.list_licenses(ListLicensesRequest { firm_code: FIRM, ..ListLicensesRequest::default() }).await;
    assert!(none.expect("listed").into_inner().licenses.is_empty(), "nothing was changed");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_held_to_and_secrets_of_the_catalogue_are_for_modellers() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::start(folder.path()).await;
    service.apply().await;
    let shown = async |roles| {
        let mut catalogue = CatalogueServiceClient::new(service.channel(roles));
        catalogue.get_catalogue(GetCatalogueRequest { firm_code: FIRM }).await.map(tonic::Response::into_inner)
    };
    assert!(!shown(&[Role::ProductManager]).await.expect("shown").document.is_empty());
    let auditor = shown(&[Role::Auditor]).await.expect("shown");
    assert!(auditor.document.is_empty() && auditor.items.len() == 10);
    assert_eq!(problem(&shown(&[Role::Service]).await.expect_err("forbidden")).code, ErrorCode::PermissionDenied);

    let mut allocations = AllocationServiceClient::new(service.channel(&[Role::Admin]));
    let request = PlanRequest::default();
    let told = allocations.plan(request.clone()).await.expect_err("people may not");
    assert_eq!(problem(&told).code, ErrorCode::PermissionDenied);
    let mut allocations = AllocationServiceClient::new(service.channel(&[Role::Service]));
    let told = allocations.plan(request).await.expect_err("an empty one");
    assert_eq!(problem(&told).code, ErrorCode::InvalidArgument);

    let nobody = client::channel(&format!("http://{}", service.running.addresses().grpc), None, None);
    let mut orders = OrderServiceClient::new(nobody.expect("a channel"));
    assert_eq!(problem(&orders.create_order(order("x")).await.expect_err("no token")).code, ErrorCode::Unauthenticated);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_readable_in_every_listing() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::start(folder.path()).await;
    service.apply().await;
    let made = service.order(order("one")).await.expect("an order");
    let mut licenses = LicenseServiceClient::new(service.channel(&[Role::Support]));
    let request = ListLicensesRequest {
        firm_code: FIRM,
        ticket: ticket(&made),
        state: LicenseState::Available.into(),
        ..ListLicensesRequest::default()
    };
    let listed = licenses.list_licenses(request).await.expect("listed").into_inner().licenses;
    assert_eq!(listed, made.order.expect("an order").tickets[0].licenses);
    assert_eq!((listed[0].quantity, listed[0].product_code, listed[0].item.as_str()), (3, 200, "truck"));
    service.stop().await;
}

#[tokio::test]
async fn a_database_that_is_down_is_one_clear_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let issuer = LocalIssuer::from_seed("test", &[1; 32]).expect("an issuer");
    let broken = Settings {
        database: DatabaseSettings {
            wait: Duration::from_millis(200),
            ..DatabaseSettings::at("postgres://lictor:secret@127.0.0.1:1/none")
        },
        ..settings(folder.path(), &issuer)
    };
    let error = start(broken, SystemClock::shared()).await.expect_err("no database");
    assert!(matches!(error, StartError::Unreachable(_)), "{error:?}");
    let sentence = error.to_string();
    assert!(
        sentence.contains("127.0.0.1:1") && sentence.contains("next:") && !sentence.contains("secret"),
        "{sentence}"
    );
}

#[tokio::test]
async fn a_damaged_ticket_key_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ticket.key"), "12").expect("half a key");
    let issuer = LocalIssuer::from_seed("test", &[1; 32]).expect("an issuer");
    let error = start(settings(folder.path(), &issuer), SystemClock::shared()).await.expect_err("no key");
    assert!(matches!(error, StartError::Settings(_)), "{error:?}");
}
