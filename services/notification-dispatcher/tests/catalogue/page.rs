//! `docs/events.md`, written from the contract.

use std::fmt::Write as _;

use crate::{
    kinds::{Kind, kinds},
    schema::{Property, properties},
};

const HEAD: &str = "# Events

This page is written by a test from `proto/lictor/event/v1/event.proto`
(`LICTOR_REGENERATE=1 cargo test -p lictor-notification-dispatcher --test catalogue`).

A notification is a [CloudEvent](https://cloudevents.io) as JSON. `id` is the same on every delivery, so receivers dedupe by it. `subject` names what
changed, and `sequence` counts 1, 2, 3 … per subject: deliveries of one subject keep that order. `timestamp` repeats `time` for readers of Standard
Webhooks. Times are RFC 3339 in UTC. What has no value is left out.

Later versions may add members; take what you know and leave the rest. A member never changes its meaning: for that there would be a `.v2`.

`lictor.destination.tested.v1` is what a test of a destination sends; it tells of nothing that happened.

";

/// What a test of a destination sends: it tells of nothing that happened, so no service announces it.
pub(crate) const TRIAL: &str = "lictor.destination.tested.v1";

/// The page.
pub(crate) fn page(kinds: &[Kind]) -> String {
    let mut text = HEAD.to_owned();
    text.push_str("| type | subject | says |\n|---|---|---|\n");
    for kind in kinds {
        let name = &kind.name;
        let _ = writeln!(text, "| [{name}](events/{name}.schema.json) | {} | {} |", kind.subject, kind.about);
    }
    let license = license();
    for kind in kinds {
        let _ = write!(text, "\n## {}\n\n{}Subject: {}.\n\n", kind.name, about(kind), kind.subject);
        let own = properties(&kind.message);
        let whole = license.iter().all(|member| own.iter().any(|one| one.name == member.name));
        if whole {
            text.push_str("`data` is the [license](#license)");
        }
        let more: Vec<&Property> = own
            .iter()
            .filter(|one| !whole || !license.iter().any(|member| member.name == one.name && member.about == one.about))
            .collect();
        if whole {
            text.push_str(if more.is_empty() { ".\n" } else { " and:\n\n" });
        }
        if !more.is_empty() {
            table(&mut text, &more);
        }
    }
    text.push_str("\n## License\n\n");
    table(&mut text, &license.iter().collect::<Vec<_>>());
    for (title, name) in
        [("Allocation", "lictor.types.v1.Allocation"), ("OrderLine", "lictor.event.v1.OrderCreated.OrderLine")]
    {
        let _ = write!(text, "\n## {title}\n\n");
        let pool = kinds.first().expect("a kind").message.parent_pool();
        let members = properties(&pool.get_message_by_name(name).expect("a message"));
        table(&mut text, &members.iter().collect::<Vec<_>>());
    }
    text
}

fn about(kind: &Kind) -> String {
    if kind.about.is_empty() { String::new() } else { format!("{} ", kind.about) }
}

fn license() -> Vec<Property> {
    let kinds = kinds();
    let pool = kinds.first().expect("a kind").message.parent_pool();
    properties(&pool.get_message_by_name("lictor.types.v1.License").expect("the license"))
}

fn table(text: &mut String, members: &[&Property]) {
    text.push_str("| member | is | |\n|---|---|---|\n");
    for member in members {
        let _ = writeln!(text, "| `{}` | {} | {} |", member.name, member.kind, member.about.replace('|', "/"));
    }
}
