//! Step 1: the vendor describes products and creates an order; a ticket comes back.

use super::super::narrator::Story;
use super::super::world::{FIRM_CODE, Sold, World, text};

const CATALOGUE: &str = include_str!("../catalogue.yaml");

pub(super) async fn play(world: &mut World) -> Story<Sold> {
    world.narrator.step("The vendor describes products and sells: an order, and a ticket comes back");
    world.start_vendor().await?;
    world.narrator.say("lictor up: five services in one process, SQLite, nothing else");

    let words = ["vendor", "init", "--firm-code", FIRM_CODE, "--name", "Demo Simulators"];
    let made = world.ok(&words).await?;
    let again = world.ok(&words).await?;
    world.narrator.check(
        "a vendor has a root document and role keys; asked for again it is the same one",
        made["created"] == true && again["created"] == false && made["root_fingerprint"] == again["root_fingerprint"],
        || format!("{made} then {again}"),
    )?;

    world.write("catalogue.yaml", CATALOGUE.as_bytes())?;
    let catalogue = world.file("catalogue.yaml");
    let words = ["catalogue", "apply", &catalogue, "--firm-code", FIRM_CODE];
    let first = world.ok(&words).await?;
    let second = world.ok(&words).await?;
    let count = |answer: &serde_json::Value, key: &str| answer[key].as_array().map_or(0, Vec::len);
    world.narrator.check(
        "a catalogue with nested product items is applied; applied again it changes nothing",
        count(&first, "created") == 5 && count(&second, "unchanged") == 5 && count(&second, "created") == 0,
        || format!("{first} then {second}"),
    )?;

    let url = world.receiver.url();
    let destination = world.ok(&["notify", "destination", "add", "--url", &url]).await?;
    world.receiver.set_secret(text(&destination, "secret")?)?;
    let listed = world.lines(&["notify", "destination", "list"]).await?;
    world.narrator.check(
        "the back office is told of everything from here on; the signing secret was shown once",
        listed.len() == 1 && listed[0].get("secret").is_none(),
        || format!("{listed:?}"),
    )?;

    let words = [
        "order",
        "create",
        "--firm-code",
        FIRM_CODE,
        "--customer",
        "Nova Training",
        "--item",
        "truck=2",
        "--reference",
        "PO-4711",
        "--request-id",
        "demo-order-1",
    ];
    let order = world.ok(&words).await?;
    let again = world.ok(&words).await?;
    world.narrator.equal("the same request again is the same order with the same ticket", &again, &order)?;
    let sold = world.note_order(&order)?;
    world.narrator.check(
        "the ticket has 25 characters in five groups",
        sold.ticket.len() == 29 && sold.ticket.matches('-').count() == 4,
        || format!("{} characters", sold.ticket.len()),
    )?;
    let order_id = text(&order, "order_id")?.to_owned();
    let shown = world.ok(&["order", "show", &order_id]).await?;
    let license = world.ok(&["license", "show", &sold.license]).await?;
    world.narrator.check(
        "nobody sees the whole ticket again, and the license waits to be activated",
        !shown.to_string().contains(&sold.ticket) && license["state"] == "available" && license["quantity"] == 2,
        || format!("{shown}\n{license}"),
    )?;
    Ok(sold)
}
