//! Step 3: tickets are activated, online in one go and by files that travel by hand.

use super::super::narrator::Story;
use super::super::world::{FIRM_CODE, Sold, World, text};

pub(super) async fn play(world: &mut World, truck: &Sold) -> Story {
    world.narrator.step("Tickets become licenses in containers: online in one command, offline by files");
    let activated = world.ok(&["activate", &truck.ticket]).await?;
    world.ledger.activations.push(text(&activated, "activation_id")?.to_owned());
    world.narrator.check(
        "online: context, update, import and receipt in one go",
        activated["state"] == "confirmed" && activated["licenses"][0]["license_id"] == *truck.license,
        || format!("{activated}"),
    )?;
    world.narrator.check(
        "the answer does not show the ticket",
        !activated.to_string().contains(&truck.ticket),
        || "the ticket".to_owned(),
    )?;
    world.reaches(&truck.license, "confirmed").await?;
    let serial = text(&activated, "serial")?.to_owned();
    let license = world.ok(&["license", "show", &truck.license]).await?;
    world.narrator.check(
        "the vendor knows where the two seats lie, proven by the receipt",
        license["allocations"][0]["container"] == *serial && license["allocations"][0]["quantity"] == 2,
        || format!("{license}"),
    )?;
    inheritance(world).await?;
    by_files(world).await
}

async fn inheritance(world: &mut World) -> Story {
    let listed = world.ok(&["server", "list"]).await?;
    let entries = listed["containers"][0]["firms"][0]["entries"].as_array().cloned().unwrap_or_default();
    let module = entries.iter().find(|entry| entry["product_code"] == 301).cloned().unwrap_or_default();
    world.narrator.check(
        "the module came along inside its product item and inherits its two seats",
        module["module_of"] == 201 && module["quantity"] == 2 && module["sources"]["license_quantity"] == "parent",
        || format!("{listed}"),
    )
}

async fn by_files(world: &mut World) -> Story {
    let trial = world.sell("trial").await?;
    let (context, update, receipt) = (world.file("site.rac"), world.file("site.rau"), world.file("site-receipt.rac"));
    world.site.ok(&world.narrator, &["server", "context", "--firm-code", FIRM_CODE, "-o", &context]).await?;
    let words = ["activate", &trial.ticket, "--context", &context, "-o", &update];
    let activated = world.ok(&words).await?;
    world.ledger.activations.push(text(&activated, "activation_id")?.to_owned());
    let bytes = world.read("site.rau")?;
    let again = world.ok(&words).await?;
    world.narrator.check(
        "offline: context in, update file out; asked for again the file is the same, byte for byte",
        bytes == world.read("site.rau")? && again["activation_id"] == activated["activation_id"],
        || format!("{activated} then {again}"),
    )?;
    world.narrator.equal(
        "until a receipt comes back the license counts as collected",
        &world.ok(&["license", "show", &trial.license]).await?["state"],
        &"collected".into(),
    )?;
    let imported = world.site.ok(&world.narrator, &["server", "import", &update, "-o", &receipt]).await?;
    let second = world.site.ok(&world.narrator, &["server", "import", &update]).await?;
    world.narrator.check(
        "the file is imported; a second import skips what is there and is no error",
        imported["applied"] == 1 && second["applied"] == 0 && second["skipped"] == 1,
        || format!("{imported} then {second}"),
    )?;
    let taken = world.lines(&["push", "context", &receipt]).await?;
    world.narrator.check(
        "the receipt proves the arrival",
        taken.len() == 1 && taken[0]["verdict"] == "ok" && taken[0]["pending"] == 0,
        || format!("{taken:?}"),
    )?;
    world.reaches(&trial.license, "confirmed").await?;
    let products = world.products(&world.site).await?;
    world.narrator.equal("the site has its license and saw no network", &products, &vec![210])
}
