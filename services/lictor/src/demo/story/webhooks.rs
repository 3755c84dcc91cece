//! Step 6: every order, license and activation reaches the back office, also when it was down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::narrator::{Broken, Story};
use super::super::program::until;
use super::super::receiver::Received;
use super::super::world::World;

pub(super) async fn play(world: &mut World) -> Story {
    world.narrator.step("Everything reaches the back office as signed webhooks, also what happened while it was down");
    let before = world.receiver.received().len();
    let waiting = world.lines(&["notify", "destination", "list"]).await?;
    world.narrator.check(
        "the back office has been down since the end of step 3; what happened is kept for it",
        waiting[0]["backlog"].as_u64().unwrap_or(0) > 0,
        || format!("{waiting:?}"),
    )?;
    world.receiver.up().await?;
    until("every event is delivered", Duration::from_secs(20), || {
        std::future::ready(Ok(missing(world).is_empty().then_some(())))
    })
    .await
    .map_err(|broken| Broken::new(format!("{broken}\n  missing: {:?}", missing(world))))?;
    let received = world.receiver.received();
    world.narrator.check("back again, it gets everything that it missed", received.len() > before, || {
        format!("{} then, {before} before", received.len())
    })?;
    let forged = world.receiver.forged();
    world.narrator.equal(
        "every delivery carries a good signature over its id, its time and its body",
        &forged,
        &Vec::new(),
    )?;

    let mut wrong_order = Vec::new();
    let mut last = BTreeMap::new();
    for event in &received {
        let sequence = event.body["sequence"].as_str().unwrap_or_default().to_owned();
        if let Some(earlier) = last.insert((event.subject.clone(), source(event)), sequence.clone())
            && earlier > sequence
        {
            wrong_order.push(event.id.clone());
        }
    }
    world.narrator.equal("what concerns one order or license came in its order", &wrong_order, &Vec::new())?;
    let secrets = received.iter().filter(|event| world.ledger.tickets_in(&event.body.to_string())).count();
    world.narrator.equal("no webhook tells a ticket", &secrets, &0)?;
    until("nothing is left to deliver", Duration::from_secs(10), || async {
        let destinations = world.lines(&["notify", "destination", "list"]).await?;
        Ok((destinations[0]["backlog"] == 0).then_some(()))
    })
    .await?;
    let ids: BTreeSet<&str> = received.iter().map(|event| event.id.as_str()).collect();
    world.narrator.check(
        &format!("{} events in {} deliveries; nothing is left to deliver", ids.len(), received.len()),
        true,
        String::new,
    )
}

fn source(event: &Received) -> String {
    event.body["source"].as_str().unwrap_or_default().to_owned()
}

/// What must have come and did not.
fn missing(world: &World) -> Vec<String> {
    let mut missing = Vec::new();
    let mut wants = |kind: &str, subject: &str| {
        if !world.receiver.has(kind, subject) {
            missing.push(format!("{kind} about {subject}"));
        }
    };
    for order in &world.ledger.orders {
        wants("lictor.order.created.v1", order);
        wants("lictor.ticket.created.v1", order);
    }
    for license in &world.ledger.licenses {
        wants("lictor.license.created.v1", license);
    }
    for license in &world.ledger.withdrawn {
        wants("lictor.license.withdrawn.v1", license);
    }
    let received = world.receiver.received();
    for activation in &world.ledger.activations {
        for kind in ["lictor.activation.completed.v1", "lictor.activation.confirmed.v1"] {
            let came =
                received.iter().any(|event| event.kind == kind && event.body["data"]["activation_id"] == **activation);
            if !came {
                missing.push(format!("{kind} of {activation}"));
            }
        }
    }
    missing
}
