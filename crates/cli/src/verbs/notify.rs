//! `lictor notify`: where events are delivered, and how that went.

use clap::{Args, Subcommand};
use lictor_api::notification::v1::delivery_service_client::DeliveryServiceClient;
use lictor_api::notification::v1::destination_service_client::DestinationServiceClient;
use lictor_api::notification::v1::transmission::Kind;
use lictor_api::notification::v1::{
    self as wire, AddDestinationRequest, DeliveryState, Destination, DestinationOptions, DestinationState, DisableDestinationRequest,
    EnableDestinationRequest, ListDeliveriesRequest, ListDestinationsRequest, Transmission, WebhookTransmission,
};
use serde_json::{Value, json};

use crate::connect::{Link, MAX_ANSWER_BYTES, Service};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::request::RequestId;
use crate::show;

#[derive(Debug, Subcommand)]
pub(crate) enum NotifyVerbs {
    /// Receivers of webhooks
    #[command(subcommand)]
    Destination(DestinationVerbs),
    /// List deliveries, newest first
    #[command(after_help = "\
Examples:
  lictor notify deliveries --state parked
  lictor notify deliveries --event ord_01JD3X7Q2V0000000000000000")]
    Deliveries(Deliveries),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DestinationVerbs {
    /// Add a receiver; the answer holds its signing secret
    ///
    /// The secret is shown here and never again. Deliveries are signed with it as Standard Webhooks says.
    #[command(after_help = "\
Examples:
  lictor notify destination add --url https://erp.example/hooks/lictor
  lictor notify destination add --url https://erp.example/hooks/lictor \\
    --type 'lictor.order.*' --type 'lictor.license.*'")]
    Add(Add),
    /// List receivers
    #[command(after_help = "Example:\n  lictor notify destination list")]
    List,
    /// Stop deliveries to a receiver; what comes in the meantime is kept for it
    #[command(
        after_help = "Example:\n  lictor notify destination disable dst_01JD3X7Q2V0000000000000000 --reason move"
    )]
    Disable(Disable),
    /// Start deliveries again, with everything that was kept
    #[command(after_help = "Example:\n  lictor notify destination enable dst_01JD3X7Q2V0000000000000000")]
    Enable(Enable),
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// https:// address; http:// only where the operator allows the host
    #[arg(long, value_name = "URL")]
    url: String,

    /// Event types that it wants; may be given more than once [default: all]
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,

    #[command(flatten)]
    request_id: RequestId,
}

#[derive(Debug, Args)]
pub(crate) struct Disable {
    /// Id of the destination
    #[arg(value_name = "DESTINATION")]
    destination: String,

    /// Why; kept with the destination
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Enable {
    /// Id of the destination
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

#[derive(Debug, Args)]
pub(crate) struct Deliveries {
    /// Only those to this destination
    #[arg(long, value_name = "DESTINATION", default_value = "", hide_default_value = true)]
    destination: String,

    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = ["due", "leased", "done", "parked"])]
    state: Option<String>,

    /// Only those of this event, or about this subject
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    event: String,

    /// Longest listing
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

impl NotifyVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let link = environment.link(Service::Notification)?;
        match self {
            Self::Destination(verb) => destination(verb, &link, environment).await,
            Self::Deliveries(verb) => deliveries(verb, &link, environment).await,
        }
    }
}

async fn destination(verb: DestinationVerbs, link: &Link, environment: &Environment) -> Outcome {
    let mut client = DestinationServiceClient::new(link.channel());
    match verb {
        DestinationVerbs::Add(verb) => {
            let request = AddDestinationRequest {
                request_id: verb.request_id.named(environment)?,
                transmission: Some(Transmission { kind: Some(Kind::Webhook(WebhookTransmission { url: verb.url })) }),
                options: Some(DestinationOptions { types: verb.types, ..DestinationOptions::default() }),
                ..AddDestinationRequest::default()
            };
            let answer = client.add_destination(request).await.map_err(|status| link.failed(status))?.into_inner();
            let destination = answer.destination.ok_or_else(|| link.incomplete())?;
            let mut object = destination_object(&destination);
            object["secret"] = answer.secret.clone().into();
            environment.out.one(&object, || {
                show::sheet(&[
                    ("destination", destination.destination_id.clone()),
                    ("url", destination.url.clone()),
                    ("secret", answer.secret.clone()),
                ])
            });
        }
        DestinationVerbs::List => {
            let answer =
                client.list_destinations(ListDestinationsRequest {}).await.map_err(|status| link.failed(status))?;
            let destinations = answer.into_inner().destinations;
            let objects: Vec<_> = destinations.iter().map(destination_object).collect();
            let rows = destinations.iter().map(destination_row).collect();
            environment.out.many(&objects, DESTINATION_HEADINGS, rows, "there are no destinations");
        }
        DestinationVerbs::Disable(verb) => {
            let request = DisableDestinationRequest { destination_id: verb.destination, reason: verb.reason };
            let answer = client.disable_destination(request).await.map_err(|status| link.failed(status))?.into_inner();
            let destination = answer.destination.ok_or_else(|| link.incomplete())?;
            environment
                .out
                .one(&destination_object(&destination), || format!("{} is disabled", destination.destination_id));
        }
        DestinationVerbs::Enable(verb) => {
            let request = EnableDestinationRequest { destination_id: verb.destination };
            let answer = client.enable_destination(request).await.map_err(|status| link.failed(status))?.into_inner();
            let destination = answer.destination.ok_or_else(|| link.incomplete())?;
            environment
                .out
                .one(&destination_object(&destination), || format!("{} is enabled", destination.destination_id));
        }
    }
    Ok(())
}

