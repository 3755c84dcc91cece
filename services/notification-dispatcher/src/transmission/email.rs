//! One mail per delivery: a few lines for people, the whole event as an attachment for programs.

use lictor_clock::Clock;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Shipment,
    mailer::{Mail, MailAddress, Mailer},
};
use crate::domain::outcome::{Attempt, AttemptResult, kept};

/// Most receivers of one mail.
pub const RECEIVERS: usize = 16;
/// Most bytes of what stands before each subject.
pub const PREFIX_BYTES: usize = 64;
/// Longest value that is told in a mail's text; the attachment has all of it.
const VALUE_CHARACTERS: usize = 200;

/// Mail as a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailWay {
    /// Who gets it.
    pub to: Vec<MailAddress>,
    /// What stands before each subject.
    pub subject_prefix: String,
}

/// Makes one attempt.
pub(super) async fn send(mailer: &Mailer, way: &EmailWay, shipment: &Shipment, clock: &dyn Clock) -> Attempt {
    let at = clock.now();
    let begun = Instant::now();
    let (status, result, answer) = match mailer.send(&mail(way, shipment), at).await {
        Ok((code, text)) => (code, AttemptResult::Taken, text),
        Err(error) => (error.code, error.class, error.text),
    };
    Attempt { at, status, latency: begun.elapsed(), result, answer: kept(answer.as_bytes()), retry_after: None }
}

fn mail(way: &EmailWay, shipment: &Shipment) -> Mail {
    let body: Value = serde_json::from_slice(&shipment.body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = text("type");
    let subject = text("subject");
    let mut lines = vec![format!("{kind} {subject}"), String::new()];
    for name in ["time", "source"] {
        if !text(name).is_empty() {
            lines.push(format!("{name}: {}", text(name)));
        }
    }
    if let Some(data) = body.get("data").and_then(Value::as_object) {
        lines.extend(data.iter().filter_map(|(name, value)| Some(format!("{name}: {}", shown(value)?))));
    }
    lines.push(String::new());
    lines
        .push("The attachment holds the whole event. The same event may come twice, under the same Message-ID.".into());
    Mail {
        // Of one event a destination gets one delivery: both ids together name it, on every attempt.
        id: format!("{}.{}", shipment.event_id, shipment.destination_id),
        to: way.to.clone(),
        subject: format!("[{}] {kind} {subject}", way.subject_prefix),
        text: lines.join("\n"),
        html: None,
        attachment: Some((format!("{}.json", shipment.event_id), "application/json", shipment.body.to_vec())),
    }
}

/// A plain value as text of one line; lists and objects are for the attachment.
fn shown(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(text.chars().take(VALUE_CHARACTERS).map(|one| if one.is_control() { ' ' } else { one }).collect())
}
