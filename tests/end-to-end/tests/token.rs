//! The firm's keys in a PKCS#11 token that is pulled out: whoever watches `/ready` is told why nothing is issued and what
//! to do, and the health command of the image says the same.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::ensure;
use lictor_test_support::fleet::{FIRM_CODE, Fleet, Service, http_get};
use lictor_test_support::programs::{self, Answer};
use lictor_test_support::softhsm::SoftHsm;
use lictor_test_support::wait;

fn health(fleet: &Fleet) -> anyhow::Result<Answer> {
    let mut command = Command::new(programs::path(Service::Update.program())?);
    Answer::of(command.arg("health").env("HTTP_LISTEN", fleet.http(Service::Update)))
}

#[test]
fn a_service_whose_token_is_away_is_not_ready_and_says_what_to_do() -> anyhow::Result<()> {
    let mut hsm = SoftHsm::with_agent()?;
    let keys = [("LICTOR_KEYS_DIR", String::new()), ("LICTOR_KEYS_AGENT", hsm.socket().display().to_string())];
    let keys: BTreeMap<_, _> = keys.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let Some(fleet) = Fleet::start_some(&[Service::Update], keys)? else { return Ok(()) };
    let firm = FIRM_CODE.to_string();
    fleet.run(&["vendor", "init", "--firm-code", &firm, "--name", "Example"])?.json()?;
    let ready = || http_get(&fleet.http(Service::Update), "/ready");
    ensure!(ready() == Some(200), "ready with its token: {:?}", health(&fleet)?);

    for kill in [false, true] {
        if kill {
            hsm.kill_agent()?;
        } else {
            hsm.pull()?;
        }
        let told = wait::until("it is not ready", || Ok(Some(health(&fleet)?).filter(|answer| answer.code != 0)))?;
        ensure!(ready() == Some(503), "watchers see it by the status");
        ensure!(told.errors.contains("keys"), "which check failed: {told:?}");
        let away = "the key agent does not answer, or its token is away; next: check that lictor-key-agent runs";
        ensure!(told.errors.contains(away), "why, and what to do: {told:?}");
        ensure!(http_get(&fleet.http(Service::Update), "/live") == Some(200), "it lives on");
        if kill {
            hsm.start_agent()?;
        } else {
            hsm.put_back()?;
        }
        wait::until("it is ready again, by itself", || Ok((ready() == Some(200)).then_some(())))?;
    }
    Ok(())
}
