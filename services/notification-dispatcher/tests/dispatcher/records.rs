//! Modules, filters and templates: what a destination gets of what happened.

use lictor_api::{
    event::v1::{ActivationCompleted, ActivationConfirmed, LicenseChanged, OrderCreated, event::Data},
    notification::v1::{ActivationLevel, ActivationsModule, DestinationOptions, LicensesModule, Modules},
    types::v1::License,
};
use serde_json::json;

use crate::{
    receiver::{Answer, Received, Receiver},
    world::{Dispatcher, World},
};

pub(crate) fn license(id: &str, item: &str, quantity: u32) -> Data {
    let license = License {
        license_id: id.to_owned(),
        item: item.to_owned(),
        customer: "acme".to_owned(),
        quantity,
        ..License::default()
    };
    Data::LicenseChanged(LicenseChanged { license: Some(license), previous: 0 })
}

pub(crate) fn activated(activation: &str, licenses: &[&str], serial: &str) -> Data {
    Data::ActivationCompleted(ActivationCompleted {
        activation_id: activation.to_owned(),
        kind: "activate".to_owned(),
        serial: serial.to_owned(),
        license_ids: licenses.iter().map(|id| (*id).to_owned()).collect(),
        ..ActivationCompleted::default()
    })
}

pub(crate) fn at_level(level: ActivationLevel) -> DestinationOptions {
    let module = ActivationsModule { level: level.into(), properties: vec!["quantity".to_owned()] };
    let modules = Modules { activations: Some(module), ..Modules::default() };
    DestinationOptions { modules: Some(modules), ..DestinationOptions::default() }
}

fn data(received: &[Received]) -> Vec<serde_json::Value> {
    received.iter().map(|one| one.json()["data"].clone()).collect()
}

#[tokio::test]
async fn each_level_of_activations_tells_as_much_as_it_says() {
    let world = World::new().await;
    let (all, one) = (Receiver::start(Answer::Status(200, "")).await, Receiver::start(Answer::Status(200, "")).await);
    let dispatcher = world.start().await;
    dispatcher.add_with(&all.url(), at_level(ActivationLevel::All)).await;
    dispatcher.add_with(&one.url(), at_level(ActivationLevel::OnePerTicket)).await;
    world.producer.announce_as("lic_1", license("lic_1", "cad", 3));
    let event = world.producer.announce_as("lic_1", activated("act_1", &["lic_1", "lic_2"], "9-1"));
    let confirmed = ActivationConfirmed { license_ids: vec!["lic_1".to_owned()], ..ActivationConfirmed::default() };
    world.producer.announce_as("lic_1", Data::ActivationConfirmed(confirmed));
    world.producer.announce_as("lic_3", activated("act_2", &["lic_3"], "9-2"));

    let told = all.until_taken(3).await;
    let mut ids: Vec<String> = told.iter().map(Received::id).collect();
    ids.sort();
    assert!(ids.contains(&format!("{}-1", event.id)) && ids.contains(&format!("{}-2", event.id)), "{ids:?}");
    let first = told.iter().find(|one| one.json()["data"]["license_id"] == "lic_1").expect("a record of lic_1").json();
    assert_eq!(first["id"], format!("{}-1", event.id), "the body names the message that the header names");
    assert_eq!(first["data"]["license"], json!({"license_id": "lic_1", "quantity": 3}));
    assert_eq!((first["data"]["serial"].as_str(), first["data"]["state"].as_str()), (Some("9-1"), Some("completed")));
    let told = data(&one.until_taken(2).await);
    assert!(told.iter().any(|data| data["license_ids"] == json!(["lic_1", "lic_2"])), "{told:?}");
    dispatcher.stop().await;
    assert_eq!((all.all().len(), one.all().len()), (3, 2), "proofs are no transactions");
}

