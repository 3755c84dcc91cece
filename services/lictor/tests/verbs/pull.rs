//! `lictor pull`: outbound only, quiet without news, safe beside another, and its examples as they stand in the tree.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::world::{FIRM, Machine, World, in_tree, program, until};

/// Waits at the vendor for a site: a ticket's licenses, pushed.
fn push(world: &World, site: &Machine) -> String {
    let sold = world.sell(&["reader"]);
    let serial = site.serial();
    let target = world.file(&format!("{}.rau", sold.licenses[0]));
    world.vendor.ok(&["push", "create", "--container", &serial, "--ticket", &sold.ticket, "-o", &target]);
    sold.licenses[0].clone()
}

/// A site that the vendor has seen.
fn known_site(world: &World, name: &str) -> Machine {
    let site = world.site(name, true);
    let context = world.file(&format!("{name}.rac"));
    site.ok(&["server", "context", "-o", &context]);
    world.vendor.ok(&["push", "context", &context]);
    site
}

#[test]
fn a_pull_fetches_imports_and_proves_and_is_quiet_without_news() {
    let world = World::new();
    let site = known_site(&world, "site");
    let license = push(&world, &site);
    let pulled = site.lines(&["pull"]);
    assert_eq!(pulled.len(), 1);
    assert_eq!(
        (pulled[0]["state"].as_str(), pulled[0]["applied"].as_u64()),
        (Some("updated"), Some(1)),
        "{}",
        pulled[0]
    );
    world.reaches(&license, "confirmed");
    assert_eq!(site.seats(204), Some(1));

    let quiet = site.run(&["pull"]);
    assert_eq!(quiet.status.code(), Some(0));
    assert!(quiet.stdout.is_empty() && quiet.stderr.is_empty(), "{quiet:?}");
    assert_eq!(site.lines(&["pull"])[0]["state"], "current");
}

#[test]
fn two_pulls_do_not_run_at_once() {
    let world = World::new();
    let site = known_site(&world, "site");
    let start = || site.command(&["pull", "--jitter", "1d"]).stderr(Stdio::null()).spawn().expect("starts");
    let mut first = start();
    let told = until("the first pull has its lock", || {
        let second = site.run(&["pull"]);
        // The one that asks may have been faster than the one that was to hold the lock.
        if first.try_wait().expect("a process").is_some() {
            first = start();
        }
        (second.status.code() == Some(5)).then(|| String::from_utf8_lossy(&second.stderr).into_owned())
    });
    assert!(told.contains("another pull runs already"), "{told}");
    let _ = first.kill();
    let _ = first.wait();
    assert_eq!(site.run(&["pull"]).status.code(), Some(0), "the lock went with its process");
}

#[test]
fn a_failing_container_does_not_keep_the_others_from_their_updates() {
    let world = World::new();
    let site = known_site(&world, "site");
    let license = push(&world, &site);
    let address =
        site.command(&["pull", "--json"]).env("LICTOR_ACTIVATION", "http://127.0.0.1:9").output().expect("starts");
    assert_eq!(address.status.code(), Some(6), "{address:?}");
    let told = String::from_utf8_lossy(&address.stdout);
    assert!(told.contains("\"state\":\"failed\"") && told.contains(FIRM), "which one failed is told: {told}");
    assert_eq!(site.run(&["pull", "--serial", "130-0000000000"]).status.code(), Some(4));
    site.ok(&["pull"]);
    world.reaches(&license, "confirmed");
}

#[test]
fn a_pull_by_files_needs_a_challenge_and_gives_what_waits() {
    let world = World::new();
    let site = known_site(&world, "site");
    let license = push(&world, &site);
    let file = |name: &str| world.file(name);
    let old = world.vendor.run(&["pull", "--context", &file("site.rac"), "-o", &file("no.rau")]);
    assert!(!old.status.success(), "a context without a challenge fetches nothing");
    assert!(!world.path("no.rau").exists());
    let challenge = world.vendor.ok(&["challenge"]);
    let challenge = challenge["challenge"].as_str().expect("challenge");
    let context = site.ok(&["server", "context", "--challenge", challenge, "-o", &file("fresh.rac")]);
    assert_eq!(context["fresh"], true);
    world.vendor.ok(&["pull", "--context", &file("fresh.rac"), "-o", &file("site.rau")]);
    site.ok(&["server", "import", &file("site.rau"), "-o", &file("receipt.rac")]);
    world.vendor.ok(&["push", "context", &file("receipt.rac")]);
    world.reaches(&license, "confirmed");
    site.refused(&["server", "context", "--challenge", "12ab", "-o", &file("bad.rac")], 2);
}

