//! `lictor push context`: contexts and receipts of customers, one or a thousand.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use lictor_api::activation::v1::activation_service_client::ActivationServiceClient;
use lictor_api::activation::v1::{SubmitContextRequest, SubmitContextResponse};
use lictor_licensing::error::{ErrorCode, Problem};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::connect::Link;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::verbs::container::assign_all;
use crate::{files, output};

/// Files that are on their way at once: enough to hide the wait for each, few enough to leave room for others.
const IN_FLIGHT: usize = 8;
/// Most files of one call.
const MAX_FILES: usize = 100_000;

#[derive(Debug, Args)]
pub(crate) struct Contexts {
    /// Contexts or receipts, binary or as text; a folder stands for all its files
    #[arg(value_name = "F.rac", required = true)]
    files: Vec<PathBuf>,

    /// Assign the containers that they come from to this customer; a new name makes a new customer
    #[arg(long, value_name = "CUSTOMER")]
    customer: Option<String>,
}

type Taken = (usize, Outcome<SubmitContextResponse>);

pub(super) async fn take_in(verb: Contexts, link: &Link, environment: &Environment) -> Outcome {
    let paths = expand(&verb.files)?;
    let total = paths.len();
    let mut waiting = paths.iter().cloned().enumerate();
    let mut running: JoinSet<Taken> = JoinSet::new();
    let mut taken: BTreeMap<usize, Outcome<SubmitContextResponse>> = BTreeMap::new();
    let mut progress = Progress::new(total, environment.out.is_json());
    loop {
        while running.len() < IN_FLIGHT
            && let Some((place, path)) = waiting.next()
        {
            let link = link.clone();
            running.spawn(async move { (place, submit(&path, &link).await) });
        }
        let Some(done) = running.join_next().await else { break };
        let (place, outcome) =
            done.map_err(|_| Failure::local("taking in a file ended without a result", "repeat the verb"))?;
        if let Err(Failure::Problem(problem)) = &outcome
            && problem.code == ErrorCode::Unavailable
        {
            // Without the service the rest would fail alike; what was taken in stays taken in.
            progress.clear();
            return Err(Failure::Problem(problem.clone()));
        }
        taken.insert(place, outcome);
        progress.show(taken.len());
    }
    progress.clear();
    report(&paths, taken, verb.customer.as_deref(), environment).await
}

/// Names of files as given; folders become their files in the order of their names.
fn expand(named: &[PathBuf]) -> Outcome<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for path in named {
        if path.is_dir() {
            let unreadable = |error: std::io::Error| {
                Failure::local(
                    format!("{} cannot be listed: {}", path.display(), error.kind()),
                    "check its permissions",
                )
            };
            let mut inside = Vec::new();
            for entry in std::fs::read_dir(path).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?.path();
                if entry.is_file() {
                    inside.push(entry);
                }
            }
            inside.sort();
            paths.extend(inside);
        } else {
            paths.push(path.clone());
        }
    }
    if paths.len() > MAX_FILES {
        return Err(Failure::new(
            ErrorCode::LimitExceeded,
            format!("{} files are more than {MAX_FILES} at once", paths.len()),
            "take them in in several parts",
        ));
    }
    Ok(paths)
}

async fn submit(path: &Path, link: &Link) -> Outcome<SubmitContextResponse> {
    let context = files::read_license_file(path)?;
    let mut client = ActivationServiceClient::new(link.channel());
    let mut tries = 0;
    loop {
        let request = SubmitContextRequest { context: context.clone() };
        let failure = match client.submit_context(request).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => link.failed(status),
        };
        // A service that asks for patience gets some: a thousand files are no attack.
        tries += 1;
        match &failure {
            Failure::Problem(problem)
                if tries < 8 && matches!(problem.code, ErrorCode::TooManyRequests | ErrorCode::Overloaded) =>
            {
                tokio::time::sleep(std::time::Duration::from_millis(250 << tries.min(5))).await;
            }
            _ => return Err(failure),
        }
    }
}

async fn report(
    paths: &[PathBuf],
    taken: BTreeMap<usize, Outcome<SubmitContextResponse>>,
    customer: Option<&str>,
    environment: &Environment,
) -> Outcome {
    let mut first_failure = None;
    let (mut objects, mut rows, mut serials) = (Vec::new(), Vec::new(), Vec::new());
    for (place, outcome) in taken {
        let path = &paths[place];
        match outcome {
            Ok(answer) => {
                objects.push(object(path, &answer));
                rows.push(row(path, &answer));
                serials.push(answer.serial);
            }
            Err(failure) => {
                if let Failure::Problem(problem) = &failure {
                    objects.push(failed(path, problem));
                }
                first_failure.get_or_insert(failure.exit_code());
            }
        }
    }
    let headings = ["file", "container", "counter", "confirmed", "pending", "verdict"];
    environment.out.many(&objects, &headings, rows, "no file was taken in");
    if let Some(customer) = customer {
        serials.sort();
        serials.dedup();
        let assigned = assign_all(customer, &serials, false, environment).await?;
        let count = if assigned.len() == 1 {
            "1 container belongs".to_owned()
        } else {
            format!("{} containers belong", assigned.len())
        };
        environment.out.note(&format!("{count} to {customer} now"));
    }
    first_failure.map_or(Ok(()), |code| Err(Failure::Told(code)))
}

fn failed(path: &Path, problem: &Problem) -> Value {
    output::complain(&format!("error: {}: {}", path.display(), problem.message));
    if !problem.next.is_empty() {
        output::complain(&format!("next: {}", problem.next));
    }
    let mut object = output::error_object(problem.code.name(), &problem.message, &problem.next);
    object["file"] = json!(path);
    object
}

fn object(path: &Path, answer: &SubmitContextResponse) -> Value {
    json!({
        "file": path,
        "serial": answer.serial,
        "firm_code": answer.firm_code,
        "counter": answer.counter,
        "confirmed": answer.confirmed,
        "pending": answer.pending,
        "verdict": answer.verdict,
    })
}

fn row(path: &Path, answer: &SubmitContextResponse) -> Vec<String> {
    vec![
        path.display().to_string(),
        answer.serial.clone(),
        answer.counter.to_string(),
        answer.confirmed.to_string(),
        answer.pending.to_string(),
        answer.verdict.clone(),
    ]
}

/// One line that counts, where somebody can see it: in a terminal, and only when there is much to do.
struct Progress {
    total: usize,
    shown: bool,
}

impl Progress {
    fn new(total: usize, json: bool) -> Self {
        Self { total, shown: !json && total > IN_FLIGHT && std::io::stderr().is_terminal() }
    }

    fn show(&mut self, done: usize) {
        if self.shown {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "\r{done} of {} files taken in", self.total).and_then(|()| err.flush());
        }
    }

    fn clear(&mut self) {
        if self.shown {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "\r\x1b[K").and_then(|()| err.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_its_files_in_order() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for name in ["b.rac", "a.rac"] {
            std::fs::write(folder.path().join(name), b"x").expect("file");
        }
        std::fs::create_dir(folder.path().join("deeper")).expect("folder");
        let single = folder.path().join("a.rac");
        let found = expand(&[folder.path().to_owned(), single.clone()]).expect("expanded");
        assert_eq!(found, [single.clone(), folder.path().join("b.rac"), single]);
    }
}
