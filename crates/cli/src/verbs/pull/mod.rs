//! `lictor pull`: fetch what waits at the vendor, outbound only, for cron and timers.

mod lock;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use lictor_api::activation::v1::PullUpdateResponse;
use lictor_clock::duration;
use lictor_licensing::error::{ErrorCode, Problem};
use serde_json::{Value, json};

use crate::args::StateFolder;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::remote::{FilePair, HeldFirm, Online, Vendor};
use crate::resume::state_folder;

use lock::Lock;

/// Longest `--jitter`: a pull that waits longer than a day meets the next one.
const MAX_JITTER: Duration = duration::days(1);

/// Fetch waiting updates for all containers, import them, and send the receipts
///
/// Only ever dials out: nothing has to reach this machine, and no program has to stay running. For every container and
/// vendor of the licence server it makes a fresh context, asks what waits, imports it (the licence server verifies the file
/// before it changes anything) and sends the receipt. With nothing to do it ends with 0 and says nothing. What fails for
/// one container does not keep the others from their updates.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lictor pull
  lictor pull --jitter 30m              # not every machine in the same minute

In a crontab:
  17 3 * * *  lictor pull --jitter 1h

For one container by files, with a context that carries a challenge (lictor
challenge):
  lictor pull --context box.rac -o box.rau

Ready-made units for systemd and a crontab: deploy/pull in the sources. The exit
code is 0 when every container is up to date, else that of the first failure; 5
also when another pull runs already.")]
pub(crate) struct Pull {
    /// Wait a random time up to this before asking, such as 30m or 1h, so that many machines do not ask at once
    #[arg(long, value_name = "DURATION", value_parser = jitter, conflicts_with = "context")]
    jitter: Option<Duration>,

    /// Only the container with this serial
    #[arg(long, value_name = "SERIAL", conflicts_with = "context")]
    serial: Option<String>,

    #[command(flatten)]
    files: FilePair,

    #[command(flatten)]
    state: StateFolder,
}

