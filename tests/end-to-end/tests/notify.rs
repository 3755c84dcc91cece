//! Every verb of `lictor notify` against a running dispatcher, and how each refusal ends.

use std::collections::BTreeMap;

use anyhow::ensure;
use lictor_test_support::fleet::{Fleet, Service};
use lictor_test_support::receiver::Receiver;
use lictor_test_support::vendor::text;
use lictor_test_support::wait;
use serde_json::{Value, json};

const NOBODY: &str = "dst_00000000000000000000000000";

fn lines(fleet: &Fleet, verb: &[&str]) -> anyhow::Result<Vec<Value>> {
    let answer = fleet.run(verb)?;
    ensure!(answer.code == 0, "{verb:?}: {answer:?}");
    answer.output.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn fleet() -> anyhow::Result<Option<Fleet>> {
    let extra = BTreeMap::from([("LICTOR_RETRY_WAITS".to_owned(), "100ms,200ms".to_owned())]);
    let Some(fleet) = Fleet::start_with(extra)? else { return Ok(None) };
    fleet.set_up()?;
    Ok(Some(fleet))
}

#[test]
fn every_verb_of_notify_does_its_work_and_says_so_to_scripts() -> anyhow::Result<()> {
    let Some(fleet) = fleet()? else { return Ok(()) };
    let (first, second) = (Receiver::start()?, Receiver::start()?);
    let order = || text(&fleet.ok(&["order", "create", "--customer", "Nova", "--item", "reports"])?, "order_id");
    let destination = |verb: &[&str]| fleet.ok(&[&["notify", "destination"], verb].concat());

    // Added, changed, rotated, tested.
    order()?;
    let added = destination(&["add", "--url", &first.url(), "--type", "lictor.order.*", "--request-id", "one"])?;
    let id = text(&added, "destination_id")?;
    ensure!(text(&added, "secret")?.starts_with("whsec_"), "{added}");
    let again = destination(&["add", "--url", &first.url(), "--type", "lictor.order.*", "--request-id", "one"])?;
    ensure!(again == added, "a repeated command gets its first answer: {again}");
    let changed = destination(&["update", &id, "--url", &second.url(), "--per-second", "50"])?;
    ensure!(changed["url"] == json!(second.url()) && changed["types"] == json!(["lictor.order.*"]), "{changed}");
    let rotated = destination(&["rotate", &id, "--signing", "ed25519", "--keep-old-for", "2d"])?;
    ensure!(text(&rotated, "public_key")?.starts_with("whpk_"), "{rotated}");
    ensure!(destination(&["show", &id])?["signing"].as_array().is_some_and(|keys| keys.len() == 2));
    let tried = destination(&["test", &id])?;
    ensure!(tried["attempt"]["result"] == "taken" && second.taken().len() == 1, "{tried}");
    ensure!(lines(&fleet, &["notify", "destination", "list"])?.len() == 1);

    // A delivery, with its attempts and body; sent again alone.
    let told = order()?;
    let of_order = ["notify", "deliveries", "--event", &told, "--state", "done"];
    let delivery = wait::until("the order is delivered", || Ok(lines(&fleet, &of_order)?.into_iter().next()))?;
    let delivery = text(&delivery, "delivery_id")?;
    let shown = fleet.ok(&["notify", "delivery", &delivery])?;
    ensure!(text(&shown, "body")?.contains(&told), "{shown}");
    ensure!(shown["attempt_list"].as_array().is_some_and(|all| all.len() == 1), "{shown}");
    let before = second.all().len();
    fleet.ok(&["notify", "replay", "--delivery", &delivery])?;
    wait::until("it came again", || Ok((second.all().len() > before).then_some(())))?;

    // What it never got, and everything of a time.
    for more in [&["--never-attempted"][..], &[], &["--failed"]] {
        let since = ["notify", "replay", "--destination", &id, "--since", "2026-01-01"];
        let replay = text(&fleet.ok(&[since.as_slice(), more].concat())?, "replay_id")?;
        wait::until("the replay ends", || {
            let all = lines(&fleet, &["notify", "replays", "--destination", &id])?;
            Ok(all.into_iter().find(|one| one["replay_id"] == json!(replay) && one["state"] == "done"))
        })?;
        let cancelled = fleet.run(&["notify", "replays", "--cancel", &replay])?;
        ensure!(matches!(cancelled.code, 0 | 5), "one that has ended: {cancelled:?}");
    }

    // Stopped and started; deleted only when nothing is lost or somebody says so.
    let stopped = destination(&["disable", &id, "--reason", "moves"])?;
    ensure!(stopped["state"] == "disabled" && stopped["note"].as_str().is_some_and(|note| note.contains("moves")));
    let kept = order()?;
    let waiting = ["notify", "deliveries", "--event", &kept, "--state", "due"];
    wait::until("the next order waits", || Ok((!lines(&fleet, &waiting)?.is_empty()).then_some(())))?;
    fleet.run(&["notify", "destination", "delete", &id])?.refused(5)?;
    ensure!(destination(&["enable", &id])?["state"] == "enabled");
    let done = ["notify", "deliveries", "--event", &kept, "--state", "done"];
    wait::until("what waited is delivered", || Ok((!lines(&fleet, &done)?.is_empty()).then_some(())))?;

    // Events in their order, from a cursor on.
    let events = lines(&fleet, &["notify", "events", "--type", "lictor.order.created.v1"])?;
    ensure!(events.len() == 3 && events.iter().any(|event| event["data"]["order_id"] == json!(kept)), "{events:?}");
    let cursor = events[1]["cursor"].to_string();
    ensure!(lines(&fleet, &["notify", "events", "--after", &cursor, "--limit", "1"])?.len() == 1);

    // Nothing is kept aside; reports.
    ensure!(lines(&fleet, &["notify", "quarantine", "--source", "license-central"])?.is_empty());
    ensure!(fleet.ok(&["notify", "quarantine", "--reprocess"])? == json!({ "taken": 0, "left": 0 }));
    ensure!(lines(&fleet, &["notify", "report", "list"])?.is_empty());
    let now = &events[2]["occurred_at"].as_str().unwrap_or_default()[..10];
    let report = ["notify", "report", "run", "--period", "daily", "--at", now, "-o", "day.html", "--csv", "day.csv"];
    fleet.ok(&report)?;
    ensure!(std::fs::read_to_string(fleet.path("day.csv"))?.contains("event,lictor.order.created.v1,events,3,"));
    fleet.run(&["notify", "report", "run", "--period", "weekly", "-o", "day.html"])?.refused(5)?;

    let deleted = destination(&["delete", &id, "--with-backlog"])?;
    ensure!(deleted["state"] == "deleted" && lines(&fleet, &["notify", "destination", "list"])?.is_empty());
    Ok(())
}

#[test]
fn a_refusal_of_notify_ends_with_the_exit_code_of_its_kind() -> anyhow::Result<()> {
    // No producer: it is ready without any.
    let alone = BTreeMap::from([("LICTOR_PRODUCERS".to_owned(), String::new())]);
    let Some(fleet) = Fleet::start_some(&[Service::Notification], alone)? else { return Ok(()) };
    let named = ["show", "enable", "disable", "delete", "rotate", "test", "update"];
    for verb in named {
        let told = fleet.run(&["notify", "destination", verb, NOBODY])?.refused(4)?;
        ensure!(told["error"]["code"] == "not_found" && told["error"]["next"] != "", "{verb}: {told}");
        fleet.run(&["notify", "destination", verb, "nonsense"])?.refused(2)?;
    }
    let unknown: [&[&str]; 4] = [
        &["delivery", "dlv_00000000000000000000000000"],
        &["replay", "--delivery", "dlv_00000000000000000000000000"],
        &["replay", "--destination", NOBODY, "--since", "2026-01-01"],
        &["replays", "--cancel", "rpl_00000000000000000000000000"],
    ];
    let wrong: [&[&str]; 9] = [
        &["destination", "add"],
        &["destination", "add", "--url", "https://10.0.0.1/hook"],
        &["destination", "add", "--url", "http://erp.example/hook"],
        &["destination", "add", "--custom", "program"],
        &["destination", "add", "--email", "boss@vendor.example"],
        &["destination", "add", "--file", "crm"],
        &["destination", "add", "--url", "https://erp.example/hook", "--type", "lictor.nothing.*x"],
        &["replay"],
        &["quarantine", "--limit", "0"],
    ];
    for (words, code) in unknown.iter().map(|words| (words, 4)).chain(wrong.iter().map(|words| (words, 2))) {
        let told = fleet.run(&[&["notify"], *words].concat())?.refused(code)?;
        ensure!(told["error"]["message"] != "" && told["error"]["next"] != "", "{words:?}: {told}");
    }
    fleet.run(&["notify", "events", "--after", "99999"])?.refused(5)?;
    fleet.terminate(Service::Notification)?;
    fleet.run(&["notify", "destination", "list"])?.refused(6)?;
    Ok(())
}
