//! Lent seats back before their date: online, and by files from a container that reaches nobody.

use crate::world::{World, text, until};

#[test]
fn lent_seats_are_given_back_early() {
    let world = World::new();
    let site = world.second(true);
    let sold = world.activated(&world.vendor, &["suite"]);
    let one = format!("{}=1", sold.licenses[0]);
    world.vendor.refused(&["move", &sold.ticket, &one, "--to", &site.serial(), "--lend-until", "2020-01-01"], 2);
    let lent = world.vendor.ok(&["move", &sold.ticket, &one, "--to", &site.serial(), "--lend-until", "2099-01-01"]);
    assert_eq!(lent["lend_until"], "2099-01-01T00:00:00Z");
    until("the seat arrives", || {
        site.lines(&["pull"]);
        (site.seats(201) == Some(1)).then_some(())
    });
    site.ok(&["transfer", "return", &text(&lent["transfer_id"]), "--ticket", &sold.ticket]);
    assert_eq!(site.seats(201), None);
    until("the seat is back", || {
        world.vendor.lines(&["pull"]);
        (world.vendor.seats(201) == Some(5)).then_some(())
    });
}

#[test]
fn lent_seats_are_given_back_early_by_files() {
    let world = World::new();
    let laptop = world.second(false);
    let sold = world.activated(&world.vendor, &["suite"]);
    let file = |name: &str| world.file(name);
    let two = format!("{}=2", sold.licenses[0]);
    let lent = world.vendor.ok(&["move", &sold.ticket, &two, "--to", &laptop.serial(), "--lend-until", "2099-01-01"]);
    let transfer = text(&lent["transfer_id"]);
    // The update for the borrower travels by files as well.
    let pending = until("the seats wait for the laptop", || {
        let pending = world.vendor.ok(&["push", "pending", &laptop.serial(), "-o", &file("out.rau"), "--force"]);
        (pending["segments"] == 1).then_some(pending)
    });
    assert_eq!(pending["file"], file("out.rau"));
    laptop.ok(&["server", "import", &file("out.rau"), "-o", &file("out-receipt.rac")]);
    world.vendor.ok(&["push", "context", &file("out-receipt.rac")]);
    assert_eq!((laptop.seats(201), world.vendor.seats(201)), (Some(2), Some(3)));

    // A context from before the loan, or one without a challenge, proves nothing.
    let back = |context: &str, update: &str| {
        let (context, update) = (file(context), file(update));
        let words =
            ["transfer", "return", &transfer, "--ticket", &sold.ticket, "--context", &context, "-o", &update, "--json"];
        world.vendor.run(&words)
    };
    laptop.ok(&["server", "context", "-o", &file("stale.rac")]);
    for stale in ["site.rac", "stale.rac"] {
        let refused = back(stale, "no.rau");
        assert!(!refused.status.success() && !world.path("no.rau").exists(), "{stale}: {refused:?}");
    }
    let challenge = text(&world.vendor.ok(&["challenge"])["challenge"]);
    laptop.ok(&["server", "context", "--challenge", &challenge, "-o", &file("fresh.rac")]);
    let asked = back("fresh.rac", "back.rau");
    assert!(asked.status.success(), "{asked:?}");
    // The same files again are the same request, byte for byte.
    let update = std::fs::read(world.path("back.rau")).expect("the update");
    assert!(back("fresh.rac", "again.rau").status.success());
    assert_eq!(std::fs::read(world.path("again.rau")).expect("the update"), update);

    laptop.ok(&["server", "import", &file("back.rau"), "-o", &file("back-receipt.rac")]);
    assert_eq!(laptop.seats(201), None);
    assert_eq!(world.vendor.seats(201), Some(3), "the lender waits for the proof");
    world.vendor.ok(&["push", "context", &file("back-receipt.rac")]);
    until("the seats are back", || {
        world.vendor.lines(&["pull"]);
        (world.vendor.seats(201) == Some(5)).then_some(())
    });
}

#[test]
fn what_was_moved_for_good_is_no_loan() {
    let world = World::new();
    let site = world.second(true);
    let sold = world.activated(&world.vendor, &["suite"]);
    let one = format!("{}=1", sold.licenses[0]);
    let moved = world.vendor.ok(&["move", &sold.ticket, &one, "--to", &site.serial()]);
    let told = site.refused(&["transfer", "return", &text(&moved["transfer_id"]), "--ticket", &sold.ticket], 5);
    assert!(told.contains("lent nothing"), "{told}");
    site.refused(&["transfer", "return", "trf_00000000000000000000000000", "--ticket", &sold.ticket], 4);
}
