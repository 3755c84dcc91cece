//! What has happened at the licence server, what happens, and how much was used.

use clap::Args;
use lictor_api::server::v1::event_service_client::EventServiceClient;
use lictor_api::server::v1::{
    GetUsageRequest, ListEventsRequest, ProductUsage, ServerEvent, UsageHour, WatchEventsRequest,
};
use serde_json::{Value, json};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::args::number;
use crate::connect::{Caller, MAX_ANSWER_BYTES, ServerLink};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::{output, show};

const HEADINGS: [&str; 6] = ["at", "event", "product", "seats", "client", "why"];
/// Signs of a bar, from nothing to full.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Only of this product
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true, value_parser = number)]
    product_code: u32,

    /// Only of this type, such as seat.denied, or of all that begin with a word, such as seat
    #[arg(long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    name: String,
}

#[derive(Args, Debug)]
pub(crate) struct Log {
    #[command(flatten)]
    which: Which,

    /// The newest so many, at most 1000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

#[derive(Args, Debug)]
pub(crate) struct Usage {
    /// Only of this product
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true, value_parser = number)]
    product_code: u32,

    /// So many hours back, at most a month of 744
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=744))]
    hours: u32,
}

fn client(link: &ServerLink) -> EventServiceClient<InterceptedService<Channel, Caller>> {
    EventServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
}

fn object(event: &ServerEvent) -> Value {
    json!({
        "sequence": event.sequence,
        "at": show::time(event.at.as_ref()),
        "type": event.r#type,
        "firm_code": event.firm_code,
        "product_code": event.product_code,
        "license_id": event.license_id,
        "session_id": event.session_id,
        "client": event.client,
        "station": event.station,
        "units": event.units,
        "code": event.code,
        "reason": event.reason,
        "count": event.count,
    })
}

/// A number that applies, else a dash.
fn applies(number: u32) -> String {
    if number == 0 { "-".to_owned() } else { number.to_string() }
}

fn why(event: &ServerEvent) -> String {
    match (&*event.r#type, event.count) {
        ("units.low", left) => format!("{left} units left"),
        ("license.expiring", days) => format!("{days} days left"),
        ("events.missed", missed) => format!("{missed} events were missed"),
        ("rules.loaded", rules) => format!("{rules} rules"),
        _ if event.code > 0 => format!("{} ({})", event.reason, event.code),
        _ if event.client.is_empty() && event.reason.is_empty() => event.license_id.clone(),
        _ => event.reason.clone(),
    }
}

fn row(event: &ServerEvent) -> Vec<String> {
    vec![
        show::time_word(event.at.as_ref()),
        event.r#type.clone(),
        applies(event.product_code),
        applies(event.units),
        if event.client.is_empty() { "-".to_owned() } else { event.client.clone() },
        why(event),
    ]
}

pub(super) async fn log(verb: Log, environment: &Environment) -> Outcome {
    let link = environment.server().await?;
    let request = ListEventsRequest {
        limit: verb.limit,
        firm_code: environment.settings.firm_code.unwrap_or(0),
        product_code: verb.which.product_code,
        r#type: verb.which.name,
    };
    let answer = client(&link).list_events(request).await.map_err(|status| link.failed(status))?.into_inner();
    let objects: Vec<Value> = answer.events.iter().map(object).collect();
    environment.out.many(&objects, &HEADINGS, answer.events.iter().map(row).collect(), "nothing has happened yet");
    Ok(())
}

pub(super) async fn watch(which: Which, environment: &Environment) -> Outcome {
    let link = environment.server().await?;
    let request = WatchEventsRequest {
        firm_code: environment.settings.firm_code.unwrap_or(0),
        product_code: which.product_code,
        r#type: which.name,
    };
    let answer = client(&link).watch_events(request).await.map_err(|status| link.failed(status))?;
    let mut events = answer.into_inner();
    environment.out.note("watching; end with Ctrl-C");
    while let Some(event) = events.message().await.map_err(|status| link.failed(status))? {
        environment.out.one(&object(&event), || row(&event).join("  "));
    }
    environment.out.note("the licence server has stopped");
    Ok(())
}

pub(super) async fn usage(verb: Usage, environment: &Environment) -> Outcome {
    let link = environment.server().await?;
    let request = GetUsageRequest {
        firm_code: environment.settings.firm_code.unwrap_or(0),
        product_code: verb.product_code,
        hours: verb.hours,
    };
    let answer = client(&link).get_usage(request).await.map_err(|status| link.failed(status))?.into_inner();
    let products: Vec<Value> = answer.products.iter().map(usage_object).collect();
    environment.out.one(&json!({ "products": products }), || {
        if answer.products.is_empty() {
            return format!("no seat was asked for in the last {} hours", verb.hours);
        }
        answer.products.iter().map(usage_text).collect::<Vec<_>>().join("\n\n")
    });
    Ok(())
}

fn usage_object(product: &ProductUsage) -> Value {
    let hours: Vec<Value> = product
        .hours
        .iter()
        .map(|hour| {
            json!({
                "begins": show::time(hour.begins.as_ref()),
                "max_used": hour.max_used,
                "granted": hour.granted,
                "denied": hour.denied,
            })
        })
        .collect();
    json!({
        "firm_code": product.firm_code,
        "product_code": product.product_code,
        "quantity": product.quantity,
        "hours": hours,
    })
}

fn usage_text(product: &ProductUsage) -> String {
    let most = product.hours.iter().map(|hour| hour.max_used).max().unwrap_or(0);
    let full = product.quantity.max(most);
    let line: String = product.hours.iter().map(|hour| bar(hour.max_used, full)).collect();
    let head = format!(
        "product {} of firm {}: at most {most} of {} seats in use\n{line}",
        product.product_code, product.firm_code, product.quantity
    );
    let rows = product.hours.iter().map(|hour| usage_row(hour, full)).collect();
    format!("{head}\n{}", output::table(&["hour", "max used", "granted", "denied", ""], rows))
}

fn usage_row(hour: &UsageHour, full: u32) -> Vec<String> {
    const WIDTH: u64 = 24;
    let filled = if full == 0 { 0 } else { u64::from(hour.max_used) * WIDTH / u64::from(full) };
    vec![
        show::time_word(hour.begins.as_ref()),
        hour.max_used.to_string(),
        hour.granted.to_string(),
        hour.denied.to_string(),
        "#".repeat(usize::try_from(filled.min(WIDTH)).unwrap_or(0)),
    ]
}

/// The sign for a part of the whole: something that is there is never drawn as nothing.
fn bar(part: u32, full: u32) -> char {
    let steps = u64::try_from(BARS.len() - 1).unwrap_or(8);
    let step = if full == 0 { 0 } else { (u64::from(part) * steps).div_ceil(u64::from(full)) };
    BARS[usize::try_from(step.min(steps)).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_what_is_there_and_never_more_than_full() {
        assert_eq!((bar(0, 10), bar(1, 1_000), bar(5, 10), bar(10, 10), bar(11, 10)), (' ', '▁', '▄', '█', '█'));
        assert_eq!(bar(3, 0), ' ');
    }
}
