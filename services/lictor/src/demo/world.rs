//! Who plays in the demo: the vendor with all services, a site that has no way to the vendor, and the back office.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lictor_clock::SystemClock;
use serde_json::Value;

use super::narrator::{Broken, Narrator, Story};
use super::program::{Background, Machine, until};
use super::receiver::Receiver;

/// The vendor's firm code.
pub(crate) const FIRM_CODE: &str = "6000010";

/// What the services of the demo are told beside their defaults: a receiver on this machine may be called by plain http, and
/// tries follow each other quickly, so that nobody waits for minutes.
const ENVIRONMENT: &[(&str, &str)] =
    &[("LICTOR_WEBHOOK_ALLOW", "127.0.0.1/32"), ("LICTOR_RETRY_WAITS", "200ms,400ms,800ms")];

/// Everything that plays.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) narrator: Narrator,
    /// The machine of the vendor, whose licence server also stands for a customer that is online.
    pub(crate) vendor: Machine,
    /// A customer's machine without any way to the vendor: files travel by hand.
    pub(crate) site: Machine,
    pub(crate) receiver: Receiver,
    /// The licence server as programs find it.
    pub(crate) host: String,
    pub(crate) ledger: Ledger,
    folder: PathBuf,
    program: PathBuf,
    up: Option<Background>,
    site_up: Option<Background>,
}

/// What the back office must have heard of in the end.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) orders: Vec<String>,
    pub(crate) licenses: Vec<String>,
    pub(crate) withdrawn: Vec<String>,
    pub(crate) activations: Vec<String>,
    tickets: Vec<String>,
}

impl Ledger {
    /// Whether a text holds a whole ticket.
    pub(crate) fn tickets_in(&self, text: &str) -> bool {
        self.tickets.iter().any(|ticket| text.contains(ticket) || text.contains(&ticket.replace('-', "")))
    }
}

/// A sold license.
#[derive(Clone, Debug)]
pub(crate) struct Sold {
    pub(crate) ticket: String,
    pub(crate) license: String,
}

impl World {
    pub(crate) async fn new(folder: PathBuf, narrator: Narrator) -> Story<Self> {
        let program = std::env::current_exe()
            .map_err(|error| Broken::new(format!("this program does not know where it is: {error}")))?;
        Ok(Self {
            narrator,
            vendor: Machine::new(&program, folder.join("vendor").join("client.toml")),
            site: Machine::new(&program, folder.join("site").join("client.toml")),
            receiver: Receiver::open(SystemClock::shared()).await?,
            host: String::new(),
            ledger: Ledger::default(),
            folder,
            program,
            up: None,
            site_up: None,
        })
    }

    /// A file that travels.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts all services of the vendor, or starts them again.
    pub(crate) async fn start_vendor(&mut self) -> Story {
        let data = self.file("vendor");
        // The configuration is written by this very start.
        let machine = Machine::new(&self.program, PathBuf::new());
        let words = ["up", "--data", &data, "--port-base", "0", "--until-stdin-ends", "--json"];
        let mut up = machine.start_without_config(&words, ENVIRONMENT)?;
        let told = up.line().await?;
        text(&told["services"]["license-server"], "grpc")?.clone_into(&mut self.host);
        self.up = Some(up);
        Ok(())
    }

    /// Kills all services of the vendor at once, as a power cut would.
    pub(crate) async fn kill_vendor(&mut self) -> Story {
        match self.up.take() {
            Some(up) => up.kill().await,
            None => Err(Broken::new("the services do not run")),
        }
    }

    /// Starts the licence server of the site, alone.
    pub(crate) async fn start_site(&mut self) -> Story {
        let data = self.file("site");
        let machine = Machine::new(&self.program, PathBuf::new());
        let words =
            ["up", "--data", &data, "--only", "license-server", "--port-base", "0", "--until-stdin-ends", "--json"];
        let mut up = machine.start_without_config(&words, &[])?;
        up.line().await?;
        self.site_up = Some(up);
        Ok(())
    }

    /// Ends what still runs, softly; that too must work.
    pub(crate) async fn close(&mut self) -> Story {
        for up in [self.site_up.take(), self.up.take()].into_iter().flatten() {
            let mut up = up;
            up.terminate()?;
            let (status, stderr) = up.ended().await?;
            if !status.success() {
                return Err(Broken::new(format!("the services did not stop well: {status}\n  {}", stderr.trim())));
            }
        }
        Ok(())
    }

    /// Runs a verb of the vendor that must succeed with one object.
    pub(crate) async fn ok(&self, words: &[&str]) -> Story<Value> {
        self.vendor.ok(&self.narrator, words).await
    }

