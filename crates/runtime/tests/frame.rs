//! A running frame: health, readiness, metrics, the gate, TLS, and its end.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use lictor_runtime::{Frame, HeldListeners, ListenSettings, Running, StartError, client, open_gate};
use tonic::{Code, Status, service::Routes, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

async fn frame() -> Frame {
    Frame::bind("test", &ListenSettings::loopback()).await.expect("free ports")
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answer");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

async fn get_async(address: SocketAddr, path: &'static str) -> (u16, String) {
    tokio::task::spawn_blocking(move || get(address, path)).await.expect("no panic")
}

async fn wait_for(what: &str, condition: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < end, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn ready_tells_which_check_fails_and_why() {
    let frame = frame().await;
    let good = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&good);
    frame.readiness().add("database", move || {
        let good = seen.load(Ordering::SeqCst);
        async move { if good { Ok(()) } else { Err("no answer".to_owned()) } }
    });
    frame.readiness().add("keys", || async { Ok(()) });
    let running = frame.serve(Routes::default(), open_gate());
    let http = running.addresses().http;
    assert_eq!(get_async(http, "/live").await.0, 200);
    let (status, body) = get_async(http, "/ready").await;
    assert_eq!(status, 503);
    assert_eq!(
        body,
        r#"{"ready":false,"checks":[{"name":"database","ready":false,"reason":"no answer"},{"name":"keys","ready":true}]}"#
    );
    good.store(true, Ordering::SeqCst);
    wait_for("ready", async || get_async(http, "/ready").await.0 == 200).await;
    assert_eq!(get_async(http, "/nothing").await.0, 404);
    stop(running).await;
}

#[tokio::test]
async fn check_that_hangs_counts_as_failed() {
    let frame = frame().await;
    frame.readiness().add("hangs", std::future::pending::<Result<(), String>>);
    let report = frame.readiness().report().await;
    assert!(!report.ready);
    assert_eq!(report.checks[0].reason.as_deref(), Some("no answer within 2 s"));
}

#[tokio::test]
async fn grpc_health_follows_the_checks_and_needs_no_token() {
    let frame = frame().await;
    let good = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&good);
    frame.readiness().add("job", move || {
        let good = seen.load(Ordering::SeqCst);
        async move { good.then_some(()).ok_or_else(|| "cannot".to_owned()) }
    });
    let gate: lictor_runtime::Gate = Arc::new(|_| Box::pin(async { Err(Status::unauthenticated("nobody")) }));
    let running = frame.serve(Routes::default(), gate);
    let channel = client::channel(&format!("http://{}", running.addresses().grpc), None, None).expect("a channel");
    let ask = async || {
        let mut health = HealthClient::new(channel.clone());
        let request = HealthCheckRequest { service: String::new() };
        health.check(request).await.map(|answer| answer.into_inner().status())
    };
    wait_for("serving", async || ask().await.is_ok_and(|status| status == ServingStatus::Serving)).await;
    good.store(false, Ordering::SeqCst);
    wait_for("not serving", async || ask().await.is_ok_and(|status| status == ServingStatus::NotServing)).await;
    stop(running).await;
}

/// Calls a path that no service answers.
async fn call(address: SocketAddr, path: &'static str, token: Option<client::TokenSource>) -> Status {
    let channel = client::channel(&format!("http://{address}"), None, token).expect("a channel");
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.expect("ready");
    let codec = tonic_health_codec();
    grpc.unary(tonic::Request::new(HealthCheckRequest::default()), path.parse().expect("a path"), codec)
        .await
        .map(|_: tonic::Response<tonic_health::pb::HealthCheckResponse>| ())
        .expect_err("nobody answers this path")
}

fn tonic_health_codec() -> tonic_prost::ProstCodec<HealthCheckRequest, tonic_health::pb::HealthCheckResponse> {
    tonic_prost::ProstCodec::default()
}

#[tokio::test]
async fn gate_sees_path_and_token_before_anything_else() {
    let frame = frame().await;
    let gate: lictor_runtime::Gate = Arc::new(|parts| {
        Box::pin(async move {
            let token = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
            match (parts.uri.path(), token) {
                ("/a.B/C", Some("Bearer secret")) => Ok(parts),
                _ => Err(Status::permission_denied("not you")),
            }
        })
    });
    let running = frame.serve(Routes::default(), gate);
    let grpc = running.addresses().grpc;
    assert_eq!(call(grpc, "/a.B/C", None).await.code(), Code::PermissionDenied);
    let token: client::TokenSource = Arc::new(|| Ok("secret".to_owned()));
    assert_eq!(call(grpc, "/a.B/C", Some(Arc::clone(&token))).await.code(), Code::Unimplemented, "past the gate");
    assert_eq!(call(grpc, "/a.B/D", Some(token)).await.code(), Code::PermissionDenied);

    let (_, metrics) = get_async(running.addresses().http, "/metrics").await;
    assert!(metrics.contains(r#"lictor_grpc_calls_total{method="refused",code="PermissionDenied"} 2"#), "{metrics}");
    assert!(!metrics.contains("/a.B/C"), "paths from outside are no labels: {metrics}");
    stop(running).await;
}

#[tokio::test]
async fn tls_is_spoken_when_set_and_binds_the_channel() {
    lictor_runtime::install_crypto_provider();
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("write");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("write");
    let mut listen = ListenSettings::loopback();
    listen.tls = Some(lictor_runtime::server_config(&certificate, &key, None).expect("a configuration"));
    let frame = Frame::bind("test", &listen).await.expect("free ports");
    let seen = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&seen);
    let gate: lictor_runtime::Gate = Arc::new(move |parts| {
        let bound = parts.extensions.get::<lictor_runtime::Peer>().is_some_and(|peer| peer.exporter.is_some());
        noted.store(bound, Ordering::SeqCst);
        Box::pin(async move { Ok(parts) })
    });
    let running = frame.serve(Routes::default(), gate);
    let port = running.addresses().grpc.port();

    let url = format!("https://localhost:{port}");
    let channel = client::channel(&url, Some(&made.cert.pem()), None).expect("a channel");
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.expect("ready");
    let request = tonic::Request::new(HealthCheckRequest::default());
    let answer: Result<tonic::Response<tonic_health::pb::HealthCheckResponse>, Status> =
        grpc.unary(request, "/a.B/C".parse().expect("a path"), tonic_health_codec()).await;
    assert_eq!(answer.expect_err("not answered").code(), Code::Unimplemented);
    assert!(seen.load(Ordering::SeqCst), "the gate saw the channel's keying material");

    let plain = Endpoint::from_shared(format!("http://localhost:{port}")).expect("an address").connect().await;
    let refused = match plain {
        Err(_) => true,
        Ok(channel) => HealthClient::new(channel).check(HealthCheckRequest::default()).await.is_err(),
    };
    assert!(refused, "plain text gets no answer");
    stop(running).await;
}

#[tokio::test]
async fn taken_port_is_told_in_one_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut listen = ListenSettings::loopback();
    listen.grpc = taken.local_addr().expect("an address");
    let error = Frame::bind("test", &listen).await.expect_err("taken");
    assert_eq!(error.exit_code(), 6);
    let text = error.to_string();
    assert!(text.contains("is in use by another program; next: stop it, or set GRPC_LISTEN"), "{text}");
}

#[tokio::test]
async fn idle_service_stops_within_a_second_and_runs_its_last_steps() {
    let frame = frame().await;
    let closed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&closed);
    frame.lifecycle().on_stop(async move { seen.store(true, Ordering::SeqCst) });
    let soft = frame.lifecycle().soft();
    frame.lifecycle().spawn("watcher", async move {
        soft.cancelled().await;
        Ok::<(), StartError>(())
    });
    let running = frame.serve(Routes::default(), open_gate());
    // An idle client must not hold the service.
    let channel =
        Endpoint::from_shared(format!("http://{}", running.addresses().grpc)).expect("an address").connect().await;
    let keep_alive = TcpStream::connect(running.addresses().http).expect("connect");
    let begun = Instant::now();
    running.shutdown();
    running.wait().await.expect("in order");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(closed.load(Ordering::SeqCst));
    assert!(TcpStream::connect(running.addresses().grpc).is_err(), "the port is free again");
    drop((channel, keep_alive));
}

