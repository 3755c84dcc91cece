//! Making a report: reads the events of a period twice, first for the licenses that need a name, then to count.

use std::collections::HashSet;

use lictor_clock::Timestamp;
use lictor_storage::{Database, StorageError};

use super::{
    csv,
    figures::{Figures, license_ids},
    html,
    period::Span,
};
use crate::store::report;

/// Licenses whose items are looked up; transactions of further ones count without an item.
const LICENSES: usize = 100_000;

/// A report in both forms.
#[derive(Debug, Clone)]
pub struct Report {
    /// Such as `daily-2026-11-22`.
    pub name: String,
    /// Such as `22 November 2026`.
    pub title: String,
    /// A whole page.
    pub html: String,
    /// RFC 4180.
    pub csv: String,
    /// What it was made of.
    pub figures: Figures,
}

/// Makes the report of a span.
///
/// # Errors
/// The database does not answer.
pub async fn make(db: &Database, span: Span, now: Timestamp) -> Result<Report, StorageError> {
    let mut licenses = HashSet::new();
    report::facts(db, &span, |fact| {
        if fact.kind == "lictor.activation.completed.v1" && licenses.len() < LICENSES {
            licenses.extend(license_ids(&fact.data).map(str::to_owned));
        }
    })
    .await?;
    let items = report::items_of(db, &licenses).await?;
    let mut figures = Figures::new(span);
    report::facts(db, &span, |fact| figures.count(&fact, |id| items.get(id).cloned())).await?;
    Ok(Report {
        name: span.name(),
        title: span.title(),
        html: html::render(&figures, now),
        csv: csv::render(&figures),
        figures,
    })
}
