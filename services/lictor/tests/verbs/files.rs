//! Files as text and as codes: every verb takes them, and a damaged one changes nothing.

use std::io::Write as _;
use std::process::Stdio;

use crate::world::{World, text};

#[test]
fn a_file_travels_as_text_by_mail_all_the_way() {
    let world = World::new();
    let sold = world.sell(&["reader"]);
    let file = |name: &str| world.file(name);
    let vendor = &world.vendor;
    vendor.ok(&["server", "context", "-o", &file("box.rac")]);
    vendor.ok(&["file", "armor", &file("box.rac"), "-o", &file("box.txt")]);
    let mail = |name: &str| {
        let armored = std::fs::read_to_string(world.path(name)).expect("text");
        let quoted: String = armored.lines().map(|line| format!("> {line}\r\n")).collect();
        format!("From: somebody\r\n\r\nHere it is:\r\n{quoted}\r\nRegards\r\n")
    };
    std::fs::write(world.path("mail.txt"), mail("box.txt")).expect("mail");

    vendor.ok(&["activate", &sold.ticket, "--context", &file("mail.txt"), "-o", &file("box.rau")]);
    vendor.ok(&["file", "armor", &file("box.rau"), "-o", &file("update.txt")]);
    std::fs::write(world.path("answer.txt"), mail("update.txt")).expect("mail");
    let mut import = vendor
        .command(&["server", "import", "-", "-o", &file("receipt.rac"), "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let content = std::fs::read(world.path("answer.txt")).expect("mail");
    import.stdin.take().expect("stdin").write_all(&content).expect("piped");
    assert!(import.wait_with_output().expect("ended").status.success());
    vendor.ok(&["file", "armor", &file("receipt.rac"), "-o", &file("receipt.txt")]);
    let taken = vendor.ok(&["push", "context", &file("receipt.txt")]);
    assert_eq!(taken["verdict"], "ok");
    world.reaches(&sold.licenses[0], "confirmed");

    vendor.ok(&["file", "dearmor", &file("mail.txt"), "-o", &file("again.rac")]);
    assert_eq!(std::fs::read(world.path("again.rac")).ok(), std::fs::read(world.path("box.rac")).ok());
}

#[test]
fn show_says_what_a_file_is_and_whether_its_signature_holds() {
    let world = World::new();
    let sold = world.sell(&["reader"]);
    let file = |name: &str| world.file(name);
    let vendor = &world.vendor;
    vendor.ok(&["server", "context", "-o", &file("box.rac")]);
    vendor.ok(&["activate", &sold.ticket, "--context", &file("box.rac"), "-o", &file("box.rau")]);
    vendor.ok(&["server", "import", &file("box.rau"), "-o", &file("receipt.rac")]);
    vendor.ok(&["container", "export", &vendor.serial(), "-o", &file("box.ram")]);

    let show = |name: &str| vendor.ok(&["file", "show", &file(name), "--trust", &file("v.lif")]);
    let context = show("box.rac");
    assert_eq!((context["type"].as_str(), context["counter"].as_u64()), (Some("context file"), Some(0)));
    assert_eq!(context["serial"], vendor.serial());
    assert_eq!(context["fresh"], false);
    let update = show("box.rau");
    assert_eq!(
        (update["from"].as_u64(), update["to"].as_u64(), update["segments"].as_u64()),
        (Some(0), Some(1), Some(1))
    );
    let receipt = show("receipt.rac");
    assert_eq!(receipt["results"][0], "1: applied");
    let modified = show("box.ram");
    assert_eq!(modified["counter"], 1);
    let lif = show("v.lif");
    assert_eq!(lif["root_fingerprint"], vendor.ok(&["vendor", "show"])["root_fingerprint"]);
    for shown in [&context, &update, &receipt, &modified, &lif] {
        assert!(text(&shown["signature"]).starts_with("good"), "{shown}");
    }
    let bare = vendor.command(&["file", "show", &file("box.rau"), "--json"]).env("LICTOR_CONFIG", "/dev/null").output();
    let bare = String::from_utf8(bare.expect("starts").stdout).expect("text");
    assert!(bare.contains("not checked"), "{bare}");

    // A file that another vendor's root is asked about, and one with a changed byte in every place.
    let good = std::fs::read(world.path("box.rac")).expect("file");
    for place in (0..good.len()).step_by(37) {
        let mut changed = good.clone();
        changed[place] ^= 1;
        std::fs::write(world.path("changed.rac"), &changed).expect("file");
        vendor.refused(&["file", "show", &file("changed.rac")], 7);
    }
    vendor.refused(&["file", "show", &file("none.rac")], 4);
    std::fs::write(world.path("empty"), b"").expect("file");
    vendor.refused(&["file", "show", &file("empty")], 7);
}

#[test]
fn a_file_travels_as_codes_and_missing_ones_are_named() {
    let world = World::new();
    let file = |name: &str| world.file(name);
    let vendor = &world.vendor;
    vendor.ok(&["server", "context", "-o", &file("box.rac")]);
    vendor.ok(&["push", "context", &file("box.rac")]);
    vendor.ok(&["container", "export", &vendor.serial(), "-o", &file("box.ram")]);
    let shown = vendor.ok(&["file", "qr", &file("box.ram")]);
    let mut texts: Vec<String> = shown["texts"].as_array().expect("texts").iter().map(text).collect();
    assert!(texts.len() >= 2, "a series is tested: {shown}");
    texts.reverse();
    texts.push(texts[0].clone());
    std::fs::write(world.path("scanned.txt"), texts.join("\n")).expect("file");
    vendor.ok(&["file", "from-qr", &file("scanned.txt"), "-o", &file("again.ram")]);
    assert_eq!(std::fs::read(world.path("again.ram")).ok(), std::fs::read(world.path("box.ram")).ok());

    texts.pop();
    let of = texts.len();
    texts.remove(0);
    std::fs::write(world.path("less.txt"), texts.join("\n")).expect("file");
    let told = vendor.refused(&["file", "from-qr", &file("less.txt"), "-o", &file("no.ram")], 7);
    assert!(told.contains(&format!("of {of} codes these are missing: {of}")), "{told}");
    assert!(!world.path("no.ram").exists());

    std::fs::create_dir(world.path("codes")).expect("folder");
    for format in ["png", "svg"] {
        let written = vendor.ok(&["file", "qr", &file("box.ram"), "-o", &file("codes"), "--format", format]);
        let first = text(&written["files"][0]);
        assert!(first.ends_with(&format!("box.ram-1-of-{}.{format}", written["codes"])), "{first}");
    }
}