#[tokio::test]
async fn task_that_ends_early_ends_the_service_with_its_reason() {
    for (name, expected) in [("returns", "before a stop"), ("fails", "the disk is gone"), ("panics", "panicked")] {
        let frame = frame().await;
        frame.lifecycle().spawn(name, async move {
            match name {
                "fails" => Err(StartError::settings("the disk is gone")),
                "panics" => panic!("for the test"),
                _ => Ok(()),
            }
        });
        let running = frame.serve(Routes::default(), open_gate());
        let ended = tokio::time::timeout(Duration::from_secs(5), running.wait()).await.expect("it ends");
        let error = ended.expect_err("with an error");
        assert_eq!(error.part, name);
        assert!(error.reason.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn call_that_does_not_end_is_cut_after_the_grace() {
    let mut listen = ListenSettings::loopback();
    listen.shutdown_grace = Duration::from_millis(200);
    let frame = Frame::bind("test", &listen).await.expect("free ports");
    frame.lifecycle().spawn("stubborn", std::future::pending::<Result<(), StartError>>());
    let running = frame.serve(Routes::default(), open_gate());
    let begun = Instant::now();
    running.shutdown();
    running.wait().await.expect("cut, but in order");
    assert!((Duration::from_millis(200)..Duration::from_secs(2)).contains(&begun.elapsed()));
}

#[tokio::test]
async fn slow_head_of_a_request_is_not_waited_for() {
    let running = frame().await.serve(Routes::default(), open_gate());
    let address = running.addresses().http;
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a time limit");
        stream.write_all(b"GET /live HTT").expect("send");
        let mut rest = Vec::new();
        let begun = Instant::now();
        let _ = stream.read_to_end(&mut rest);
        begun.elapsed()
    })
    .await
    .expect("no panic");
    assert!(answer < Duration::from_secs(10), "{answer:?}");
    stop(running).await;
}

#[tokio::test]
async fn storm_of_calls_waits_instead_of_being_refused() {
    let frame = frame().await;
    // Every call takes a moment, so that far more than have a place are there at once.
    let gate: lictor_runtime::Gate = Arc::new(|parts| {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(parts)
        })
    });
    let running = frame.serve(Routes::default(), gate);
    let url = format!("http://{}", running.addresses().grpc);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let channel = client::channel(&url, None, None).expect("a channel");
        for _ in 0..400 {
            let mut grpc = tonic::client::Grpc::new(channel.clone());
            calls.spawn(async move {
                grpc.ready().await.expect("ready");
                let request = tonic::Request::new(HealthCheckRequest::default());
                let answer: Result<tonic::Response<tonic_health::pb::HealthCheckResponse>, Status> =
                    grpc.unary(request, "/a.B/C".parse().expect("a path"), tonic_health_codec()).await;
                answer.expect_err("nobody answers this path").code()
            });
        }
    }
    while let Some(code) = calls.join_next().await {
        assert_eq!(code.expect("no panic"), Code::Unimplemented);
    }
    stop(running).await;
}

