//! The program around a service, as a real process: arguments, signals, exit codes. Starts itself again as the service.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use lictor_clock::SharedClock;
use lictor_runtime::{Field, Frame, ListenSettings, Program, Reader, Running, StartError, open_gate, run};

const CHILD: &str = "LICTOR_TEST_CHILD";
const MOOD: Field = Field::with_default("mood", "MOOD", "good", "how the service behaves");

struct Settings {
    listen: ListenSettings,
    mood: String,
}

fn read(reader: &mut Reader) -> Settings {
    Settings { listen: ListenSettings::read(reader, 0, 0), mood: reader.text(&MOOD) }
}

async fn start(settings: Settings, _: SharedClock) -> Result<Running, StartError> {
    let frame = Frame::bind("child", &settings.listen).await?;
    match settings.mood.as_str() {
        "dies" => frame.lifecycle().spawn("part", async { Err(StartError::settings("the part broke")) }),
        "stubborn" => frame.lifecycle().spawn("part", std::future::pending::<Result<(), StartError>>()),
        "slow start" => {
            eprintln!("http=none yet");
            std::future::pending().await
        }
        "unready" => frame.readiness().add("job", || async { Err("no key".to_owned()) }),
        _ => {}
    }
    let running = frame.serve(tonic::service::Routes::default(), open_gate());
    eprintln!("http={}", running.addresses().http);
    Ok(running)
}

fn child(arguments: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env_clear().env(CHILD, "1").env("GRPC_LISTEN", "127.0.0.1:0").env("HTTP_LISTEN", "127.0.0.1:0");
    command.args(arguments).envs(env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

fn finish(arguments: &[&str], env: &[(&str, &str)]) -> Outcome {
    let output = child(arguments, env).output().expect("it runs");
    Outcome {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A serving child and its HTTP address.
fn serving(env: &[(&str, &str)]) -> (Child, String) {
    let mut child = child(&[], env).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let address = lines.by_ref().find_map(|line| line.strip_prefix("http=").map(str::to_owned));
    // Keeps the pipe empty.
    std::thread::spawn(move || lines.for_each(drop));
    match address {
        Some(address) => (child, address),
        None => panic!("it ended before serving: {:?}", child.wait()),
    }
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let id = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(id, signal).expect("it lives");
}

fn wrong_use_and_wrong_settings_exit_with_2() {
    let outcome = finish(&["--what"], &[]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.err);
    let outcome = finish(&[], &[("GRPC_LISTEN", "x"), ("SHUTDOWN_GRACE", "y")]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.err);
    assert!(outcome.err.starts_with("2 mistakes in the settings"), "{}", outcome.err);
    let outcome = finish(&["--config", "/nowhere.toml"], &[]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.err.contains("/nowhere.toml cannot be read"), "{}", outcome.err);
    let outcome = finish(&["--check-config"], &[("MOOD", "dies")]);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), "the settings are good\n"));
}

fn help_version_and_settings_table_are_printed() {
    assert!(finish(&["--help"], &[]).out.contains("--check-config"));
    assert_eq!(finish(&["--version"], &[]).out, "child 1.2.3\n");
    let table = finish(&["--settings-doc"], &[]).out;
    for name in ["`MOOD`", "`GRPC_LISTEN`", "`OTEL_EXPORTER_OTLP_ENDPOINT`"] {
        assert!(table.contains(name), "{name} in {table}");
    }
}

fn taken_port_exits_with_6_and_one_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let outcome = finish(&[], &[("HTTP_LISTEN", &address), ("RUST_LOG", "off")]);
    assert_eq!(outcome.code, Some(6));
    assert_eq!(outcome.err.lines().count(), 1, "{}", outcome.err);
    assert!(outcome.err.contains("next: "), "{}", outcome.err);
}

fn dying_part_exits_with_1() {
    let outcome = finish(&[], &[("MOOD", "dies"), ("RUST_LOG", "off")]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err.contains("part ended: the part broke"), "{}", outcome.err);
}

fn signals_stop_it_in_order_and_a_second_one_at_once() {
    for kind in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let (mut child, _) = serving(&[]);
        let begun = Instant::now();
        signal(&child, kind);
        assert_eq!(child.wait().expect("it ends").code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    let (mut child, _) = serving(&[("MOOD", "stubborn"), ("SHUTDOWN_GRACE", "1m")]);
    signal(&child, rustix::process::Signal::TERM);
    // The second signal counts only after the first was seen, so they are repeated until it ends.
    let end = Instant::now() + Duration::from_secs(10);
    let code = loop {
        if let Some(status) = child.try_wait().expect("a status") {
            break status.code();
        }
        assert!(Instant::now() < end, "it does not end");
        signal(&child, rustix::process::Signal::TERM);
        std::thread::yield_now();
    };
    assert_eq!(code, Some(130));
}

fn unreachable_collector_does_not_hold_the_end() {
    let (mut child, _) = serving(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]);
    let begun = Instant::now();
    signal(&child, rustix::process::Signal::TERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

fn health_asks_the_running_service() {
    let (mut child, address) = serving(&[]);
    let outcome = finish(&["health"], &[("HTTP_LISTEN", &address)]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    assert!(outcome.out.contains(r#""ready":true"#), "{}", outcome.out);
    signal(&child, rustix::process::Signal::TERM);
    child.wait().expect("it ends");
    let outcome = finish(&["health"], &[("HTTP_LISTEN", &address)]);
    assert_eq!(outcome.code, Some(1));

    let (mut child, address) = serving(&[("MOOD", "unready")]);
    let outcome = finish(&["health"], &[("HTTP_LISTEN", &address)]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err.contains("no key"), "{}", outcome.err);
    signal(&child, rustix::process::Signal::TERM);
    child.wait().expect("it ends");
}

fn signal_during_a_slow_start_ends_it() {
    let (mut child, _) = serving(&[("MOOD", "slow start")]);
    signal(&child, rustix::process::Signal::TERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        let program = Program { name: "child", version: "1.2.3", about: "a service for a test" };
        return run(program, read, start);
    }
    for (name, test) in [
        ("wrong_use_and_wrong_settings_exit_with_2", wrong_use_and_wrong_settings_exit_with_2 as fn()),
        ("help_version_and_settings_table_are_printed", help_version_and_settings_table_are_printed),
        ("taken_port_exits_with_6_and_one_sentence", taken_port_exits_with_6_and_one_sentence),
        ("dying_part_exits_with_1", dying_part_exits_with_1),
        ("signals_stop_it_in_order_and_a_second_one_at_once", signals_stop_it_in_order_and_a_second_one_at_once),
        ("unreachable_collector_does_not_hold_the_end", unreachable_collector_does_not_hold_the_end),
        ("health_asks_the_running_service", health_asks_the_running_service),
        ("signal_during_a_slow_start_ends_it", signal_during_a_slow_start_ends_it),
    ] {
        test();
        eprintln!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}
