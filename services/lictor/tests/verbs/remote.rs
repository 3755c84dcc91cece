//! Giving back, moving, lending, replacing, rebasing, and the vendor's view of all of it, verb by verb.

use crate::world::{FIRM, World, text, until};

#[test]
fn seats_are_given_back_and_available_again_after_the_proof() {
    let world = World::new();
    let sold = world.activated(&world.vendor, &["suite"]);
    let license = &sold.licenses[0];
    let returned = world.vendor.ok(&["return", &sold.ticket, "--license", &format!("{license}=2")]);
    assert_eq!((returned["kind"].as_str(), returned["state"].as_str()), (Some("return"), Some("confirmed")));
    assert_eq!(world.vendor.seats(201), Some(3));
    let shown = world.vendor.ok(&["license", "show", license]);
    assert_eq!(shown["available"], 2, "{shown}");
    world.vendor.ok(&["return", &sold.ticket]);
    assert_eq!(world.vendor.seats(201), None);
    world.reaches(license, "available");
    // What lies nowhere cannot be given back, and says so.
    let again = world.vendor.run(&["return", &sold.ticket]);
    assert!(!again.status.success());
}

#[test]
fn a_return_by_files_refuses_a_context_without_a_challenge() {
    let world = World::new();
    let site = world.site("site", false);
    let file = |name: &str| world.file(name);
    let sold = world.sell(&["reader"]);
    site.ok(&["server", "context", "-o", &file("a.rac")]);
    world.vendor.ok(&["activate", &sold.ticket, "--context", &file("a.rac"), "-o", &file("a.rau")]);
    site.ok(&["server", "import", &file("a.rau"), "-o", &file("a-receipt.rac")]);
    world.vendor.ok(&["push", "context", &file("a-receipt.rac")]);
    world.reaches(&sold.licenses[0], "confirmed");

    site.ok(&["server", "context", "-o", &file("stale.rac")]);
    let stale = world.vendor.run(&["return", &sold.ticket, "--context", &file("stale.rac"), "-o", &file("no.rau")]);
    assert!(!stale.status.success() && !world.path("no.rau").exists());
    let challenge = world.vendor.ok(&["challenge", "--firm-code", FIRM]);
    site.ok(&["server", "context", "--challenge", &text(&challenge["challenge"]), "-o", &file("b.rac")]);
    world.vendor.ok(&["return", &sold.ticket, "--context", &file("b.rac"), "-o", &file("b.rau")]);
    assert_ne!(world.vendor.ok(&["license", "show", &sold.licenses[0]])["state"], "available", "only after the proof");
    site.ok(&["server", "import", &file("b.rau"), "-o", &file("b-receipt.rac")]);
    world.vendor.ok(&["push", "context", &file("b-receipt.rac")]);
    world.reaches(&sold.licenses[0], "available");
    assert_eq!(site.seats(204), None);
}

#[test]
fn seats_move_to_another_container_and_the_history_tells_of_it() {
    let world = World::new();
    let site = world.second(true);
    let sold = world.activated(&world.vendor, &["suite"]);
    let license = &sold.licenses[0];
    let moved = world.vendor.ok(&["move", &sold.ticket, &format!("{license}=2"), "--to", &site.serial()]);
    assert_ne!(moved["state"], "departing", "the receipt went along: {moved}");
    assert_eq!(world.vendor.seats(201), Some(3));
    until("the seats arrive", || {
        site.lines(&["pull"]);
        (site.seats(201) == Some(2)).then_some(())
    });
    let id = text(&moved["transfer_id"]);
    until("the transfer is done", || (site.ok(&["transfer", "show", &id])["state"] == "arrived").then_some(()));
    assert_eq!(world.vendor.lines(&["transfer", "list", "--license", license]).len(), 1);
    let history = world.vendor.ok(&["license", "history", license]);
    assert!(history["entries"].as_array().expect("entries").len() >= 3, "{history}");
    let then = world.vendor.ok(&["license", "history", "--container", &site.serial(), "--at", "2200-01-01"]);
    assert_eq!(then["usable"][0]["quantity"], 2, "{then}");
    let before = world.vendor.ok(&["license", "history", "--container", &site.serial(), "--at", "2020-01-01"]);
    assert_eq!(before["usable"].as_array().map(Vec::len), Some(0), "{before}");
}

#[test]
fn staff_moves_seats_with_nothing_from_the_customer() {
    let world = World::new();
    let site = world.second(true);
    let sold = world.activated(&world.vendor, &["suite"]);
    let (from, to) = (world.vendor.serial(), site.serial());
    let file = |name: &str| world.file(name);
    world.vendor.ok(&["transfer", "create", &sold.licenses[0], "--from", &from, "--to", &to, "-o", &file("old.rau")]);
    world.vendor.ok(&["server", "import", &file("old.rau"), "-o", &file("old-receipt.rac")]);
    world.vendor.ok(&["push", "context", &file("old-receipt.rac")]);
    until("the seats arrive", || {
        site.lines(&["pull"]);
        (site.seats(201) == Some(5)).then_some(())
    });
    assert_eq!(world.vendor.seats(201), None);
}

