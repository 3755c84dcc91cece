//! Signing keys: rotation, both kinds, sealed at rest, checked with somebody else's library too.

use std::{process::Command, time::Duration};

use lictor_api::{
    error::problem,
    notification::v1::{
        AddDestinationRequest, DeleteDestinationRequest, DestinationOptions, GetDestinationRequest, Limits,
        RotateSecretRequest, TestDestinationRequest, UpdateDestinationRequest,
    },
};
use lictor_clock::{ManualClock, Timestamp, duration};
use lictor_licensing::error::ErrorCode;
use lictor_notification_dispatcher::domain::secret::SigningSecret;
use lictor_storage::sqlx::Row;

use crate::{
    receiver::{Answer, Received, Receiver},
    world::{World, unique, webhook},
};

/// Exactly this secret signed the request.
pub(crate) fn assert_signed(request: &Received, secret: &str, id: &str) {
    let secret: SigningSecret = secret.parse().expect("a whsec_ secret");
    let seconds = request.header("webhook-timestamp").parse().expect("seconds");
    assert_eq!(request.header("webhook-signature"), secret.sign(id, seconds, &request.body));
}

#[tokio::test]
async fn old_key_signs_beside_the_new_one_until_its_time_is_over() {
    let clock = ManualClock::new(Timestamp::from_seconds(1_800_000_000));
    let world = World::at(clock.shared()).await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    let (id, old) = dispatcher.add(&receiver.url(), &[]).await;
    let request = RotateSecretRequest { request_id: unique(), destination_id: id.clone(), ..Default::default() };
    let rotated = dispatcher.destinations().rotate_secret(request.clone()).await.expect("rotated").into_inner();
    let again = dispatcher.destinations().rotate_secret(request).await.expect("answered").into_inner();
    assert_eq!(rotated, again, "a repetition makes no second key");

    world.producer.announce("lic_1");
    let first = receiver.until_taken(1).await.remove(0);
    let seconds = first.header("webhook-timestamp").parse().expect("seconds");
    let sign =
        |secret: &str| secret.parse::<SigningSecret>().expect("a secret").sign(&first.id(), seconds, &first.body);
    assert_eq!(first.header("webhook-signature"), format!("{} {}", sign(&rotated.secret), sign(&old)));
    clock.advance(duration::days(1));
    world.producer.announce("lic_2");
    let second = receiver.until_taken(2).await.remove(1);
    assert_signed(&second, &rotated.secret, &second.id());
    dispatcher.stop().await;
}

#[tokio::test]
async fn old_key_signs_for_seven_days_at_most() {
    let world = World::new().await;
    let dispatcher = world.start().await;
    let (id, _) = dispatcher.add("https://hooks.example.com/", &[]).await;
    for (seconds, good) in [(0, true), (7 * 86_400, true), (7 * 86_400 + 1, false), (-1, false)] {
        let request = RotateSecretRequest {
            request_id: unique(),
            destination_id: id.clone(),
            keep_old_for: Some(prost_types::Duration { seconds, nanos: 0 }),
            ..Default::default()
        };
        assert_eq!(dispatcher.destinations().rotate_secret(request).await.is_ok(), good, "{seconds}");
    }
    let signing = dispatcher.destination(&id).await.signing;
    assert_eq!(signing.iter().filter(|key| key.expires_at.is_none()).count(), 1, "one is the current one");
    dispatcher.stop().await;
}

/// Python's `standardwebhooks` in a folder of its own below the target folder; nothing when it cannot be had.
fn python() -> Option<std::path::PathBuf> {
    let target = std::path::Path::new(env!("CARGO_BIN_EXE_notification-dispatcher")).parent()?;
    let folder = target.join("standardwebhooks-venv");
    let python = folder.join("bin/python");
    let works = || {
        let imported = Command::new(&python).args(["-c", "import standardwebhooks"]).output();
        imported.is_ok_and(|output| output.status.success())
    };
    if works() {
        return Some(python);
    }
    let run = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let made = run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        && run(Command::new(&python).args(["-m", "pip", "install", "-q", "standardwebhooks==1.0.0"]));
    if made && works() {
        return Some(python);
    }
    eprintln!(
        "SKIPPED: standardwebhooks cannot be had; next: tests/scripts/install-dependencies.sh, or look at the network"
    );
    None
}

#[tokio::test]
async fn independent_library_accepts_our_signatures_and_no_changed_body() {
    const CHECK: &str = "
import json, sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
secret, headers, body = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
Webhook(secret).verify(body, headers)
for bad in (body + ' ', body.replace('lic_1', 'lic_2')):
    try:
        Webhook(secret).verify(bad, headers)
    except WebhookVerificationError:
        continue
    sys.exit('a changed body was accepted')
";
    let Some(python) = tokio::task::spawn_blocking(python).await.expect("joined") else {
        return;
    };
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    let (id, old) = dispatcher.add(&receiver.url(), &[]).await;
    let request = RotateSecretRequest { request_id: unique(), destination_id: id, ..Default::default() };
    let new = dispatcher.destinations().rotate_secret(request).await.expect("rotated").into_inner().secret;
    world.producer.announce("lic_1");
    let taken = receiver.until_taken(1).await.remove(0);
    let header = |name: &str| (name.to_owned(), taken.header(name).to_owned());
    let headers: std::collections::BTreeMap<_, _> =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(header).into();
    let headers = serde_json::to_string(&headers).expect("JSON");
    let body = String::from_utf8(taken.body.clone()).expect("text");
    for secret in [old, new] {
        let output = Command::new(&python).args(["-c", CHECK, &secret, &headers, &body]).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    dispatcher.stop().await;
}

#[tokio::test]
async fn pair_signs_with_v1a_and_shows_its_public_half_only() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    let request = AddDestinationRequest {
        request_id: unique(),
        transmission: Some(webhook(&receiver.url())),
        options: None,
        signing: 2,
    };
    let added = dispatcher.destinations().add_destination(request).await.expect("added").into_inner();
    assert!(added.secret.is_empty() && added.public_key.starts_with("whpk_"));
    world.producer.announce("lic_1");
    let taken = receiver.until_taken(1).await;
    assert!(taken[0].header("webhook-signature").starts_with("v1a,"));
    dispatcher.stop().await;
}

