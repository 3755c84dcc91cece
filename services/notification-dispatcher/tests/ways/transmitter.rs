//! Receivers that are called by gRPC.

use std::sync::{Arc, Mutex};

use lictor_api::notification::v1::{
    CustomTransmission, TransmitRequest, TransmitResponse,
    transmission::Kind,
    transmitter_server::{Transmitter, TransmitterServer},
};
use lictor_notification_dispatcher::{
    domain::{
        allow::AllowList,
        outcome::{Attempt, AttemptResult},
    },
    transmission::{Shipment, Transmission, guard::SystemNames, transmitter::TransmitterSender, way::CustomWay},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

use crate::shipments::{clock, local, options, shipment};

type Answer = Arc<Mutex<Result<TransmitResponse, Status>>>;

#[derive(Clone)]
struct Receiver {
    answer: Answer,
    seen: Arc<Mutex<Vec<(TransmitRequest, String)>>>,
}

#[tonic::async_trait]
impl Transmitter for Receiver {
    async fn transmit(&self, request: Request<TransmitRequest>) -> Result<Response<TransmitResponse>, Status> {
        let token = request.metadata().get("authorization").map(|value| value.to_str().expect("text").to_owned());
        self.seen.lock().expect("a lock").push((request.into_inner(), token.unwrap_or_default()));
        self.answer.lock().expect("a lock").clone().map(Response::new)
    }
}

struct Served {
    receiver: Receiver,
    url: String,
    ca: Option<String>,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(tls: bool) -> Served {
    lictor_runtime::install_crypto_provider();
    let receiver = Receiver { answer: Arc::new(Mutex::new(Ok(TransmitResponse::default()))), seen: Arc::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut builder = Server::builder();
    let mut ca = None;
    if tls {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
        builder = builder.tls_config(ServerTlsConfig::new().identity(identity)).expect("TLS");
        ca = Some(made.cert.pem());
    }
    let stop = CancellationToken::new();
    let router = builder.add_service(TransmitterServer::new(receiver.clone()));
    tokio::spawn(router.serve_with_incoming_shutdown(TcpIncoming::from(listener), stop.clone().cancelled_owned()));
    let scheme = if tls { "https" } else { "http" };
    Served { receiver, url: format!("{scheme}://127.0.0.1:{port}"), ca, stop }
}

fn shipped(url: &str) -> Shipment {
    shipment(Kind::Custom(CustomTransmission { target: url.to_owned(), token: "s3cret".to_owned() }), 1)
}

async fn send(sender: &TransmitterSender, shipment: &Shipment) -> Attempt {
    let Transmission::Custom(CustomWay::Transmitter(way)) = &*shipment.transmission else {
        panic!("an address is a Transmitter");
    };
    sender.send(way, shipment, &*clock()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transmitter_gets_the_same_body_over_tls_and_its_code_decides() {
    let served = serve(true).await;
    let sender = TransmitterSender::new(&options(local(), served.ca.clone()), Arc::new(SystemNames)).expect("a sender");
    let shipment = shipped(&served.url);
    let attempt = send(&sender, &shipment).await;
    assert_eq!(attempt.result, AttemptResult::Taken, "{attempt:?}");
    let (got, token) = served.receiver.seen.lock().expect("a lock").pop().expect("a call");
    assert_eq!((got.event_id, got.body), (shipment.event_id.clone(), shipment.body.to_vec()));
    assert_eq!(token, "Bearer s3cret");
    for (answer, expected) in [
        (Err(Status::already_exists("had it")), AttemptResult::Taken),
        (Ok(TransmitResponse { gone: true, note: String::new() }), AttemptResult::Gone),
        (Err(Status::unavailable("later")), AttemptResult::Refused),
        (Err(Status::unimplemented("what")), AttemptResult::Refused),
        (Ok(TransmitResponse { gone: false, note: "x".repeat(100_000) }), AttemptResult::Refused),
    ] {
        *served.receiver.answer.lock().expect("a lock") = answer;
        let attempt = send(&sender, &shipment).await;
        assert_eq!(attempt.result, expected, "{attempt:?}");
        assert!(attempt.answer.len() <= 2_048);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_nobody_and_an_address_of_ours_are_refused() {
    let served = serve(true).await;
    let stranger = TransmitterSender::new(&options(local(), None), Arc::new(SystemNames)).expect("a sender");
    let attempt = send(&stranger, &shipped(&served.url)).await;
    assert_eq!(attempt.result, AttemptResult::Tls, "{attempt:?}");
    let closed = options(Arc::new(AllowList::default()), served.ca.clone());
    let guarded = TransmitterSender::new(&closed, Arc::new(SystemNames)).expect("a sender");
    // It was allowed when it was added; the operator has closed it since. By number …
    let attempt = send(&guarded, &shipped(&served.url)).await;
    assert_eq!(attempt.result, AttemptResult::Blocked, "{attempt:?}");
    // … and by a name that leads there.
    let attempt = send(&guarded, &shipped(&served.url.replace("127.0.0.1", "localhost"))).await;
    assert_eq!(attempt.result, AttemptResult::Blocked, "{attempt:?}");
    assert!(served.receiver.seen.lock().expect("a lock").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transmitter_that_hangs_or_is_not_there_ends_with_the_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let sender = TransmitterSender::new(&options(local(), None), Arc::new(SystemNames)).expect("a sender");
    let mut shipment = shipped(&url);
    shipment.timeout = Some(std::time::Duration::from_millis(300));
    assert_eq!(send(&sender, &shipment).await.result, AttemptResult::Timeout);
    drop(silent);
    shipment.timeout = Some(std::time::Duration::from_secs(10));
    let attempt = send(&sender, &shipment).await;
    assert!(matches!(attempt.result, AttemptResult::Connect | AttemptResult::Truncated), "{attempt:?}");
}
