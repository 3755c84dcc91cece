//! The name of a request: told with every answer and every refusal, so that what was asked can be asked again.

use std::process::Output;

use serde_json::Value;

use crate::world::{Machine, World, text};

/// A verb whose service cannot be reached; gives what it told scripts and people.
fn unreachable(machine: &Machine, words: &[&str]) -> (Value, String) {
    let mut command = machine.command(words);
    for service in ["CENTRAL", "ACTIVATION", "UPDATE", "NOTIFICATION"] {
        command.env(format!("LICTOR_{service}"), "http://127.0.0.1:9");
    }
    let Output { status, stdout, stderr } = command.arg("--json").output().expect("the program starts");
    let errors = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(6), "{words:?}: {errors}");
    (serde_json::from_slice(&stdout).expect("one object"), errors)
}

#[test]
fn a_verb_without_an_answer_tells_the_name_by_which_it_is_repeated() {
    let world = World::new();
    let file = world.file("no.rau");
    let vendor = &world.vendor;
    let license = "lic_00000000000000000000000000";
    let changing: [&[&str]; 9] = [
        &["order", "create", "--customer", "Nova", "--item", "suite"],
        &["push", "create", "--container", "130-1", "--withdraw", license, "-o", &file],
        &["license", "withdraw", license],
        &["license", "cancel-renewal", license],
        &["license", "resume-renewal", license],
        &["container", "assign", "130-1", "--customer", "Nova"],
        &["container", "block", "130-1"],
        &["transfer", "create", license, "--from", "130-1", "--to", "130-2", "-o", &file],
        &["notify", "destination", "add", "--url", "https://erp.example/hook"],
    ];
    for words in changing {
        let (told, errors) = unreachable(vendor, words);
        let name = text(&told["error"]["request_id"]);
        assert!(name.starts_with("req_") && name.len() == 36, "{words:?}: {told}");
        assert!(errors.contains(&format!("again: the same command with --request-id {name}")), "{words:?}: {errors}");
        let named: Vec<&str> = words.iter().copied().chain(["--request-id", "mine"]).collect();
        let (told, _) = unreachable(vendor, &named);
        assert_eq!(told["error"]["request_id"], "mine", "{words:?}");
    }
    assert!(!world.path("no.rau").exists());
}

#[test]
fn a_push_is_repeated_by_the_name_that_its_refusal_told() {
    let world = World::new();
    let vendor = &world.vendor;
    vendor.ok(&["server", "context", "-o", &world.file("box.rac")]);
    vendor.ok(&["push", "context", &world.file("box.rac")]);
    let (sold, serial) = (world.sell(&["reader"]), vendor.serial());
    // The answer came, and another file is in its way.
    std::fs::write(world.path("taken.rau"), "something else").expect("file");
    let words = ["push", "create", "--container", &serial, "--ticket", &sold.ticket];
    let told = vendor.refused(&[words.as_slice(), &["-o", &world.file("taken.rau")]].concat(), 5);
    let name = told.split("--request-id ").nth(1).and_then(|rest| rest.split(';').next()).expect("a name");
    assert_eq!(std::fs::read(world.path("taken.rau")).expect("file"), b"something else");
    // A new request is refused, because the ticket is spent by the first one; the first one is still to be had.
    let spent = vendor.run(&[words.as_slice(), &["-o", &world.file("second.rau")]].concat());
    assert!(!spent.status.success(), "{spent:?}");
    let pushed = vendor.ok(&[words.as_slice(), &["-o", &world.file("next.rau"), "--request-id", name]].concat());
    assert_eq!((&pushed["request_id"], &pushed["to"]), (&Value::from(name), &Value::from(1)), "{pushed}");
    vendor.ok(&["server", "import", &world.file("next.rau")]);
    assert_eq!(vendor.seats(204), Some(1));
}

#[test]
fn an_order_that_is_repeated_by_its_name_is_one_order() {
    let world = World::new();
    let words = ["order", "create", "--customer", "Nova", "--item", "reader", "--request-id", "po-4711"];
    let first = world.vendor.ok(&words);
    assert_eq!(first["request_id"], "po-4711");
    assert_eq!(world.vendor.ok(&words), first, "the ticket is told again");
    assert_eq!(world.vendor.lines(&["order", "list"]).len(), 1);
    let other = ["order", "create", "--customer", "Nova", "--item", "suite", "--request-id", "po-4711"];
    let told = world.vendor.refused(&other, 5);
    assert!(told.contains("request: po-4711"), "a name is not used twice: {told}");
}

#[test]
fn a_verb_that_notes_down_what_it_began_is_repeated_as_it_is() {
    let world = World::new();
    let sold = world.sell(&["reader"]);
    let done = world.vendor.ok(&["activate", &sold.ticket]);
    assert!(text(&done["request_id"]).starts_with("req_"), "{done}");
    let file = |name: &str| world.file(name);
    world.vendor.ok(&["server", "context", "-o", &file("box.rac")]);
    let words = ["activate", &sold.ticket, "--context", &file("box.rac"), "-o", &file("box.rau")];
    let (told, errors) = unreachable(&world.vendor, &words);
    let (again, _) = unreachable(&world.vendor, &words);
    assert_eq!(told["error"]["request_id"], again["error"]["request_id"], "the same files make the same request");
    assert!(errors.contains("again: the same command goes on"), "{errors}");
}
