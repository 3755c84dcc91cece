//! The main job on five processes, PostgreSQL, RabbitMQ and Redis: from the order to the seat, and back by webhook.

use std::collections::{BTreeMap, HashSet};
use std::process::Stdio;

use anyhow::{Context, ensure};
use lictor_test_support::fleet::{Fleet, Service};
use lictor_test_support::receiver::Receiver;
use lictor_test_support::vendor::{EDITOR, REPORTS, text};
use lictor_test_support::wait;
use serde_json::{Value, json};

/// A child that is killed when the test ends early.
struct Holder(std::process::Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a protected `cat`, which runs until its input closes.
fn hold(fleet: &Fleet, product: u32) -> anyhow::Result<Holder> {
    let child = fleet.protected(product, &["cat"])?.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    Ok(Holder(child))
}

fn seats_taken(fleet: &Fleet) -> anyhow::Result<usize> {
    let listed = fleet.ok(&["server", "sessions"])?;
    Ok(listed["sessions"].as_array().context("sessions are a list")?.len())
}

fn entries(fleet: &Fleet) -> anyhow::Result<HashSet<u64>> {
    let listed = fleet.ok(&["server", "list"])?;
    let entries = listed["containers"][0]["firms"][0]["entries"].as_array().context("entries are a list")?.clone();
    Ok(entries.iter().filter_map(|entry| entry["product_code"].as_u64()).collect())
}

#[test]
fn an_order_becomes_a_seat_and_every_step_reaches_the_back_office() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start()? else { return Ok(()) };
    let back_office = Receiver::start()?;
    let serial = fleet.set_up()?;
    fleet.ok(&["notify", "destination", "add", "--url", &back_office.url()])?;

    // Two seats, activated online.
    let (ticket, license) = fleet.order("editor=2")?;
    let activated = fleet.ok(&["activate", &ticket])?;
    ensure!(activated["serial"] == json!(serial), "another container was activated: {activated}");
    wait::until("the licence is confirmed", || Ok((fleet.state_of(&license)? == "confirmed").then_some(())))?;

    // Two holders, one too many, and one after a seat came free.
    let first = hold(&fleet, EDITOR)?;
    let _second = hold(&fleet, EDITOR)?;
    wait::until("two seats are taken", || Ok((seats_taken(&fleet)? == 2).then_some(())))?;
    let refused = fleet.run_protected(EDITOR, &["touch", "must-not-exist"])?;
    ensure!(refused.code == 120, "one too many: {refused:?}");
    ensure!(refused.errors.contains("212") || refused.errors.contains("no more"), "it says why: {}", refused.errors);
    ensure!(!fleet.path("must-not-exist").exists(), "the command was started without a seat");
    drop(first);
    // The wrapper was killed with its hands full: its seat stays reserved for the grace time, then frees. A clean end is quicker.
    let ended = fleet.ok(&["server", "sessions"])?;
    ensure!(!ended["sessions"].as_array().context("a list")?.is_empty(), "the second holder lost its seat");

    // A push update that gets lost, and the next one that carries it along.
    let (lost, reports) = fleet.order("reports")?;
    let pushed = fleet.ok(&["push", "create", "--container", &serial, "--ticket", &lost, "-o", "lost.rau"])?;
    ensure!(pushed["segments"] == 1, "{pushed}");
    std::fs::remove_file(fleet.path("lost.rau"))?;
    let (third, _) = fleet.order("editor=1")?;
    let pushed = fleet.ok(&["push", "create", "--container", &serial, "--ticket", &third, "-o", "next.rau"])?;
    ensure!(pushed["segments"] == 2, "the lost update is not carried along: {pushed}");
    let imported = fleet.ok(&["server", "import", "next.rau", "-o", "receipt.rac"])?;
    ensure!(imported["applied"] == 2, "{imported}");
    let again = fleet.ok(&["server", "import", "next.rau"])?;
    ensure!(again["applied"] == 0 && again["skipped"] == 2, "a second import is no error: {again}");
    ensure!(entries(&fleet)?.contains(&u64::from(REPORTS)), "the lost licence is not there");
    ensure!(fleet.state_of(&reports)? == "collected", "nothing was proven yet");
    fleet.ok(&["push", "context", "receipt.rac"])?;
    wait::until("the receipt confirms it", || Ok((fleet.state_of(&reports)? == "confirmed").then_some(())))?;

    // Withdrawal: rides along, cannot be skipped.
    fleet.ok(&["license", "withdraw", &reports])?;
    ensure!(fleet.state_of(&reports)? == "returning", "a container still holds it");
    fleet.ok(&["push", "pending", &serial, "-o", "withdraw.rau"])?;
    fleet.ok(&["server", "import", "withdraw.rau", "-o", "gone.rac"])?;
    ensure!(!entries(&fleet)?.contains(&u64::from(REPORTS)), "the withdrawn licence is still there");
    ensure!(fleet.run_protected(REPORTS, &["true"])?.code == 120, "a withdrawn licence still gives seats");
    fleet.ok(&["push", "context", "gone.rac"])?;
    wait::until("the licence is withdrawn", || Ok((fleet.state_of(&reports)? == "withdrawn").then_some(())))?;

    // Everything reached the back office, once, signed.
    let expected = [
        ("lictor.order.created.v1", 3),
        ("lictor.license.created.v1", 3),
        ("lictor.license.withdrawn.v1", 1),
        ("lictor.activation.confirmed.v1", 4),
    ];
    wait::until("every event is delivered", || {
        let mut counts = BTreeMap::<String, usize>::new();
        let mut seen = HashSet::new();
        for received in back_office.taken() {
            if seen.insert(received.header("webhook-id").to_owned()) {
                *counts.entry(received.json()["type"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
        }
        for (name, count) in expected {
            ensure!(
                counts.get(name) == Some(&count),
                "{name} came {:?} times, not {count}: {counts:?}",
                counts.get(name)
            );
        }
        Ok(Some(()))
    })?;
    ensure!(
        back_office.all().iter().all(|received| received.header("webhook-signature").starts_with("v1,")),
        "unsigned"
    );
    Ok(())
}

#[test]
fn a_receiver_that_was_down_gets_everything_afterwards() -> anyhow::Result<()> {
    let schedule = BTreeMap::from([("LICTOR_RETRY_WAITS".to_owned(), "100ms,200ms,500ms".to_owned())]);
    let Some(fleet) = Fleet::start_with(schedule)? else { return Ok(()) };
    let back_office = Receiver::start()?;
    fleet.set_up()?;
    fleet.ok(&["notify", "destination", "add", "--url", &back_office.url()])?;
    back_office.answer_with(503);
    let orders: HashSet<String> = (0..5)
        .map(|_| text(&fleet.ok(&["order", "create", "--customer", "Nova", "--item", "reports"])?, "order_id"))
        .collect::<anyhow::Result<_>>()?;
    wait::until("an attempt was refused", || Ok((!back_office.all().is_empty()).then_some(())))?;
    ensure!(back_office.taken().is_empty());
    back_office.answer_with(204);
    wait::until("every order is delivered", || {
        let delivered: HashSet<String> = back_office
            .taken()
            .iter()
            .filter(|received| received.json()["type"] == "lictor.order.created.v1")
            .filter_map(|received| received.json()["data"]["order_id"].as_str().map(str::to_owned))
            .collect();
        Ok((delivered == orders).then_some(()))
    })
}

#[test]
fn files_travel_by_hand_to_a_machine_without_a_network() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start()? else { return Ok(()) };
    let serial = fleet.set_up()?;
    let (ticket, license) = fleet.order("editor=1")?;
    fleet.ok(&["server", "context", "-o", "machine.rac"])?;
    let answer: Value = fleet.ok(&["activate", &ticket, "--context", "machine.rac", "-o", "machine.rau"])?;
    ensure!(answer["serial"] == json!(serial));
    // Asked again with the same context: the same file, byte for byte.
    fleet.ok(&["activate", &ticket, "--context", "machine.rac", "-o", "again.rau"])?;
    ensure!(std::fs::read(fleet.path("machine.rau"))? == std::fs::read(fleet.path("again.rau"))?);
    fleet.ok(&["server", "import", "machine.rau", "-o", "receipt.rac"])?;
    fleet.ok(&["push", "context", "receipt.rac"])?;
    wait::until("the licence is confirmed", || Ok((fleet.state_of(&license)? == "confirmed").then_some(())))?;
    ensure!(fleet.run_protected(EDITOR, &["true"])?.code == 0);
    ensure!(fleet.run_protected(EDITOR, &["sh", "-c", "exit 42"])?.code == 42, "the command's exit code is passed on");
    ensure!(fleet.run_protected(EDITOR, &["/does/not/exist"])?.code == 127);
    Ok(())
}

#[test]
fn a_service_asked_to_stop_ends_within_moments() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start()? else { return Ok(()) };
    for service in Service::ALL {
        let code = fleet.terminate(service)?;
        ensure!(code == Some(0), "{} ended with {code:?}:\n{}", service.program(), fleet.log(service));
    }
    Ok(())
}
