//! `ReportService`: reports on demand, and what became of those of the schedule.

use lictor_api::{
    convert::{from_timestamp, timestamp},
    notification::v1::{
        self as wire, ListReportsRequest, ListReportsResponse, ReportPeriod, RunReportRequest, RunReportResponse,
        report_service_server::ReportService,
    },
};
use tonic::{Request, Response, Status};

use super::{Desk, answer};
use crate::{
    report::{
        make,
        period::{Period, Span},
    },
    store::report::{self, Run},
};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 400;

pub(super) struct Reports(pub(super) Desk);

#[tonic::async_trait]
impl ReportService for Reports {
    async fn run_report(&self, request: Request<RunReportRequest>) -> Result<Response<RunReportResponse>, Status> {
        let request = request.into_inner();
        let period = match ReportPeriod::try_from(request.period) {
            Ok(ReportPeriod::Daily) => Period::Daily,
            Ok(ReportPeriod::Weekly) => Period::Weekly,
            Ok(ReportPeriod::Monthly) => Period::Monthly,
            Ok(ReportPeriod::Unspecified) | Err(_) => {
                return Err(answer::invalid("this is no period", "ask for daily, weekly or monthly"));
            }
        };
        let now = self.0.clock.now();
        let span = match &request.at {
            None => Span::last_over(period, now, self.0.report_offset),
            Some(at) => match from_timestamp(at).filter(|at| at.as_seconds() >= 0 && *at <= now) {
                Some(at) => Span::containing(period, at, self.0.report_offset),
                None => return Err(answer::invalid("this moment is not in the past", "give one since 1970")),
            },
        };
        let made = make::make(&self.0.db, span, now).await.map_err(answer::storage)?;
        Ok(Response::new(RunReportResponse {
            name: made.name,
            from: Some(timestamp(span.from)),
            until: Some(timestamp(span.until)),
            html: made.html,
            csv: made.csv,
        }))
    }

    async fn list_reports(
        &self,
        request: Request<ListReportsRequest>,
    ) -> Result<Response<ListReportsResponse>, Status> {
        let limit = match request.into_inner().limit {
            0 => DEFAULT_LIMIT,
            limit @ 1..=MAX_LIMIT => limit,
            _ => return Err(answer::invalid("at most 400 reports are listed at once", "ask for fewer")),
        };
        let runs = report::list(&self.0.db, limit).await.map_err(answer::storage)?;
        Ok(Response::new(ListReportsResponse { reports: runs.into_iter().map(shown).collect() }))
    }
}

fn shown(run: Run) -> wire::ReportRun {
    let period = match run.period {
        Period::Daily => ReportPeriod::Daily,
        Period::Weekly => ReportPeriod::Weekly,
        Period::Monthly => ReportPeriod::Monthly,
    };
    wire::ReportRun {
        name: run.name,
        period: period.into(),
        from: Some(timestamp(run.from)),
        until: Some(timestamp(run.until)),
        sent_at: run.sent_at.map(timestamp),
        attempts: run.attempts,
        note: run.note,
    }
}
