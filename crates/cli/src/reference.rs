//! `docs/cli.md`, written from the definitions that parse the arguments.

use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command};

const HEAD: &str = "\
# The command line

Generated from the definitions in `crates/cli` and `services/lictor`; a test keeps it fresh. Names, flags, exit codes and
the keys of `--json` are a contract: they change only with an entry in the changelog.

Every verb takes `--json`: one object, or one line per object, on stdout and nothing else there. Errors go to stderr, one
sentence and what to do next; with `--json` they are also an object on stdout. Flags win over the environment, the
environment wins over `client.toml`, which `lictor up` writes.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | anything that has no code of its own |
| 2 | wrong usage |
| 3 | refused by the license; the reasons are printed |
| 4 | not found |
| 5 | conflict: spent, reused, changed in between, in the wrong state |
| 6 | a service is unreachable |
| 7 | the file is damaged, forged, or for another container |

`lictor run` has its own: 120 refused (CMD was not started), 125 another failure of its own, 126 CMD cannot be executed,
127 CMD does not exist, 128+n CMD died of signal n or the wait for a seat was ended by it, else what CMD exited with.

A verb that changes something names its request. Repeated under the same name a request is done once and answered alike:
with `--request-id`, or, for `activate`, `return`, `move`, `replace`, `rebase` and `transfer return`, by the same command,
which notes down what it began. A failure after which repeating helps says so in a line `again: …`.

In a terminal a table that is too wide is written one row below the other; anywhere else its columns stay whole.

## Keys of `--json`

More keys may stand beside these. Times are RFC 3339 in UTC.

| verb | object |
|---|---|
| up | services: {NAME: {grpc, http}}, config |
| installation init | folder, issuer |
| vendor init, vendor show | firm_code, name, root_version |
| vendor lif | firm_code, file |
| catalogue apply | created, changed, unchanged (item names) |
| catalogue show | item, product_code, text, modules, version |
| order create, order show, order list, ticket show | order_id, customer, tickets: [{ticket, licenses: [{license_id, item, product_code, quantity, state}]}] |
| customer list, customer show | customer_id, name, orders |
| license list, license show | license_id, ticket, item, product_code, quantity, state, allocations: [{container, quantity, state, expires_at, lent_until, lent_by, blocked}], expires_at, available, subscription, merged_into, remaining, renews |
| license cancel-renewal, license resume-renewal | as license show |
| license history | license_id, container, at, entries: [{time, what, license_id, item, serial, quantity, activation_id, counter, expires_at, why}], usable: [{license_id, item, product_code, serial, quantity, certainty, expires_at, why}] |
| license withdraw | license_id, state, containers |
| container list | serial, firm_code, kind, confirmed, latest, pending, suspicion: [], blocked |
| container show | the same, and entries, segments |
| container assign, container assignments | serial, customer, assigned_at |
| container block | serial, container_id, licenses, state |
| container check | serial, container_id, license_id, issued, believed, meaning, blocked |
| container export | serial, firm_code, file, bytes |
| activation list, activation show, activation retry | activation_id, kind, serial, licenses, state, reason, waits_for, next_attempt_at, created_at |
| content keys | firm_code, product_code, file |
| content seal | firm_code, product_code, file, bytes |
| push create, push pending | serial, from, to, segments, file |
| push context | file, serial, counter, confirmed, verdict; or file, error |
| notify destination add | destination_id, transmission, url, state, types, secret, public_key |
| notify destination list, show, update, disable, enable | destination_id, transmission, url, state, breaker, types, items, customers, modules, backlog, parked, revision |
| notify destination rotate | destination_id, secret, public_key, old_until |
| notify destination test | event_id, attempt: {result, status, latency_ms, answer} |
| notify delivery | as in deliveries, and attempt_list, body |
| notify replay, replays | replay_id, destination_id, kind, state, since, until, replayed |
| notify events | cursor, event_id, event_type, subject, occurred_at, data |
| notify deliveries | delivery_id, event_id, event_type, subject, state, attempts, last_attempt |
| activate, return, replace, rebase | activation_id, kind, serial, licenses, state; by files also file |
| move, transfer create, transfer show, transfer list, transfer return | transfer_id, firm_code, license_id, quantity, from, to, state, lend_until; by files also file |
| pull | per container and firm: serial, firm_code, verdict, confirmed, from, to, segments, state (updated, current or failed), applied, skipped; or error |
| challenge | firm_code, challenge, valid_until |
| file show | file, type, bytes, signature, and what the type has: serial, container_id, firm_code, kind, epoch, counter, from, to, segments, issued_at |
| file armor, file dearmor, file from-qr | file, bytes; or text |
| file qr | codes, files; without -o codes, texts |
| server list | containers: [{serial, kind, firms: [{firm_code, counter, entries: [{product_code, feature_map, text, quantity, free, units_left, module_of, effective, sources}]}]}], clock_suspect, proven_time |
| server create-container, server context | serial, kind, firm_code, counter, file; context also fresh |
| server time | firm_code, proven, was_suspect, is_suspect |
| server import | serial, from, to, applied, skipped, receipt |
| server sessions | sessions: [{session_id, serial, product_code, client, container, station, since}] |
| server explain | granted, serial, entry; or refused |
| refused (exit code 3; `run`: 120) | refused: true, reasons: [{serial, product_code, code, reason, holders, free_at, instead}] |
| any error | error: {code, message, next} |
| every verb that sends a named request | also request_id, with a success and, inside of error, with a failure |

