//! One trace from the verb over outbox, broker and dispatcher to the receiver, for an order and for an activation.

use std::collections::BTreeMap;

use anyhow::ensure;
use lictor_test_support::fleet::Fleet;
use lictor_test_support::programs::Answer;
use lictor_test_support::receiver::Receiver;
use lictor_test_support::vendor::text;
use lictor_test_support::wait;
use lictor_tests_end_to_end::Collector;
use serde_json::Value;

/// Runs a verb that exports its own span.
fn traced(fleet: &Fleet, collector: &Collector, verb: &[&str]) -> anyhow::Result<Value> {
    let mut command = fleet.lictor(verb)?;
    Answer::of(command.arg("--json").env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()))?.json()
}

/// The webhook's own span is the dispatcher's attempt, and from there parents lead up to the verb.
fn leads_to(collector: &Collector, webhook: &str, verb: &str, through: &[&str]) -> anyhow::Result<()> {
    wait::until("every span of the way has come", || {
        let way = collector.way_up(webhook);
        let services: Vec<&str> = way.iter().map(|(service, _)| service.as_str()).collect();
        let attempt = ("notification-dispatcher".to_owned(), "webhook attempt".to_owned());
        ensure!(way.first() == Some(&attempt), "{webhook} leads to {way:?}");
        ensure!(way.last() == Some(&("lictor".to_owned(), verb.to_owned())), "{webhook} leads to {way:?}");
        ensure!(through.iter().all(|service| services.contains(service)), "{services:?} without {through:?}");
        Ok(Some(()))
    })
}

#[test]
fn one_trace_leads_from_the_verb_to_the_webhook() -> anyhow::Result<()> {
    let collector = Collector::start()?;
    let extra = BTreeMap::from([
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint()),
        // By the broker alone: it carries the trace too.
        ("LICTOR_PULL_EVERY".to_owned(), "1h".to_owned()),
    ]);
    let Some(fleet) = Fleet::start_with(extra)? else { return Ok(()) };
    let back_office = Receiver::start()?;
    fleet.set_up()?;
    fleet.ok(&["notify", "destination", "add", "--url", &back_office.url()])?;
    let webhook = |kind: &str, field: &str, id: &str| {
        wait::until(&format!("{kind} is delivered"), || {
            let all = back_office.taken();
            let found = all.iter().find(|received| {
                let body = received.json();
                body["type"] == kind && body["data"][field] == id
            });
            Ok(found.map(|received| received.header("traceparent").to_owned()))
        })
    };

    let ordered = traced(&fleet, &collector, &["order", "create", "--customer", "Nova", "--item", "reports"])?;
    let told = webhook("lictor.order.created.v1", "order_id", &text(&ordered, "order_id")?)?;
    leads_to(&collector, &told, "lictor order create", &["license-central"])?;

    let activated = traced(&fleet, &collector, &["activate", &text(&ordered["tickets"][0], "ticket")?])?;
    let serial = text(&activated, "serial")?;
    let told = webhook("lictor.activation.completed.v1", "serial", &serial)?;
    leads_to(&collector, &told, "lictor activate", &["activation"])?;
    let told = webhook("lictor.update.issued.v1", "serial", &serial)?;
    leads_to(&collector, &told, "lictor activate", &["push-update-generator", "activation"])
}
