//! Seats of the licence server: who holds them, and what a request would be answered.

use clap::Args;
use lictor_api::server::v1::{AcquireRequest, ExplainRequest, ExplainResponse, ListSessionsRequest, Verdict};
use lictor_api::types::v1::Refusal;
use serde_json::{Value, json};

use super::client;
use super::rules::{decision_object, decision_text};
use crate::args::number;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::verbs::run::{MODES, mode_number};
use crate::{output, show};

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The product
    #[arg(long, value_name = "P", value_parser = number)]
    product_code: u32,

    /// Features that must be there, decimal or 0x
    #[arg(long, value_name = "M", default_value = "0", value_parser = number)]
    feature_map: u32,

    /// How the seat is counted
    #[arg(long, value_name = "MODE", default_value = "user-limit", value_parser = MODES)]
    mode: String,
}

pub(super) async fn sessions(environment: &Environment) -> Outcome {
    let link = environment.server().await?;
    let answer =
        client(&link).list_sessions(ListSessionsRequest {}).await.map_err(|status| link.failed(status))?.into_inner();
    let sessions: Vec<Value> = answer
        .sessions
        .iter()
        .map(|session| {
            json!({
                "session_id": session.session_id,
                "serial": session.serial,
                "firm_code": session.firm_code,
                "product_code": session.product_code,
                "client": session.client,
                "station": session.station,
                "container": session.container.as_ref().map(|container| {
                    json!({ "id": container.id, "name": container.name, "image": container.image })
                }),
                "since": show::time(session.since.as_ref()),
                "mode": show::mode(session.mode),
                "units": session.units,
                "state": session.state,
            })
        })
        .collect();
    environment.out.one(&json!({ "sessions": sessions }), || {
        if answer.sessions.is_empty() {
            return "nobody holds a seat".to_owned();
        }
        let rows = answer
            .sessions
            .iter()
            .map(|session| {
                vec![
                    session.session_id.clone(),
                    session.product_code.to_string(),
                    session.units.to_string(),
                    session.client.clone(),
                    session.container.as_ref().map_or_else(|| "-".to_owned(), |container| container.name.clone()),
                    session.station.clone(),
                    show::time_word(session.since.as_ref()),
                    session.state.clone(),
                ]
            })
            .collect();
        output::table(&["session", "product", "seats", "client", "container", "station", "since", "state"], rows)
    });
    Ok(())
}

pub(super) async fn explain(verb: Explain, environment: &Environment) -> Outcome {
    let firm_code = environment.firm_code()?;
    let link = environment.server().await?;
    let request = AcquireRequest {
        firm_code,
        product_code: verb.product_code,
        feature_map: verb.feature_map,
        mode: mode_number(&verb.mode),
        units: 1,
        program: "lictor server explain".to_owned(),
        ..AcquireRequest::default()
    };
    let answer = client(&link)
        .explain(ExplainRequest { request: Some(request) })
        .await
        .map_err(|status| link.failed(status))?
        .into_inner();
    let verdicts: Vec<Value> = answer.verdicts.iter().map(verdict_object).collect();
    let rules = answer.rules.clone().unwrap_or_default();
    if !answer.granted {
        if let Some(text) = waiting_text(&answer) {
            environment.out.note(&text);
        }
        if !rules.allowed {
            environment.out.note(&decision_text(&rules));
        }
        return Err(Failure::Refused(Box::new(answer.refusal.unwrap_or_else(Refusal::default))));
    }
    let entry = answer.entry.unwrap_or_default();
    let object = json!({
        "granted": true,
        "serial": answer.serial,
        "entry": show::entry(&entry),
        "verdicts": verdicts,
        "rules": decision_object(&rules),
    });
    environment.out.one(&object, || {
        let others = answer.verdicts.iter().filter_map(verdict_text).collect::<Vec<_>>().join("\n");
        format!(
            "a seat would be given from container {}\n{}\n{others}",
            answer.serial,
            output::table(show::ENTRY_HEADINGS, vec![show::entry_row(&entry)])
        )
    });
    Ok(())
}

fn verdict_object(verdict: &Verdict) -> Value {
    let reason = verdict.reason.as_ref();
    json!({
        "entry": verdict.entry.as_ref().map(show::entry),
        "serves": verdict.serves,
        "code": reason.map(|reason| reason.code),
        "reason": reason.map(|reason| &reason.reason),
    })
}

/// Why an entry would not serve; nothing for one that would.
fn verdict_text(verdict: &Verdict) -> Option<String> {
    let reason = verdict.reason.as_ref()?;
    let license = verdict.entry.as_ref().map(|entry| entry.license_id.as_str()).unwrap_or_default();
    Some(format!("license {license} would not serve: {} (code {})", reason.reason, reason.code))
}

/// Where one would stand who waits.
fn waiting_text(answer: &ExplainResponse) -> Option<String> {
    if answer.position == 0 {
        return None;
    }
    let span = answer.estimated_ms.map(|millis| std::time::Duration::from_secs((millis / 1_000).max(1)));
    let span = span.map(|span| format!(", perhaps for {}", lictor_clock::duration::format(span))).unwrap_or_default();
    Some(format!("with lictor run --wait it would wait at place {}{span}", answer.position))
}
