//! `lictor run` with real processes: signals, exit codes, a killed server, its own death, and life as the first process.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lictor_api::server::v1::container_service_client::ContainerServiceClient;
use lictor_api::server::v1::{ListSessionsRequest, Session};
use tempfile::TempDir;

use crate::process::{Program, fill};
use crate::stage::client::unix_channel;
use crate::stage::vendor::{FIRM, Vendor};

/// A folder with what `lictor run` and its command need.
struct Stage {
    home: TempDir,
    socket: PathBuf,
}

impl Stage {
    fn of(program: &Program) -> Self {
        Self::at(program.socket.clone())
    }

    fn at(socket: PathBuf) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::write(home.path().join("vendor.lif"), Vendor::new(FIRM, 1).lif()).expect("written");
        std::fs::write(home.path().join("client.toml"), "").expect("written");
        Self { home, socket }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// `lictor run -- /bin/sh -c SCRIPT`, after `before`.
    fn run(&self, before: &[&str], script: &str) -> Child {
        let lictor = env!("CARGO_BIN_EXE_license-server");
        let words: Vec<&str> = before.iter().copied().chain([lictor]).collect();
        Command::new(words[0])
            .args(&words[1..])
            .args(["run", "--firm-code", &FIRM.to_string(), "--product-code", "201", "--trust", "vendor.lif"])
            .args(["--", "/bin/sh", "-c", script])
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("LICTOR_CONFIG", self.path("client.toml"))
            .env("CODEMETER_HOST", format!("unix:{}", self.socket.display()))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("started")
    }

    async fn sessions(&self) -> Vec<Session> {
        let mut containers = ContainerServiceClient::new(unix_channel(&self.socket).await);
        containers.list_sessions(ListSessionsRequest {}).await.expect("sessions").into_inner().sessions
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(30), "{what} does not come true");
        tokio::task::yield_now().await;
    }
}

/// Waits until the command has written its process id.
async fn pid_in(path: &Path) -> u32 {
    let mut pid = None;
    until("the command runs", async || {
        pid = std::fs::read_to_string(path).ok().and_then(|text| text.strip_suffix('\n')?.parse().ok());
        pid.is_some()
    })
    .await;
    pid.expect("a number")
}

/// Whether a process is there and no zombie.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn signal(child: &Child, number: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, number).expect("sent");
}

fn ended(mut child: Child) -> Option<i32> {
    child.wait().expect("waited").code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_goes_on_through_a_killed_server_and_its_exit_code_and_signals_come_through() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(folder.path()).await;
    fill(&program.socket, 1).await;
    let stage = Stage::of(&program);
    let script = "trap 'exit 42' TERM; echo $$ > pid.part; mv pid.part pid; while :; do sleep 0.02; done";
    let run = stage.run(&[], script);
    let pid = pid_in(&stage.path("pid")).await;
    let before = stage.sessions().await;
    assert_eq!(before.len(), 1);

    program.kill();
    let _program = Program::start(folder.path()).await;
    until("the seat is held again", async || {
        let now = stage.sessions().await;
        now.len() == 1 && now[0].session_id == before[0].session_id && now[0].state == "held"
    })
    .await;
    assert!(is_alive(pid));
    signal(&run, rustix::process::Signal::TERM);
    assert_eq!(ended(run), Some(42));
    assert!(stage.sessions().await.is_empty(), "the seat was given back before the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_does_not_outlive_a_killed_lictor_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(folder.path()).await;
    fill(&program.socket, 1).await;
    let stage = Stage::of(&program);
    // It ignores every signal that can be ignored.
    let run =
        stage.run(&[], "trap '' TERM HUP INT QUIT; echo $$ > pid.part; mv pid.part pid; while :; do sleep 0.02; done");
    let pid = pid_in(&stage.path("pid")).await;
    assert!(is_alive(pid));
    signal(&run, rustix::process::Signal::KILL);
    assert_eq!(ended(run), None);
    until("the command is gone", async || !is_alive(pid)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_the_first_process_of_a_container_it_reaps_orphans_and_passes_signals_on() {
    // A process namespace of its own, as a container has; without the right to make one this cannot be tried.
    let first = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let may = Command::new(first[0]).args(&first[1..]).arg("true").stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        // Past the test harness, which keeps what a passing test prints to itself.
        writeln!(
            std::io::stderr(),
            "SKIPPED: no process namespace may be made here, so `lictor run` was not tried as the first process"
        )
        .expect("told");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(folder.path()).await;
    fill(&program.socket, 1).await;
    let stage = Stage::of(&program);
    // Its children lose their parent at once and end soon after; then nothing dead may lie around.
    let script = "
        trap 'exit 42' TERM
        [ $PPID = 1 ] || exit 1
        for n in 1 2 3 4 5 6 7 8; do /bin/sh -c '(sleep 0.05; echo > orphan.'$n') &'; done
        while [ \"$(ls orphan.* 2> /dev/null | wc -l)\" != 8 ]; do sleep 0.02; done
        while grep -q '^[0-9]* (.*) Z' /proc/[0-9]*/stat 2> /dev/null; do sleep 0.02; done
        echo $$ > pid.part; mv pid.part pid
        while :; do sleep 0.02; done";
    let mut run = stage.run(&first, script);
    let reaped = stage.path("pid");
    until("all orphans are reaped", async || {
        assert!(run.try_wait().expect("asked").is_none(), "it ended");
        reaped.exists()
    })
    .await;
    // `unshare` stands before it; the signal is for what it started.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.id())).expect("read");
    let pid = children.trim().parse().ok().and_then(rustix::process::Pid::from_raw).expect("one child");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("sent");
    assert_eq!(ended(run), Some(42));
    assert!(stage.sessions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_while_the_seat_is_asked_for_starts_no_command() {
    // Somebody who takes connections and never says a word.
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("silent.sock");
    let listener = tokio::net::UnixListener::bind(&socket).expect("a socket");
    let stage = Stage::at(socket);
    let run = stage.run(&[], "echo > started");
    let _connection = listener.accept().await.expect("it asks");
    signal(&run, rustix::process::Signal::TERM);
    assert_eq!(ended(run), Some(128 + 15));
    assert!(!stage.path("started").exists());
}
