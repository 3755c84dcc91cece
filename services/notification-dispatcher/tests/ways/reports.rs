//! Reports of real events, on demand and by schedule, and mail to the operator.

use std::{path::PathBuf, time::Duration};

use lictor_api::{
    event::v1::{self as wire, event::Data},
    notification::v1::{
        AddDestinationRequest, DisableDestinationRequest, ReportPeriod, RunReportRequest, Transmission,
        WebhookTransmission, destination_service_client::DestinationServiceClient,
        report_service_client::ReportServiceClient, transmission::Kind,
    },
    types::v1 as types,
};
use lictor_auth::Role;
use lictor_clock::{ManualClock, Timestamp};
use lictor_runtime::Running;

use crate::{
    browser::Browser,
    smtp::MailServer,
    world::{World, stop, until},
};

const ITEMS: [(&str, u64); 7] = [
    ("CAD Professional", 12),
    ("CAD Viewer", 31),
    ("Simulation add-on <b>\"thermal\"</b>", 7),
    ("=HYPERLINK(\"http://evil\")", 2),
    ("Training, one day", 4),
    ("Maintenance 2027", 18),
    ("Übersetzer für Zeichnungen", 5),
];

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// Two weeks of sales and activations.
fn sell(world: &World) {
    let start = time("2026-11-09T00:00:00Z");
    let mut number = 0_u64;
    for (place, (item, count)) in ITEMS.iter().enumerate() {
        for step in 0..*count {
            number += 1;
            let hours = (step * 31 + place as u64 * 17) % 336;
            let at = start.saturating_add(lictor_clock::duration::hours(hours));
            let (order, license) = (format!("ord_{number}"), format!("lic_{number}"));
            let line = wire::order_created::OrderLine {
                item: (*item).to_owned(),
                quantity: u32::try_from(step % 5 + 1).expect("small"),
                license_ids: vec![license.clone()],
            };
            let created = wire::OrderCreated {
                order_id: order.clone(),
                customer: "ACME".to_owned(),
                lines: vec![line],
                ..wire::OrderCreated::default()
            };
            world.announce(&order, at, Data::OrderCreated(created));
            let made = types::License {
                license_id: license.clone(),
                item: (*item).to_owned(),
                quantity: u32::try_from(step % 5 + 1).expect("small"),
                order_id: order,
                ..types::License::default()
            };
            world.announce(&license, at, Data::LicenseCreated(wire::LicenseCreated { license: Some(made) }));
            if step % 3 != 2 {
                let done = wire::ActivationCompleted {
                    activation_id: format!("act_{number}"),
                    kind: if step % 4 == 3 { "return" } else { "activate" }.to_owned(),
                    license_ids: vec![license],
                    ..wire::ActivationCompleted::default()
                };
                let later = at.saturating_add(lictor_clock::duration::hours(5));
                world.announce(&format!("act_{number}"), later, Data::ActivationCompleted(done));
            }
        }
    }
}

