//! `with-servers` leaves nothing running, however it ends.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpStream,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// What `with-servers` exits with, and whether its Redis is still there.
fn ended(script: &str, told: Option<Signal>) -> (Option<i32>, bool) {
    let mut running = Command::new(env!("CARGO_BIN_EXE_with-servers"))
        .args(["--only", "redis", "--", "sh", "-c", &format!("echo $LICTOR_TEST_REDIS_URL; {script}")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("with-servers starts");
    let mut url = String::new();
    BufReader::new(running.stdout.take().expect("its output")).read_line(&mut url).expect("a line");
    let address = url.trim().trim_start_matches("redis://").trim_end_matches('/').to_owned();
    if let Some(signal) = told {
        TcpStream::connect(&address).expect("Redis is there while the command runs");
        let pid = Pid::from_raw(running.id().cast_signed()).expect("an id");
        kill_process(pid, signal).expect("told");
    }
    let status = running.wait().expect("it ends");
    (status.code(), TcpStream::connect(&address).is_ok())
}

#[test]
fn servers_end_with_their_command_and_its_exit_code_is_passed_on() {
    assert_eq!(ended("exit 7", None), (Some(7), false));
}

#[test]
fn who_is_interrupted_or_told_to_end_stops_the_servers_and_the_command() {
    assert_eq!(ended("exec sleep 600", Some(Signal::TERM)), (Some(128 + 15), false));
    assert_eq!(ended("exec sleep 600", Some(Signal::INT)), (Some(128 + 2), false));
    // A command that has something to put in order first gets the time for it.
    let orderly = "trap 'exit 3' TERM; while :; do sleep 0.05; done";
    assert_eq!(ended(orderly, Some(Signal::TERM)), (Some(3), false));
}
