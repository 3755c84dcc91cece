//! Step 7: bad input gives one sentence and the right exit code, and changes nothing.

use sha2::{Digest, Sha256};

use super::super::narrator::Story;
use super::super::world::{FIRM_CODE, Sold, World, text};

/// The file of an update that nobody has imported yet.
const WAITING: &str = "waiting.rau";
/// Bytes of the closing checksum of a file.
const CHECKSUM_BYTES: usize = 32;
/// Bytes from the end of a file to a byte that was signed: the checksum, its heading, and a little.
const INTO_THE_SIGNED: usize = CHECKSUM_BYTES + 6 + 8;

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
    let good = waiting_update(world).await?;
    let before = world.ok(&["server", "list"]).await?;
    let orders = world.lines(&["order", "list", "--firm-code", FIRM_CODE]).await?.len();

    // Another valid ticket that nobody was ever given.
    refused(world, "a ticket that does not exist", &["activate", "00000-00000-00000-00000-00000"], 4).await?;
    refused(world, "a ticket with a typing error", &["activate", "00000-00000-00000-00000-00001"], 2).await?;
    // In its own container a spent ticket is answered with what it became; anywhere else it is worth nothing.
    let (elsewhere, nothing) = (world.file("site.rac"), world.file("spent.rau"));
    let words = ["activate", &truck.ticket, "--context", &elsewhere, "-o", &nothing];
    refused(world, "a ticket that was spent, for another container", &words, 5).await?;

    let mut bytes = world.read("site.rau")?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    world.write("damaged.rau", &bytes)?;
    let (damaged, foreign, context) = (world.file("damaged.rau"), world.file("site.rau"), world.file("site.rac"));
    refused(world, "a damaged update file", &["server", "import", &damaged], 7).await?;
    let forged = forge(world)?;
    refused(world, "a forged update file, with a good checksum", &["server", "import", &forged], 7).await?;
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

    let (data, port) = (world.file("second"), world.host.rsplit(':').next().unwrap_or_default().to_owned());
    let words = ["up", "--data", &data, "--only", "license-central", "--port-base", &port];
    refused(world, "a port in use", &words, 6).await?;
    let data = world.file("vendor");
    refused(world, "a second start on the same folder", &["up", "--data", &data], 5).await?;

    let after = world.ok(&["server", "list"]).await?;
    world.narrator.equal("the container is what it was", &after["containers"], &before["containers"])?;
    let count = world.lines(&["order", "list", "--firm-code", FIRM_CODE]).await?.len();
    world.narrator.equal("no order was made", &count, &orders)?;
    let imported = world.ok(&["server", "import", &good]).await?;
    world.narrator.equal("the true file is not burned by the forged one", &imported["applied"], &1.into())
}

/// An update that was issued and not imported.
async fn waiting_update(world: &mut World) -> Story<String> {
    let sold = world.sell("night").await?;
    let serial = text(&world.ok(&["server", "list"]).await?["containers"][0], "serial")?.to_owned();
    let file = world.file(WAITING);
    world.ok(&["push", "create", "--container", &serial, "--ticket", &sold.ticket, "-o", &file]).await?;
    Ok(file)
}

/// An update file that somebody changed, and who then made its checksum right again.
fn forge(world: &World) -> Story<String> {
    let mut bytes = world.read(WAITING)?;
    let place = bytes.len().saturating_sub(INTO_THE_SIGNED);
    bytes[place] ^= 1;
    let body = bytes.len().saturating_sub(CHECKSUM_BYTES);
    let checksum = Sha256::digest(&bytes[..body]);
    bytes[body..].copy_from_slice(&checksum);
    world.write("forged.rau", &bytes)?;
    Ok(world.file("forged.rau"))
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
