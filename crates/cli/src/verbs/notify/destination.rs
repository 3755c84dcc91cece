//! `lictor notify destination`: who gets notifications.

use std::time::Duration;

use clap::{Args, Subcommand};
use lictor_api::convert;
use lictor_api::notification::v1::destination_service_client::DestinationServiceClient;
use lictor_api::notification::v1::{
    AddDestinationRequest, BreakerState, DeleteDestinationRequest, Destination, DestinationState,
    DisableDestinationRequest, EnableDestinationRequest, GetDestinationRequest, ListDestinationsRequest,
    RotateSecretRequest, SigningKind, TestDestinationRequest, UpdateDestinationRequest, transmission::Kind,
};
use serde_json::{Value, json};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::deliveries::attempt_object;
use super::way::Way;
use super::wishes::{Wishes, level, span, words};
use crate::connect::{Caller, Link};
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::request::RequestId;
use crate::show;

#[derive(Debug, Subcommand)]
pub(crate) enum DestinationVerbs {
    /// Add a receiver; the answer holds what its webhooks are signed with
    ///
    /// The secret is shown here and never again. Deliveries are signed with it as Standard Webhooks says. With --signing
    /// ed25519 the receiver needs the public key only.
    #[command(after_help = "\
Examples:
  lictor notify destination add --url https://erp.example/hooks/lictor
  lictor notify destination add --url https://erp.example/hooks/lictor \\
    --type 'lictor.order.*' --customer ACME --per-second 20
  lictor notify destination add --url https://crm.example/in --orders \\
    --licenses --license-properties expires_at,quantity \\
    --activations current-status --every 15m --template fields.json")]
    Add(Box<Add>),
    /// List receivers
    #[command(after_help = "Example:\n  lictor notify destination list")]
    List,
    /// Show a receiver with its options, keys and health
    #[command(after_help = "Example:\n  lictor notify destination show dst_01JD3X7Q2V0000000000000000")]
    Show(Named),
    /// Change where a receiver is, what it gets, or how it is treated
    ///
    /// What is not given stays as it is. What is queued keeps its body and goes to the new place.
    #[command(after_help = "\
Examples:
  lictor notify destination update dst_01JD3X7Q2V0000000000000000 \\
    --url https://erp2.example/in
  lictor notify destination update dst_01JD3X7Q2V0000000000000000 \\
    --clear limits --per-second 5")]
    Update(Box<Update>),
    /// Stop deliveries to a receiver; what comes in the meantime is kept for it
    #[command(
        after_help = "Example:\n  lictor notify destination disable dst_01JD3X7Q2V0000000000000000 --reason move"
    )]
    Disable(Disable),
    /// Start deliveries again, with everything that was kept
    #[command(after_help = "Example:\n  lictor notify destination enable dst_01JD3X7Q2V0000000000000000")]
    Enable(Named),
    /// Take a receiver away, with the record of its deliveries
    #[command(after_help = "Example:\n  lictor notify destination delete dst_01JD3X7Q2V0000000000000000")]
    Delete(Delete),
    /// Make a new signing key; the old one signs beside it for a day
    #[command(after_help = "\
Example:
  lictor notify destination rotate dst_01JD3X7Q2V0000000000000000 \\
    --keep-old-for 3d")]
    Rotate(Rotate),
    /// Make one call with an event of no meaning, and tell what came of it
    #[command(after_help = "Example:\n  lictor notify destination test dst_01JD3X7Q2V0000000000000000")]
    Test(Named),
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Id of the destination
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    way: Way,

    /// How webhooks are signed
    #[arg(long, value_name = "KIND", value_parser = ["hmac", "ed25519"])]
    signing: Option<String>,

    #[command(flatten)]
    wishes: Wishes,

    #[command(flatten)]
    request_id: RequestId,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    #[command(flatten)]
    named: Named,

    #[command(flatten)]
    way: Way,

    #[command(flatten)]
    wishes: Wishes,

    /// What to put back to nothing: types, items, customers, modules, template, unordered, limits, every; with commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    clear: Vec<String>,

    #[command(flatten)]
    request_id: RequestId,
}

#[derive(Debug, Args)]
pub(crate) struct Disable {
    #[command(flatten)]
    named: Named,

    /// Why; kept with the destination
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    named: Named,

    /// Lose what still waits for it
    #[arg(long)]
    with_backlog: bool,

    #[command(flatten)]
    request_id: RequestId,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    named: Named,

    /// Kind of the new key [default: as the old one]
    #[arg(long, value_name = "KIND", value_parser = ["hmac", "ed25519"])]
    signing: Option<String>,

    /// How long the old key signs beside the new one, up to 7d
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "1d")]
    keep_old_for: Duration,

    #[command(flatten)]
    request_id: RequestId,
}

type Client = DestinationServiceClient<InterceptedService<Channel, Caller>>;

