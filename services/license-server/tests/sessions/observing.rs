//! Access rules in force, events, usage: what administrators see and decide.

use std::path::Path;
use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::event_service_client::EventServiceClient;
use lictor_api::server::v1::rule_service_client::RuleServiceClient;
use lictor_clock::ManualClock;
use lictor_license_server::store::event_log::Target;
use lictor_licensing::options::{NamedUsers, Options};
use tonic::transport::Channel;

use crate::stage::client::{RawClient, unix_channel};
use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, Vendor, add, add_item, options, start_of_tests};
use lictor_license_file::segment::Operation;

const EDITOR: u32 = 201;

/// A server with a file of rules and a log.
async fn server(operations: Vec<Operation>, rules: Option<&str>) -> (TestServer, Vendor) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rules.toml");
    if let Some(rules) = rules {
        std::fs::write(&path, rules).expect("written");
    }
    let given = rules.map(|_| path);
    let mut server = TestServer::on(folder, ManualClock::new(start_of_tests()), |settings| {
        settings.rules_file = given;
        settings.event_log = Some(Target::Folder { path: settings.state_dir.join("log"), bytes: 64 * 1024 });
    })
    .await;
    let mut vendor = Vendor::new(FIRM, 1);
    server.create(&vendor.lif()).await.expect("created");
    let context = server.context(FIRM).await;
    server.import(&vendor.update(&context, operations)).await.expect("imported");
    (server, vendor)
}

async fn events(server: &TestServer) -> EventServiceClient<Channel> {
    EventServiceClient::new(unix_channel(&server.server.socket).await)
}

async fn rules(server: &TestServer) -> RuleServiceClient<Channel> {
    RuleServiceClient::new(unix_channel(&server.server.socket).await)
}

/// What a user is answered: nothing, or the code.
async fn asks(socket: &Path, key: u8, user: &str) -> Result<wire::Grant, wire::AcquireResponse> {
    let mut client = RawClient::connect(socket, key).await;
    let wish = wire::AcquireRequest { user: user.to_owned(), host: "desk".to_owned(), ..client.wish(key, EDITOR) };
    let answer = client.seats.acquire(wish).await.expect("an answer").into_inner();
    match answer.outcome {
        Some(wire::acquire_response::Outcome::Grant(grant)) => Ok(grant),
        _ => Err(answer),
    }
}

fn reason(answer: wire::AcquireResponse) -> (u32, String) {
    match answer.outcome {
        Some(wire::acquire_response::Outcome::Refusal(refusal)) => {
            (refusal.reasons[0].code, refusal.reasons[0].reason.clone())
        }
        other => panic!("{other:?}"),
    }
}

const GUESTS: &str = r#"
[[rule]]
name = "no guests"
effect = "deny"
when.user = ["guest*"]

[[rule]]
name = "two for ann"
effect = "reserve"
seats = 2
when = { user = ["ann"], product_code = [201] }

