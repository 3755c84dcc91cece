//! Time that passes for one licence: the processes have the real clock, so the date in the vendor's table is moved back
//! instead, as if the licence had been activated weeks ago.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use lictor_test_support::programs::Answer;

/// How much older a licence gets: its end comes nearer than the lead of its renewal.
const OLDER: Duration = Duration::from_secs(25 * 86_400);
/// How far a renewal moves the end.
const PERIOD: Duration = Duration::from_secs(30 * 86_400);

/// The end that each container has to hold once the licence is renewed there, microseconds UTC.
pub(crate) type Ends = BTreeMap<String, i64>;

/// Makes a licence older wherever it lies; gives the containers where it has to be renewed now.
pub(crate) async fn older(database: &str, license: &str) -> anyhow::Result<Ends> {
    // Locked as the service locks it, so that neither writes over the other.
    let statement = format!(
        "WITH locked AS (SELECT license_id FROM license_central.license WHERE license_id = '{license}' FOR UPDATE) \
         UPDATE license_central.allocation a SET expires_at = a.expires_at - {} FROM locked l \
         WHERE a.license_id = l.license_id AND a.state IN ('collected', 'confirmed') AND a.planned_by IS NULL \
         AND a.expires_at IS NOT NULL RETURNING a.serial, a.expires_at",
        OLDER.as_micros()
    );
    let database = database.to_owned();
    let answer = tokio::task::spawn_blocking(move || {
        let set_up = "SET search_path TO license_central";
        Answer::of(Command::new("psql").arg(&database).args(["-qAt", "-F", " ", "-c", set_up, "-c", &statement]))
    })
    .await??;
    ensure!(answer.code == 0, "{license} does not get older: {}", answer.errors);
    let mut ends = Ends::new();
    for line in answer.output.lines().filter(|line| !line.is_empty()) {
        let (serial, end) = line.split_once(' ').with_context(|| format!("not a serial and an end: {line}"))?;
        ends.insert(serial.to_owned(), end.parse::<i64>()? + i64::try_from(PERIOD.as_micros())?);
    }
    Ok(ends)
}