#[test]
fn a_lost_container_is_replaced_and_loses_everything_if_it_turns_up() {
    let world = World::new();
    let site = world.second(true);
    let (reader, suite) = (world.activated(&site, &["reader"]), world.activated(&site, &["suite"]));
    let lost = site.serial();
    // What the rule of the item leaves to staff is refused to the customer, and done by hand.
    assert!(!world.vendor.run(&["replace", &suite.ticket, "--lost", &lost]).status.success());
    let replaced = world.vendor.ok(&["replace", &reader.ticket, "--lost", &lost]);
    assert_eq!((replaced["kind"].as_str(), replaced["state"].as_str()), (Some("replace"), Some("confirmed")));
    assert_eq!(world.vendor.seats(204), Some(1));
    world.vendor.ok(&["replace", &suite.ticket, "--lost", &lost, "--by-hand"]);
    assert_eq!(world.vendor.seats(201), Some(5));
    let _ = site.run(&["pull"]);
    assert_eq!((site.seats(204), site.seats(201)), (None, None));
}

#[test]
fn a_blocked_container_loses_everything_with_its_next_update() {
    let world = World::new();
    let site = world.second(true);
    let sold = world.activated(&site, &["reader"]);
    let blocked = world.vendor.ok(&["container", "block", &site.serial(), "--reason", "stolen"]);
    assert_eq!(blocked["licenses"][0], *sold.licenses[0]);
    let _ = site.run(&["pull"]);
    assert_eq!(site.seats(204), None, "a container that turns up again takes the withdrawal first");
    world.vendor.refused(&["container", "block", "130-0000000000"], 4);
    // Nothing more is issued for it, and what was meant for it is not lost on the way.
    let (serial, next) = (site.serial(), world.sell(&["reader"]));
    let refused = world
        .vendor
        .refused(&["push", "create", "--container", &serial, "--ticket", &next.ticket, "-o", &world.file("no.rau")], 5);
    assert!(refused.contains("is blocked") && !world.path("no.rau").exists(), "{refused}");
    world.vendor.ok(&["activate", &next.ticket]);
    assert_eq!(world.vendor.seats(204), Some(1), "what was refused there goes elsewhere");
}

#[test]
fn the_time_is_proven_to_a_licence_server() {
    let world = World::new();
    let proven = world.vendor.ok(&["server", "time"]);
    assert_eq!(
        (proven["was_suspect"].as_bool(), proven["is_suspect"].as_bool()),
        (Some(false), Some(false)),
        "{proven}"
    );
    let listed = world.vendor.ok(&["server", "list"]);
    assert_eq!(listed["clock_suspect"], false);
}

#[test]
fn a_container_comes_back_by_its_own_hand() {
    let world = World::new();
    let sold = world.activated(&world.vendor, &["reader"]);
    let rebased = world.vendor.ok(&["rebase", "--reason", "disk restored"]);
    assert_eq!((rebased["kind"].as_str(), rebased["state"].as_str()), (Some("rebase"), Some("confirmed")), "{rebased}");
    assert_eq!(world.vendor.seats(204), Some(1), "it holds what the vendor knows it to hold");
    let chain = world.vendor.ok(&["container", "show", &world.vendor.serial()]);
    assert_eq!(chain["epoch"], 1, "{chain}");
    world.vendor.ok(&["license", "withdraw", &sold.licenses[0]]);
    world.vendor.lines(&["pull"]);
    assert_eq!(world.vendor.seats(204), None, "the new chain goes on");
}

#[test]
fn support_sees_what_is_under_way_and_tries_it_again() {
    let world = World::new();
    let sold = world.sell(&["reader"]);
    let file = |name: &str| world.file(name);
    world.vendor.ok(&["server", "context", "-o", &file("a.rac")]);
    world.vendor.ok(&["activate", &sold.ticket, "--context", &file("a.rac"), "-o", &file("a.rau")]);
    let under_way = world.vendor.lines(&["activation", "list"]);
    let one = under_way.iter().find(|one| one["licenses"][0]["license_id"] == *sold.licenses[0]).expect("listed");
    let id = text(&one["activation_id"]);
    assert_eq!(world.vendor.ok(&["activation", "show", &id])["activation_id"], *id);
    world.vendor.ok(&["activation", "retry", &id]);
    world.vendor.refused(&["activation", "show", "act_00000000000000000000000000"], 4);
}

#[test]
fn containers_belong_to_customers_before_they_were_ever_seen() {
    let world = World::new();
    let serials = ["130-1000000001", "130-1000000002"];
    world.vendor.lines(&["container", "assign", serials[0], serials[1], "--customer", "Nova"]);
    assert_eq!(world.vendor.lines(&["container", "assignments", "--customer", "Nova"]).len(), 2);
    world.vendor.refused(&["container", "assign", serials[0], "--customer", "Other"], 5);
    world.vendor.lines(&["container", "assign", serials[0], "--customer", "Other", "--reassign"]);
    assert_eq!(world.vendor.lines(&["container", "assignments", "--customer", "Other"]).len(), 1);
}