/// Statuses 1 to `count` of a license while the receiver takes nothing, through `restart`; then it takes.
async fn collapsing(world: World, kill: bool) {
    let receiver = Receiver::start(Answer::Status(500, "")).await;
    let mut dispatcher = world.start().await;
    let (id, _) = dispatcher.add_with(&receiver.url(), at_level(ActivationLevel::CurrentStatus)).await;
    for number in 1..=20 {
        world.producer.announce_as("lic_1", activated("act", &["lic_1", "lic_2"], &format!("9-{number}")));
        if number == 10 {
            receiver.until("a failed attempt", |all| !all.is_empty()).await;
            if kill {
                dispatcher.stop().await;
                dispatcher = world.start().await;
            }
        }
    }
    dispatcher.until(&id, "all statuses are stored", |all| all.len() == 40).await;
    receiver.answer(Answer::Status(200, ""));
    let ended = dispatcher
        .until(&id, "every status was taken or overtaken", |all| all.iter().all(|one| one.state == 3 || one.state == 5))
        .await;
    for license in ["lic_1", "lic_2"] {
        let mut of_license = receiver.taken().into_iter().filter(|one| one.json()["data"]["license_id"] == license);
        let last = of_license.next_back().expect("something was taken").json();
        assert_eq!(last["data"]["serial"], "9-20", "the last always arrives, and nothing after it");
    }
    assert!(ended.iter().filter(|one| one.state == 5).count() > 20, "most were left out");
    dispatcher.stop().await;
}

#[tokio::test]
async fn overtaken_statuses_are_left_out_and_the_last_always_arrives() {
    collapsing(World::new().await, false).await;
}

#[tokio::test]
async fn overtaken_statuses_are_left_out_through_a_restart_too() {
    collapsing(World::new().await, true).await;
}

#[tokio::test]
async fn overtaken_statuses_are_left_out_on_postgres_too() {
    if let Some(world) = World::postgres().await {
        collapsing(world, true).await;
    }
}

async fn filtering(world: World) {
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    let options = DestinationOptions { items: vec!["cad".to_owned()], ..DestinationOptions::default() };
    let (id, _) = dispatcher.add_with(&receiver.url(), options).await;
    // The activations are heard of before anything is known of their licenses, as when a producer's feed is late.
    let early = world.producer.announce_as("lic_1", activated("act_1", &["lic_1"], "9-1"));
    world.producer.announce_as("lic_2", activated("act_2", &["lic_2"], "9-2"));
    let late = world.producer.announce_as("lic_1", activated("act_3", &["lic_1"], "9-3"));
    let order = OrderCreated { order_id: "ord_1".to_owned(), ..OrderCreated::default() };
    world.producer.announce_as("ord_1", Data::OrderCreated(order));
    world.producer.announce_as("lic_2", license("lic_2", "cam", 1));
    let known = world.producer.announce_as("lic_1", license("lic_1", "cad", 1));
    let last = world.producer.announce_as("lic_1", activated("act_4", &["lic_1"], "9-4"));

    let taken = receiver.until_taken(4).await;
    let ids: Vec<String> = taken.iter().map(Received::id).collect();
    assert_eq!(ids, [early.id, late.id, known.id, last.id], "of its item only, in order");
    assert_eq!(dispatcher.deliveries(&id).await.len(), 4);
    dispatcher.stop().await;
}

#[tokio::test]
async fn filter_by_item_waits_until_it_knows_the_license() {
    filtering(World::new().await).await;
}

#[tokio::test]
async fn filter_by_item_waits_until_it_knows_the_license_on_postgres() {
    if let Some(world) = World::postgres().await {
        filtering(world).await;
    }
}

#[tokio::test]
async fn template_maps_fields_and_the_mapped_body_is_what_is_signed() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    let modules =
        Modules { licenses: Some(LicensesModule { properties: vec!["quantity".to_owned()] }), ..Modules::default() };
    let options = DestinationOptions {
        modules: Some(modules),
        template: r#"{"NO": "{data.license_id}", "QTY": "{data.quantity}", "ITEM": "{data.item}"}"#.to_owned(),
        ..DestinationOptions::default()
    };
    let (_, secret) = dispatcher.add_with(&receiver.url(), options).await;
    let event = world.producer.announce_as("lic_1", license("lic_1", "cad", 3));
    let taken = receiver.until_taken(1).await;
    assert_eq!(taken[0].json(), json!({"NO": "lic_1", "QTY": 3, "ITEM": null}), "what was not chosen is not told");
    assert_eq!(taken[0].header("content-type"), "application/json");
    crate::keys::assert_signed(&taken[0], &secret, &event.id);
    dispatcher.stop().await;
}

/// A dispatcher whose destination has options, for other tests.
pub(crate) async fn with_options(
    world: &World,
    receiver: &Receiver,
    options: DestinationOptions,
) -> (Dispatcher, String) {
    let dispatcher = world.start().await;
    let (id, _) = dispatcher.add_with(&receiver.url(), options).await;
    (dispatcher, id)
}
