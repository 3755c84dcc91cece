//! Verbs killed in the middle: the same command goes on, and nothing is done twice.

use std::process::Stdio;

use crate::world::{Sold, World, text};

/// Notes of unfinished verbs.
pub(crate) fn notes(world: &World) -> usize {
    let folder = std::fs::read_dir(world.vendor.data.join("unfinished"));
    let is_note = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|ending| ending == "json"))
    };
    folder.map_or(0, |entries| entries.map(is_note).filter(|note| *note).count())
}

/// Starts a verb on a fresh ticket and kills it as soon as it has noted down what it begins, until one note stays.
pub(crate) fn killed_when_noted(world: &World, words: impl Fn(&Sold) -> Vec<String>) -> Sold {
    for _ in 0..50 {
        let sold = world.sell(&["suite", "reader"]);
        if killed(world, &words(&sold)) {
            return sold;
        }
    }
    panic!("the verb always finished before it could be killed");
}

/// Starts a verb and kills it when its note is there; true when the note stayed.
fn killed(world: &World, words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut run =
        world.vendor.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    while notes(world) == 0 && run.try_wait().expect("its state").is_none() {
        std::thread::yield_now();
    }
    let _ = run.kill();
    let _ = run.wait();
    notes(world) == 1
}

#[test]
fn a_return_that_was_killed_is_finished_by_the_same_command() {
    let world = World::new();
    for round in 0..3 {
        let sold = world.sell(&["suite"]);
        world.vendor.ok(&["activate", &sold.ticket]);
        let license = &sold.licenses[0];
        world.reaches(license, "confirmed");
        killed(&world, &["return".to_owned(), sold.ticket.clone()]);
        let state = text(&world.vendor.ok(&["license", "show", license])["state"]);
        if notes(&world) == 1 || state == "confirmed" {
            world.vendor.ok(&["return", &sold.ticket]);
        }
        world.reaches(license, "available");
        assert_eq!(notes(&world), 0, "round {round}");
        assert_eq!(world.vendor.seats(201), None, "round {round}");
    }
}

#[test]
fn an_activation_of_some_seats_that_was_killed_is_finished_by_the_same_command() {
    let world = World::new();
    let words = |sold: &Sold| {
        vec!["activate".to_owned(), sold.ticket.clone(), "--license".to_owned(), format!("{}=3", sold.licenses[0])]
    };
    let sold = killed_when_noted(&world, words);
    let again = words(&sold);
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    world.vendor.ok(&again);
    let shown = world.reaches(&sold.licenses[0], "confirmed");
    assert_eq!(shown["allocations"][0]["quantity"], 3);
    assert_eq!(shown["available"], 2);
    assert_eq!(notes(&world), 0);
}
