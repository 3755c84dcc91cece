//! The key ceremony, typed as people type it: holders on machines of their own, a vendor with a running installation.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const FIRM: &str = "6000011";

struct Place {
    folder: tempfile::TempDir,
    services: Child,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.services.kill();
        let _ = self.services.wait();
    }
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut services = Command::new(env!("CARGO_BIN_EXE_lictor"))
            .args(["up", "--port-base", "0", "--until-stdin-ends", "--json", "--data"])
            .arg(folder.path().join("data"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(services.stdout.take().expect("stdout"))
            .read_line(&mut line)
            .expect("it tells where it listens");
        assert!(line.contains("license-server"), "{line}");
        Self { folder, services }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// With the vendor's installation.
    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lictor"));
        command.env("LICTOR_CONFIG", self.path("data/client.toml")).env("LICTOR_FIRM_CODE", FIRM);
        command.current_dir(self.folder.path()).args(words).arg("--json").stdin(Stdio::null());
        command.output().expect("the program starts")
    }

    fn ok(&self, words: &[&str]) -> Value {
        json(words, &self.run(words), 0)
    }

    fn refused(&self, code: i32, words: &[&str]) -> Value {
        json(words, &self.run(words), code)
    }

    fn holder(&self, name: &str) {
        let words = ["key", "create", "-o", &format!("{name}.key")];
        let made = json(&words, &offline(self.folder.path(), &words), 0);
        assert_eq!(made["sealed"], true);
    }

    /// A holder signs a copy of the proposal, elsewhere.
    fn sign(&self, name: &str, proposal: &str, fingerprint: &str) -> String {
        let copy = format!("{name}-{proposal}");
        let (key, text) = (format!("{name}.key"), fingerprint.to_owned());
        let words = ["key", "sign", proposal, "--key", &key, "--fingerprint", &text, "-o", &copy];
        json(&words, &offline(self.folder.path(), &words), 0);
        copy
    }
}

/// On a machine without network, configuration or service.
fn offline(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lictor"));
    command.env_clear().env("HOME", folder).env("LICTOR_PASSPHRASE", "five words that nobody guesses");
    command.current_dir(folder).args(words).arg("--json").stdin(Stdio::null());
    command.output().expect("the program starts")
}