fn jitter(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(span) if span <= MAX_JITTER => Ok(span),
        Ok(_) => Err("at most 1d".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl Pull {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        if let Some(way) = self.files.way()? {
            let answer = Vendor::open(environment)?.pull(way.context.clone()).await?;
            trusted(&answer)?;
            let mut object = waiting_object(&answer);
            if answer.update.is_empty() {
                environment.out.one(&object, || format!("nothing waits for {}; no file was written", answer.serial));
                return Ok(());
            }
            way.write(&answer.update)?;
            object["file"] = json!(way.target);
            environment.out.one(&object, || way.next());
            return Ok(());
        }
        let _lock = Lock::take(&state_folder(self.state.folder.as_deref(), environment)?)?;
        if let Some(most) = self.jitter {
            let wait = part_of(most)?;
            if std::io::stderr().is_terminal() {
                environment.out.note(&format!("waiting {} before asking", duration::format(wait)));
            }
            tokio::time::sleep(wait).await;
        }
        let online = Online::open(environment).await?;
        let mut firms = online.site.firms().await?;
        // The file names a firm for the vendor's verbs; a licence server pulls for all that it holds.
        firms.retain(|held| self.serial.as_ref().is_none_or(|serial| *serial == held.serial));
        if firms.is_empty() {
            let what = self.serial.map_or("any firm".to_owned(), |serial| format!("the serial {serial}"));
            return Err(Failure::new(
                ErrorCode::NotFound,
                format!("the licence server at {} has no container for {what}", online.site.address()),
                "make one with the vendor's file: lictor server create-container --lif F.lif",
            ));
        }
        all(&online, &firms, environment).await
    }
}

/// A random part of a span.
fn part_of(most: Duration) -> Outcome<Duration> {
    let mut bytes = [0_u8; 4];
    getrandom::fill(&mut bytes)
        .map_err(|_| Failure::local("the system gives no random bytes", "check /dev/urandom"))?;
    let millis = most.as_millis() * u128::from(u32::from_be_bytes(bytes)) / u128::from(u32::MAX);
    Ok(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

async fn all(online: &Online, firms: &[HeldFirm], environment: &Environment) -> Outcome {
    let (mut objects, mut rows, mut first_failure) = (Vec::new(), Vec::new(), None);
    for held in firms {
        match one(online, held).await {
            Ok((object, row)) => {
                objects.push(object);
                rows.extend(row);
            }
            Err(Failure::Problem(problem)) => {
                objects.push(failed_object(held, &problem));
                output::complain(&format!("error: {}, firm {}: {}", held.serial, held.firm_code, problem.message));
                if !problem.next.is_empty() {
                    output::complain(&format!("next: {}", problem.next));
                }
                first_failure.get_or_insert(problem.code.exit_code());
            }
            Err(other) => return Err(other),
        }
    }
    // Cron sends what is said by mail, so a pull without news says nothing. People who wait for it get a word.
    if !rows.is_empty() || environment.out.is_json() {
        let headings = ["container", "firm", "counter", "applied", "state"];
        environment.out.many(&objects, &headings, rows, "");
    } else if first_failure.is_none() && std::io::stderr().is_terminal() {
        environment.out.note("nothing waits; all containers are up to date");
    }
    first_failure.map_or(Ok(()), |code| Err(Failure::Told(code)))
}

async fn one(online: &Online, held: &HeldFirm) -> Outcome<(Value, Option<Vec<String>>)> {
    let context = online.fresh_context(held.firm_code, &held.serial).await?;
    let answer = online.vendor.pull(context).await?;
    trusted(&answer)?;
    let mut object = waiting_object(&answer);
    object["firm_code"] = held.firm_code.into();
    object["serial"] = held.serial.clone().into();
    if answer.update.is_empty() {
        object["state"] = "current".into();
        return Ok((object, None));
    }
    let imported = online.deliver(answer.update, &|_| {}).await?;
    object["state"] = "updated".into();
    object["applied"] = imported.applied.into();
    object["skipped"] = imported.skipped.into();
    object["from"] = imported.from.into();
    object["to"] = imported.to.into();
    let row = vec![
        held.serial.clone(),
        held.firm_code.to_string(),
        format!("{} -> {}", imported.from, imported.to),
        imported.applied.to_string(),
        "updated".to_owned(),
    ];
    Ok((object, Some(row)))
}

/// A container under suspicion gets withdrawals at most; its owner should hear of it and of the way out.
fn trusted(answer: &PullUpdateResponse) -> Outcome {
    if matches!(answer.verdict.as_str(), "ok" | "old") {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::ContainerSuspected,
        format!("the vendor's verdict about {} is {}", answer.serial, answer.verdict),
        format!("bring it back with: lictor rebase --serial {}", answer.serial),
    ))
}

fn waiting_object(answer: &PullUpdateResponse) -> Value {
    json!({
        "serial": answer.serial,
        "firm_code": answer.firm_code,
        "confirmed": answer.confirmed,
        "verdict": answer.verdict,
        "from": answer.from,
        "to": answer.to,
        "segments": answer.segments,
    })
}

fn failed_object(held: &HeldFirm, problem: &Problem) -> Value {
    let mut object = output::error_object(problem.code.name(), &problem.message, &problem.next);
    object["serial"] = held.serial.clone().into();
    object["firm_code"] = held.firm_code.into();
    object["state"] = "failed".into();
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_has_a_limit() {
        assert_eq!(jitter("30m"), Ok(duration::minutes(30)));
        assert_eq!(jitter("1d"), Ok(MAX_JITTER));
        assert!(jitter("2d").is_err());
        assert!(jitter("soon").is_err());
    }

    #[test]
    fn a_random_part_is_never_more_than_the_whole() {
        for _ in 0..1_000 {
            assert!(part_of(duration::minutes(1)).expect("random") <= duration::minutes(1));
        }
        assert_eq!(part_of(Duration::ZERO).expect("random"), Duration::ZERO);
    }

    #[test]
    fn a_suspected_container_is_told_the_way_out() {
        let answer = |verdict: &str| PullUpdateResponse { verdict: verdict.to_owned(), ..Default::default() };
        for fine in ["ok", "old"] {
            trusted(&answer(fine)).expect(fine);
        }
        for suspected in ["rollback-suspected", "fork-reported", ""] {
            assert_eq!(trusted(&answer(suspected)).expect_err(suspected).exit_code(), 5);
        }
    }
}
