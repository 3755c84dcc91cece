//! The same target functions that the tests of `lictor-license-file` replay corpora through.

#[path = "../../crates/license-file/tests/files/support.rs"]
#[expect(dead_code, reason = "the tests use more of it than the targets do")]
mod support;
#[path = "../../crates/license-file/tests/files/targets.rs"]
mod targets;

/// Runs the target of this name.
///
/// # Panics
/// When an assertion of the target fails: that is the finding. Also for an unknown name.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = targets::TARGETS.iter().find(|(known, _)| *known == name).expect("a known target");
    target(data);
}