pub(super) async fn run(verb: DestinationVerbs, link: &Link, environment: &Environment) -> Outcome {
    let mut client = DestinationServiceClient::new(link.channel());
    let failed = |status| link.failed(status);
    let shown = |destination: Option<Destination>, said: &str| -> Outcome {
        let destination = destination.ok_or_else(|| link.incomplete())?;
        environment.out.one(&object(&destination), || format!("{} is {said}", destination.destination_id));
        Ok(())
    };
    match verb {
        DestinationVerbs::Add(verb) => {
            let transmission = verb.way.given()?.ok_or_else(|| {
                Failure::usage(
                    "it is not said how the destination is reached",
                    "give --url, --sap, --custom, --email or --file",
                )
            })?;
            let request = AddDestinationRequest {
                request_id: verb.request_id.named(environment)?,
                transmission: Some(transmission),
                options: Some(verb.wishes.apply(Default::default(), &[])?),
                signing: signing(verb.signing.as_deref()),
            };
            let answer = client.add_destination(request).await.map_err(failed)?.into_inner();
            let destination = answer.destination.ok_or_else(|| link.incomplete())?;
            let mut told = object(&destination);
            told["secret"] = answer.secret.clone().into();
            told["public_key"] = answer.public_key.clone().into();
            environment.out.one(&told, || {
                let mut lines = vec![
                    ("destination", destination.destination_id.clone()),
                    (kind(&destination), destination.url.clone()),
                ];
                lines.extend(Some(("secret", answer.secret.clone())).filter(|(_, text)| !text.is_empty()));
                lines.extend(Some(("public key", answer.public_key.clone())).filter(|(_, text)| !text.is_empty()));
                show::sheet(&lines)
            });
        }
        DestinationVerbs::List => {
            let answer = client.list_destinations(ListDestinationsRequest {}).await.map_err(failed)?;
            let destinations = answer.into_inner().destinations;
            let objects: Vec<_> = destinations.iter().map(object).collect();
            let rows = destinations.iter().map(row).collect();
            environment.out.many(&objects, HEADINGS, rows, "there are no destinations");
        }
        DestinationVerbs::Show(named) => {
            let destination = get(&mut client, link, named.destination).await?;
            environment.out.one(&object(&destination), || sheet(&destination));
        }
        DestinationVerbs::Update(verb) => {
            let found = get(&mut client, link, verb.named.destination).await?;
            let request = UpdateDestinationRequest {
                request_id: verb.request_id.named(environment)?,
                destination_id: found.destination_id,
                transmission: verb.way.given()?,
                options: Some(verb.wishes.apply(found.options.unwrap_or_default(), &verb.clear)?),
                revision: found.revision,
            };
            shown(client.update_destination(request).await.map_err(failed)?.into_inner().destination, "changed")?;
        }
        DestinationVerbs::Disable(verb) => {
            let request = DisableDestinationRequest { destination_id: verb.named.destination, reason: verb.reason };
            shown(client.disable_destination(request).await.map_err(failed)?.into_inner().destination, "disabled")?;
        }
        DestinationVerbs::Enable(named) => {
            let request = EnableDestinationRequest { destination_id: named.destination };
            shown(client.enable_destination(request).await.map_err(failed)?.into_inner().destination, "enabled")?;
        }
        DestinationVerbs::Delete(verb) => {
            let request = DeleteDestinationRequest {
                request_id: verb.request_id.named(environment)?,
                destination_id: verb.named.destination.clone(),
                with_backlog: verb.with_backlog,
            };
            client.delete_destination(request).await.map_err(failed)?;
            let id = verb.named.destination;
            environment.out.one(&json!({ "destination_id": id, "state": "deleted" }), || format!("{id} is deleted"));
        }
        DestinationVerbs::Rotate(verb) => {
            let request = RotateSecretRequest {
                request_id: verb.request_id.named(environment)?,
                destination_id: verb.named.destination.clone(),
                signing: signing(verb.signing.as_deref()),
                keep_old_for: Some(convert::duration(verb.keep_old_for)),
            };
            let answer = client.rotate_secret(request).await.map_err(failed)?.into_inner();
            let told = json!({
                "destination_id": verb.named.destination,
                "secret": answer.secret,
                "public_key": answer.public_key,
                "old_until": show::time(answer.old_until.as_ref()),
            });
            environment.out.one(&told, || {
                let (name, text) = if answer.secret.is_empty() {
                    ("public key", answer.public_key.clone())
                } else {
                    ("secret", answer.secret.clone())
                };
                show::sheet(&[(name, text), ("old key signs until", show::time_word(answer.old_until.as_ref()))])
            });
        }
        DestinationVerbs::Test(named) => {
            let request = TestDestinationRequest { destination_id: named.destination };
            let answer = client.test_destination(request).await.map_err(failed)?.into_inner();
            let attempt = answer.attempt.ok_or_else(|| link.incomplete())?;
            let told = json!({ "event_id": answer.event_id, "attempt": attempt_object(&attempt) });
            environment.out.one(&told, || {
                show::sheet(&[
                    ("result", attempt.result.clone()),
                    ("status", attempt.status.to_string()),
                    ("time", format!("{} ms", attempt.latency_ms)),
                    ("answer", attempt.answer.clone()),
                ])
            });
        }
    }
    Ok(())
}

