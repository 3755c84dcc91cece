//! The wizard of `lictor activate` in a real terminal. Set LICTOR_SHOW_SCREENS to look at them.

use crate::resumed::{killed_when_noted, notes};
use crate::terminal::Terminal;
use crate::world::{FIRM, Machine, Sold, World, program};

fn wizard(world: &World, machine: &Machine, name: &str) -> Terminal {
    let environment = [("LICTOR_CONFIG", machine.config().display().to_string())];
    Terminal::start(world.place.path(), name, &environment, &format!("{} activate", program()))
}

fn look(title: &str, screen: &str) {
    if std::env::var_os("LICTOR_SHOW_SCREENS").is_some() {
        eprintln!("==== {title}\n{screen}\n====");
    }
}

/// No screen may hold the whole ticket once it was taken.
fn hides(screen: &str, sold: &Sold) {
    assert!(!screen.contains(&sold.ticket) && !screen.contains(&sold.ticket.replace('-', "")), "{screen}");
    assert!(screen.contains(&format!("Ticket: {}-*****", &sold.ticket[..5])), "{screen}");
}

#[test]
fn the_wizard_leads_to_seats_in_a_container_online() {
    let world = World::new();
    let sold = world.sell(&["suite", "reader"]);
    let terminal = wizard(&world, &world.vendor, "online");
    terminal.shows("Ticket:");
    // A mistyped character is found at once, without asking anybody.
    let last = if sold.ticket.ends_with('0') { "1" } else { "0" };
    terminal.answer(&format!("{}{last}", &sold.ticket[..sold.ticket.len() - 1]));
    terminal.shows("group by group");
    terminal.answer(&sold.ticket.to_lowercase());
    let screen = terminal.shows("Numbers [all]:");
    look("what the ticket holds", &screen);
    hides(&screen, &sold);
    assert!(screen.contains("suite") && screen.contains("reader"), "{screen}");
    terminal.answer("1=9");
    terminal.shows("suite has 1 to 5 seats");
    terminal.answer("1=2");
    look("where to", &terminal.shows("Number [1]:"));
    terminal.answer("7");
    terminal.shows("a number from 1 to 2");
    terminal.answer("");
    terminal.shows("Activate suite (2 seats) into container");
    terminal.answer("maybe");
    terminal.shows("answer y or n");
    terminal.answer("y");
    let screen = terminal.shows("ended with 0");
    look("done", &screen);
    hides(&screen, &sold);
    for step in ["1 of 4", "2 of 4", "3 of 4", "4 of 4", "Done: suite (2 seats) is in container"] {
        assert!(screen.contains(step), "{step}: {screen}");
    }
    assert_eq!(world.vendor.seats(201), Some(2));
    assert_eq!(world.vendor.seats(204), None);
}

#[test]
fn the_wizard_leads_through_files_where_the_container_is_elsewhere() {
    let world = World::new();
    let site = world.site("site", false);
    let sold = world.sell(&["reader"]);
    let terminal = wizard(&world, &world.vendor, "files");
    terminal.shows("Ticket:");
    terminal.answer(&sold.ticket);
    terminal.shows("Number [1]:");
    terminal.answer("2");
    let screen = terminal.shows("Path of the context file:");
    assert!(screen.contains(&format!("lictor server context --firm-code {FIRM} -o box.rac")), "{screen}");
    terminal.answer("not-there.rac");
    terminal.shows("there is no file not-there.rac");
    site.ok(&["server", "context", "-o", &world.file("box.rac")]);
    terminal.answer("box.rac");
    let screen = terminal.shows("Path of the receipt");
    look("files", &screen);
    assert!(screen.contains("lictor server import box.rau -o box-receipt.rac"), "{screen}");
    site.ok(&["server", "import", &world.file("box.rau"), "-o", &world.file("box-receipt.rac")]);
    terminal.answer("box-receipt.rac");
    let screen = terminal.shows("ended with 0");
    look("files, done", &screen);
    hides(&screen, &sold);
    assert_eq!(site.seats(204), Some(1));
    world.reaches(&sold.licenses[0], "confirmed");
}

#[test]
fn the_wizard_leads_through_files_where_the_vendor_is_out_of_reach() {
    let world = World::new();
    let site = world.site("site", false);
    let sold = world.sell(&["reader"]);
    let terminal = wizard(&world, &site, "away");
    let screen = terminal.shows("Path of the update file");
    look("away", &screen);
    let context = format!("{}-{FIRM}.rac", site.serial());
    let update = format!("{}-{FIRM}.rau", site.serial());
    world.vendor.ok(&["activate", &sold.ticket, "--context", &world.file(&context), "-o", &world.file(&update)]);
    terminal.answer(&format!("'{update}'"));
    look("away, done", &terminal.shows("ended with 0"));
    assert_eq!(site.seats(204), Some(1));
    world.vendor.ok(&["push", "context", &world.file(&format!("{}-{FIRM}-receipt.rac", site.serial()))]);
    world.reaches(&sold.licenses[0], "confirmed");
}

#[test]
fn ctrl_c_leaves_everything_and_the_next_run_goes_on() {
    let world = World::new();
    let sold = world.sell(&["suite", "reader"]);
    let terminal = wizard(&world, &world.vendor, "stopped");
    terminal.shows("Ticket:");
    terminal.answer(&sold.ticket);
    terminal.shows("Numbers [all]:");
    terminal.key("C-c");
    look("stopped", &terminal.shows("ended with 130"));
    assert_eq!(world.vendor.seats(201), None, "nothing was done");

    // Stopped in the middle: the note of the earlier run leads on.
    let sold = killed_when_noted(&world, |sold| {
        vec!["activate".to_owned(), sold.ticket.clone(), "--license".to_owned(), format!("{}=2", sold.licenses[0])]
    });
    let terminal = wizard(&world, &world.vendor, "resumed");
    terminal.shows("Ticket:");
    terminal.answer(&sold.ticket);
    let screen = terminal.shows("Go on with it?");
    look("resumed", &screen);
    assert!(screen.contains("suite (2 seats)"), "{screen}");
    terminal.answer("");
    terminal.shows("ended with 0");
    world.reaches(&sold.licenses[0], "confirmed");
    assert_eq!(notes(&world), 0, "nothing is left to go on with");
}

#[test]
fn without_a_terminal_the_wizard_tells_how_to_use_arguments() {
    let world = World::new();
    let told = world.vendor.refused(&["activate"], 2);
    assert!(told.contains("lictor activate TICKET"), "{told}");
}

#[test]
fn codes_are_shown_one_after_the_other_in_a_terminal() {
    let world = World::new();
    world.vendor.ok(&["server", "context", "-o", &world.file("box.rac")]);
    let command = format!("{} file qr box.rac", program());
    let terminal = Terminal::start(world.place.path(), "codes", &[], &command);
    let first = terminal.shows("code 1 of ");
    look("a code", &first);
    assert!(first.contains('█') && first.contains('▀'), "{first}");
    until_last(&terminal);
    terminal.shows("ended with 0");
}

/// Presses Enter until the last code is there.
fn until_last(terminal: &Terminal) {
    let mut number = 1;
    loop {
        let screen = terminal.shows(&format!("code {number} of "));
        let label = format!("code {number} of ");
        let of = screen.rsplit(&label).next().and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        if of == Some(number.to_string().as_str()) {
            return;
        }
        terminal.answer("");
        number += 1;
        assert!(number < 100, "{screen}");
    }
}
