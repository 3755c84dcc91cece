//! The environment of an image: what is imported at the start, what is refused, and what health says.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lictor_license_file::{context, segment::Operation};

use crate::stage::port::a_port;
use crate::stage::vendor::{FIRM, Vendor, add};

/// The environment, the exit code, what is said.
type Case<'a> = (&'a [(&'a str, &'a str)], i32, &'a str);

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Ends only this very child; it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(folder: &Path, http: SocketAddr, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-server"));
    command
        .env_clear()
        .env("LICTOR_STATE_DIR", folder)
        .env("GRPC_LISTEN", "127.0.0.1:0")
        .env("HTTP_LISTEN", http.to_string())
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs until it ends by itself.
fn ends(folder: &Path, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output: Output = command(folder, a_port(), environment).output().expect("it runs and ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs until health is decided; gives the server with the last answer of `health`.
fn serves(folder: &Path, environment: &[(&str, &str)], healthy: bool) -> (Server, String) {
    let http = a_port();
    let mut server = command(folder, http, environment);
    let mut server = Server(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started"));
    let begun = Instant::now();
    loop {
        let asked = command(folder, http, &[]).arg("health").output().expect("asked");
        let text = String::from_utf8_lossy(if healthy { &asked.stdout } else { &asked.stderr }).into_owned();
        // Nobody listens yet: that is no answer.
        if asked.status.success() == healthy && text.contains("licenses") {
            return (server, text);
        }
        assert!(server.0.try_wait().expect("asked").is_none(), "it ended");
        assert!(begun.elapsed() < Duration::from_secs(30), "health does not become {healthy}: {text}");
        std::thread::yield_now();
    }
}

/// A context of the container in a folder, taken while no server runs there.
async fn context_of(folder: &Path) -> Vec<u8> {
    let clock = lictor_clock::ManualClock::new(crate::stage::vendor::start_of_tests());
    let settings = lictor_license_server::Settings::loopback(folder.to_owned());
    let server = lictor_license_server::start_server(settings, clock.shared()).await.expect("a server");
    let channel = crate::stage::client::unix_channel(&server.socket).await;
    let mut containers = lictor_api::server::v1::container_service_client::ContainerServiceClient::new(channel);
    let request =
        lictor_api::server::v1::CreateContextRequest { firm_code: FIRM, serial: String::new(), challenge: Vec::new() };
    let context = containers.create_context(request).await.expect("a context").into_inner().context;
    drop(containers);
    server.running.shutdown();
    server.running.wait().await.expect("a clean stop");
    context
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_the_environment_are_imported_once_and_again_when_they_change() {
    let (folder, files) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let mut vendor = Vendor::new(FIRM, 1);
    let (lif, rau) = (files.path().join("vendor.lif"), files.path().join("box.rau"));
    std::fs::write(&lif, vendor.lif()).expect("written");
    // Nothing to hand out yet, and health says so.
    let lif_alone = lif.display().to_string();
    let (server, why) = serves(folder.path(), &[("CM_LICENSE_FILE", &lif_alone)], false);
    assert!(why.contains("licenses"), "{why}");
    drop(server);

    let operations =
        |number: u128| -> Vec<Operation> { vec![add(number, 200 + u32::try_from(number).expect("small"), 1)] };
    let asked = context_of(folder.path()).await;
    std::fs::write(&rau, vendor.update(&asked, operations(1))).expect("written");
    // The update stands before what makes its container; it is in text armor, as it came by mail.
    let text = lictor_license_file::armor::wrap(&std::fs::read(&rau).expect("read"));
    std::fs::write(&rau, text).expect("written");
    let both = format!("{},{}", rau.display(), lif.display());
    let environment = [("CM_LICENSE_FILE", both.as_str()), ("CM_LOG_BOOTSTRAP", "on"), ("CM_NETWORK_SERVER", "off")];
    for _ in 0..2 {
        drop(serves(folder.path(), &environment, true));
    }
    let after = context_of(folder.path()).await;
    assert_eq!(context::read(&after).expect("a context").context.counter, 1);
    std::fs::write(&rau, vendor.update(&after, operations(2))).expect("written");
    drop(serves(folder.path(), &environment, true));
    assert_eq!(context::read(&context_of(folder.path()).await).expect("a context").context.counter, 2);
    // From nothing: the update is for the container that was.
    let fresh = tempfile::tempdir().expect("a folder");
    let (code, why) = ends(fresh.path(), &environment);
    assert_eq!(code, Some(17), "{why}");
    assert!(why.contains("box.rau cannot be imported") && why.contains("next:"), "{why}");
}

#[test]
fn bad_environments_end_the_start_with_the_exit_codes_that_users_know() {
    let (folder, files) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let path = |name: &str| files.path().join(name).display().to_string();
    std::fs::write(path("good.lif"), Vendor::new(FIRM, 1).lif()).expect("written");
    std::fs::write(path("garbage"), b"garbage").expect("written");
    let (good, garbage, missing) = (path("good.lif"), path("garbage"), path("missing"));
    let second = format!("{good},{missing}");
    let cases: [Case<'_>; 8] = [
        (&[("CM_LICENSE_FILE", &missing)], 16, "missing is missing or cannot be read"),
        (&[("CM_LICENSE_FILE", &second)], 16, "missing is missing or cannot be read"),
        (&[("CM_LICENSE_FILE", &garbage)], 17, "garbage cannot be imported"),
        (&[("CM_REMOTE_SERVER", "no server")], 15, "CM_REMOTE_SERVER"),
        (&[("CM_CMCLOUD_CREDENTIALS", &good)], 15, "no cloud containers"),
        (&[("CM_CMCLOUD_CREDENTIALS", &good), ("CM_LICENSE_FILE", &good)], 15, "do not go together"),
        (&[("CM_USE_BROADCAST_REMOTE_SERVERS", "on")], 15, "CM_USE_BROADCAST_REMOTE_SERVERS"),
        (&[("CM_LOG_BOOTSTRAP", "loud")], 2, "CM_LOG_BOOTSTRAP"),
    ];
    for (environment, code, word) in cases {
        let (ended, said) = ends(folder.path(), environment);
        assert_eq!(ended, Some(code), "{environment:?}: {said}");
        assert!(said.contains(word), "{environment:?}: {said}");
    }
    // Nothing of the second case was imported: a missing file is noticed before.
    assert!(ends(folder.path(), &[("CM_LICENSE_FILE", &missing)]).0 == Some(16));
    drop(serves(folder.path(), &[], false));
}
