//! Licenses in the eyes of the vendor's staff: renewals that are ended and taken up again, and what happened when.

use serde_json::Value;

use crate::world::{World, text};

#[test]
fn a_renewal_is_cancelled_and_resumed() {
    let world = World::new();
    let vendor = &world.vendor;
    let sold = world.activated(vendor, &["rolling"]);
    let license = sold.licenses[0].as_str();
    let before = vendor.ok(&["license", "show", license]);
    assert_eq!((&before["renews"], &before["renewal_cancelled_at"]), (&Value::Bool(true), &Value::Null), "{before}");
    let end = text(&before["allocations"][0]["expires_at"]);

    let named = ["license", "cancel-renewal", license, "--request-id", "cancel-1"];
    let cancelled = vendor.ok(&named);
    assert_eq!(cancelled["renews"], false, "{cancelled}");
    assert!(cancelled["renewal_cancelled_at"].is_string());
    assert_eq!(cancelled["allocations"][0]["expires_at"], *end, "it runs to its end");
    assert_eq!(vendor.ok(&named), cancelled, "the same request has the same answer");
    let said = String::from_utf8(vendor.run(&["license", "cancel-renewal", license]).stdout).expect("text");
    assert!(said.contains("is not renewed again"), "{said}");

    let resumed = vendor.ok(&["license", "resume-renewal", license]);
    assert_eq!((&resumed["renews"], &resumed["renewal_cancelled_at"]), (&Value::Bool(true), &Value::Null), "{resumed}");
    let said = String::from_utf8(vendor.run(&["license", "resume-renewal", license]).stdout).expect("text");
    assert!(said.contains("is renewed before its end"), "{said}");
    let told: Vec<String> = happened(&vendor.ok(&["license", "history", license]));
    assert_eq!(told.iter().filter(|what| ["cancelled", "resumed"].contains(&what.as_str())).count(), 2, "{told:?}");

    // What renews nothing has nothing to cancel; what is nowhere cannot be found.
    let other = world.sell(&["reader"]);
    for verb in ["cancel-renewal", "resume-renewal"] {
        vendor.refused(&["license", verb, &other.licenses[0]], 5);
        vendor.refused(&["license", verb, "lic_00000000000000000000000000"], 4);
        vendor.refused(&["license", verb, "rolling"], 2);
    }
}

fn happened(history: &Value) -> Vec<String> {
    history["entries"].as_array().expect("entries").iter().map(|entry| text(&entry["what"])).collect()
}

#[test]
fn the_history_says_what_could_be_used_on_a_date_and_why() {
    let world = World::new();
    let vendor = &world.vendor;
    let site = world.site("site", false);
    let sold = world.sell(&["reader"]);
    let license = sold.licenses[0].as_str();
    let file = |name: &str| world.file(name);
    let at = |date: &str| vendor.ok(&["license", "history", "--container", &site.serial(), "--at", date]);
    assert_eq!(happened(&vendor.ok(&["license", "history", license])), ["created"]);

    // Issued, and nobody knows whether it arrived.
    site.ok(&["server", "context", "-o", &file("a.rac")]);
    vendor.ok(&["activate", &sold.ticket, "--context", &file("a.rac"), "-o", &file("a.rau")]);
    let usable = &at("2200-01-01")["usable"][0];
    assert_eq!((usable["certainty"].as_str(), usable["license_id"].as_str()), (Some("possible"), Some(license)));
    assert!(!text(&usable["why"]).is_empty());

    // Proven.
    site.ok(&["server", "import", &file("a.rau"), "-o", &file("receipt.rac")]);
    vendor.ok(&["push", "context", &file("receipt.rac")]);
    world.reaches(license, "confirmed");
    assert_eq!(at("2200-01-01")["usable"][0]["certainty"], "proven");
    assert_eq!(at("2020-01-01")["usable"].as_array().map(Vec::len), Some(0), "not before it was sold");

    // Taken back, which the container has not proven: until then it may have it.
    vendor.ok(&["license", "withdraw", license, "--reason", "refund of case 7"]);
    let usable = &at("2200-01-01")["usable"][0];
    assert_eq!(usable["certainty"], "possible", "{usable}");
    let history = vendor.ok(&["license", "history", license]);
    let whys: Vec<_> =
        history["entries"].as_array().expect("entries").iter().map(|entry| text(&entry["why"])).collect();
    assert!(whys.iter().any(|why| why.contains("refund of case 7")), "the reason is kept: {whys:?}");
    for entry in history["entries"].as_array().expect("entries") {
        for key in ["time", "what", "item", "serial", "quantity", "counter", "expires_at", "why"] {
            assert!(entry.get(key).is_some(), "{key} is missing: {entry}");
        }
    }

    vendor.refused(&["license", "history"], 2);
    assert_eq!(vendor.run(&["license", "history", license, "--at", "yesterday"]).status.code(), Some(2));
    vendor.refused(&["license", "history", "lic_00000000000000000000000000"], 4);
}
