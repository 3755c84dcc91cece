//! A vendor and a customer in one process: `lictor up`, and verbs run against it as people run them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const FIRM: &str = "6000010";
const PATIENCE: Duration = Duration::from_secs(20);

const CATALOGUE: &str = "\
firm_code: 6000010
items:
  - name: suite
    product_item:
      product_code: 201
      text: Example Suite
      bindings: [folder]
      license_quantity: { count: 5 }
      transfer: { may_move: true, may_return: true, splittable: true, depth: 3 }
      modules:
        - product_code: 202
          text: Plotter
  - name: reader
    reactivation: { once_per_days: 180 }
    product_item:
      product_code: 204
      text: Reader
      bindings: [folder]
      license_quantity: { count: 1 }
      transfer: { may_return: true }
  - name: rolling
    renewal: { period_days: 30, lead_days: 7 }
    product_item:
      product_code: 205
      text: Rolling
      bindings: [folder]
      license_quantity: { count: 1 }
";

/// The program that is tested.
pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_lictor")
}

/// Processes that end with their test.
pub(crate) struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A place with a configuration of its own: the vendor's machine, or a customer's.
pub(crate) struct Machine {
    pub(crate) data: PathBuf,
    _up: Background,
}

/// Everything that a test needs, gone with it.
pub(crate) struct World {
    pub(crate) place: TempDir,
    /// All services, and a licence server that is online.
    pub(crate) vendor: Machine,
}

/// A sold ticket with its licenses.
pub(crate) struct Sold {
    pub(crate) ticket: String,
    pub(crate) licenses: Vec<String>,
}

impl Machine {
    fn start(data: PathBuf, only: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(["up", "--port-base", "0", "--until-stdin-ends", "--json", "--data"])
            .arg(&data)
            .args(only)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("it tells where it listens");
        assert!(line.contains("license-server"), "{line}");
        Self { data, _up: Background(child) }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.data.join("client.toml")
    }

    /// A verb on this machine.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.env("LICTOR_CONFIG", self.config()).env("LICTOR_FIRM_CODE", FIRM).args(words).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the program starts")
    }

    /// What a verb says in JSON, one value per line; it must succeed.
    pub(crate) fn lines(&self, words: &[&str]) -> Vec<Value> {
        let output = self.command(words).arg("--json").output().expect("the program starts");
        let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words:?}: {told}{errors}");
        told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    pub(crate) fn ok(&self, words: &[&str]) -> Value {
        let mut lines = self.lines(words);
        assert_eq!(lines.len(), 1, "{words:?}: {lines:?}");
        lines.remove(0)
    }

    /// A verb that must fail with this exit code; gives what it said on stderr. It must say what to do next.
    pub(crate) fn refused(&self, words: &[&str], code: i32) -> String {
        let output = self.run(words);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {errors}");
        assert!(errors.contains("next: ") || errors.contains("Usage: "), "{words:?} says what to do: {errors}");
        errors
    }

    /// Seats of a product in the container of this machine's licence server; none when it is not there.
    pub(crate) fn seats(&self, product: u64) -> Option<u64> {
        let listed = self.ok(&["server", "list"]);
        let entries = listed["containers"][0]["firms"][0]["entries"].as_array().cloned().unwrap_or_default();
        entries.iter().find(|entry| entry["product_code"] == product).and_then(|entry| entry["quantity"].as_u64())
    }

    pub(crate) fn serial(&self) -> String {
        text(&self.ok(&["server", "list"])["containers"][0]["serial"])
    }
}

impl World {
    /// A vendor with a catalogue, and a container at its own licence server.
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().expect("temporary folder");
        let vendor = Machine::start(place.path().join("vendor"), &[]);
        let world = Self { place, vendor };
        world.vendor.ok(&["vendor", "init", "--name", "Example"]);
        world.vendor.ok(&["vendor", "lif", "--binding", "folder", "-o", &world.file("v.lif")]);
        world.vendor.ok(&["server", "create-container", "--lif", &world.file("v.lif")]);
        std::fs::write(world.path("c.yaml"), CATALOGUE).expect("catalogue");
        world.vendor.ok(&["catalogue", "apply", &world.file("c.yaml")]);
        world
    }

    /// Another licence server with an empty container. It reaches the vendor only when `online`.
    pub(crate) fn site(&self, name: &str, online: bool) -> Machine {
        let site = Machine::start(self.path(name), &["--only", "license-server"]);
        site.ok(&["server", "create-container", "--lif", &self.file("v.lif")]);
        if online {
            let vendor: toml::Table =
                std::fs::read_to_string(self.vendor.config()).expect("config").parse().expect("TOML");
            let path = site.config();
            let mut own: toml::Table = std::fs::read_to_string(&path).expect("config").parse().expect("TOML");
            let activation = vendor["address"]["activation"].clone();
            let mut address = toml::Table::new();
            address.insert("activation".to_owned(), activation);
            own.insert("address".to_owned(), toml::Value::Table(address));
            std::fs::write(&path, own.to_string()).expect("config");
        }
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Sells items to one customer, on one ticket.
    pub(crate) fn sell(&self, items: &[&str]) -> Sold {
        let mut words = vec!["order", "create", "--customer", "Nova"];
        for item in items {
            words.extend(["--item", item]);
        }
        let order = self.vendor.ok(&words);
        let ticket = &order["tickets"][0];
        let licenses = ticket["licenses"].as_array().expect("licenses");
        Sold {
            ticket: text(&ticket["ticket"]),
            licenses: licenses.iter().map(|license| text(&license["license_id"])).collect(),
        }
    }

    /// Sells items and puts them into the container of a machine that is online.
    pub(crate) fn activated(&self, machine: &Machine, items: &[&str]) -> Sold {
        let sold = self.sell(items);
        machine.ok(&["activate", &sold.ticket]);
        for license in &sold.licenses {
            self.reaches(license, "confirmed");
        }
        sold
    }

    /// A second container, known to the vendor and of the same customer as the first one. Its licence server reaches the
    /// vendor only when `online`.
    pub(crate) fn second(&self, online: bool) -> Machine {
        let site = self.site("site", online);
        site.ok(&["server", "context", "-o", &self.file("site.rac")]);
        self.vendor.ok(&["push", "context", &self.file("site.rac"), "--customer", "Nova"]);
        self.vendor.lines(&["container", "assign", &self.vendor.serial(), "--customer", "Nova"]);
        site
    }

    /// Waits until a license is in a state.
    pub(crate) fn reaches(&self, license: &str, state: &str) -> Value {
        until(&format!("{license} is {state}"), || {
            let shown = self.vendor.ok(&["license", "show", license]);
            (shown["state"] == state).then_some(shown)
        })
    }
}

/// Waits until something is so.
pub(crate) fn until<T>(what: &str, mut so: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = so() {
            return value;
        }
        assert!(Instant::now() < end, "it did not come about: {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// A file of this repository.
pub(crate) fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
