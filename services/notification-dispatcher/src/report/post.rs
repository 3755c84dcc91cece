//! The schedule: notes each period that is over in a row, makes its report, sends it, and marks the row.
//!
//! A crash between sending and marking sends again, under the same file names and the same `Message-ID`; nothing else
//! makes a report leave twice.

use std::{
    convert::Infallible,
    io::{self, Write},
    path::Path,
    time::Duration,
};

use lictor_clock::{SharedClock, Timestamp};
use lictor_storage::{Database, StorageError, lease};
use tokio_util::sync::CancellationToken;

use super::{
    make::{self, Report},
    notice,
    period::Span,
};
use crate::{
    events::pull::Readings,
    settings::ReportSettings,
    store::report::{self, Run},
    transmission::mailer::{Mail, Mailer},
};

/// Events of a period may come a little late; so long a report waits for them.
const GRACE: Duration = Duration::from_secs(600);
/// A report waits so long, beyond one interval of reading, for a producer whose events cannot be read.
const FEED_PATIENCE: Duration = Duration::from_secs(3_600);
/// How soon it is looked again whether they are here.
const EVENTS_PAUSE: Duration = Duration::from_secs(1);
/// Periods that are caught up after a long stop.
const CAUGHT_UP: usize = 31;
/// Waits after a failed try: this, twice this … up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// Longest note.
const NOTE_CHARACTERS: usize = 500;
const LEASE: &str = "reports";
/// Longer than a report takes; a crash costs this much.
const LEASE_TIME: Duration = Duration::from_secs(120);

/// What the schedule needs.
#[derive(Debug)]
pub struct Post {
    /// The tables.
    pub db: Database,
    /// The time.
    pub clock: SharedClock,
    /// How mail leaves.
    pub mailer: Mailer,
    /// What is wanted.
    pub settings: ReportSettings,
    /// How far the producers' events are here.
    pub readings: Readings,
    /// How often they are read.
    pub pull_every: Duration,
    /// When this program started.
    pub started: Timestamp,
    /// The name under which this running program holds the job.
    pub holder: String,
}

/// Runs until `stop`.
///
/// # Errors
/// Never; what fails is tried again.
pub async fn run(post: Post, stop: CancellationToken) -> Result<(), Infallible> {
    let idle = post.settings.periods.0.is_empty() && post.settings.operator.is_empty();
    if idle {
        stop.cancelled().await;
        return Ok(());
    }
    while !stop.is_cancelled() {
        let looked = tokio::select! {
            () = stop.cancelled() => break,
            looked = post.look() => looked,
        };
        let pause = match looked {
            Ok(Looked::AtAll) => post.settings.look_every,
            // What is missing is usually there in a moment.
            Ok(Looked::UntilEventsCome) => post.settings.look_every.min(EVENTS_PAUSE),
            Err(error) => {
                tracing::warn!(%error, "reports cannot be looked after");
                post.settings.look_every
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    // Another replica need not wait for the lease's end.
    if let Err(error) = lease::release(&post.db, LEASE, &post.holder).await {
        tracing::debug!(%error, "the lease of reports stays until it ends");
    }
    Ok(())
}

/// How far a look came.
enum Looked {
    /// Nothing is left to do now.
    AtAll,
    /// A report waits for events.
    UntilEventsCome,
}

impl Post {
    async fn look(&self) -> Result<Looked, StorageError> {
        if !lease::hold(&self.db, LEASE, &self.holder, LEASE_TIME, self.clock.now()).await? {
            return Ok(Looked::AtAll);
        }
        notice::tell(&self.db, &self.mailer, &self.settings.operator, self.clock.now()).await?;
        let ready = self.clock.now().saturating_sub(GRACE);
        for period in &self.settings.periods.0 {
            let last_over = Span::last_over(*period, ready, self.settings.offset);
            report::schedule(&self.db, &last_over, CAUGHT_UP, self.clock.now()).await?;
        }
        while let Some(run) = report::due(&self.db, self.clock.now()).await? {
            if !lease::hold(&self.db, LEASE, &self.holder, LEASE_TIME, self.clock.now()).await? {
                return Ok(Looked::AtAll);
            }
            if self.may_lack_events(&run) {
                return Ok(Looked::UntilEventsCome);
            }
            // The calendar may have been changed since the row was written; the row holds.
            let span = Span::containing(run.period, run.from, self.settings.offset);
            let made = make::make(&self.db, span, self.clock.now()).await?;
            match self.send(&made).await {
                Ok(()) => {
                    tracing::info!(report = run.name, "a report was sent");
                    report::sent(&self.db, &run, self.clock.now()).await?;
                }
                Err(why) => {
                    tracing::warn!(report = run.name, why, "a report was not sent");
                    let note: String = why.chars().take(NOTE_CHARACTERS).collect();
                    report::failed(&self.db, &run, &note, next_try(&run, self.clock.now())).await?;
                }
            }
        }
        Ok(Looked::AtAll)
    }

    /// Whether events of the period may still come: after a stop, while a producer is away, between two readings. The
    /// report waits for them, but not for ever.
    fn may_lack_events(&self, run: &Run) -> bool {
        let ready = run.until.saturating_add(GRACE);
        let Some(source) = self.readings.behind(ready) else {
            return false;
        };
        let patience = self.pull_every.saturating_add(FEED_PATIENCE);
        if self.clock.now() < ready.max(self.started).saturating_add(patience) {
            return true;
        }
        tracing::warn!(report = run.name, source, "a report is made without what this producer may have told since");
        false
    }

    async fn send(&self, report: &Report) -> Result<(), String> {
        if let Some(folder) = self.settings.folder.clone() {
            let files = [("html", report.html.clone()), ("csv", report.csv.clone())];
            let name = report.name.clone();
            let written = tokio::task::spawn_blocking(move || {
                files.iter().try_for_each(|(kind, text)| put(&folder, &format!("{name}.{kind}"), text))
            });
            let written = written.await.map_err(|_| "the report's files were not written".to_owned())?;
            written.map_err(|error| format!("the report's files cannot be written: {error}"))?;
        }
        if !self.settings.to.is_empty() {
            let mail = mail(report, &self.settings);
            self.mailer.send(&mail, self.clock.now()).await.map_err(|error| error.text)?;
        }
        Ok(())
    }
}

fn mail(report: &Report, settings: &ReportSettings) -> Mail {
    let figures = &report.figures;
    let text = format!(
        "{}\n\nnew licenses: {}\nseats and units in them: {}\nnew orders: {}\ntransactions: {}\n\n\
         The whole report is the HTML part of this mail; its figures are attached as CSV.\n",
        report.title,
        figures.total(|bucket| bucket.licenses),
        figures.total(|bucket| bucket.quantity),
        figures.total(|bucket| bucket.orders),
        figures.total(|bucket| bucket.transactions),
    );
    Mail {
        id: format!("report.{}", report.name),
        to: settings.to.clone(),
        subject: format!("Lictor {} report: {}", figures.span.period, report.title),
        text,
        html: Some(report.html.clone()),
        attachment: Some((format!("{}.csv", report.name), "text/csv; charset=utf-8", report.csv.clone().into_bytes())),
    }
}

/// Writes a file so that its name never stands for half of it.
fn put(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let draft = folder.join(format!(".{name}.draft"));
    let mut file = std::fs::File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, folder.join(name))?;
    std::fs::File::open(folder)?.sync_all()
}

fn next_try(run: &Run, now: Timestamp) -> Timestamp {
    let doubled = FIRST_WAIT.saturating_mul(1 << run.attempts.min(10));
    now.saturating_add(doubled.min(LONGEST_WAIT))
}
