//! Dashboards and alert rules name metrics that exist, and the rules do what they say.

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use lictor_broker::Broker;
use lictor_clock::SystemClock;
use lictor_notification_dispatcher::{Settings, start};
use lictor_runtime::ListenSettings;
use lictor_storage::{DatabaseSettings, sqlite_url};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::root;

/// The metrics that a text names, without what a histogram adds to its name.
fn named(text: &str) -> BTreeSet<String> {
    let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.split(|character: char| !word(character))
        .filter(|name| name.starts_with("lictor_"))
        .map(|name| name.trim_end_matches("_bucket").to_owned())
        .collect()
}

async fn page(address: std::net::SocketAddr) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a listener");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn every_metric_of_dashboards_and_alerts_exists() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = DatabaseSettings::at(sqlite_url(&folder.path().join("dispatcher.db")));
    let mut settings = Settings::embedded(ListenSettings::loopback(), database);
    settings.broker = Some(Broker::in_process());
    let running = start(settings, SystemClock::shared()).await.expect("it starts");
    // A family shows itself in its description before it has a value.
    let shown = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let text = page(running.addresses().http).await;
            if text.contains("lictor_destinations{") {
                return text;
            }
            tokio::task::yield_now().await;
        }
    });
    let shown = shown.await.expect("figures");
    let mut files = 0;
    for entry in fs::read_dir(root().join("deploy/monitoring")).expect("a folder").flatten() {
        let text = fs::read_to_string(entry.path()).expect("a text");
        files += 1;
        for metric in named(&text) {
            let plain = metric.trim_end_matches("_total");
            assert!(
                shown.contains(&format!("# TYPE {plain} ")),
                "{metric} of {} is shown by nobody",
                entry.path().display()
            );
        }
        if entry.path().extension().is_some_and(|extension| extension == "json") {
            let board: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert!(board["panels"].as_array().is_some_and(|panels| !panels.is_empty()));
        }
    }
    assert!(files >= 3);
    running.shutdown();
    running.wait().await.expect("an orderly stop");
}

/// Runs promtool in the folder of the rules; nothing when it is not installed.
fn promtool(arguments: &[&str]) -> Option<String> {
    let answer = Command::new("promtool").args(arguments).current_dir(root().join("deploy/monitoring")).output();
    let Ok(answer) = answer else {
        eprintln!("SKIPPED: promtool is not installed; run tests/scripts/install-dependencies.sh");
        return None;
    };
    let said = format!("{}{}", String::from_utf8_lossy(&answer.stdout), String::from_utf8_lossy(&answer.stderr));
    assert!(answer.status.success(), "{said}");
    Some(said)
}

#[test]
fn every_alert_is_quiet_before_its_cause_and_loud_after() {
    let read = |name: &str| fs::read_to_string(root().join("deploy/monitoring").join(name)).expect("a text");
    let (rules, tests) = (read("notifications.rules.yml"), read("notifications.tests.yml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(!alerts.is_empty());
    for alert in &alerts {
        let asked = tests.lines().filter(|line| line.trim() == format!("alertname: {alert}")).count();
        assert_eq!(asked, 2, "{alert} is asked for before its cause and after");
    }
    if let Some(said) = promtool(&["check", "rules", "notifications.rules.yml"]) {
        assert!(said.contains(&format!("{} rules found", alerts.len())), "{said}");
        promtool(&["test", "rules", "notifications.tests.yml"]);
    }
}