#[tokio::test]
async fn unavailable_call_is_repeated_until_the_patience_ends() {
    let tries = std::sync::atomic::AtomicU32::new(0);
    let answer = client::retry_unavailable(Duration::from_secs(5), || async {
        if tries.fetch_add(1, Ordering::SeqCst) < 2 { Err(Status::unavailable("down")) } else { Ok(7) }
    })
    .await;
    assert_eq!(answer.expect("at last"), 7);
    let other =
        client::retry_unavailable(Duration::from_secs(5), || async { Err::<(), _>(Status::not_found("x")) }).await;
    assert_eq!(other.expect_err("at once").code(), Code::NotFound);
    let never =
        client::retry_unavailable(Duration::from_millis(120), || async { Err::<(), _>(Status::unavailable("down")) })
            .await;
    assert_eq!(never.expect_err("given up").code(), Code::Unavailable);
}

async fn stop(running: Running) {
    running.shutdown();
    running.wait().await.expect("in order");
}

#[tokio::test]
async fn a_held_listener_is_used_once_and_one_of_another_address_stays() {
    let held = |_| std::net::TcpListener::bind(("127.0.0.1", 0)).expect("free ports");
    let [grpc, http, other] = [0; 3].map(held);
    let address = |listener: &std::net::TcpListener| listener.local_addr().expect("address");
    let (at, other_at) = ((address(&grpc), address(&http)), address(&other));
    let mut listen = ListenSettings::loopback();
    (listen.grpc, listen.http) = at;
    listen.held = HeldListeners::new(vec![other, http, grpc]);
    let frame = Frame::bind("test", &listen).await.expect("its own listeners are no obstacle");
    assert_eq!((frame.addresses().grpc, frame.addresses().http), at);
    assert!(listen.held.take(at.0).is_none(), "handed out once");
    assert!(listen.held.take(other_at).is_some());
}
