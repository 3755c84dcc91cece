//! The operator's own programs.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use lictor_api::notification::v1::{CustomTransmission, transmission::Kind};
use lictor_notification_dispatcher::{
    domain::outcome::{ANSWER_KEPT_BYTES, Attempt, AttemptResult},
    transmission::{Transmission, executable::ExecutableSender, way::CustomWay},
};
use tempfile::TempDir;

use crate::{
    shipments::{clock, shipment},
    world::until,
};

/// A folder with one program, a shell script.
fn program(script: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), script, 0o755);
    folder
}

fn write(folder: &Path, script: &str, mode: u32) {
    let path = folder.join("to-erp");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}

async fn run(folder: &Path, deadline: Duration) -> Attempt {
    let shipment = shipment(Kind::Custom(CustomTransmission { target: "to-erp".to_owned(), token: String::new() }), 1);
    let Transmission::Custom(CustomWay::Executable(name)) = &*shipment.transmission else {
        panic!("a program's name is a program");
    };
    ExecutableSender::new(Some(folder.to_owned()), deadline).send(name, &shipment, &*clock()).await
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_program_gets_one_line_and_its_exit_code_decides() {
    let folder = program(
        "read -r line || exit 3\ncase $line in *'\"id\":\"evt_'*) echo taken;; *) exit 4;; esac\nread -r more && exit 5\nexit 0",
    );
    let attempt = run(folder.path(), LONG).await;
    assert_eq!((attempt.result, attempt.answer.as_str()), (AttemptResult::Taken, "taken\n"));
    write(folder.path(), "echo no >&2\nexit 1", 0o755);
    let attempt = run(folder.path(), LONG).await;
    assert_eq!(attempt.result, AttemptResult::Failed);
    assert_eq!(attempt.answer, "exit status: 1: no\n");
    write(folder.path(), "exit 69", 0o755);
    assert_eq!(run(folder.path(), LONG).await.result, AttemptResult::Gone);
    write(folder.path(), "kill -9 $$", 0o755);
    assert_eq!(run(folder.path(), LONG).await.result, AttemptResult::Failed);
}

#[tokio::test]
async fn a_program_sees_nothing_of_our_environment() {
    let folder = program("env | sed 's/=.*//' | sort | tr '\\n' ' '; pwd");
    let attempt = run(folder.path(), LONG).await;
    let names: Vec<&str> = attempt.answer.split_whitespace().collect();
    let (place, names) = names.split_last().expect("a place");
    assert_eq!(Path::new(place), folder.path().canonicalize().expect("a path"));
    for name in names {
        assert!(
            [
                "PATH",
                "PWD",
                "OLDPWD",
                "_",
                "SHLVL",
                "LICTOR_EVENT_ID",
                "LICTOR_DESTINATION_ID",
                "LICTOR_ATTEMPT",
                "TRACEPARENT"
            ]
            .contains(name),
            "{name} of ours"
        );
    }
    assert!(names.contains(&"LICTOR_EVENT_ID") && names.contains(&"TRACEPARENT"));
}

#[tokio::test]
async fn endless_output_is_cut_and_the_deadline_kills_the_whole_group() {
    let folder = program("sleep 1000 &\necho $! >child\nyes this is a long line");
    let begun = Instant::now();
    let attempt = run(folder.path(), Duration::from_millis(800)).await;
    assert_eq!(attempt.result, AttemptResult::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(20));
    let child = std::fs::read_to_string(folder.path().join("child")).expect("a number");
    gone(child.trim()).await;
}

#[tokio::test]
async fn what_a_program_leaves_running_does_not_outlive_it_or_hold_the_delivery() {
    let folder = program("sleep 1000 &\necho $! >child\nhead -c 20000 /dev/zero | tr '\\0' x\nexit 0");
    let begun = Instant::now();
    let attempt = run(folder.path(), LONG).await;
    assert_eq!(attempt.result, AttemptResult::Taken, "{attempt:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "the pipes that it left open are not waited for");
    assert_eq!(attempt.answer.len(), ANSWER_KEPT_BYTES);
    let child = std::fs::read_to_string(folder.path().join("child")).expect("a number");
    gone(child.trim()).await;
}

/// Waits until a process is gone, or dead and only not yet fetched by whoever has to.
async fn gone(process: &str) {
    until("the end of what the program started", async || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("Z", |(_, rest)| &rest[..1]).to_owned();
        (state == "Z" || state == "X").then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_a_plain_file_that_nobody_else_can_change_is_started() {
    let folder = program("exit 0");
    let result = async |folder: &Path| run(folder, LONG).await.result;
    assert_eq!(result(folder.path()).await, AttemptResult::Taken);
    write(folder.path(), "exit 0", 0o757);
    assert_eq!(result(folder.path()).await, AttemptResult::Failed, "others can write to it");
    write(folder.path(), "exit 0", 0o644);
    assert_eq!(result(folder.path()).await, AttemptResult::Failed, "not executable");
    std::fs::remove_file(folder.path().join("to-erp")).expect("away");
    assert_eq!(result(folder.path()).await, AttemptResult::Failed, "nothing there");
    std::os::unix::fs::symlink("/bin/true", folder.path().join("to-erp")).expect("a link");
    assert_eq!(result(folder.path()).await, AttemptResult::Failed, "a link leads elsewhere");
    let open = program("exit 0");
    std::fs::set_permissions(open.path(), std::fs::Permissions::from_mode(0o777)).expect("a mode");
    assert_eq!(result(open.path()).await, AttemptResult::Failed, "others can write to the folder");
}
