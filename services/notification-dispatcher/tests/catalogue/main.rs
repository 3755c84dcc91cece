//! The catalogue of events: every type that a service can announce, its JSON Schema, an example, and bytes of earlier
//! versions that must be understood for ever.
//!
//! One source says what there is: the message `Event` of `proto/lictor/event/v1/event.proto`. The schemas and the page
//! `docs/events.md` are written from its descriptors, and the test holds them against what is really sent.
//! `LICTOR_REGENERATE=1 cargo test -p lictor-notification-dispatcher --test catalogue` writes the page, the schemas and
//! the bytes of types that have none yet; bytes that are there are never written anew.

mod check;
mod example;
mod kinds;
mod page;
mod schema;
mod watch;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use lictor_api::event::v1 as wire;
use lictor_notification_dispatcher::domain::{cloud_event, event::Event};
use prost::Message;
use serde_json::Value;

use crate::kinds::{Kind, kinds};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/catalogue/golden").join(name)
}

fn regenerate() -> bool {
    std::env::var_os("LICTOR_REGENERATE").is_some()
}

/// What a receiver gets for the encoded event.
fn body_of(bytes: &[u8]) -> Value {
    let event = wire::Event::decode(bytes).expect("an encoded event");
    let event = Event::try_from(event).expect("an event that can be delivered");
    serde_json::from_slice(&cloud_event::body(&event)).expect("JSON")
}

/// The file holds this text, or is written when that is asked for.
fn fresh(path: &Path, text: &str) -> Result<(), String> {
    if fs::read_to_string(path).unwrap_or_default() == text {
        return Ok(());
    }
    if !regenerate() {
        return Err(path.display().to_string());
    }
    fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
    fs::write(path, text).expect("the file is written");
    Ok(())
}

#[test]
fn page_and_schemas_say_what_the_contract_says() {
    let kinds = kinds();
    let mut stale = Vec::new();
    let folder = root().join("docs/events");
    stale.extend(fresh(&root().join("docs/events.md"), &page::page(&kinds)).err());
    for kind in &kinds {
        let text = format!("{:#}\n", schema::of(kind));
        stale.extend(fresh(&folder.join(format!("{}.schema.json", kind.name)), &text).err());
    }
    assert!(
        stale.is_empty(),
        "{stale:#?} differ from the contract: run LICTOR_REGENERATE=1 cargo test -p lictor-notification-dispatcher --test catalogue"
    );
    let there: BTreeSet<String> = files(&folder);
    let wanted: BTreeSet<String> = kinds.iter().map(|kind| format!("{}.schema.json", kind.name)).collect();
    assert_eq!(there, wanted, "no schema is left over");
}

#[test]
fn what_is_sent_is_what_the_schema_says() {
    for kind in &kinds() {
        let schema = schema::of(kind);
        let full = body_of(&example::full(kind));
        check::fits(&full, &schema, kind.name.as_str());
        // Every property of the schema is really sent: one that the contract has and the body leaves out would be a lie.
        check::uses_everything(&full, &schema, kind.name.as_str());
        check::fits(&body_of(&example::least(kind)), &schema, kind.name.as_str());
    }
}

#[test]
fn every_type_that_can_be_announced_has_the_name_of_its_message() {
    for kind in &kinds() {
        let event = wire::Event::decode(example::least(kind).as_slice()).expect("an event");
        let data = event.data.expect("data");
        assert_eq!(lictor_broker::event_type(&data), kind.name, "{}", kind.message.full_name());
    }
}

#[test]
fn old_bytes_still_say_what_they_said() {
    let kinds = kinds();
    for kind in &kinds {
        let bytes = golden(&format!("{}.pb", kind.name));
        if !bytes.exists() && regenerate() {
            keep(kind, &bytes);
        }
        assert!(bytes.exists(), "{} has no golden bytes: run with LICTOR_REGENERATE=1", kind.name);
    }
    let mut seen = 0;
    for name in files(&golden("")) {
        let Some(kind) = name.strip_suffix(".pb") else { continue };
        seen += 1;
        let now = body_of(&fs::read(golden(&name)).expect("golden bytes"));
        let then = fs::read_to_string(golden(&format!("{kind}.json"))).expect("golden JSON");
        let then: Value = serde_json::from_str(&then).expect("JSON");
        // Later versions may say more, and never less or something else.
        check::says_at_least(&now, &then, kind);
    }
    assert!(seen >= kinds.len());
}

fn keep(kind: &Kind, bytes: &Path) {
    let encoded = example::full(kind);
    fs::create_dir_all(bytes.parent().expect("a folder")).expect("the folder is made");
    fs::write(bytes, &encoded).expect("golden bytes are written");
    let text = format!("{:#}\n", body_of(&encoded));
    fs::write(bytes.with_extension("json"), text).expect("golden JSON is written");
}

/// A type in the sources that the catalogue does not have would leave a receiver without a schema.
#[test]
fn no_service_speaks_of_a_type_that_the_catalogue_lacks() {
    let mut known: BTreeSet<String> = kinds().into_iter().map(|kind| kind.name).collect();
    known.insert(page::TRIAL.to_owned());
    let mut wrong = Vec::new();
    for folder in ["services", "crates"] {
        each_source(&root().join(folder), &mut |path, text| {
            for word in text.split('"').skip(1).step_by(2) {
                let parts: Vec<&str> = word.split('.').collect();
                let plain = |part: &&str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
                if let ["lictor", noun, verb, "v1"] = parts.as_slice()
                    && [noun, verb].into_iter().all(plain)
                    && !known.contains(word)
                {
                    wrong.push(format!("{}: {word}", path.display()));
                }
            }
        });
    }
    assert!(wrong.is_empty(), "{wrong:#?} are no types of the catalogue; next: add them to event.proto");
}

fn each_source(folder: &Path, look: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "tests" && name != "generated") {
            each_source(&path, look);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            // Tests beside the code try types that do not exist.
            look(&path, text.split("#[cfg(test)]").next().unwrap_or_default());
        }
    }
}

fn files(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// An event of a type that this version does not know, as a newer service would send it: its number and its bytes count.
#[test]
fn an_event_from_the_future_is_understood_as_unknown_and_keeps_its_bytes() {
    let kinds = kinds();
    let kind = kinds.first().expect("a kind");
    let bytes = example::from_the_future(kind);
    let event = wire::Event::decode(bytes.as_slice()).expect("the envelope is understood");
    assert!(event.data.is_none());
    assert_eq!(event.sequence, 1);
    assert_eq!(
        Event::try_from(event),
        Err(lictor_notification_dispatcher::domain::event::EventError::Unknown),
        "{}",
        kind.message.parent_pool().files().len()
    );
}
