//! Each kind of bad input gives one clear sentence, the right exit code, and changes nothing.

use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};
use lictor_licensing::binding::ContainerKind;
use lictor_test_support::device::TestDevice;
use lictor_test_support::fleet::{FIRM_CODE, Fleet, Service};
use lictor_test_support::programs::{self, Answer};
use lictor_test_support::vendor::EDITOR;
use lictor_test_support::wait;
use serde_json::json;

/// The error of a failed verb: exit code, one sentence, a next step.
fn refuses(fleet: &Fleet, arguments: &[&str], code: i32, name: &str) -> anyhow::Result<()> {
    let answer = fleet.run(arguments)?;
    let value = answer.refused(code).with_context(|| format!("lictor {}", arguments.join(" ")))?;
    let error = &value["error"];
    ensure!(error["code"] == name, "{arguments:?}: {error}");
    let message = error["message"].as_str().context("there is a message")?;
    ensure!(!message.is_empty() && !message.contains('\n') && message.len() < 400, "not one clear sentence: {message}");
    ensure!(error["next"].as_str().is_some_and(|next| !next.is_empty()), "no next step: {error}");
    Ok(())
}

#[test]
fn bad_input_is_refused_with_one_sentence_and_changes_nothing() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start()? else { return Ok(()) };
    let serial = fleet.set_up()?;
    let (ticket, license) = fleet.order("editor=1")?;
    fleet.ok(&["server", "context", "-o", "empty.rac"])?;
    fleet.ok(&["activate", &ticket])?;
    wait::until("the licence is confirmed", || Ok((fleet.state_of(&license)? == "confirmed").then_some(())))?;

    // Tickets.
    refuses(&fleet, &["activate", "00000-00000-00000-00000-00000"], 4, "ticket_unknown")
        .or_else(|_| refuses(&fleet, &["activate", "00000-00000-00000-00000-00000"], 2, "invalid_argument"))?;
    // A spent ticket in its own container is the activation that spent it, and its file again: it changes nothing.
    let again = fleet.ok(&["activate", &ticket, "--context", "empty.rac", "-o", "spent.rau"])?;
    ensure!(again["state"] == "confirmed" && again["serial"] == json!(serial), "{again}");
    let late = fleet.ok(&["server", "import", "spent.rau"])?;
    ensure!(late["applied"] == 0, "{late}");
    let before = fleet.ok(&["server", "list"])?;

    // Files in the wrong state and place.
    fleet.ok(&["push", "create", "--container", &serial, "--ticket", &fleet.order("reports")?.0, "-o", "good.rau"])?;
    let good = fs::read(fleet.path("good.rau"))?;
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(fleet.path("damaged.rau"), damaged)?;
    refuses(&fleet, &["server", "import", "damaged.rau"], 7, "file_damaged")?;
    fs::write(fleet.path("short.rau"), &good[..good.len() - 7])?;
    refuses(&fleet, &["server", "import", "short.rau"], 7, "file_damaged")?;
    refuses(&fleet, &["server", "import", "empty.rac"], 7, "file_damaged")?;
    fs::write(fleet.path("big.rau"), vec![0; 5 * 1024 * 1024])?;
    ensure!([2, 7].contains(&fleet.run(&["server", "import", "big.rau"])?.code), "too large");

    // Quantities, items, nesting.
    for quantity in ["editor=0", "editor=99999999999", "editor=1000001"] {
        ensure!(fleet.run(&["order", "create", "--customer", "N", "--item", quantity])?.code == 2, "{quantity}");
    }
    refuses(&fleet, &["order", "create", "--customer", "N", "--item", "no-such-item"], 4, "not_found")?;
    let nested = format!(
        "firm_code: {FIRM_CODE}\nitems:\n  - name: deep\n    product_item:\n      product_code: 1\n      modules:\n        \
         - product_code: 2\n          modules:\n            - product_code: 3\n"
    );
    fs::write(fleet.path("deep.yaml"), nested)?;
    refuses(&fleet, &["catalogue", "apply", "deep.yaml"], 2, "invalid_argument")?;

    // A licence that may not live in a folder, another firm, a firm that does not exist.
    let (machine, machine_license) = fleet.order("machine-only=1")?;
    let forbidden = fleet.run(&["activate", &machine])?;
    ensure!(forbidden.code == 3, "not for folders: {forbidden:?}");
    ensure!(fleet.state_of(&machine_license)? == "available", "a refused activation must leave the licence free");
    let foreign = fleet.run(&["server", "context", "--firm-code", "6000777", "-o", "foreign.rac"])?;
    ensure!(foreign.code == 4, "wrong firm code: {foreign:?}");

    let after = fleet.ok(&["server", "list"])?;
    // The licence server's proven time goes on by itself.
    ensure!(before["containers"] == after["containers"], "bad input changed the container:\n{before}\n{after}");
    fleet.ok(&["server", "import", "good.rau"])?;

    // A spent ticket has nothing for another container.
    let other = TestDevice::new(2, ContainerKind::Folder, &fleet.root()?).context();
    fs::write(fleet.path("other.rac"), other)?;
    let spent = fleet.run(&["activate", &ticket, "--context", "other.rac", "-o", "other.rau"])?;
    ensure!(spent.code == 5, "a spent ticket is a conflict: {spent:?}");
    ensure!(!fleet.path("other.rau").exists(), "a refused activation writes no file");
    Ok(())
}

#[test]
fn what_cannot_be_reached_is_named() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start()? else { return Ok(()) };
    fleet.set_up()?;
    fleet.terminate(Service::Central)?;
    refuses(&fleet, &["order", "list"], 6, "unavailable")?;

    let nowhere = Answer::of(fleet.protected(EDITOR, &["true"])?.env("CODEMETER_HOST", "127.0.0.1:1"))?;
    ensure!(nowhere.code == 125, "the wrapper's own failure: {nowhere:?}");
    ensure!(nowhere.errors.contains("127.0.0.1:1"), "it names the server: {}", nowhere.errors);

    let taken = fleet.http(Service::Update);
    let second = Answer::of(
        Command::new(programs::path("license-server")?)
            .env("LICTOR_STATE_DIR", fleet.path("second"))
            .env("GRPC_LISTEN", "127.0.0.1:0")
            .env("HTTP_LISTEN", &taken),
    )?;
    ensure!(second.code == 6, "a port in use: {second:?}");
    ensure!(second.errors.contains(&taken), "it names the port: {}", second.errors);

    let down = Answer::of(
        Command::new(programs::path("license-central")?)
            .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
            .env("DATABASE_WAIT", "200ms")
            .env("LICTOR_TICKET_KEY", "42".repeat(32))
            .env("GRPC_LISTEN", "127.0.0.1:0")
            .env("HTTP_LISTEN", "127.0.0.1:0"),
    )?;
    ensure!(down.code == 6, "a database that is down: {down:?}");
    ensure!(!down.errors.contains("panicked"), "{}", down.errors);
    Ok(())
}

#[test]
fn all_mistakes_in_the_settings_are_told_at_once() -> anyhow::Result<()> {
    let answer = Answer::of(
        Command::new(programs::path("activation")?)
            .arg("--check-config")
            .env_clear()
            .env("GRPC_LISTEN", "nonsense")
            .env("SHUTDOWN_GRACE", "soon"),
    )?;
    ensure!(answer.code == 2, "{answer:?}");
    for name in ["GRPC_LISTEN", "SHUTDOWN_GRACE", "DATABASE_URL"] {
        ensure!(answer.errors.contains(name), "{name} is not mentioned: {}", answer.errors);
    }
    Ok(())
}
