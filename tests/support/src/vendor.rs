//! A vendor and a customer for tests of the whole system: a catalogue, and the steps that every story begins with.

use std::fs;

use anyhow::Context;
use serde_json::Value;

use crate::fleet::{FIRM_CODE, Fleet};
use crate::programs::Answer;

/// Product code of `editor`.
pub const EDITOR: u32 = 2000;
/// Product code of `reports`.
pub const REPORTS: u32 = 3000;

/// What the vendor of the tests sells.
#[must_use]
pub fn catalogue() -> String {
    format!(
        "firm_code: {FIRM_CODE}
items:
  - name: editor
    product_item:
      product_code: {EDITOR}
      text: Editor
      license_quantity: {{ count: 1 }}
      bindings: [folder, volume, machine]
      modules:
        - {{ product_code: 2001, text: Spelling, requires_parent: true }}
  - name: reports
    product_item:
      product_code: {REPORTS}
      text: Reports
      license_quantity: {{ count: 1 }}
      bindings: [folder, volume, machine]
  - name: roaming
    product_item:
      product_code: 5000
      text: Goes from container to container
      license_quantity: {{ count: 4 }}
      transfer: {{ may_move: true, may_return: true, splittable: true, depth: 9 }}
      bindings: [folder, volume, machine]
      modules:
        - {{ product_code: 5001, text: Goes along }}
  - name: renewing
    product_item:
      product_code: 6000
      text: Ends within a month unless it is renewed
      license_quantity: {{ count: 4 }}
      transfer: {{ may_move: true, may_return: true, splittable: true, depth: 9 }}
      bindings: [folder, volume, machine]
    renewal: {{ period_days: 30, lead_days: 7, grace_days: 0 }}
  - name: machine-only
    product_item:
      product_code: 4000
      text: Not for folders
      license_quantity: {{ count: 1 }}
"
    )
}

impl Fleet {
    /// Runs a verb that has to succeed and gives its JSON.
    ///
    /// # Errors
    /// It failed; the text says how.
    pub fn ok(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        self.run(arguments)?.json().with_context(|| format!("lictor {}", arguments.join(" ")))
    }

    /// Keys, catalogue, licence information file, and an empty container at the licence server; gives its serial.
    ///
    /// # Errors
    /// A step failed.
    pub fn set_up(&self) -> anyhow::Result<String> {
        let firm = FIRM_CODE.to_string();
        self.ok(&["vendor", "init", "--firm-code", &firm, "--name", "Example Software"])?;
        self.ok(&["vendor", "lif", "--binding", "folder", "-o", "vendor.lif"])?;
        fs::write(self.path("catalogue.yaml"), catalogue())?;
        self.ok(&["catalogue", "apply", "catalogue.yaml"])?;
        let made = self.ok(&["server", "create-container", "--lif", "vendor.lif"])?;
        text(&made, "serial")
    }

    /// Orders an item such as `editor=2` and gives the whole ticket and the licence id.
    ///
    /// # Errors
    /// The order failed.
    pub fn order(&self, item: &str) -> anyhow::Result<(String, String)> {
        let order = self.ok(&["order", "create", "--customer", "Nova", "--item", item])?;
        ticket_of(&order)
    }

    /// The state of a licence.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn state_of(&self, license: &str) -> anyhow::Result<String> {
        text(&self.ok(&["license", "show", license])?, "state")
    }

    /// Takes a seat of a product with the `lictor run` wrapper, runs `command` and gives what came of it.
    ///
    /// # Errors
    /// The wrapper does not start.
    pub fn run_protected(&self, product: u32, command: &[&str]) -> anyhow::Result<Answer> {
        Answer::of(&mut self.protected(product, command)?)
    }

    /// `lictor run` for a product in front of `command`, not started yet.
    ///
    /// # Errors
    /// The program is not built.
    pub fn protected(&self, product: u32, command: &[&str]) -> anyhow::Result<std::process::Command> {
        let (firm, product) = (FIRM_CODE.to_string(), product.to_string());
        let mut arguments = vec!["run", "--firm-code", &firm, "--product-code", &product, "--"];
        arguments.extend(command);
        self.lictor(&arguments)
    }
}

/// The ticket and the first licence id of an order's answer.
///
/// # Errors
/// They are not there.
pub fn ticket_of(order: &Value) -> anyhow::Result<(String, String)> {
    let ticket = &order["tickets"][0];
    Ok((text(ticket, "ticket")?, text(&ticket["licenses"][0], "license_id")?))
}

/// A text field of a JSON object.
///
/// # Errors
/// It is not there.
pub fn text(value: &Value, key: &str) -> anyhow::Result<String> {
    Ok(value[key].as_str().with_context(|| format!("no text `{key}` in {value}"))?.to_owned())
}
