//! `lictor notify report`: what happened in a day, a week or a month.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lictor_api::notification::v1::report_service_client::ReportServiceClient;
use lictor_api::notification::v1::{ListReportsRequest, ReportPeriod, RunReportRequest};
use lictor_clock::Timestamp;
use serde_json::json;

use crate::args::{moment, wire_time};
use crate::connect::{Link, MAX_ANSWER_BYTES};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::files;
use crate::show;

#[derive(Debug, Subcommand)]
pub(crate) enum ReportVerbs {
    /// Make a report now; nothing is sent
    #[command(after_help = "\
Examples:
  lictor notify report run --period weekly -o week.html --csv week.csv
  lictor notify report run --period monthly --at 2027-01-15 -o january.html")]
    Run(Run),
    /// List what was made and sent by schedule, newest first
    #[command(after_help = "Example:\n  lictor notify report list")]
    List(List),
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// How long a time it is about
    #[arg(long, value_name = "PERIOD", value_parser = ["daily", "weekly", "monthly"])]
    period: String,

    /// A moment inside the period [default: the last period that is over]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,

    /// File for the page; it needs nothing beside it
    #[arg(short, long, value_name = "FILE", required_unless_present = "csv")]
    output: Option<PathBuf>,

    /// File for the figures
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Longest listing
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=400))]
    limit: u32,
}

impl ReportVerbs {
    pub(super) async fn run(self, link: &Link, environment: &Environment) -> Outcome {
        match self {
            Self::Run(verb) => verb.run(link, environment).await,
            Self::List(verb) => verb.run(link, environment).await,
        }
    }
}

impl Run {
    async fn run(self, link: &Link, environment: &Environment) -> Outcome {
        for target in self.output.iter().chain(&self.csv) {
            files::check_target(target, self.force)?;
        }
        let period = match self.period.as_str() {
            "daily" => ReportPeriod::Daily,
            "weekly" => ReportPeriod::Weekly,
            _ => ReportPeriod::Monthly,
        };
        let request = RunReportRequest { period: period.into(), at: self.at.map(wire_time) };
        let mut client = ReportServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let report = client.run_report(request).await.map_err(|status| link.failed(status))?.into_inner();
        for (target, text) in [(&self.output, &report.html), (&self.csv, &report.csv)] {
            if let Some(target) = target {
                files::write(target, text.as_bytes(), self.force)?;
            }
        }
        let name = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let object = json!({
            "name": report.name,
            "from": show::time(report.from.as_ref()),
            "until": show::time(report.until.as_ref()),
            "file": name(&self.output),
            "csv": name(&self.csv),
        });
        environment.out.one(&object, || format!("{} is written", report.name));
        Ok(())
    }
}

impl List {
    async fn run(self, link: &Link, environment: &Environment) -> Outcome {
        let mut client = ReportServiceClient::new(link.channel());
        let request = ListReportsRequest { limit: self.limit };
        let reports = client.list_reports(request).await.map_err(|status| link.failed(status))?.into_inner().reports;
        let objects: Vec<_> = reports
            .iter()
            .map(|report| {
                json!({
                    "name": report.name,
                    "from": show::time(report.from.as_ref()),
                    "until": show::time(report.until.as_ref()),
                    "sent_at": show::time(report.sent_at.as_ref()),
                    "attempts": report.attempts,
                    "note": report.note,
                })
            })
            .collect();
        let rows = reports
            .iter()
            .map(|report| {
                vec![
                    report.name.clone(),
                    show::time_word(report.sent_at.as_ref()),
                    report.attempts.to_string(),
                    report.note.clone(),
                ]
            })
            .collect();
        environment.out.many(&objects, &["report", "sent", "attempts", "note"], rows, "no report was due yet");
        Ok(())
    }
}
