//! In between: kill -9 of everything, in the middle of work.

use std::time::Duration;

use serde_json::Value;

use super::super::narrator::Story;
use super::super::program::until;
use super::super::world::World;
use super::seats::nobody_holds;

pub(super) async fn play(world: &mut World) -> Story {
    world.narrator.step("Everything is killed in the middle of work, and nothing is lost");
    let sold = world.sell("tram").await?;
    let mut worker = world.worker("survivor", "201", &[], "0").await?;
    let session = world.status("survivor")["session_id"].clone();
    let before = picture(world).await?;

    world.kill_vendor().await?;
    world.narrator.say("kill -9: all five services are gone, without a warning");
    world.start_vendor().await?;
    let after = picture(world).await?;
    world.narrator.equal("orders, licenses, containers and entries are what they were", &after, &before)?;

    // Its stream broke; it comes back by itself, and nobody else was given its seat meanwhile.
    until("the program holds its seat again", Duration::from_secs(15), || async {
        let sessions = world.ok(&["server", "sessions"]).await?;
        let held = sessions["sessions"]
            .as_array()
            .is_some_and(|all| all.len() == 1 && all[0]["session_id"] == session && all[0]["state"] == "held");
        Ok(held.then_some(()))
    })
    .await?;
    world.narrator.check(
        "the program never stopped and holds the very same seat, charged once",
        worker.is_running(),
        || "it ended".to_owned(),
    )?;
    worker.end_of_work();
    let (status, stderr) = worker.ended().await?;
    world
        .narrator
        .check("it ends its work as if nothing had been", status.code() == Some(0), || format!("{status}: {stderr}"))?;
    nobody_holds(world).await?;

    let words = [
        "order",
        "create",
        "--firm-code",
        "6000010",
        "--customer",
        "Nova Training",
        "--item",
        "truck=2",
        "--reference",
        "PO-4711",
        "--request-id",
        "demo-order-1",
    ];
    let repeated = world.ok(&words).await?;
    world.narrator.check(
        "the first order, asked for once more, is still the same and not a second one",
        repeated["order_id"] == *world.ledger.orders[0],
        || format!("{repeated}"),
    )?;

    let activated = world.ok(&["activate", &sold.ticket]).await?;
    world.ledger.activations.push(activated["activation_id"].as_str().unwrap_or_default().to_owned());
    world.narrator.equal("work goes on: the next ticket is activated", &activated["state"], &"confirmed".into())?;
    world.reaches(&sold.license, "confirmed").await
}

/// What must be the same before and after, from every service that keeps something.
async fn picture(world: &World) -> Story<Vec<Value>> {
    let mut all = world.lines(&["order", "list", "--firm-code", "6000010"]).await?;
    all.extend(world.lines(&["license", "list", "--firm-code", "6000010"]).await?);
    all.extend(world.lines(&["container", "list", "--firm-code", "6000010"]).await?);
    all.extend(world.lines(&["catalogue", "show", "--firm-code", "6000010"]).await?);
    let mut listed = world.ok(&["server", "list"]).await?;
    // A seat that is reserved for its holder is as taken as one that is held.
    listed["containers"][0]["firms"][0]["entries"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .for_each(|entry| entry["free"] = Value::Null);
    // The proven time goes on, and is noted now and then only.
    all.push(listed["containers"].take());
    Ok(all)
}
