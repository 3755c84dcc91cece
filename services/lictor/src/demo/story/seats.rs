//! Step 4: protected programs take seats, work, and give them back; one too many is refused with the reason.

use std::time::Duration;

use super::super::narrator::Story;
use super::super::program::until;
use super::super::world::World;

pub(super) async fn play(world: &mut World) -> Story {
    world.narrator.step("Protected programs take seats; one too many is refused with the reason");
    let mut first = world.worker("first", "201", &[], "0").await?;
    let mut second = world.worker("second", "201", &[], "7").await?;
    let sessions = world.ok(&["server", "sessions"]).await?;
    world.narrator.equal(
        "two programs hold the two seats",
        &sessions["sessions"].as_array().map_or(0, Vec::len),
        &2,
    )?;

    one_too_many(world).await?;

    let explained = world
        .vendor
        .run(&world.narrator, &["server", "explain", "--product-code", "201", "--firm-code", "6000010"])
        .await?;
    world.narrator.check(
        "asking why takes nothing and gives the same answer (exit code 3)",
        explained.code == Some(3) && explained.one()["refused"] == true,
        || format!("{:?} {}", explained.code, explained.one()),
    )?;

    first.end_of_work();
    let (status, _) = first.ended().await?;
    second.end_of_work();
    let (other, _) = second.ended().await?;
    world.narrator.check(
        "programs end, and their exit codes come through",
        status.code() == Some(0) && other.code() == Some(7),
        || format!("{status} and {other}"),
    )?;
    nobody_holds(world).await?;
    world.narrator.check("their seats are free at once", true, String::new)?;

    let mut third = world.worker("third", "201", &[], "0").await?;
    third.terminate()?;
    let (status, _) = third.ended().await?;
    world.narrator.check(
        "a signal reaches the program, and its death is told as shells do (143)",
        status.code() == Some(143),
        || format!("{status}"),
    )?;
    nobody_holds(world).await?;
    no_command(world).await?;
    one_station(world).await
}

/// Commands that cannot run are told apart, and their seat is given back.
async fn no_command(world: &mut World) -> Story {
    let mut codes = Vec::new();
    for command in ["/nonexistent/program", "/etc/passwd"] {
        let mut words = world.run_words("201", &[], &world.path("no-command.json"));
        words.extend(["--".to_owned(), command.to_owned()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut run = world.vendor.start(&words, &[("CODEMETER_HOST", &world.host)])?;
        codes.push(run.ended().await?.0.code());
    }
    world.narrator.equal(
        "a command that does not exist (127) and one that is no program (126) give their seats back",
        &codes,
        &vec![Some(127), Some(126)],
    )?;
    nobody_holds(world).await
}

async fn one_too_many(world: &mut World) -> Story {
    let proof = world.path("must-not-exist");
    let mut words = world.run_words("201", &[], &world.path("refused.json"));
    // A command that would leave a trace, if it were ever started.
    let command = ["--json", "--", "/bin/sh", "-c"].map(str::to_owned);
    words.extend(command);
    words.push(format!("touch {}", proof.display()));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut refused = world.vendor.start(&words, &[("CODEMETER_HOST", &world.host)])?;
    let told = refused.line().await?;
    let (status, _) = refused.ended().await?;
    world.narrator.check(
        "the third is refused (exit code 120) and its command is never started",
        status.code() == Some(120) && !proof.exists(),
        || format!("{status}: {told}"),
    )?;
    let reason = &told["reasons"][0];
    world.narrator.check(
        "the refusal names the reason (212) and the two holders",
        told["refused"] == true && reason["code"] == 212 && reason["holders"].as_array().map_or(0, Vec::len) == 2,
        || format!("{told}"),
    )?;
    let file = world.status("refused");
    world.narrator.check(
        "the status file says the same",
        file["state"] == "refused" && file["reasons"] == told["reasons"],
        || format!("{file}"),
    )
}

async fn one_station(world: &mut World) -> Story {
    let share = ["--mode", "station-share"];
    let mut sharing = Vec::new();
    for name in ["share-1", "share-2", "share-3"] {
        sharing.push(world.worker(name, "201", &share, "0").await?);
    }
    let listed = world.ok(&["server", "list"]).await?;
    let entries = listed["containers"][0]["firms"][0]["entries"].as_array().cloned().unwrap_or_default();
    let free = entries.iter().find(|entry| entry["product_code"] == 201).map(|entry| entry["free"].clone());
    world.narrator.equal("three programs of one station share one of the two seats", &free, &Some(1.into()))?;
    for worker in &mut sharing {
        worker.end_of_work();
    }
    for worker in &mut sharing {
        worker.ended().await?;
    }
    nobody_holds(world).await
}

pub(super) async fn nobody_holds(world: &World) -> Story {
    until("nobody holds a seat", Duration::from_secs(10), || async {
        let sessions = world.ok(&["server", "sessions"]).await?;
        Ok((sessions["sessions"].as_array().map_or(0, Vec::len) == 0).then_some(()))
    })
    .await
}
