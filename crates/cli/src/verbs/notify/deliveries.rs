//! `lictor notify deliveries` and `delivery`: what became of notifications.

use clap::Args;
use lictor_api::notification::v1::delivery_service_client::DeliveryServiceClient;
use lictor_api::notification::v1::{Attempt, Delivery, DeliveryState, GetDeliveryRequest, ListDeliveriesRequest};
use serde_json::{Value, json};

use crate::connect::{Link, MAX_ANSWER_BYTES};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::show;

#[derive(Debug, Args)]
pub(crate) struct Deliveries {
    /// Only those to this destination
    #[arg(long, value_name = "DESTINATION", default_value = "", hide_default_value = true)]
    destination: String,

    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = ["due", "leased", "done", "parked", "collapsed"])]
    state: Option<String>,

    /// Only those of this event, or about this subject
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    event: String,

    /// Longest listing
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// Id of the delivery
    #[arg(value_name = "DELIVERY")]
    delivery: String,
}

impl Deliveries {
    pub(super) async fn run(self, link: &Link, environment: &Environment) -> Outcome {
        let state = match self.state.as_deref() {
            Some("due") => DeliveryState::Due,
            Some("leased") => DeliveryState::Leased,
            Some("done") => DeliveryState::Done,
            Some("parked") => DeliveryState::Parked,
            Some("collapsed") => DeliveryState::Collapsed,
            _ => DeliveryState::Unspecified,
        };
        let request = ListDeliveriesRequest {
            destination_id: self.destination,
            state: state.into(),
            event: self.event,
            limit: self.limit,
        };
        let mut client = DeliveryServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let answer = client.list_deliveries(request).await.map_err(|status| link.failed(status))?.into_inner();
        let objects: Vec<_> = answer.deliveries.iter().map(object).collect();
        let rows = answer.deliveries.iter().map(row).collect();
        let headings = ["delivery", "event", "about", "destination", "state", "attempts", "last", "next attempt"];
        environment.out.many(&objects, &headings, rows, "there are no such deliveries");
        Ok(())
    }
}

impl One {
    pub(super) async fn run(self, link: &Link, environment: &Environment) -> Outcome {
        let mut client = DeliveryServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let request = GetDeliveryRequest { delivery_id: self.delivery };
        let answer = client.get_delivery(request).await.map_err(|status| link.failed(status))?.into_inner();
        let delivery = answer.delivery.ok_or_else(|| link.incomplete())?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        let mut told = object(&delivery);
        told["attempt_list"] = answer.attempts.iter().map(attempt_object).collect::<Vec<_>>().into();
        told["body"] = body.clone().into();
        environment.out.one(&told, || {
            let mut lines = vec![
                ("delivery", delivery.delivery_id.clone()),
                ("event", format!("{} {}", delivery.event_type, delivery.message_id)),
                ("about", delivery.subject.clone()),
                ("destination", delivery.destination_id.clone()),
                ("state", state(delivery.state).to_owned()),
                ("next attempt", show::time_word(delivery.next_attempt_at.as_ref())),
            ];
            for attempt in &answer.attempts {
                let at = show::time_word(attempt.at.as_ref());
                let said = format!(
                    "{at}  {} {}  {} ms  {}",
                    attempt.status, attempt.result, attempt.latency_ms, attempt.answer
                );
                lines.push(("attempt", said.trim_end().to_owned()));
            }
            lines.push(("body", body));
            show::sheet(&lines)
        });
        Ok(())
    }
}

fn object(delivery: &Delivery) -> Value {
    json!({
        "delivery_id": delivery.delivery_id,
        "message_id": delivery.message_id,
        "destination_id": delivery.destination_id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "subject": delivery.subject,
        "state": state(delivery.state),
        "attempts": delivery.attempts,
        "created_at": show::time(delivery.created_at.as_ref()),
        "next_attempt_at": show::time(delivery.next_attempt_at.as_ref()),
        "last_attempt": delivery.last_attempt.as_ref().map(attempt_object),
    })
}

/// An attempt with its keys.
pub(super) fn attempt_object(attempt: &Attempt) -> Value {
    json!({
        "number": attempt.number,
        "at": show::time(attempt.at.as_ref()),
        "status": attempt.status,
        "latency_ms": attempt.latency_ms,
        "result": attempt.result,
        "answer": attempt.answer,
    })
}

fn row(delivery: &Delivery) -> Vec<String> {
    let last = delivery.last_attempt.as_ref();
    vec![
        delivery.delivery_id.clone(),
        delivery.event_type.clone(),
        delivery.subject.clone(),
        delivery.destination_id.clone(),
        state(delivery.state).to_owned(),
        delivery.attempts.to_string(),
        last.map_or_else(|| "-".to_owned(), |attempt| format!("{} {}", attempt.status, attempt.result)),
        show::time_word(delivery.next_attempt_at.as_ref()),
    ]
}

fn state(state: i32) -> &'static str {
    match DeliveryState::try_from(state).unwrap_or_default() {
        DeliveryState::Unspecified => "unknown",
        DeliveryState::Due => "due",
        DeliveryState::Leased => "leased",
        DeliveryState::Done => "done",
        DeliveryState::Parked => "parked",
        DeliveryState::Collapsed => "collapsed",
    }
}