[[test]]
name = "guests stay out"
firm_code = 6000010
product_code = 201
user = "guest7"
expect = "deny"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_deny_by_name_and_keep_seats_free_beside_them() {
    let (server, _vendor) = server(vec![add(1, EDITOR, 3)], Some(GUESTS)).await;
    let socket = &server.server.socket;
    let denied = reason(asks(socket, 1, "guest1").await.expect_err("denied"));
    assert_eq!(denied, (231, "the access rule \"no guests\" denies the access".to_owned()));
    asks(socket, 2, "bob").await.expect("one seat is for everybody");
    let kept = reason(asks(socket, 3, "eve").await.expect_err("the others are ann's"));
    assert_eq!(kept.0, 212);
    assert!(kept.1.contains("kept for others"), "{kept:?}");
    asks(socket, 4, "ann").await.expect("hers");
    asks(socket, 5, "ann").await.expect("hers too");
    assert_eq!(reason(asks(socket, 6, "ann").await.expect_err("there are three")).0, 212);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_for_one_is_not_held_up_by_others_who_wait() {
    let (server, _vendor) = server(vec![add(1, EDITOR, 3)], Some(GUESTS)).await;
    let socket = &server.server.socket;
    asks(socket, 2, "bob").await.expect("one seat is for everybody");
    let mut eve = RawClient::connect(socket, 3).await;
    let request = Some(wire::AcquireRequest { user: "eve".to_owned(), ..eve.wish(3, EDITOR) });
    let mut stream = eve.seats.wait(wire::WaitRequest { request, wait_ms: 0 }).await.expect("a stream").into_inner();
    let first = stream.message().await.expect("no failure").expect("a place").event;
    assert!(matches!(first, Some(wire::wait_event::Event::Waiting(waiting)) if waiting.position == 1), "{first:?}");
    asks(socket, 4, "ann").await.expect("hers, whoever waits for the rest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reserved_seats_are_still_held_under_their_rule_after_a_restart() {
    let (server, _vendor) = server(vec![add(1, EDITOR, 3)], Some(GUESTS)).await;
    asks(&server.server.socket, 4, "ann").await.expect("hers");
    server.server.running.shutdown();
    server.server.running.wait().await.expect("a clean stop");
    let TestServer { folder, clock, .. } = server;
    let path = folder.path().join("rules.toml");
    let server = TestServer::on(folder, clock, |settings| settings.rules_file = Some(path)).await;
    let socket = &server.server.socket;
    asks(socket, 2, "bob").await.expect("one for everybody, one is ann's still to take");
    assert_eq!(reason(asks(socket, 3, "eve").await.expect_err("kept")).0, 212);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_comes_into_force_and_a_wrong_one_changes_nothing() {
    let (server, _vendor) = server(vec![add(1, EDITOR, 9)], Some(GUESTS)).await;
    let socket = server.server.socket.clone();
    let mut desk = rules(&server).await;
    let mut watching = events(&server).await;
    let request = wire::WatchEventsRequest { r#type: "rules".to_owned(), ..Default::default() };
    let mut stream = watching.watch_events(request).await.expect("watching").into_inner();
    let path = server.path().join("rules.toml");
    std::fs::write(&path, GUESTS.replace("expect = \"deny\"", "expect = \"allow\"")).expect("written");
    let event = stream.message().await.expect("no failure").expect("an event");
    assert_eq!(event.r#type, "rules.refused");
    assert!(event.reason.contains("guests stay out"), "{event:?}");
    assert_eq!(reason(asks(&socket, 1, "guest1").await.expect_err("the old rules")).0, 231);
    let known = desk.get_rules(wire::GetRulesRequest {}).await.expect("rules").into_inner();
    assert_eq!((known.rules, known.tests), (2, 1));
    assert!(known.problem.contains("1 of the file's own tests fail"), "{known:?}");

    std::fs::write(&path, "default = \"deny\"\n").expect("written");
    let event = stream.message().await.expect("no failure").expect("an event");
    assert_eq!((&*event.r#type, event.count), ("rules.loaded", 0));
    let denied = reason(asks(&socket, 2, "bob").await.expect_err("denied by default"));
    assert_eq!(denied, (231, "a rule of the administrator denies the access".to_owned()));
    assert!(desk.get_rules(wire::GetRulesRequest {}).await.expect("rules").into_inner().problem.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_given_wrong_rules_does_not_start_without_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rules.toml");
    std::fs::write(&path, "default = \"maybe\"").expect("written");
    let mut settings = lictor_license_server::Settings::loopback(folder.path().to_owned());
    settings.rules_file = Some(path);
    let clock = ManualClock::new(start_of_tests());
    let error = lictor_license_server::start_server(settings, clock.shared()).await.expect_err("no start");
    assert!(error.to_string().contains("access rules"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_tried_without_being_put_in_force_and_name_whom_they_would_shut_out() {
    let (server, _vendor) = server(vec![add(1, EDITOR, 9)], None).await;
    asks(&server.server.socket, 1, "guest1").await.expect("no rules yet");
    let mut desk = rules(&server).await;
    let caller = wire::DescribedCaller { user: "guest9".to_owned(), ..Default::default() };
    let request = wire::TryRulesRequest {
        rules: GUESTS.to_owned(),
        caller: Some(caller.clone()),
        firm_code: FIRM,
        product_code: EDITOR,
    };
    let tried = desk.try_rules(request.clone()).await.expect("good rules").into_inner();
    assert_eq!((tried.rules, tried.tests, tried.denied_sessions.len()), (2, 1, 1));
    let decision = tried.decision.expect("for the caller");
    assert_eq!((decision.allowed, &*decision.rule), (false, "no guests"));
    assert_eq!(decision.reservations.len(), 1);
    asks(&server.server.socket, 2, "guest2").await.expect("nothing is in force");
    let wrong = wire::TryRulesRequest { rules: "rule = 7".to_owned(), ..request.clone() };
    let problem = lictor_api::error::problem(&desk.try_rules(wrong).await.expect_err("no rules"));
    assert_eq!(problem.code.name(), "invalid_argument");
    let wrong = wire::DescribedCaller { address: "here".to_owned(), ..caller };
    desk.try_rules(wire::TryRulesRequest { caller: Some(wrong), ..request }).await.expect_err("no address");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_and_refusals_are_logged_watched_and_counted_and_the_log_outlives_the_server() {
    let (server, _vendor) = server(vec![add(1, EDITOR, 1)], None).await;
    let mut desk = events(&server).await;
    let mut stream = desk.watch_events(wire::WatchEventsRequest::default()).await.expect("watching").into_inner();
    let socket = server.server.socket.clone();
    let grant = asks(&socket, 1, "ann").await.expect("a seat");
    let again = asks(&socket, 1, "ann").await.expect("the same seat, no event");
    assert_eq!(grant.session_id, again.session_id);
    asks(&socket, 2, "bob").await.expect_err("one seat");
    RawClient::connect(&socket, 1).await.release(&grant.session_id).await.expect("without proof it does nothing");
    let mut ann = RawClient::connect(&socket, 1).await;
    ann.revalidate(&grant.session_id).await.expect("proved");
    ann.release(&grant.session_id).await.expect("released");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let event = stream.message().await.expect("no failure").expect("an event");
        if event.r#type.starts_with("seat") {
            seen.push(event);
        }
    }
    let names: Vec<&str> = seen.iter().map(|event| &*event.r#type).collect();
    assert_eq!(names, ["seat.granted", "seat.denied", "seat.released"]);
    assert!(seen[0].client.contains("ann") && seen[0].session_id == grant.session_id);
    assert_eq!((seen[1].code, seen[1].session_id.as_str()), (212, ""));
    assert!(seen.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));

    let usage = desk.get_usage(wire::GetUsageRequest::default()).await.expect("usage").into_inner().products;
    assert_eq!((usage.len(), usage[0].quantity, usage[0].hours.len()), (1, 1, 1));
    let hour = &usage[0].hours[0];
    assert_eq!((hour.max_used, hour.granted, hour.denied), (1, 1, 1));

    drop(stream);
    server.server.running.shutdown();
    server.server.running.wait().await.expect("watchers do not keep it");
    let TestServer { folder, clock, .. } = server;
    let log = folder.path().join("log");
    let complete = || std::fs::read_to_string(log.join("events.jsonl")).unwrap_or_default().contains("seat.released");
    let began = std::time::Instant::now();
    while !complete() {
        assert!(began.elapsed() < Duration::from_secs(20), "the log is not written");
        tokio::task::yield_now().await;
    }
    let server = TestServer::on(folder, clock, |settings| {
        settings.event_log = Some(Target::Folder { path: settings.state_dir.join("log"), bytes: 64 * 1024 });
    })
    .await;
    let request = wire::ListEventsRequest { r#type: "seat.denied".to_owned(), ..Default::default() };
    let listed = events(&server).await.list_events(request).await.expect("listed").into_inner().events;
    assert_eq!((listed.len(), listed[0].code, listed[0].sequence), (1, 212, 0));
    let usage = events(&server).await.get_usage(wire::GetUsageRequest::default()).await.expect("usage").into_inner();
    assert_eq!(usage.products[0].hours[0].granted, 1, "grants are in the journal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_and_thresholds_make_events() {
    let soon = Options {
        expiration_time: Some(start_of_tests().saturating_add(Duration::from_secs(5 * 24 * 3_600))),
        ..options(EDITOR, Some(1))
    };
    let mut server = TestServer::empty().await;
    let mut vendor = Vendor::new(FIRM, 1);
    server.create(&vendor.lif()).await.expect("created");
    let mut desk = events(&server).await;
    let stream = desk.watch_events(wire::WatchEventsRequest::default()).await.expect("watching").into_inner();
    let context = server.context(FIRM).await;
    server.import(&vendor.update(&context, vec![add(1, 300, 1)])).await.expect("imported");
    let next = |stream: tonic::Streaming<wire::ServerEvent>| async move {
        let mut stream = stream;
        let event = tokio::time::timeout(Duration::from_secs(20), stream.message()).await.expect("in time");
        (event.expect("no failure").expect("an event"), stream)
    };
    let (mut event, mut stream) = next(stream).await;
    while event.r#type != "license.added" {
        (event, stream) = next(stream).await;
    }
    assert_eq!(event.license_id, crate::stage::vendor::license(1).to_string());
    let context = server.context(FIRM).await;
    let operations = vec![add_item(2, soon, Vec::new(), 1), crate::stage::vendor::replace(1, options(300, Some(5)), 5)];
    server.import(&vendor.update(&context, operations)).await.expect("imported");
    let mut names = Vec::new();
    while names.len() < 3 {
        (event, stream) = next(stream).await;
        names.push((event.r#type, event.count));
    }
    names.sort();
    let expected = [("license.added", 0), ("license.expiring", 5), ("license.modified", 0)];
    assert_eq!(names, expected.map(|(name, count)| (name.to_owned(), count)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_does_not_read_misses_events_and_is_told_how_many() {
    let (server, _vendor) = server(vec![add(1, EDITOR, 1)], None).await;
    let mut desk = events(&server).await;
    let mut stream = desk.watch_events(wire::WatchEventsRequest::default()).await.expect("watching").into_inner();
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    // More refusals than ring, sockets and windows hold.
    for number in 0..6_000_u32 {
        let mut wish = client.wish(1, 999);
        wish.request_id[..4].copy_from_slice(&number.to_be_bytes());
        (wish.program, wish.user, wish.host) = ("x".repeat(128), "y".repeat(128), "z".repeat(128));
        client.ask(wish).await.expect_err("no such product");
    }
    let mut last = 0;
    let missed = loop {
        let event = stream.message().await.expect("no failure").expect("an event");
        if event.r#type == "events.missed" {
            break event.count;
        }
        assert!(event.sequence > last);
        last = event.sequence;
    };
    let next = stream.message().await.expect("no failure").expect("an event");
    assert_eq!(next.sequence, last + missed + 1, "exactly those were missed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_licence_for_named_users_is_for_so_many_people_also_after_a_restart() {
    let named = Options { named_users: Some(NamedUsers::new(2, 1).expect("users")), ..options(EDITOR, Some(9)) };
    let (server, _vendor) = server(vec![add_item(1, named, Vec::new(), 9)], None).await;
    let socket = server.server.socket.clone();
    let nobody = reason(asks(&socket, 1, "").await.expect_err("who?"));
    assert_eq!(nobody.0, 231);
    let grant = asks(&socket, 2, "ann").await.expect("the first");
    asks(&socket, 3, "bob").await.expect("the second");
    let third = reason(asks(&socket, 4, "eve").await.expect_err("the third"));
    assert_eq!((third.0, &*third.1), (231, "all 2 users of the license are named, and this is none of them"));
    let mut ann = RawClient::connect(&socket, 2).await;
    ann.revalidate(&grant.session_id).await.expect("proved");
    ann.release(&grant.session_id).await.expect("released");
    let server = server.restarted().await;
    let socket = &server.server.socket;
    assert_eq!(reason(asks(socket, 5, "eve").await.expect_err("a seat is free, a name is not")).0, 231);
    asks(socket, 6, "ann").await.expect("still named");
}