async fn run(world: &World, running: &Running, period: ReportPeriod, at: &str) -> (String, String, String) {
    let mut reports = ReportServiceClient::new(world.channel(running, Role::Auditor));
    let at = Some(lictor_api::convert::timestamp(time(at)));
    let made = reports.run_report(RunReportRequest { period: period.into(), at }).await.expect("a report").into_inner();
    (made.name, made.html, made.csv)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_counts_its_period_and_reads_well_in_a_browser() {
    let clock = ManualClock::new(time("2026-11-23T01:00:00Z"));
    let world = World::at(clock.shared()).await;
    sell(&world);
    let running = world.start().await;
    let weekly = until("all events are there", async || {
        let made = run(&world, &running, ReportPeriod::Weekly, "2026-11-18T00:00:00Z").await;
        (made.2.matches("event,lictor").count() >= 3 && made.2.contains("Maintenance")).then_some(made)
    })
    .await;
    // Both weeks together are everything that was sold.
    let sold: u64 = ITEMS.iter().map(|(_, count)| count).sum();
    let counted = async || {
        let mut sum = 0;
        for at in ["2026-11-10T00:00:00Z", "2026-11-18T00:00:00Z"] {
            let (_, _, csv) = run(&world, &running, ReportPeriod::Weekly, at).await;
            sum += figures(&csv, "licenses");
        }
        sum
    };
    until("every license is counted once", async || (counted().await == sold).then_some(())).await;
    let (name, html, csv) = run(&world, &running, ReportPeriod::Weekly, "2026-11-18T00:00:00Z").await;
    assert_eq!(name, weekly.0);
    assert_eq!(name, "weekly-2026-11-16");
    assert!(csv.lines().all(|line| line.split(',').count() >= 6), "{csv}");
    assert!(!html.contains("<b>\"thermal\"") && html.contains("&lt;b&gt;"));
    assert!(!html.contains("<script") && !html.contains("http://evil\")\"") && !html.contains("src="));
    let (_, monthly, all) = run(&world, &running, ReportPeriod::Monthly, "2026-11-18T00:00:00Z").await;
    assert!(all.contains("\"'=HYPERLINK"), "no formula reaches a spreadsheet: {all}");
    let (_, nothing, _) = run(&world, &running, ReportPeriod::Daily, "2026-11-01T00:00:00Z").await;
    stop(running).await;
    let Some(mut browser) = Browser::start().await else { return };
    for (name, html, dark, width) in [
        ("weekly", &html, false, 1_000),
        ("weekly-dark", &html, true, 1_000),
        ("weekly-narrow", &html, false, 400),
        ("monthly", &monthly, false, 1_000),
        ("empty", &nothing, false, 1_000),
    ] {
        let path: PathBuf = world.folder.path().join(format!("{name}.html"));
        std::fs::write(&path, html).expect("a file");
        browser.look(dark, width).await;
        browser.open(&format!("file://{}", path.display())).await;
        let wide = browser.ask("document.documentElement.scrollWidth - window.innerWidth").await;
        assert!(wide.as_i64().is_some_and(|wide| wide <= 0), "{name} is too wide by {wide}");
        assert!(browser.ask("document.querySelectorAll('svg.chart, .empty').length > 0").await == true);
        browser.picture(&format!("report-{name}")).await;
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_counted_and_kept_on_postgresql_too() {
    let clock = ManualClock::new(time("2026-11-19T12:00:00Z"));
    let Some(mut world) = World::postgres(clock.shared()).await else { return };
    sell(&world);
    let folder = world.folder.path().join("reports");
    std::fs::create_dir(&folder).expect("a folder");
    world.settings.reports.periods = "daily,monthly".parse().expect("periods");
    world.settings.reports.folder = Some(folder.clone());
    let running = world.start().await;
    let sold: u64 = ITEMS.iter().map(|(_, count)| count).sum();
    until("every license is counted", async || {
        let (_, _, csv) = run(&world, &running, ReportPeriod::Monthly, "2026-11-18T00:00:00Z").await;
        (figures(&csv, "licenses") == sold).then_some(())
    })
    .await;
    // Days go by until the schedule has looked before one of them was over.
    until("a day's report is written", async || {
        clock.advance(lictor_clock::duration::days(1));
        std::fs::read_dir(&folder).expect("a folder").next()
    })
    .await
    .expect("a file");
    stop(running).await;
}

fn figures(csv: &str, figure: &str) -> u64 {
    let of_period = csv.lines().filter(|line| line.contains(",period,") && line.contains(&format!(",{figure},")));
    of_period.map(|line| line.split(',').nth(4).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_period_s_report_leaves_once_also_after_restarts_and_while_mail_is_down() {
    let Some(mut server) = MailServer::start("starttls", &["refuse=451 4.3.0 later"]).await else { return };
    let clock = ManualClock::new(time("2026-11-19T12:00:00Z"));
    let mut world = World::at(clock.shared()).await;
    sell(&world);
    let folder = world.folder.path().join("reports");
    std::fs::create_dir(&folder).expect("a folder");
    world.settings.ways.mail = Some(server.options());
    world.settings.reports.periods = "daily".parse().expect("periods");
    world.settings.reports.offset = "+01:00".parse().expect("a difference");
    world.settings.reports.to = vec!["boss@vendor.example".parse().expect("an address")];
    world.settings.reports.folder = Some(folder.clone());
    let running = world.start().await;
    // What was over before reports were switched on is not caught up.
    let reports = async |running: &Running| {
        let mut client = ReportServiceClient::new(world.channel(running, Role::BackOffice));
        client
            .list_reports(lictor_api::notification::v1::ListReportsRequest::default())
            .await
            .expect("a list")
            .into_inner()
            .reports
    };
    assert!(reports(&running).await.is_empty());
    until("the schedule has looked", async || {
        let lease = world.folder.path().join("dispatcher.db");
        lease.exists().then_some(())
    })
    .await;
    tokio::time::timeout(Duration::from_secs(30), async {
        // The baseline is written by the first look; a second start finds it.
        while !has_baseline(&world).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("a first look");
    stop(running).await;
    // Two days of standing still, then the mail server refuses once.
    clock.set_now(time("2026-11-21T12:00:00Z"));
    let running = world.start().await;
    until("the first try failed", async || {
        let runs = reports(&running).await;
        (runs.len() == 2 && runs.iter().any(|run| run.note.contains("later"))).then_some(())
    })
    .await;
    stop(running).await;
    clock.advance(Duration::from_secs(3_600));
    let running = world.start().await;
    until("both were sent", async || reports(&running).await.iter().all(|run| run.sent_at.is_some()).then_some(()))
        .await;
    stop(running).await;
    let running = world.start().await;
    assert_eq!(reports(&running).await.len(), 2);
    stop(running).await;
    let mut subjects = Vec::new();
    for _ in 0..2 {
        let mail = server.mail().await;
        let data = mail["data"].as_str().expect("text").to_owned();
        let id = data.lines().find(|line| line.starts_with("Message-ID")).expect("an id").to_owned();
        subjects.push(id);
    }
    subjects.sort();
    assert_eq!(
        subjects,
        [
            "Message-ID: <report.daily-2026-11-19@vendor.example>",
            "Message-ID: <report.daily-2026-11-20@vendor.example>"
        ]
    );
    let mut files: Vec<String> = std::fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(
        files,
        ["daily-2026-11-19.csv", "daily-2026-11-19.html", "daily-2026-11-20.csv", "daily-2026-11-20.html"]
    );
}

async fn has_baseline(world: &World) -> bool {
    lictor_storage::sqlx::any::install_default_drivers();
    let url = lictor_storage::sqlite_url(&world.folder.path().join("dispatcher.db"));
    let Ok(pool) = lictor_storage::sqlx::AnyPool::connect(&url).await else { return false };
    let found = lictor_storage::sqlx::query("SELECT 1 FROM report").fetch_optional(&pool).await;
    pool.close().await;
    found.is_ok_and(|row| row.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_hears_once_of_each_destination_that_was_disabled() {
    let Some(mut server) = MailServer::start("tls", &[]).await else { return };
    let mut world = World::at(lictor_clock::SystemClock::shared()).await;
    world.settings.ways.mail = Some(server.options());
    world.settings.reports.operator = vec!["ops@vendor.example".parse().expect("an address")];
    let running = world.start().await;
    let mut ids = Vec::new();
    for number in 0..2 {
        let mut client = DestinationServiceClient::new(world.channel(&running, Role::Admin));
        let webhook = WebhookTransmission { url: format!("http://127.0.0.1:9/{number}") };
        let request = AddDestinationRequest {
            request_id: number.to_string(),
            transmission: Some(Transmission { kind: Some(Kind::Webhook(webhook)) }),
            ..AddDestinationRequest::default()
        };
        let added = client.add_destination(request).await.expect("a destination").into_inner();
        let destination_id = added.destination.expect("a destination").destination_id;
        let request =
            DisableDestinationRequest { destination_id: destination_id.clone(), reason: "moved to Bcc: x".to_owned() };
        client.disable_destination(request).await.expect("disabled");
        let mail = server.mail().await;
        assert_eq!(mail["to"], serde_json::json!(["ops@vendor.example"]));
        let data = mail["data"].as_str().expect("text").replace("=\r\n", "");
        assert!(data.contains(&format!("notify destination enable {destination_id}")), "{data}");
        assert!(data.contains("moved to Bcc: x") && !data.lines().any(|line| line.starts_with("Bcc:")), "{data}");
        ids.push(destination_id);
    }
    stop(running).await;
    assert_ne!(ids[0], ids[1]);
}