async fn deliveries(verb: Deliveries, link: &Link, environment: &Environment) -> Outcome {
    let state = match verb.state.as_deref() {
        Some("due") => DeliveryState::Due,
        Some("leased") => DeliveryState::Leased,
        Some("done") => DeliveryState::Done,
        Some("parked") => DeliveryState::Parked,
        _ => DeliveryState::Unspecified,
    };
    let request = ListDeliveriesRequest {
        destination_id: verb.destination,
        state: state.into(),
        event: verb.event,
        limit: verb.limit,
    };
    let mut client = DeliveryServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
    let answer = client.list_deliveries(request).await.map_err(|status| link.failed(status))?.into_inner();
    let objects: Vec<_> = answer
        .deliveries
        .iter()
        .map(|delivery| {
            json!({
                "delivery_id": delivery.delivery_id,
                "destination_id": delivery.destination_id,
                "event_id": delivery.event_id,
                "event_type": delivery.event_type,
                "subject": delivery.subject,
                "state": delivery_state(delivery.state),
                "attempts": delivery.attempts,
                "next_attempt_at": show::time(delivery.next_attempt_at.as_ref()),
                "last_attempt": delivery.last_attempt.as_ref().map(|attempt| json!({
                    "at": show::time(attempt.at.as_ref()),
                    "status": attempt.status,
                    "latency_ms": attempt.latency_ms,
                    "result": attempt.result,
                    "answer": attempt.answer,
                })),
            })
        })
        .collect();
    let rows = answer
        .deliveries
        .iter()
        .map(|delivery| {
            let last = delivery.last_attempt.as_ref();
            vec![
                delivery.event_type.clone(),
                delivery.subject.clone(),
                delivery.destination_id.clone(),
                delivery_state(delivery.state).to_owned(),
                delivery.attempts.to_string(),
                last.map_or_else(|| "-".to_owned(), |attempt| format!("{} {}", attempt.status, attempt.result)),
                show::time_word(delivery.next_attempt_at.as_ref()),
            ]
        })
        .collect();
    let headings = ["event", "about", "destination", "state", "attempts", "last", "next attempt"];
    environment.out.many(&objects, &headings, rows, "there are no such deliveries");
    Ok(())
}

fn delivery_state(state: i32) -> &'static str {
    match DeliveryState::try_from(state).unwrap_or_default() {
        DeliveryState::Unspecified => "unknown",
        DeliveryState::Due => "due",
        DeliveryState::Leased => "leased",
        DeliveryState::Done => "done",
        DeliveryState::Parked => "parked",
        DeliveryState::Collapsed => "collapsed",
        DeliveryState::Collapsed => "collapsed",
    }
}

fn destination_state(state: i32) -> &'static str {
    match DestinationState::try_from(state).unwrap_or_default() {
        DestinationState::Unspecified => "unknown",
        DestinationState::Enabled => "enabled",
        DestinationState::Disabled => "disabled",
    }
}

fn types(destination: &Destination) -> &[String] {
    destination.options.as_ref().map_or(&[], |options| &options.types)
}

fn destination_object(destination: &Destination) -> Value {
    json!({
        "destination_id": destination.destination_id,
        "url": destination.url,
        "state": destination_state(destination.state),
        "types": types(destination),
        "created_at": show::time(destination.created_at.as_ref()),
        "backlog": destination.backlog,
        "note": destination.note,
    })
}

const DESTINATION_HEADINGS: &[&str] = &["destination", "url", "state", "backlog", "types", "note"];

fn destination_row(destination: &Destination) -> Vec<String> {
    vec![
        destination.destination_id.clone(),
        destination.url.clone(),
        destination_state(destination.state).to_owned(),
        destination.backlog.to_string(),
        if types(destination).is_empty() { "all".to_owned() } else { types(destination).join("\n") },
        destination.note.clone(),
    ]
}
