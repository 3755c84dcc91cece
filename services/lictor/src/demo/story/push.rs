//! Step 5: updates from the vendor's side, one of them lost, and a withdrawal that cannot be dodged.

use super::super::narrator::Story;
use super::super::world::{FIRM_CODE, Sold, World, text};

pub(super) async fn play(world: &mut World) -> Story {
    world
        .narrator
        .step("The vendor pushes updates with nothing from the customer; one gets lost; a withdrawal cannot be dodged");
    let serial = container(world).await?;
    let night = world.sell("night").await?;
    let winter = world.sell("winter").await?;

    let lost = push(world, &serial, &night, "lost.rau").await?;
    world.narrator.check(
        "an update is issued from the modified context; then its file gets lost",
        lost["segments"] == 1,
        || format!("{lost}"),
    )?;
    let _ = std::fs::remove_file(world.path("lost.rau"));
    let next = push(world, &serial, &winter, "next.rau").await?;
    world.narrator.check(
        "the next file carries the lost update along",
        next["segments"] == 2 && next["from"] == lost["from"],
        || format!("{next} after {lost}"),
    )?;
    import(world, "next.rau", 2).await?;
    let products = world.products(&world.vendor).await?;
    world.narrator.equal("both features arrived", &products, &vec![201, 202, 220, 221])?;
    for sold in [&night, &winter] {
        world.reaches(&sold.license, "confirmed").await?;
    }
    withdraw(world, &serial, &night).await
}

/// The serial of the online customer's container.
async fn container(world: &World) -> Story<String> {
    let listed = world.ok(&["server", "list"]).await?;
    Ok(text(&listed["containers"][0], "serial")?.to_owned())
}

async fn push(world: &mut World, serial: &str, sold: &Sold, file: &str) -> Story<serde_json::Value> {
    let output = world.file(file);
    let words =
        ["push", "create", "--firm-code", FIRM_CODE, "--container", serial, "--ticket", &sold.ticket, "-o", &output];
    let pushed = world.ok(&words).await?;
    world.ledger.activations.push(text(&pushed, "activation_id")?.to_owned());
    Ok(pushed)
}

/// The customer imports a file, and the receipt goes back.
async fn import(world: &mut World, file: &str, steps: u32) -> Story {
    let (update, receipt) = (world.file(file), world.file(&format!("{file}-receipt.rac")));
    let imported = world.ok(&["server", "import", &update, "-o", &receipt]).await?;
    world.narrator.equal(&format!("{file} is imported: {steps} applied"), &imported["applied"], &steps.into())?;
    let taken = world.lines(&["push", "context", &receipt]).await?;
    world.narrator.check(
        "the receipt confirms everything",
        taken.len() == 1 && taken[0]["verdict"] == "ok" && taken[0]["pending"] == 0,
        || format!("{taken:?}"),
    )
}

async fn withdraw(world: &mut World, serial: &str, night: &Sold) -> Story {
    let withdrawn = world.ok(&["license", "withdraw", &night.license, "--reason", "paid back"]).await?;
    world.ledger.withdrawn.push(night.license.clone());
    world.narrator.equal(
        "a license is withdrawn; a container may still hold it, so it is returning",
        &withdrawn["state"],
        &"returning".into(),
    )?;
    // The customer throws that file away and asks for something else.
    let extra = world.sell("tram").await?;
    let pushed = push(world, serial, &extra, "wanted.rau").await?;
    world.narrator.check(
        "the customer takes only what he wants, but the file with it carries the withdrawal first",
        pushed["segments"] == 2,
        || format!("{pushed}"),
    )?;
    import(world, "wanted.rau", 2).await?;
    let products = world.products(&world.vendor).await?;
    world.narrator.equal("the withdrawn feature is gone", &products, &vec![201, 202, 202, 221])?;
    let explained = world
        .vendor
        .run(&world.narrator, &["server", "explain", "--firm-code", FIRM_CODE, "--product-code", "220"])
        .await?;
    world.narrator.check(
        "a program that asks for it is refused (200, no such entry)",
        explained.code == Some(3) && explained.one()["reasons"][0]["code"] == 200,
        || format!("{:?} {}", explained.code, explained.one()),
    )?;
    world.reaches(&night.license, "withdrawn").await?;
    let old = world.file("next.rau");
    let again = world.ok(&["server", "import", &old]).await?;
    world.narrator.check(
        "the old file from before brings nothing back",
        again["applied"] == 0 && !world.products(&world.vendor).await?.contains(&220),
        || format!("{again}"),
    )?;
    let shown = world.ok(&["container", "show", serial, "--firm-code", FIRM_CODE]).await?;
    world.narrator.check(
        "the vendor sees the whole chain, confirmed to its end, and no suspicion",
        shown["confirmed"] == shown["latest"] && shown["pending"] == 0 && shown["suspicion"] == serde_json::json!([]),
        || format!("{shown}"),
    )
}