#[tokio::test]
async fn no_secret_lies_open_in_the_tables_and_another_key_stops_the_start() {
    let mut world = World::new().await;
    let dispatcher = world.start().await;
    let (_, secret) = dispatcher.add("https://hooks.example.com/path-s3cret", &[]).await;
    dispatcher.stop().await;
    let url = world.settings.database.url.expose().to_owned();
    lictor_storage::sqlx::any::install_default_drivers();
    let pool = lictor_storage::sqlx::AnyPool::connect(&url).await.expect("the database");
    let bytes = secret.strip_prefix("whsec_").expect("a prefix").to_owned();
    for text in ["SELECT secret FROM destination_key", "SELECT answer FROM command", "SELECT settings FROM destination"]
    {
        let rows = lictor_storage::sqlx::query(text).fetch_all(&pool).await.expect("rows");
        assert_eq!(rows.len(), 1, "{text}");
        let stored: Vec<u8> = rows[0].try_get(0).expect("bytes");
        let stored = String::from_utf8_lossy(&stored).into_owned();
        assert!(!stored.contains(&bytes) && !stored.contains("hooks.example"), "{text}");
    }
    pool.close().await;
    world.settings.destination_key = lictor_runtime::KeySource::Given([9; 32]);
    let refused = lictor_notification_dispatcher::start(world.settings.clone(), world.clock.clone()).await;
    assert!(refused.expect_err("another key").to_string().contains("destination key"));
}

#[tokio::test]
async fn destination_is_changed_tested_and_deleted() {
    let world = World::new().await;
    let (old, new) = (Receiver::start(Answer::Status(500, "")).await, Receiver::start(Answer::Status(200, "")).await);
    let dispatcher = world.start().await;
    let (id, secret) = dispatcher.add(&old.url(), &[]).await;
    world.producer.announce("lic_1");
    old.until("an attempt", |all| !all.is_empty()).await;

    let update = UpdateDestinationRequest {
        request_id: unique(),
        destination_id: id.clone(),
        transmission: Some(webhook(&new.url())),
        options: Some(DestinationOptions {
            limits: Some(Limits { in_flight: 1, ..Limits::default() }),
            ..DestinationOptions::default()
        }),
        revision: 1,
    };
    let changed = dispatcher.destinations().update_destination(update.clone()).await.expect("changed").into_inner();
    assert_eq!(changed.destination.expect("a destination").revision, 2);
    let stale = UpdateDestinationRequest { request_id: unique(), ..update };
    let refused = dispatcher.destinations().update_destination(stale).await.expect_err("an old revision");
    assert_eq!(problem(&refused).code, ErrorCode::Conflict);
    let taken = new.until_taken(1).await;
    assert_signed(&taken[0], &secret, &taken[0].id());

    let test = TestDestinationRequest { destination_id: id.clone() };
    let tested = dispatcher.destinations().test_destination(test).await.expect("a call").into_inner();
    assert_eq!(tested.attempt.expect("an attempt").result, "taken");
    let call = new.until("the test", |all| all.len() == 2).await.remove(1);
    assert_eq!((call.id(), call.json()["type"].as_str()), (tested.event_id, Some("lictor.destination.tested.v1")));
    assert_eq!(dispatcher.deliveries(&id).await.len(), 1, "a test is not on record");

    new.answer(Answer::Status(500, ""));
    world.producer.announce("lic_2");
    new.until("an attempt", |all| all.len() >= 3).await;
    let delete = DeleteDestinationRequest { request_id: unique(), destination_id: id.clone(), with_backlog: false };
    let refused = dispatcher.destinations().delete_destination(delete.clone()).await.expect_err("a backlog");
    assert_eq!(problem(&refused).code, ErrorCode::Conflict);
    let delete = DeleteDestinationRequest { request_id: unique(), with_backlog: true, ..delete };
    for _ in 0..2 {
        dispatcher.destinations().delete_destination(delete.clone()).await.expect("deleted, and answered again");
    }
    let get = GetDestinationRequest { destination_id: id.clone() };
    let refused = dispatcher.destinations().get_destination(get).await.expect_err("it is gone");
    assert_eq!(problem(&refused).code, ErrorCode::NotFound);
    dispatcher.until(&id, "its record goes too", <[_]>::is_empty).await;
    dispatcher.stop().await;
}

#[tokio::test]
async fn own_timeout_ends_a_call() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Hang).await;
    let timeout = prost_types::Duration { seconds: 0, nanos: 100_000_000 };
    let limits = Limits { timeout: Some(timeout), ..Limits::default() };
    let options = DestinationOptions { limits: Some(limits), ..DestinationOptions::default() };
    let (dispatcher, id) = crate::records::with_options(&world, &receiver, options).await;
    world.producer.announce("lic_1");
    let all = dispatcher.until(&id, "an attempt", |all| all.iter().any(|one| one.last_attempt.is_some())).await;
    let last = all[0].last_attempt.as_ref().expect("an attempt");
    assert_eq!(last.result, "timeout");
    assert!(Duration::from_millis(last.latency_ms.into()) < world.settings.webhook_deadline);
    dispatcher.stop().await;
}
