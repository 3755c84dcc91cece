//! The demo is the widest test there is: the main job on real parts, killed in the middle, checked step by step.

use std::process::{Command, Stdio};

#[test]
fn the_demo_holds_from_start_to_end() {
    let output = Command::new(env!("CARGO_BIN_EXE_lictor"))
        .arg("demo")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}\n{errors}");
    let last = told.lines().last().unwrap_or_default();
    assert!(last.starts_with("held: all 8 steps, "), "{told}");
    assert!(last.contains("nothing lost"), "{last}");
}
