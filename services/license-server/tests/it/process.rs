//! The real program: killed in the middle, started twice, started wrongly.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lictor_api::server::v1::container_service_client::ContainerServiceClient;
use lictor_api::server::v1::{CreateContainerRequest, CreateContextRequest, ImportUpdateRequest, ListSessionsRequest};
use lictor_clock::{Clock as _, SystemClock};

use crate::stage::client::{RawClient, unix_channel};
use crate::stage::scale;
use crate::stage::vendor::{FIRM, Vendor, add};

/// The program on a folder, ended with the test.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) socket: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        // Ends only this very child; it may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-server"));
    command
        .env_clear()
        .env("LICTOR_STATE_DIR", folder)
        .env("GRPC_LISTEN", "127.0.0.1:0")
        .env("HTTP_LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

impl Program {
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::spawn(folder, command(folder)).await
    }

    /// With a known HTTP address.
    pub(crate) async fn start_with_http(folder: &Path) -> (Self, std::net::SocketAddr) {
        let free = crate::stage::port::a_port();
        let mut command = command(folder);
        command.env("HTTP_LISTEN", free.to_string());
        (Self::spawn(folder, command).await, free)
    }

    /// With more in its environment.
    pub(crate) async fn start_with(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = command(folder);
        command.envs(environment.iter().copied());
        Self::spawn(folder, command).await
    }

    async fn spawn(folder: &Path, mut command: Command) -> Self {
        let socket = folder.join("lictor.sock");
        // Left over from a kill: the new one takes its place, and only the new one must be met.
        let _ = std::fs::remove_file(&socket);
        let mut child = command.spawn().expect("started");
        let begun = Instant::now();
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            assert!(child.try_wait().expect("asked").is_none(), "it ended at once");
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not come up");
            tokio::task::yield_now().await;
        }
        Self { child, socket }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

/// CPU time that a process has used so far.
pub(crate) fn cpu_of(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let after_name = stat.rsplit_once(')').expect("a name").1;
    let fields: Vec<u64> = after_name.split_whitespace().skip(11).take(2).map(|n| n.parse().expect("ticks")).collect();
    // A tick is a hundredth of a second on every Linux that this runs on.
    Duration::from_millis(10 * fields.iter().sum::<u64>())
}

/// The value of a metric without labels.
pub(crate) async fn metric(http: std::net::SocketAddr, name: &'static str) -> f64 {
    let page = tokio::task::spawn_blocking(move || crate::stage::client::http_get(http, "/metrics"));
    let page = page.await.expect("joined");
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("the metric");
    line.trim().parse().expect("a number")
}

fn output(folder: &Path, change: impl FnOnce(&mut Command) -> &mut Command) -> Output {
    let mut command = command(folder);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    change(&mut command).output().expect("it runs and ends")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) async fn fill(socket: &Path, seats: u32) {
    fill_with(socket, &mut Vendor::new(FIRM, 1), seats).await;
}

/// Makes the container for a vendor and puts a licence into it.
pub(crate) async fn fill_with(socket: &Path, vendor: &mut Vendor, seats: u32) {
    let mut containers = ContainerServiceClient::new(unix_channel(socket).await);
    assert!(SystemClock.now() > crate::stage::vendor::start_of_tests(), "the machine's clock is set");
    containers.create_container(CreateContainerRequest { lif: vendor.lif(), kind: 0 }).await.expect("created");
    let request = CreateContextRequest { firm_code: FIRM, serial: String::new(), challenge: Vec::new() };
    let context = containers.create_context(request).await.expect("a context").into_inner().context;
    let update = vendor.update(&context, vec![add(1, 201, seats)]);
    containers.import_update(ImportUpdateRequest { update }).await.expect("imported");
}

async fn session_ids(socket: &Path) -> Vec<String> {
    let mut containers = ContainerServiceClient::new(unix_channel(socket).await);
    let sessions = containers.list_sessions(ListSessionsRequest {}).await.expect("sessions").into_inner().sessions;
    sessions.into_iter().map(|session| session.session_id).collect()
}

/// Eight clients take seats as fast as they can until the server is gone; gives what each wish was answered.
async fn storm(socket: &Path, round: u8, program: Program) -> BTreeMap<(u8, u8), String> {
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..8_u8 {
        let mut client = RawClient::connect(socket, 1 + number + 8 * round).await;
        clients.spawn(async move {
            let mut acknowledged = Vec::new();
            for wish in 0..60_u8 {
                let mut request = client.wish(wish, 201);
                request.request_id = vec![number, wish, round, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                // No seat of the crash may be counted twice, so every wish is for a seat of its own.
                match client.seats.acquire(request).await {
                    Ok(answer) => match answer.into_inner().outcome {
                        Some(lictor_api::server::v1::acquire_response::Outcome::Grant(grant)) => {
                            acknowledged.push(((number, wish), grant.session_id));
                        }
                        other => panic!("there are seats enough: {other:?}"),
                    },
                    Err(_) => break,
                }
            }
            acknowledged
        });
    }
    // Somewhere in the middle: as soon as some seats are out.
    let begun = Instant::now();
    while session_ids(socket).await.len() < 40 * (usize::from(round) + 1) && begun.elapsed() < Duration::from_secs(10) {
        tokio::task::yield_now().await;
    }
    program.kill();
    let mut all = BTreeMap::new();
    while let Some(done) = clients.join_next().await {
        all.extend(done.expect("joined"));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_a_storm_every_acknowledged_seat_is_back_and_none_is_doubled() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(folder.path()).await;
    fill(&program.socket, 100_000).await;
    let rounds = u8::try_from(2 * scale().min(5)).expect("few");
    let mut acknowledged = BTreeMap::new();
    for round in 0..rounds {
        let socket = program.socket.clone();
        for ((client, wish), session) in storm(&socket, round, program).await {
            acknowledged.insert((round, client, wish), session);
        }
        program = Program::start(folder.path()).await;
        let live = session_ids(&program.socket).await;
        let distinct: std::collections::BTreeSet<_> = live.iter().collect();
        assert_eq!(distinct.len(), live.len());
        for (wish, session) in &acknowledged {
            assert!(live.contains(session), "{wish:?} was acknowledged as {session} and is gone");
        }
        // The same wish again is the same session, whether its answer came or not.
        let mut client = RawClient::connect(&program.socket, 1 + 8 * round).await;
        for wish in 0..60_u8 {
            let mut request = client.wish(wish, 201);
            request.request_id = vec![0, wish, round, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let grant = client.ask(request).await.expect("a seat");
            if let Some(session) = acknowledged.get(&(round, 0, wish)) {
                assert_eq!(*session, grant.session_id, "{wish}");
            } else {
                acknowledged.insert((round, 0, wish), grant.session_id);
            }
        }
    }
    assert!(acknowledged.len() > 50, "{} seats were acknowledged", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_folder_is_refused_and_told_who_holds_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(folder.path()).await;
    let second = output(folder.path(), |command| command);
    assert_eq!(second.status.code(), Some(6));
    let pid = program.child.id().to_string();
    assert!(said(&second).contains("is in use by") && said(&second).contains(&pid), "{}", said(&second));
    program.kill();
    // A killed server holds nothing any more.
    drop(Program::start(folder.path()).await);
}

#[test]
fn a_port_in_use_is_said_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let refused = output(folder.path(), |command| command.env("GRPC_LISTEN", &address));
    assert_eq!(refused.status.code(), Some(6));
    assert!(said(&refused).contains(&format!("{address} for the gRPC listener is in use")), "{}", said(&refused));
}

#[test]
fn wrong_settings_are_all_told_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = output(folder.path(), |command| {
        command
            .arg("--check-config")
            .env("LICTOR_LOCAL_SUBNETS", "10.0.0.0/99")
            .env("CM_NETWORK_SERVER", "maybe")
            .env("LICTOR_RECONNECT_GRACE", "1s")
    });
    assert_eq!(refused.status.code(), Some(2));
    for name in ["LICTOR_LOCAL_SUBNETS", "CM_NETWORK_SERVER", "LICTOR_BEAT_INTERVAL"] {
        assert!(said(&refused).contains(name), "{name}: {}", said(&refused));
    }
    assert!(output(folder.path(), |command| command.arg("--check-config")).status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_folder_is_refused_and_lost_keys_are_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(folder.path()).await;
    fill(&program.socket, 5).await;
    program.kill();
    let keys = folder.path().join("keys");
    let kept = std::fs::read(&keys).expect("read");
    std::fs::remove_file(&keys).expect("removed");
    let refused = output(folder.path(), |command| command);
    assert!(!refused.status.success() && said(&refused).contains("keys"), "{}", said(&refused));
    std::fs::write(&keys, kept).expect("written");

    let journal = std::fs::read_dir(folder.path())
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal-")))
        .max_by_key(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len()))
        .expect("a journal");
    let mut bytes = std::fs::read(&journal).expect("read");
    bytes[100] ^= 1;
    std::fs::write(&journal, bytes).expect("written");
    let refused = output(folder.path(), |command| command);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("is damaged") && said(&refused).contains("next:"), "{}", said(&refused));
}