/// A program that is found as `lictor`, and the folders that the examples name.
fn as_installed(world: &World, site: &Machine, line: &str) -> Command {
    let line = line
        .replace("/usr/local/bin/lictor", program())
        .replace("/etc/lictor/client.toml", &site.config().display().to_string())
        .replace("/var/lib/lictor-pull", &world.file("notes"));
    let mut command = Command::new("sh");
    command.args(["-c", &line]).env_clear().stdin(Stdio::null());
    command
}

#[test]
fn the_line_of_the_crontab_pulls() {
    let world = World::new();
    let site = known_site(&world, "site");
    let license = push(&world, &site);
    let crontab = std::fs::read_to_string(in_tree("deploy/pull/crontab")).expect("the example is there");
    let mut line = String::new();
    for text in crontab.lines().filter(|text| !text.starts_with('#') && !text.is_empty()) {
        let fields: Vec<&str> = text.split_whitespace().collect();
        match text.split_once('=') {
            Some((name, value)) if name.chars().all(|c| c.is_ascii_uppercase() || c == '_') => {
                let value = if name == "PATH" { format!("{}:{value}", folder_of_program()) } else { value.to_owned() };
                line.push_str(&format!("export {name}={value}; "));
            }
            _ => {
                assert!(
                    fields.len() > 5
                        && fields[..5].iter().all(|field| field.chars().all(|c| "0123456789*/,-".contains(c)))
                );
                // The delay is what cron wants and a test does not.
                line.push_str(&fields[5..].join(" ").replace("--jitter 1h", "--jitter 10ms"));
            }
        }
    }
    let output = as_installed(&world, &site, &line).output().expect("sh");
    assert_eq!(output.status.code(), Some(0), "{line}: {output:?}");
    world.reaches(&license, "confirmed");
    let again = as_installed(&world, &site, &line).output().expect("sh");
    assert!(
        again.status.success() && again.stdout.is_empty() && again.stderr.is_empty(),
        "cron would send mail: {again:?}"
    );
}

/// What a program of the system says about an example. One that `make test` installs may be missing only where nobody can
/// install it, and then that is said past the test harness, which keeps what a passing test prints to itself.
fn judged(judge: &mut Command, otherwise: &str) -> Option<Output> {
    match judge.output() {
        Ok(output) => Some(output),
        Err(error) => {
            let name = judge.get_program().to_string_lossy().into_owned();
            let installable = rustix::process::geteuid().is_root() && Path::new("/etc/debian_version").exists();
            assert!(!installable, "{name}: {error}; tests/scripts/install-dependencies.sh installs it");
            writeln!(std::io::stderr(), "SKIPPED: {otherwise}: {name} is not here ({error})").expect("stderr");
            None
        }
    }
}

#[test]
fn the_crontab_is_sound_in_the_eyes_of_cron() {
    let mut judge = Command::new("crontab");
    judge.arg("-n").arg(in_tree("deploy/pull/crontab"));
    if let Some(judged) = judged(&mut judge, "the crontab was run, not judged") {
        assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
    }
}

fn folder_of_program() -> String {
    Path::new(program()).parent().expect("folder").display().to_string()
}

#[test]
fn the_unit_of_systemd_pulls_and_is_sound() {
    let world = World::new();
    let site = known_site(&world, "site");
    let license = push(&world, &site);
    let unit = std::fs::read_to_string(in_tree("deploy/pull/lictor-pull.service")).expect("the example is there");
    let of = |key: &'static str| unit.lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='));
    let exports: String = of("Environment").map(|assignment| format!("export {assignment}; ")).collect();
    let start = of("ExecStart").next().expect("what it starts");
    let output = as_installed(&world, &site, &format!("{exports}{start}")).output().expect("sh");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    world.reaches(&license, "confirmed");

    let verify = world.path("units");
    std::fs::create_dir(&verify).expect("folder");
    for name in ["lictor-pull.service", "lictor-pull.timer"] {
        let text = std::fs::read_to_string(in_tree("deploy/pull").join(name)).expect("the example is there");
        let text = text.replace("/usr/local/bin/lictor", program()).replace("User=lictor", "User=root");
        std::fs::write(verify.join(name), text).expect("unit");
    }
    let units = ["lictor-pull.service", "lictor-pull.timer"].map(|name| verify.join(name));
    let mut judge = Command::new("systemd-analyze");
    judge.args(["verify", "--man=no", "--recursive-errors=no"]).args(units);
    if let Some(judged) = judged(&mut judge, "the units of systemd were run, not judged") {
        assert!(judged.status.success() && judged.stderr.is_empty(), "{}", String::from_utf8_lossy(&judged.stderr));
    }
}
