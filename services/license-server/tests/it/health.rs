//! The health service of gRPC says what `/ready` says, and why not.

use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::stage::client::{tls_channel, unix_channel};
use crate::stage::server::TestServer;
use crate::stage::vendor::add;

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_over_grpc_means_that_a_seat_could_be_given_and_says_why_not() {
    let mut server = TestServer::empty().await;
    let mut health = HealthClient::new(unix_channel(&server.server.socket).await);
    let mut watch = health.watch(about("")).await.expect("a stream").into_inner();
    for service in ["", "lictor.server.v1.SeatService"] {
        let answer = health.check(about(service)).await.expect("an answer");
        let reason = answer.metadata().get_bin("lictor-reason-bin").expect("a reason").to_bytes().expect("bytes");
        let reason = String::from_utf8(reason.to_vec()).expect("text");
        assert!(reason.starts_with("licenses: ") && reason.len() > 20, "{reason}");
        assert_eq!(answer.get_ref().status(), ServingStatus::NotServing);
    }
    assert_eq!(health.check(about("else")).await.expect_err("unknown").code(), Code::NotFound);

    server.licensed(vec![add(1, 201, 1)]).await;
    let serving = |answer: &HealthCheckResponse| answer.status() == ServingStatus::Serving;
    loop {
        if serving(&watch.message().await.expect("no failure").expect("not over")) {
            break;
        }
    }
    let answer = health.check(about("")).await.expect("an answer");
    assert!(serving(answer.get_ref()) && answer.metadata().get_bin("lictor-reason-bin").is_none());
    // As orchestrators ask: over TLS, without a token.
    let (channel, _) = tls_channel(server.server.addresses().grpc).await;
    let over_tls = HealthClient::new(channel).check(about("")).await.expect("an answer");
    assert!(serving(over_tls.get_ref()));

    // A server that stops serves nothing any more.
    server.server.running.shutdown();
    while let Ok(Some(answer)) = watch.message().await {
        assert!(!serving(&answer));
    }
    server.server.running.wait().await.expect("a clean stop");
}