async fn get(client: &mut Client, link: &Link, id: String) -> Outcome<Destination> {
    let request = GetDestinationRequest { destination_id: id };
    let answer = client.get_destination(request).await.map_err(|status| link.failed(status))?.into_inner();
    answer.destination.ok_or_else(|| link.incomplete())
}

fn signing(word: Option<&str>) -> i32 {
    match word {
        Some("ed25519") => SigningKind::Ed25519.into(),
        Some(_) => SigningKind::Hmac.into(),
        None => SigningKind::Unspecified.into(),
    }
}

fn state(destination: &Destination) -> &'static str {
    match DestinationState::try_from(destination.state).unwrap_or_default() {
        DestinationState::Unspecified => "unknown",
        DestinationState::Enabled => "enabled",
        DestinationState::Disabled => "disabled",
    }
}

fn breaker(destination: &Destination) -> &'static str {
    match BreakerState::try_from(destination.breaker).unwrap_or_default() {
        BreakerState::Unspecified => "unknown",
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half-open",
    }
}

fn kind(destination: &Destination) -> &'static str {
    match destination.transmission.as_ref().and_then(|transmission| transmission.kind.as_ref()) {
        Some(Kind::Webhook(_)) => "webhook",
        Some(Kind::Sap(_)) => "sap",
        Some(Kind::Custom(_)) => "custom",
        Some(Kind::Email(_)) => "email",
        Some(Kind::File(_)) => "file",
        None => "unknown",
    }
}

fn object(destination: &Destination) -> Value {
    let options = destination.options.clone().unwrap_or_default();
    let modules = options.modules.as_ref().map(|modules| {
        json!({
            "orders": modules.orders,
            "licenses": modules.licenses.as_ref().map(|licenses| json!({ "properties": licenses.properties })),
            "activations": modules.activations.as_ref().map(|activations| {
                json!({ "level": level(activations.level), "properties": activations.properties })
            }),
        })
    });
    let signing: Vec<_> = destination
        .signing
        .iter()
        .map(|key| {
            json!({
                "kind": if key.public_key.is_empty() { "hmac" } else { "ed25519" },
                "public_key": key.public_key,
                "created_at": show::time(key.created_at.as_ref()),
                "expires_at": show::time(key.expires_at.as_ref()),
            })
        })
        .collect();
    json!({
        "destination_id": destination.destination_id,
        "transmission": kind(destination),
        "url": destination.url,
        "state": state(destination),
        "breaker": breaker(destination),
        "rests_until": show::time(destination.rests_until.as_ref()),
        "failing_since": show::time(destination.failing_since.as_ref()),
        "types": options.types,
        "items": options.items,
        "customers": options.customers,
        "modules": modules,
        "template": options.template,
        "ordered": !options.unordered,
        "every_seconds": options.every.map(|every| every.seconds),
        "created_at": show::time(destination.created_at.as_ref()),
        "revision": destination.revision,
        "backlog": destination.backlog,
        "parked": destination.parked,
        "signing": signing,
        "note": destination.note,
    })
}

const HEADINGS: &[&str] = &["destination", "by", "to", "state", "breaker", "backlog", "given up", "gets", "note"];

fn row(destination: &Destination) -> Vec<String> {
    vec![
        destination.destination_id.clone(),
        kind(destination).to_owned(),
        destination.url.clone(),
        state(destination).to_owned(),
        breaker(destination).to_owned(),
        destination.backlog.to_string(),
        destination.parked.to_string(),
        words(&destination.options.clone().unwrap_or_default()),
        destination.note.clone(),
    ]
}

fn sheet(destination: &Destination) -> String {
    let names = ["destination", "by", "to", "state", "breaker", "backlog", "given up", "gets", "note"];
    let mut lines: Vec<(&str, String)> = names.into_iter().zip(row(destination)).collect();
    lines.push(("rests until", show::time_word(destination.rests_until.as_ref())));
    lines.push(("failing since", show::time_word(destination.failing_since.as_ref())));
    for key in &destination.signing {
        let name = if key.public_key.is_empty() { "hmac".to_owned() } else { key.public_key.clone() };
        let end = key.expires_at.as_ref().map(|_| format!(" until {}", show::time_word(key.expires_at.as_ref())));
        lines.push(("signed by", format!("{name}{}", end.unwrap_or_default())));
    }
    show::sheet(&lines)
}
