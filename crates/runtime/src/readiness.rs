//! Readiness: can the service do its job now, and if not, why.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

/// A check that takes longer counts as failed.
const CHECK_TIME: Duration = Duration::from_secs(2);
/// A report is given again for this long, so that asking often costs little.
const FRESH_TIME: Duration = Duration::from_millis(250);

/// A check that passed may have something to remark.
type Outcome = Result<Option<String>, String>;
type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

/// The named checks of one service. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Arc<Mutex<Vec<(&'static str, Check)>>>,
    last: Arc<tokio::sync::Mutex<Option<(Instant, Report)>>>,
}

/// The answer of `/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// True when every check passed.
    pub ready: bool,
    /// One line per check.
    pub checks: Vec<CheckReport>,
}

/// One check's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// What was checked, such as `database`.
    pub name: String,
    /// Whether it passed.
    pub ready: bool,
    /// Why not, or what should be known although it passed; safe to show outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Readiness {
    /// Adds a check. `Err` says in a phrase why the job cannot be done; it is shown outside, so no secret may be in it.
    pub fn add<F, Fut>(&self, name: &'static str, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check: Check = Arc::new(move || {
            let outcome = check();
            Box::pin(async move { outcome.await.map(|()| None) })
        });
        self.put(name, check);
    }

    /// Adds something that people should know of, but that keeps nobody from working: it is always ready.
    pub fn remark<F, Fut>(&self, name: &'static str, remark: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<String>> + Send + 'static,
    {
        let check: Check = Arc::new(move || {
            let remark = remark();
            Box::pin(async move { Ok(remark.await) })
        });
        self.put(name, check);
    }

    fn put(&self, name: &'static str, check: Check) {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push((name, check));
    }

    /// Runs all checks at once.
    pub async fn report(&self) -> Report {
        // Held while checking: callers that come meanwhile get the same report.
        let mut last = self.last.lock().await;
        if let Some((at, report)) = &*last
            && at.elapsed() < FRESH_TIME
        {
            return report.clone();
        }
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let checks = futures_util::future::join_all(checks.into_iter().map(|(name, check)| async move {
            let outcome = match tokio::time::timeout(CHECK_TIME, check()).await {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("no answer within {} s", CHECK_TIME.as_secs())),
            };
            let ready = outcome.is_ok();
            CheckReport { name: name.to_owned(), ready, reason: outcome.unwrap_or_else(Some) }
        }))
        .await;
        let report = Report { ready: checks.iter().all(|check| check.ready), checks };
        *last = Some((Instant::now(), report.clone()));
        report
    }
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}
