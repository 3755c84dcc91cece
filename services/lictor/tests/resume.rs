//! `lictor activate` killed at any moment: the same command finishes the same activation, and nothing is spent twice.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const FIRM: &str = "6000010";
const ROUNDS_PER_SCALE: u32 = 10;
const UNDISTURBED: u32 = 3;

struct Services(Child);

impl Drop for Services {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lictor(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lictor"));
    command.env("LICTOR_CONFIG", folder.join("client.toml")).env("LICTOR_FIRM_CODE", FIRM);
    command
}

fn ok(folder: &Path, words: &[&str]) -> Value {
    let output = lictor(folder).args(words).arg("--json").output().expect("the program starts");
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words:?}: {told}{errors}");
    serde_json::from_str(&told).unwrap_or_else(|_| panic!("{words:?}: {told}"))
}

fn start(folder: &Path) -> Services {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lictor"))
        .args(["up", "--port-base", "0", "--until-stdin-ends", "--json", "--data"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("stdout");
    BufReader::new(stdout).read_line(&mut line).expect("it tells where it listens");
    assert!(line.contains("license-server"), "{line}");
    Services(child)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the wait is what is tested: where in its work the first run dies")]
fn an_activation_killed_at_any_moment_is_finished_by_the_same_command() {
    let place = tempfile::tempdir().expect("temporary folder");
    let folder = place.path().join("data");
    let _services = start(&folder);
    let file = |name: &str| place.path().join(name).display().to_string();
    ok(&folder, &["vendor", "init", "--name", "Example"]);
    ok(&folder, &["vendor", "lif", "--binding", "folder", "-o", &file("v.lif")]);
    ok(&folder, &["server", "create-container", "--lif", &file("v.lif")]);
    let catalogue = format!(
        "firm_code: {FIRM}\nitems:\n  - name: a\n    product_item:\n      product_code: 5\n      bindings: [folder]\n      \
         license_quantity: {{ count: 3 }}\n"
    );
    std::fs::write(place.path().join("c.yaml"), catalogue).expect("catalogue");
    ok(&folder, &["catalogue", "apply", &file("c.yaml")]);
    let sell = || {
        let order = ok(&folder, &["order", "create", "--customer", "N", "--item", "a"]);
        let ticket = &order["tickets"][0];
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        (text(&ticket["ticket"]), text(&ticket["licenses"][0]["license_id"]))
    };

    // How long one takes undisturbed; the kills are spread over that time.
    let mut whole = Duration::MAX;
    for _ in 0..UNDISTURBED {
        let (ticket, _) = sell();
        let began = Instant::now();
        ok(&folder, &["activate", &ticket]);
        whole = whole.min(began.elapsed());
    }

    let scale: u32 = std::env::var("LICTOR_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let rounds = ROUNDS_PER_SCALE * scale;
    let mut finished_before_the_kill = 0;
    for round in 0..rounds {
        let (ticket, license) = sell();
        let mut first = lictor(&folder)
            .args(["activate", &ticket])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        std::thread::sleep(whole * round / rounds);
        let _ = first.kill();
        if first.wait().expect("it ends").success() {
            finished_before_the_kill += 1;
        }
        // Whatever was done before, nothing or everything, asking again is right.
        let activated = ok(&folder, &["activate", &ticket]);
        assert_eq!(activated["licenses"][0]["license_id"], *license, "round {round}: {activated}");
        let shown = wait_confirmed(&folder, &license);
        assert_eq!(shown["allocations"].as_array().map(Vec::len), Some(1), "round {round}: {shown}");
    }
    assert!(finished_before_the_kill < rounds / 2, "the kills came too late to prove anything");

    let listed = ok(&folder, &["server", "list"]);
    let entries = listed["containers"][0]["firms"][0]["entries"].as_array().expect("entries").len();
    assert_eq!(entries, (rounds + UNDISTURBED) as usize, "each ticket became exactly one entry");
    let chain = ok(&folder, &["container", "show", listed["containers"][0]["serial"].as_str().expect("serial")]);
    assert_eq!(chain["latest"], u64::from(rounds + UNDISTURBED), "no segment was issued twice");
}

fn wait_confirmed(folder: &Path, license: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let shown = ok(folder, &["license", "show", license]);
        if shown["state"] == "confirmed" {
            return shown;
        }
        assert!(Instant::now() < end, "not confirmed in time: {shown}");
    }
}
