//! Step 7: bad input gives one sentence and the right exit code, and changes nothing.

use super::super::narrator::Story;
use super::super::world::{FIRM_CODE, Sold, World};

const NESTED_TWICE: &str = "\
firm_code: 6000010
items:
  - name: deep
    product_item:
      product_code: 1
      modules:
        - product_code: 2
          modules:
            - product_code: 3
";

pub(super) async fn play(world: &mut World, truck: &Sold) -> Story {
    world.narrator.step("Bad input: one sentence, the right exit code, nothing changed");
    let before = world.ok(&["server", "list"]).await?;
    let orders = world.lines(&["order", "list", "--firm-code", FIRM_CODE]).await?.len();

    // Another valid ticket that nobody was ever given.
    refused(world, "a ticket that does not exist", &["activate", "00000-00000-00000-00000-00000"], 4).await?;
    refused(world, "a ticket with a typing error", &["activate", "00000-00000-00000-00000-00001"], 2).await?;
    refused(world, "a ticket that was spent", &["activate", &truck.ticket], 5).await?;

    let mut bytes = world.read("site.rau")?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    world.write("damaged.rau", &bytes)?;
    let (damaged, foreign, context) = (world.file("damaged.rau"), world.file("site.rau"), world.file("site.rac"));
    refused(world, "a damaged update file", &["server", "import", &damaged], 7).await?;
    refused(world, "an update file for another container", &["server", "import", &foreign], 7).await?;
    refused(world, "a context where an update belongs", &["server", "import", &context], 7).await?;
    refused(world, "a file that is not there", &["server", "import", "/nonexistent.rau"], 4).await?;

    let order = ["order", "create", "--firm-code", FIRM_CODE, "--customer", "N", "--item"];
    let with = |item: &'static str| [order.as_slice(), &[item]].concat();
    refused(world, "an order of zero seats", &with("truck=0"), 2).await?;
    refused(world, "an order of far too many seats", &with("truck=99999999999"), 2).await?;
    refused(world, "an order of an item that nobody sells", &with("unicorn"), 4).await?;

    world.write("deep.yaml", NESTED_TWICE.as_bytes())?;
    let deep = world.file("deep.yaml");
    refused(world, "a module inside a module", &["catalogue", "apply", &deep, "--firm-code", FIRM_CODE], 2).await?;
    let nowhere = world.file("nowhere.rac");
    let words = ["server", "context", "--firm-code", "77", "-o", &nowhere];
    refused(world, "a vendor that the container does not know", &words, 4).await?;
    let words = ["order", "list", "--firm-code", FIRM_CODE, "--central", "http://127.0.0.1:1"];
    refused(world, "a service that is not there", &words, 6).await?;
    let words = ["license", "show", "lic_00000000000000000000000000"];
    refused(world, "a license that does not exist", &words, 4).await?;

    let after = world.ok(&["server", "list"]).await?;
    world.narrator.equal("the container is what it was", &after, &before)?;
    let count = world.lines(&["order", "list", "--firm-code", FIRM_CODE]).await?.len();
    world.narrator.equal("no order was made", &count, &orders)
}

async fn refused(world: &mut World, what: &str, words: &[&str], code: i32) -> Story {
    let answer = world.vendor.run(&world.narrator, words).await?;
    let error = &answer.one()["error"];
    let message = error["message"].as_str().unwrap_or_default();
    let holds = answer.code == Some(code)
        && answer.lines.len() == 1
        && !message.is_empty()
        && !message.contains('\n')
        && error["code"].is_string()
        && error["next"].is_string();
    let told = format!("{what}: \"{message}\" (exit code {code})");
    world.narrator.check(&told, holds, || format!("{:?} {} {}", answer.code, answer.one(), answer.stderr.trim()))
}