States of a license: available, collected, confirmed, returning, withdrawn, merged, lost. States of a change: requested, reserved,
issued, completed, confirmed, refused, stalled. States of a transfer: departing, departed, arriving, arrived, called-off.
";

/// The whole reference as Markdown.
#[must_use]
pub fn reference(command: &Command) -> String {
    let mut command = command.clone();
    command.build();
    let mut text = HEAD.to_owned();
    text.push_str("\n## Options of every verb\n\n");
    for arg in command.get_arguments().filter(|arg| is_global(arg)) {
        option(&mut text, arg);
    }
    text.push_str("\n## Verbs\n");
    for verb in command.get_subcommands() {
        describe(&mut text, verb, command.get_name());
    }
    text
}

fn describe(text: &mut String, command: &Command, path: &str) {
    if command.is_hide_set() {
        return;
    }
    let path = format!("{path} {}", command.get_name());
    if command.has_subcommands() {
        for verb in command.get_subcommands() {
            describe(text, verb, &path);
        }
        return;
    }
    // Writing to a String cannot fail.
    let _ = write!(text, "\n### {path}\n\n{}\n", about(command.get_long_about().or(command.get_about())));
    let own: Vec<&Arg> = command.get_arguments().filter(|arg| !is_global(arg) && !arg.is_hide_set()).collect();
    let own: Vec<&Arg> = own.into_iter().filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")).collect();
    if !own.is_empty() {
        text.push('\n');
        for arg in own {
            option(text, arg);
        }
    }
    if let Some(help) = command.get_after_help() {
        let _ = write!(text, "\n```text\n{}\n```\n", help.to_string().trim_end());
    }
}

fn is_global(arg: &Arg) -> bool {
    arg.is_global_set() && !arg.is_hide_set()
}

fn option(text: &mut String, arg: &Arg) {
    let value =
        arg.get_value_names().map(|names| names.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" "));
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let mut names: Vec<String> = Vec::new();
    if let Some(short) = arg.get_short() {
        names.push(format!("-{short}"));
    }
    if let Some(long) = arg.get_long() {
        names.push(format!("--{long}"));
    }
    let mut shown = names.join(", ");
    if takes && let Some(value) = value {
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(&value);
        if arg.is_positional() && arg.get_num_args().is_some_and(|range| range.max_values() > 1) {
            shown.push('…');
        }
    }
    let _ = write!(text, "- `{shown}`: {}", about(arg.get_help()));
    if let Some(variable) = arg.get_env() {
        let _ = write!(text, " (environment: `{}`)", variable.to_string_lossy());
    }
    let choices: Vec<String> =
        arg.get_possible_values().iter().filter(|_| takes).map(|value| value.get_name().to_owned()).collect();
    if !choices.is_empty() {
        let _ = write!(text, " (one of: {})", choices.join(", "));
    }
    if takes && !arg.is_hide_default_value_set() && !arg.get_default_values().is_empty() {
        let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let _ = write!(text, " (default: {})", values.join(", "));
    }
    text.push('\n');
}

fn about(text: Option<&StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().trim().to_owned()
}
