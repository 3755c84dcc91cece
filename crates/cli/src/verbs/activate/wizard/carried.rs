//! The wizard where files have to be carried: the container elsewhere, or the vendor out of reach.

use std::path::{Path, PathBuf};

use lictor_api::activation::v1::InspectTicketResponse;
use serde_json::json;

use super::super::Wanted;
use super::super::questions::choices_table;
use crate::ask::Asker;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::remote::{FileWay, Site, Vendor, activation_object, activation_text, by_files, inspected};
use crate::resume::Begun;

/// The container is elsewhere: its context comes in, the update goes out, and the receipt may come back. Repeating it with
/// the same files gives the same update, so nothing has to be noted down.
pub(super) async fn by_hand(
    asker: Asker,
    wanted: &Wanted,
    holds: &InspectTicketResponse,
    vendor: &Vendor,
    environment: &Environment,
) -> Outcome {
    asker.say(&format!(
        "\nThe container is elsewhere, so files travel.\n\n\
         1. At its licence server:\n     lictor server context --firm-code {} -o box.rac\n   Bring box.rac here.\n",
        holds.firm_code
    ));
    let way = asker
        .file("Path of the context file:", |path| {
            let target = path.with_extension("rau");
            FileWay::new(&path, target, false)
        })
        .await?;
    let ask = async |begun: &Begun| wanted.ask(vendor, begun).await;
    let activation = by_files(&way, &wanted.subject(), environment, ask).await?;
    let update = way.target.display();
    let receipt = way.target.with_file_name(receipt_name(&way.target));
    asker.say(&format!(
        "wrote {update}\n\n\
         2. Take {update} to the licence server:\n     lictor server import {0} -o {1}\n\
         3. Bring {1} back here, so that the vendor knows that it arrived. This may be left out.\n",
        name_of(&way.target),
        name_of(&receipt)
    ));
    let question = "Path of the receipt, or Enter to leave it out:";
    let proof = asker.file_or_none(question, |path| files::read_license_file(&path)).await?;
    let activation = match proof {
        Some(proof) => {
            vendor.submit(proof).await?;
            vendor.settled(activation).await
        }
        None => activation,
    };
    let holds = inspected(vendor, &wanted.ticket).await;
    let mut object = activation_object(&activation, &holds);
    object["file"] = json!(way.target);
    asker.say("\nDone.");
    environment.out.one(&object, || activation_text(&activation, &holds));
    Ok(())
}

/// The vendor is out of reach: the context goes to a machine that reaches it, and the update comes back here.
pub(super) async fn without_vendor(asker: Asker, why: &Failure, environment: &Environment) -> Outcome {
    let site = Site::open(environment).await?;
    let mut firms = site.firms().await?;
    firms.retain(|held| environment.settings.firm_code.is_none_or(|code| code == held.firm_code));
    let held = if firms.len() > 1 {
        asker.say(&format!("Which container is it for?\n\n{}\n", choices_table(&firms)));
        firms.swap_remove(asker.number("Number", firms.len()).await?)
    } else {
        site.only(environment.settings.firm_code, None).await?
    };
    let context = PathBuf::from(format!("{}-{}.rac", held.serial, held.firm_code));
    let update = context.with_extension("rau");
    // One of an earlier run is as good: the update for it fits as long as the container did not change.
    if !context.exists() {
        let taken = site.context(held.firm_code, &held.serial, Vec::new()).await?.context;
        files::write(&context, &taken, false)?;
    }
    asker.say(&format!(
        "The vendor cannot be reached from here ({why}), so files travel.\n\n\
         1. Take {0} to a machine that reaches the vendor, and run there:\n     \
         lictor activate TICKET --context {0} -o {1}\n\
         2. Bring {1} back here.\n",
        context.display(),
        update.display()
    ));
    let content =
        asker.file("Path of the update file, when it is here:", |path| files::read_license_file(&path)).await?;
    let imported = site.import(content).await?;
    let receipt = context.with_file_name(receipt_name(&context));
    files::write(&receipt, &imported.receipt, true)?;
    // Both have served; the next activation begins with a new context.
    let _ = std::fs::remove_file(&context);
    asker.say(&format!(
        "\nDone. The container took {} of {} steps.\nSend {} to the vendor, so that it knows. This may be left out.",
        imported.applied,
        imported.applied + imported.skipped,
        receipt.display()
    ));
    let object = json!({
        "serial": imported.serial,
        "firm_code": imported.firm_code,
        "from": imported.from,
        "to": imported.to,
        "applied": imported.applied,
        "skipped": imported.skipped,
        "receipt": receipt,
    });
    environment
        .out
        .one(&object, || format!("container {}: counter {} -> {}", imported.serial, imported.from, imported.to));
    Ok(())
}

fn receipt_name(path: &Path) -> String {
    format!("{}-receipt.rac", path.file_stem().unwrap_or_default().to_string_lossy())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
