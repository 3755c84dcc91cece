//! The whole service as a process would run it: background tasks, broker, readiness.

use std::time::{Duration, Instant};

use lictor_activation::{Settings, settings::LIMITS, start};
use lictor_api::{
    activation::v1::{
        ActivateRequest, ActivationState, GetActivationRequest, SubmitContextRequest,
        activation_service_client::ActivationServiceClient, push_service_client::PushServiceClient,
    },
    error::problem,
};
use lictor_licensing::{ContainerKind, error::ErrorCode};
use lictor_runtime::{ListenSettings, Secret, StartError, client};
use lictor_storage::DatabaseSettings;
use lictor_test_support::device::TestDevice;

use crate::world::{FIRM, Vendor, database};

fn settings(vendor: &Vendor) -> Settings {
    Settings {
        listen: ListenSettings::loopback(),
        auth: vendor.auth(),
        database: database(vendor.folder.path(), "activation.db"),
        broker: vendor.broker.clone(),
        redis_url: None,
        central_url: format!("http://{}", vendor.central.addresses().grpc),
        update_url: format!("http://{}", vendor.update.addresses().grpc),
        peers_ca: None,
        instance: Some("one".to_owned()),
        limits: LIMITS,
        proxies: lictor_activation::domain::proxy::Proxies::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_confirms_its_activation_by_itself() {
    let vendor = Vendor::start().await;
    let root = vendor.firm(FIRM, include_str!("../../../../docs/catalogue-example.yaml")).await;
    let running = start(settings(&vendor), vendor.clock.shared()).await.expect("a running service");
    let channel = client::channel(&format!("http://{}", running.addresses().grpc), None, None).expect("a channel");
    let mut customers = ActivationServiceClient::new(channel.clone());
    let ticket = vendor.order(FIRM, &["editor"]).await;
    let mut device = TestDevice::new(1, ContainerKind::Machine, &root);
    let request = ActivateRequest {
        request_id: "one".to_owned(),
        ticket: ticket.ticket,
        license_ids: Vec::new(),
        context: device.context(),
        quantities: Vec::new(),
    };
    let answer = customers.activate(request).await.expect("activated").into_inner();
    assert_eq!(answer.activation.as_ref().expect("an activation").container_id, device.id());
    let context = device.import(&answer.update).expect("a good update file");
    customers.submit_context(SubmitContextRequest { context }).await.expect("taken");

    let activation_id = answer.activation.expect("an activation").activation_id;
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let request = GetActivationRequest { activation_id: activation_id.clone() };
        let seen = customers.get_activation(request).await.expect("seen").into_inner().activation.expect("it");
        if seen.state() == ActivationState::Confirmed {
            break;
        }
        assert!(Instant::now() < end, "never confirmed: {seen:?}");
        tokio::task::yield_now().await;
    }

    let mut staff = PushServiceClient::new(channel);
    let refused = staff.create_push(lictor_api::activation::v1::CreatePushRequest::default()).await;
    assert_eq!(problem(&refused.expect_err("no token")).code, ErrorCode::Unauthenticated);
    running.shutdown();
    running.wait().await.expect("a clean end");
}

#[tokio::test]
async fn a_database_that_is_down_is_one_clear_sentence() {
    let vendor = Vendor::start().await;
    let broken = Settings {
        database: DatabaseSettings {
            wait: Duration::from_millis(200),
            ..DatabaseSettings::at("postgres://lictor:secret@127.0.0.1:1/none")
        },
        ..settings(&vendor)
    };
    let error = start(broken, vendor.clock.shared()).await.expect_err("no database");
    assert!(matches!(error, StartError::Unreachable(_)), "{error:?}");
    let sentence = error.to_string();
    assert!(
        sentence.contains("127.0.0.1:1") && sentence.contains("next:") && !sentence.contains("secret"),
        "{sentence}"
    );
}

#[tokio::test]
async fn a_malformed_address_stops_the_start() {
    let vendor = Vendor::start().await;
    let broken = Settings { central_url: "license-central".to_owned(), ..settings(&vendor) };
    assert!(matches!(start(broken, vendor.clock.shared()).await, Err(StartError::Settings(_))));
    let broken = Settings { redis_url: Some(Secret::new("nowhere")), ..settings(&vendor) };
    assert!(matches!(start(broken, vendor.clock.shared()).await, Err(StartError::Settings(_))));
}
