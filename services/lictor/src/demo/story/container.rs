//! Step 2: customers start a licence server; it creates a container.

use super::super::narrator::Story;
use super::super::world::{FIRM_CODE, World};

pub(super) async fn play(world: &mut World) -> Story {
    world.narrator.step("Customers get a licence server with an empty container");
    let lif = world.file("vendor.lif");
    world.ok(&["vendor", "lif", "--firm-code", FIRM_CODE, "--binding", "folder", "-o", &lif]).await?;
    let words = ["server", "create-container", "--lif", &lif];
    let online = world.ok(&words).await?;
    let again = world.ok(&words).await?;
    world.narrator.check(
        "the vendor's file makes a container; made again it is the same one",
        online["created"] == true && again["created"] == false && online["serial"] == again["serial"],
        || format!("{online} then {again}"),
    )?;

    world.start_site().await?;
    let offline = world.site.ok(&world.narrator, &words).await?;
    world.narrator.check(
        "a second customer has a server of its own, without any way to the vendor",
        offline["serial"] != online["serial"] && offline["kind"] == "folder",
        || format!("{offline}"),
    )?;
    let empty = world.products(&world.vendor).await?;
    world.narrator.equal("both containers are empty", &empty, &Vec::new())
}