fn json(words: &[&str], output: &Output, code: i32) -> Value {
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{words:?}: {told}{errors}");
    serde_json::from_str(&told).unwrap_or_else(|_| panic!("{words:?}: {told}{errors}"))
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

#[test]
fn a_ceremony_of_three_holders_from_the_first_key_to_a_stolen_one() {
    let place = Place::new();
    for name in ["alice", "bob", "carol", "dave"] {
        place.holder(name);
    }
    let again = offline(place.folder.path(), &["key", "create", "-o", "alice.key"]);
    assert_eq!(again.status.code(), Some(5), "a key is never replaced");

    // Two of three make the firm.
    let three = ["--root-key", "alice.pub", "--root-key", "bob.pub", "--root-key", "carol.pub", "--threshold", "2"];
    let init = [&["vendor", "init", "--name", "Example"], &three[..], &["-o", "one.root"]].concat();
    let fingerprint = text(&place.ok(&init)["root_fingerprint"]);
    let wrong = ["key", "sign", "one.root", "--key", "alice.key", "--fingerprint", &"0".repeat(64)];
    assert_eq!(offline(place.folder.path(), &wrong).status.code(), Some(5), "not what was agreed on");
    assert_eq!(
        json(&["show"], &offline(place.folder.path(), &["key", "show", "one.root"]), 0)["root_fingerprint"],
        *fingerprint
    );
    let alice = place.sign("alice", "one.root", &fingerprint);
    assert_eq!(place.ok(&["vendor", "root", "sign", &alice])["installable"], false);
    place.refused(5, &["vendor", "root", "install", "one.root"]);
    place.refused(4, &["vendor", "show"]);
    let bob = place.sign("bob", "one.root", &fingerprint);
    let signed = place.ok(&["vendor", "root", "sign", &alice, &bob]);
    assert_eq!((&signed["added"], &signed["installable"]), (&1.into(), &true.into()));
    assert_eq!(place.ok(&["vendor", "root", "install", "--fingerprint", &fingerprint])["installed"], true);
    assert_eq!(place.ok(&["vendor", "root", "install", "one.root"])["installed"], false);
    assert_eq!(place.ok(&["vendor", "show"])["root_version"], 1);

    // A container that trusts version 1 and gets a licence.
    place.ok(&["vendor", "lif", "--binding", "folder", "-o", "v.lif"]);
    place.ok(&["server", "create-container", "--lif", "v.lif"]);
    let catalogue = format!(
        "firm_code: {FIRM}\nitems:\n  - name: a\n    product_item:\n      product_code: 5\n      bindings: [folder]\n      \
         license_quantity: {{ count: 3 }}\n"
    );
    std::fs::write(place.path("c.yaml"), catalogue).expect("catalogue");
    place.ok(&["catalogue", "apply", "c.yaml"]);
    let activate = || {
        let order = place.ok(&["order", "create", "--customer", "N", "--item", "a"]);
        place.ok(&["activate", &text(&order["tickets"][0]["ticket"])]);
    };
    activate();

    // Carol lost her key, Dave takes her place.
    let carol = text(&json(&["show"], &offline(place.folder.path(), &["key", "show", "carol.pub"]), 0)["key_id"]);
    let words = ["vendor", "root", "propose", "--add-key", "root=dave.pub", "--retire", &carol[..8], "-o", "two.root"];
    let fingerprint = text(&place.ok(&words)["root_fingerprint"]);
    assert_eq!(place.ok(&words)["root_fingerprint"], *fingerprint, "asking again proposes the same");
    let copies = ["alice", "dave"].map(|name| place.sign(name, "two.root", &fingerprint));
    let signed = place.ok(&["vendor", "root", "sign", &copies[0], &copies[1]]);
    assert_eq!(signed["installable"], false, "of the present keys only one signed");
    let bob = place.sign("bob", "two.root", &fingerprint);
    assert_eq!(place.ok(&["vendor", "root", "sign", &bob])["installable"], true);
    place.ok(&["vendor", "root", "install", "two.root"]);
    activate();

    // The issue key was stolen.
    let rotated = place.ok(&["vendor", "root", "rotate", "--role", "issue", "--stolen", "-o", "three.root"]);
    assert_eq!((&rotated["installable"], &rotated["root_version"]), (&false.into(), &3.into()));
    let fingerprint = text(&rotated["root_fingerprint"]);
    let copies = ["bob", "dave"].map(|name| place.sign(name, "three.root", &fingerprint));
    place.ok(&["vendor", "root", "sign", &copies[0], &copies[1]]);
    assert_eq!(place.ok(&["vendor", "root", "install", "three.root"])["root_version"], 3);
    activate();
    let shown = place.ok(&["vendor", "root", "show"]);
    assert_eq!(shown["warnings"], Value::Array(Vec::new()));
    assert_eq!(place.ok(&["server", "list"])["containers"][0]["firms"][0]["entries"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_vendor_whose_key_store_holds_the_root_key_rotates_in_one_step() {
    let place = Place::new();
    place.ok(&["vendor", "init", "--name", "Example"]);
    for (version, role) in [(2, "issue"), (3, "time"), (4, "support"), (5, "lease-certifier")] {
        assert_eq!(place.ok(&["vendor", "root", "rotate", "--role", role])["root_version"], version, "{role}");
    }
    let sealed = place.path("nobody.key");
    std::fs::write(&sealed, "lictor-key-v2\n").expect("a file");
    place.refused(7, &["key", "show", "nobody.key"]);
    place.refused(7, &["vendor", "root", "install", "nobody.key"]);
    place.refused(2, &["vendor", "root", "propose"]);
    place.refused(4, &["vendor", "root", "propose", "--retire", "00000000"]);
}
