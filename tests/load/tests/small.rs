//! A small run of every figure of the licence server, so that none of them rots. What is asserted are counts and that each
//! figure is there; never a time.

use std::process::Command;

use lictor_test_support::programs::{self, Answer};

fn bench(arguments: &[&str]) -> String {
    let program = programs::path("load-bench").expect("built");
    let answer = Answer::of(Command::new(program).args(arguments)).expect("it runs");
    assert_eq!(answer.code, 0, "{arguments:?}: {}{}", answer.output, answer.errors);
    answer.output
}

#[test]
fn a_small_run_prints_every_figure_of_a_call() {
    let said = bench(&["--rounds", "1", "--seconds", "1", "--clients", "40", "--only", "calls,fresh"]);
    for figure in [
        "server CPU per acquire, licence server / twin: ",
        "server CPU per revalidate, licence server / twin: ",
        "server CPU per release, licence server / twin: ",
        "server CPU per fresh connection with a seat, licence server / twin: ",
        "bytes per held seat, licence server / twin: ",
    ] {
        assert!(said.contains(figure), "{figure:?} in {said}");
    }
}

#[test]
fn a_crowd_keeps_every_seat_through_a_kill() {
    let said = bench(&["--crowd", "60", "--only", "crowd"]);
    assert!(said.contains("60 sessions back after") && said.contains("none lost, none doubled"), "{said}");
}

#[test]
fn machines_that_borrow_blocks_ask_seldom() {
    let said = bench(&["--hosts", "2", "--only", "blocks"]);
    let calls = said.split_once(" calls upstream for 600 seats").expect(&said).0;
    let calls: u32 = calls.rsplit_once(' ').expect(&said).1.parse().expect("a number");
    // A hundred machines may ask a thousand times: ten each.
    assert!(calls <= 20, "{said}");
}

#[test]
fn a_command_runs_with_a_seat_and_syncs_are_shared() {
    let said = bench(&["--rounds", "1", "--seconds", "1", "--only", "run,syncs"]);
    assert!(said.contains(" ms to the command with a seat"), "{said}");
    let shared = said.split_once(" grants: 1 for ").expect(&said).1;
    let shared: u32 = shared.split_once(' ').expect(&said).0.parse().expect("a number");
    assert!(shared >= 8, "{said}");
}
