//! The guard against requests to places that only we can reach, down to the socket.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use lictor_clock::SystemClock;
use lictor_licensing::id::{DestinationId, EventId};
use lictor_notification_dispatcher::{
    domain::{
        outcome::{Attempt, AttemptResult},
        target::Target,
    },
    transmission::{
        Shipment, Transmission,
        guard::{LookUp, Names},
        webhook::{Sender, WebhookOptions},
    },
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::receiver::{Answer, Receiver};

/// Name servers that say something else each time, as an attacker's do.
#[derive(Debug, Default)]
struct Rebinding(Mutex<VecDeque<io::Result<Vec<IpAddr>>>>);

impl Names for Rebinding {
    fn look_up<'a>(&'a self, _host: &'a str) -> LookUp<'a> {
        let next = self.0.lock().expect("a lock").pop_front();
        Box::pin(async move { next.unwrap_or_else(|| Err(io::Error::other("asked once too often"))) })
    }
}

type Found = io::Result<Vec<IpAddr>>;

async fn send(url: &str, allow: &str, answers: Vec<Found>) -> (Attempt, usize) {
    send_trusting(url, allow, answers, None).await
}

/// Makes one attempt, and tells how many prepared look-ups were not asked for.
async fn send_trusting(url: &str, allow: &str, answers: Vec<Found>, extra_ca: Option<String>) -> (Attempt, usize) {
    lictor_runtime::install_crypto_provider();
    let names = Arc::new(Rebinding(Mutex::new(answers.into())));
    let options =
        WebhookOptions { deadline: Duration::from_secs(2), allow: Arc::new(allow.parse().expect("a list")), extra_ca };
    let sender = Sender::new(options, Arc::clone(&names) as Arc<dyn Names>).expect("a sender");
    let target = Target::stored(url).expect("a URL");
    let shipment = Shipment {
        event_id: EventId::from_u128(1).to_string(),
        destination_id: DestinationId::from_u128(1),
        transmission: Arc::new(Transmission::Webhook(target.clone())),
        keys: Arc::default(),
        content_type: "application/json",
        timeout: None,
        body: b"{}".to_vec().into(),
        traceparent: None,
        number: 1,
    };
    let attempt = sender.send(&target, &shipment, &SystemClock).await;
    let left = names.0.lock().expect("a lock").len();
    (attempt, left)
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 215, 14));

#[tokio::test]
async fn literal_addresses_are_refused_without_a_connection() {
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let port = receiver.address.port();
    for host in
        ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "0x7f000001", "2130706433", "127.1", "169.254.169.254"]
    {
        let (attempt, _) = send(&format!("https://{host}:{port}/"), "", Vec::new()).await;
        assert_eq!(attempt.result, AttemptResult::Blocked, "{host}");
    }
    assert!(receiver.all().is_empty());
}

#[tokio::test]
async fn plain_http_is_refused_where_it_is_not_allowed() {
    let (attempt, left) = send("http://hooks.example.com/", "", vec![Ok(vec![PUBLIC])]).await;
    assert_eq!((attempt.result, left), (AttemptResult::Blocked, 1), "nothing is even looked up");
}

#[tokio::test]
async fn name_that_leads_inside_is_refused() {
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let url = format!("https://hooks.example.com:{}/", receiver.address.port());
    for inside in [
        vec![LOOPBACK],
        vec![PUBLIC, LOOPBACK],
        vec!["::ffff:127.0.0.1".parse().expect("an address")],
        vec!["64:ff9b::7f00:1".parse().expect("an address")],
        vec!["2002:7f00:1::".parse().expect("an address")],
        vec!["169.254.169.254".parse().expect("an address")],
        vec!["fd00:ec2::254".parse().expect("an address")],
    ] {
        let (attempt, _) = send(&url, "", vec![Ok(inside.clone())]).await;
        assert_eq!(attempt.result, AttemptResult::Blocked, "{inside:?}: {}", attempt.answer);
    }
    assert!(receiver.all().is_empty());
}

#[tokio::test]
async fn name_is_looked_up_once_per_connection() {
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let url = format!("http://hooks.test:{}/", receiver.address.port());
    // Allowed by name; a second look-up would find something else, and nobody may ask for it.
    let answers = vec![Ok(vec![LOOPBACK]), Ok(vec![PUBLIC])];
    let (attempt, left) = send(&url, "hooks.test", answers).await;
    assert_eq!((attempt.result, attempt.status, left), (AttemptResult::Taken, 200, 1));
    assert_eq!(receiver.all().len(), 1);
}

#[tokio::test]
async fn name_without_an_address_is_a_failure_of_its_own() {
    for nothing in [Ok(Vec::new()), Err(io::Error::other("no such name"))] {
        let (attempt, _) = send("https://hooks.example.com/", "", vec![nothing]).await;
        assert_eq!(attempt.result, AttemptResult::Dns);
    }
}

#[tokio::test]
async fn certificate_must_come_from_a_trusted_authority() {
    lictor_runtime::install_crypto_provider();
    let made = rcgen::generate_simple_self_signed(vec!["hooks.test".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a server");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://hooks.test:{}/", listener.local_addr().expect("an address").port());
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut head = [0; 4_096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    let answers = || vec![Ok(vec![LOOPBACK])];
    let (attempt, _) = send(&url, "hooks.test", answers()).await;
    assert_eq!(attempt.result, AttemptResult::Tls, "{}", attempt.answer);
    let (attempt, _) = send_trusting(&url, "hooks.test", answers(), Some(made.cert.pem())).await;
    assert_eq!(attempt.result, AttemptResult::Taken, "{}", attempt.answer);
    server.abort();
}
