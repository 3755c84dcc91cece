//! Reports while the dispatcher is killed, and while events are not here yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use lictor_api::{
    event::v1::{OrderCreated, event::Data},
    notification::v1::{ReportPeriod, RunReportRequest, report_service_client::ReportServiceClient},
};
use lictor_auth::Role;
use lictor_clock::{Clock, ManualClock, SystemClock, Timestamp};
use lictor_runtime::Running;
use lictor_storage::sqlx;

use crate::{
    smtp::MailServer,
    world::{PATIENCE, World, stop, until},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_notification-dispatcher");
/// Days that nobody looked after.
const DAYS: u64 = 10;
const KILLS: usize = 8;

/// The program; killed with the test when that ends early.
struct Program(Child);

impl Program {
    fn kill(&mut self) {
        self.0.kill().expect("it is killed");
        self.0.wait().expect("it is gone");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn launch(world: &World, folder: &Path, mail_port: u16) -> Program {
    let producers: Vec<String> = world.settings.producers.0.iter().map(|(name, url)| format!("{name}={url}")).collect();
    let child = Command::new(PROGRAM)
        .env("DATABASE_URL", world.settings.database.url.expose())
        .env("GRPC_LISTEN", "127.0.0.1:0")
        .env("HTTP_LISTEN", "127.0.0.1:0")
        .env("LICTOR_PRODUCERS", producers.join(","))
        .env("LICTOR_DESTINATION_KEY", "00".repeat(32))
        .env("LICTOR_REPORTS", "daily")
        .env("LICTOR_REPORT_FOLDER", folder)
        .env("LICTOR_REPORT_MAIL", "boss@vendor.example")
        .env("LICTOR_SMTP_URL", format!("smtp+plain://127.0.0.1:{mail_port}"))
        .env("LICTOR_SMTP_FROM", "lictor@vendor.example")
        .env("RUST_LOG", "warn")
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the program starts");
    Program(child)
}

async fn change(world: &World, text: &'static str) -> u64 {
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(world.settings.database.url.expose()).await.expect("the database");
    let done = sqlx::query(text).execute(&pool).await.expect("changed").rows_affected();
    pool.close().await;
    done
}

async fn count(world: &World, text: &'static str) -> i64 {
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(world.settings.database.url.expose()).await.expect("the database");
    let found: i64 = sqlx::query_scalar(text).fetch_one(&pool).await.expect("a number");
    pool.close().await;
    found
}

fn order(world: &World, number: u64, at: Timestamp) {
    let id = format!("ord_{number}");
    let created = OrderCreated { order_id: id.clone(), customer: "ACME".to_owned(), ..OrderCreated::default() };
    world.announce(&id, at, Data::OrderCreated(created));
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned()).collect()
}

/// How many are there under their own names.
fn finished(folder: &Path) -> usize {
    names(folder).iter().filter(|name| !name.starts_with('.')).count()
}

/// Switches daily reports on at the clock's time, as somebody would who starts the program for the first time.
async fn switched_on(world: &mut World, folder: &Path) {
    world.settings.reports.periods = "daily".parse().expect("periods");
    world.settings.reports.folder = Some(folder.to_owned());
    let running = world.start().await;
    until("the schedule begins", async || (count(world, "SELECT COUNT(*) FROM report").await == 1).then_some(())).await;
    stop(running).await;
}

async fn csv_of(world: &World, running: &Running, day: Timestamp) -> (String, String) {
    let mut reports = ReportServiceClient::new(world.channel(running, Role::Auditor));
    let at = Some(lictor_api::convert::timestamp(day));
    let request = RunReportRequest { period: ReportPeriod::Daily.into(), at };
    let made = reports.run_report(request).await.expect("a report").into_inner();
    (made.name, made.csv)
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_are_killed_while_they_are_made_leave_whole_and_under_one_name() {
    let Some(mut server) = MailServer::start("plain", &[]).await else { return };
    let mail_port = server.port();
    let (keep, mut mails) = tokio::sync::mpsc::unbounded_channel();
    // Read all the time: a mail server that nobody listens to takes no more.
    let reading = tokio::spawn(async move {
        loop {
            if let Some(mail) = server.next().await {
                let _ = keep.send(mail);
            }
        }
    });
    let now = SystemClock.now();
    let long_ago = now.saturating_sub(lictor_clock::duration::days(DAYS));
    let clock = ManualClock::new(long_ago);
    let mut world = World::at(clock.shared()).await;
    let folder = world.folder.path().join("reports");
    std::fs::create_dir(&folder).expect("a folder");
    switched_on(&mut world, &folder).await;
    // It sleeps for days, and everything that happened meanwhile is told to it only now.
    for number in 0..DAYS * 24 * 5 {
        let at = long_ago.saturating_add(Duration::from_secs(number * 720));
        order(&world, number, at);
    }

    // Killed after more and more of them, also before any was made.
    for kill in 0..KILLS {
        let mut program = launch(&world, &folder, mail_port);
        until("some reports more", async || (finished(&folder) >= kill * 2).then_some(())).await;
        program.kill();
        // The time of the dead one's lease goes by.
        change(&world, "UPDATE lease SET expires_at = 0").await;
    }
    let mut program = launch(&world, &folder, mail_port);
    until("every report left", async || {
        let open = count(&world, "SELECT COUNT(*) FROM report WHERE state = 'due'").await;
        let sent = count(&world, "SELECT COUNT(*) FROM report WHERE state = 'sent'").await;
        (open == 0 && sent >= i64::try_from(DAYS).expect("small") - 1).then_some(sent)
    })
    .await;
    program.kill();
    let sent = usize::try_from(count(&world, "SELECT COUNT(*) FROM report WHERE state = 'sent'").await).expect("few");

    // Each report's file holds what a report that is made now holds.
    clock.set_now(SystemClock.now());
    world.settings.reports.periods = "".parse().expect("none");
    let running = world.start().await;
    let mut counted = 0;
    let mut whole = BTreeMap::new();
    for day in 0..=DAYS {
        let (name, csv) = csv_of(&world, &running, long_ago.saturating_add(lictor_clock::duration::days(day))).await;
        if let Ok(written) = std::fs::read_to_string(folder.join(format!("{name}.csv"))) {
            assert_eq!(written, csv, "{name} was made before its events were here");
            let html = std::fs::read_to_string(folder.join(format!("{name}.html"))).expect("a page beside it");
            assert!(html.trim_end().ends_with("</html>"), "{name} is half of a page");
            counted += 1;
            whole.insert(format!("Message-ID: <report.{name}@vendor.example>"), csv);
        }
    }
    stop(running).await;
    assert_eq!((counted, names(&folder).len()), (sent, 2 * sent), "{:?}", names(&folder));

    // A mail may come again when the kill fell between the server's answer and the row: under the same id, never half.
    let mut came = BTreeMap::<String, usize>::new();
    while came.len() < sent {
        let mail = tokio::time::timeout(PATIENCE, mails.recv()).await.expect("a mail in time").expect("a mail");
        let data = mail["data"].as_str().expect("text");
        let id = data.lines().find(|line| line.starts_with("Message-ID")).expect("an id").to_owned();
        assert!(whole.contains_key(&id), "{id} is of no day");
        assert!(data.trim_end().ends_with("--"), "{id} has its last part");
        *came.entry(id).or_default() += 1;
    }
    reading.abort();
    let repeated: usize = came.values().map(|times| times - 1).sum();
    eprintln!("{sent} reports, {KILLS} kills, {repeated} mails came again");
    assert!(repeated <= KILLS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_waits_for_the_events_of_its_period_but_not_for_ever() {
    let clock = ManualClock::new("2026-11-19T12:00:00Z".parse().expect("a time"));
    let mut world = World::at(clock.shared()).await;
    let folder = world.folder.path().join("reports");
    std::fs::create_dir(&folder).expect("a folder");
    // A second producer that nobody can reach, as one whose machine is away.
    let there = world.settings.producers.clone();
    world.settings.producers.0.push(("activation".to_owned(), "http://127.0.0.1:9".to_owned()));
    switched_on(&mut world, &folder).await;
    clock.set_now("2026-11-20T00:30:00Z".parse().expect("a time"));
    let running = world.start().await;
    until("the report is due", async || {
        (count(&world, "SELECT COUNT(*) FROM report WHERE state = 'due'").await == 1).then_some(())
    })
    .await;
    // Looked at again and again, and still within its patience.
    clock.advance(Duration::from_secs(1_800));
    let looks = count(&world, "SELECT expires_at FROM lease WHERE name = 'reports'").await;
    clock.advance(Duration::from_secs(1));
    until("a look more", async || {
        (count(&world, "SELECT expires_at FROM lease WHERE name = 'reports'").await > looks).then_some(())
    })
    .await;
    assert_eq!(names(&folder), BTreeSet::new(), "events of one producer are still missing");
    clock.advance(Duration::from_secs(1_900));
    until("the report without them", async || (finished(&folder) == 2).then_some(())).await;
    stop(running).await;

    // The next one has everything in time.
    world.settings.producers = there;
    clock.set_now("2026-11-21T00:30:00Z".parse().expect("a time"));
    order(&world, 1, "2026-11-20T10:00:00Z".parse().expect("a time"));
    let running = world.start().await;
    until("the next report", async || (finished(&folder) == 4).then_some(())).await;
    let csv = std::fs::read_to_string(folder.join("daily-2026-11-20.csv")).expect("a file");
    assert!(csv.contains("event,lictor.order.created.v1,events,1,"), "{csv}");
    stop(running).await;
}