    /// Runs a verb of the vendor that must succeed with any number of lines.
    pub(crate) async fn lines(&self, words: &[&str]) -> Story<Vec<Value>> {
        self.vendor.lines(&self.narrator, words).await
    }

    /// Sells an item to the customer of the story.
    pub(crate) async fn sell(&mut self, item: &str) -> Story<Sold> {
        let order = self.ok(&["order", "create", "--customer", "Nova Training", "--item", item]).await?;
        self.note_order(&order)
    }

    /// Remembers an order, for the webhooks.
    pub(crate) fn note_order(&mut self, order: &Value) -> Story<Sold> {
        let ticket = &order["tickets"][0];
        let license = text(&ticket["licenses"][0], "license_id")?.to_owned();
        self.ledger.orders.push(text(order, "order_id")?.to_owned());
        self.ledger.licenses.push(license.clone());
        let ticket = text(ticket, "ticket")?.to_owned();
        self.ledger.tickets.push(ticket.clone());
        Ok(Sold { ticket, license })
    }

    /// Waits until a license is in a state.
    pub(crate) async fn reaches(&self, license: &str, state: &str) -> Story {
        until(&format!("{license} is {state}"), Duration::from_secs(10), || async {
            let shown = self.ok(&["license", "show", license]).await?;
            Ok((shown["state"] == state).then_some(()))
        })
        .await
    }

    /// Product codes in the container of a licence server, without modules.
    pub(crate) async fn products(&self, machine: &Machine) -> Story<Vec<u64>> {
        let listed = machine.ok(&self.narrator, &["server", "list"]).await?;
        let entries = listed["containers"][0]["firms"][0]["entries"].as_array().cloned().unwrap_or_default();
        let mut products: Vec<u64> = entries
            .iter()
            .filter(|entry| entry["module_of"].is_null())
            .filter_map(|entry| entry["product_code"].as_u64())
            .collect();
        products.sort_unstable();
        Ok(products)
    }

    /// A protected program behind `lictor run`, started in the background; gives it when it holds its seat.
    pub(crate) async fn worker(&self, name: &str, product: &str, options: &[&str], code: &str) -> Story<Background> {
        let status = self.path(&format!("{name}.json"));
        // An old file would be taken for the new one.
        let _ = std::fs::remove_file(&status);
        let mut words = self.run_words(product, options, &status);
        words.extend(["--".to_owned(), self.program.display().to_string(), "work".to_owned(), code.to_owned()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut worker = self.vendor.start(&words, &[("CODEMETER_HOST", &self.host)])?;
        let what = format!("{name} holds its seat");
        let held = until(&what, Duration::from_secs(10), || {
            let state = self.status(name);
            std::future::ready(Ok((state["state"] == "running").then_some(())))
        });
        tokio::select! {
            held = held => held?,
            ended = worker.ended() => {
                let (status, stderr) = ended?;
                return Err(Broken::new(format!("{name} got no seat ({status})\n  {}", stderr.trim())));
            }
        }
        Ok(worker)
    }

    /// The words of `lictor run` up to its command.
    pub(crate) fn run_words(&self, product: &str, options: &[&str], status: &Path) -> Vec<String> {
        let mut words: Vec<String> =
            ["run", "--firm-code", FIRM_CODE, "--product-code", product, "--trust"].map(str::to_owned).to_vec();
        words.push(self.file("vendor.lif"));
        words.push("--status-file".to_owned());
        words.push(status.display().to_string());
        words.extend(options.iter().map(|word| (*word).to_owned()));
        words
    }

    /// What a worker's status file says.
    pub(crate) fn status(&self, name: &str) -> Value {
        let content = std::fs::read(self.path(&format!("{name}.json"))).unwrap_or_default();
        serde_json::from_slice(&content).unwrap_or_default()
    }

    /// Writes a file that somebody in the story made.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Story {
        std::fs::write(self.path(name), content)
            .map_err(|error| Broken::new(format!("{name} cannot be written: {error}")))
    }

    /// Reads a file of the story.
    pub(crate) fn read(&self, name: &str) -> Story<Vec<u8>> {
        std::fs::read(self.path(name)).map_err(|error| Broken::new(format!("{name} cannot be read: {error}")))
    }
}

/// A text that an answer must have.
pub(crate) fn text<'a>(object: &'a Value, key: &str) -> Story<&'a str> {
    object[key].as_str().ok_or_else(|| Broken::new(format!("{key} is missing in {object}")))
}
