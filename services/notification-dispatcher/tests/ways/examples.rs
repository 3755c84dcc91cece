//! The examples that receivers of their own start from: a gRPC Transmitter, and the program of the page.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use lictor_api::notification::v1::{CustomTransmission, transmission::Kind};
use lictor_notification_dispatcher::{
    domain::outcome::{Attempt, AttemptResult},
    transmission::{
        Transmission, executable::ExecutableSender, guard::SystemNames, transmitter::TransmitterSender, way::CustomWay,
    },
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::shipments::{clock, local, options, shipment};

/// The example's program, which `cargo test` builds beside the tests.
fn example() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a program");
    let target = test.parent().and_then(Path::parent).expect("it lies in a target folder");
    target.join("examples/transmitter")
}

struct Example {
    url: String,
    _child: Child,
}

async fn start(folder: &Path, token: &Path, tls: Option<(&Path, &Path)>) -> Example {
    let mut command = Command::new(example());
    command.arg("127.0.0.1:0").arg(folder).arg(token);
    if let Some((certificate, key)) = tls {
        command.arg(certificate).arg(key);
    }
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the example is built");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let address = lines.next_line().await.expect("a line").expect("an address");
    let scheme = if tls.is_some() { "https" } else { "http" };
    Example { url: format!("{scheme}://{address}"), _child: child }
}

async fn send(sender: &TransmitterSender, url: &str, token: &str) -> (String, Vec<u8>, Attempt) {
    let custom = CustomTransmission { target: url.to_owned(), token: token.to_owned() };
    let shipment = shipment(Kind::Custom(custom), 1);
    let Transmission::Custom(CustomWay::Transmitter(way)) = &*shipment.transmission else {
        panic!("an address is a Transmitter");
    };
    (shipment.event_id.clone(), shipment.body.to_vec(), sender.send(way, &shipment, &*clock()).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_a_transmitter_keeps_each_notification_once() {
    lictor_runtime::install_crypto_provider();
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("certificate.pem"), made.cert.pem()).expect("a file");
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).expect("a file");
    std::fs::write(path("token.txt"), "s3cret\n").expect("a file");
    std::fs::create_dir(path("inbox")).expect("a folder");
    let tls = (path("certificate.pem"), path("key.pem"));
    let example = start(&path("inbox"), &path("token.txt"), Some((&tls.0, &tls.1))).await;
    let sender = TransmitterSender::new(&options(local(), Some(made.cert.pem())), Arc::new(SystemNames));
    let sender = sender.expect("a sender");

    let (_, _, attempt) = send(&sender, &example.url, "wrong").await;
    assert_eq!(attempt.result, AttemptResult::Refused, "{attempt:?}");
    assert_eq!(std::fs::read_dir(path("inbox")).expect("a folder").count(), 0);
    for note in ["kept", "already there: kept before"] {
        let (id, body, attempt) = send(&sender, &example.url, "s3cret").await;
        assert_eq!((attempt.result, attempt.answer.as_str()), (AttemptResult::Taken, note));
        assert_eq!(std::fs::read(path("inbox").join(format!("{id}.json"))).expect("it is kept"), body);
    }
    assert_eq!(std::fs::read_dir(path("inbox")).expect("a folder").count(), 1, "no draft is left");
    // A full or missing disk is no reason to lose anything: it comes again.
    std::fs::remove_dir_all(path("inbox")).expect("away");
    let (_, _, attempt) = send(&sender, &example.url, "s3cret").await;
    assert_eq!(attempt.result, AttemptResult::Refused, "{attempt:?}");
}

#[tokio::test]
async fn the_program_of_the_page_keeps_each_notification_once() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/notification-ways.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let script = page.split("```sh\n").find(|part| part.starts_with("#!/bin/sh")).expect("an example");
    let script = script.split("```").next().expect("its text");
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("to-erp");
    std::fs::write(&program, script).expect("a program");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    std::fs::create_dir(folder.path().join("inbox")).expect("a folder");
    let sender = ExecutableSender::new(Some(folder.path().to_owned()), Duration::from_secs(30));
    let custom = CustomTransmission { target: "to-erp".to_owned(), token: String::new() };
    let shipment = shipment(Kind::Custom(custom), 1);
    let Transmission::Custom(CustomWay::Executable(name)) = &*shipment.transmission else {
        panic!("a program's name is a program");
    };
    for _ in 0..2 {
        let attempt = sender.send(name, &shipment, &*clock()).await;
        assert_eq!(attempt.result, AttemptResult::Taken, "{attempt:?}");
        let kept = folder.path().join("inbox").join(format!("{}.json", shipment.event_id));
        let kept: serde_json::Value =
            serde_json::from_slice(&std::fs::read(kept).expect("it is kept")).expect("whole JSON");
        assert_eq!(kept, serde_json::from_slice::<serde_json::Value>(&shipment.body).expect("JSON"));
    }
    assert_eq!(std::fs::read_dir(folder.path().join("inbox")).expect("a folder").count(), 1);
}
