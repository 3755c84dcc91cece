//! The resumer: goes on with sagas that nobody works on and that are due.

use std::{convert::Infallible, time::Duration};

use lictor_licensing::id::ActivationId;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Runner;
use crate::failure::Failure;

/// How often is looked without being told.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// Sagas taken up in one look.
const BATCH: u32 = 100;
/// Sagas in work at once.
const AT_ONCE: usize = 8;

impl Runner {
    /// Goes on with sagas that are due, and tells how many it took up. One that cannot be taken up does not count.
    ///
    /// # Errors
    /// A store that does not answer. A saga that cannot go on is left for later and is no error.
    pub async fn resume_due(&self) -> Result<u64, Failure> {
        let mut taken = 0;
        let mut running: JoinSet<bool> = JoinSet::new();
        for id in self.store.due(self.clock.now(), BATCH).await? {
            if running.len() >= AT_ONCE {
                taken += u64::from(matches!(running.join_next().await, Some(Ok(true))));
            }
            let runner = self.clone();
            running.spawn(async move { runner.resume(id).await });
        }
        while let Some(ended) = running.join_next().await {
            taken += u64::from(matches!(ended, Ok(true)));
        }
        Ok(taken)
    }

    /// True when it was taken up.
    async fn resume(&self, id: ActivationId) -> bool {
        match self.store.claim(id, &self.name, self.clock.now()).await {
            Ok(Some(saga)) => {
                // Its failure was logged, and it is due again later.
                let _ = self.drive(saga).await;
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(activation = %id, %error, "a saga cannot be taken up");
                false
            }
        }
    }

    /// Frees what an earlier process of the same name left in work.
    ///
    /// # Errors
    /// A store that does not answer.
    pub async fn take_over(&self) -> Result<u64, Failure> {
        Ok(self.store.take_over(&self.name).await?)
    }
}

/// Resumes at once, when told, and from time to time, until `stop`.
///
/// # Errors
/// None; the result is there so that it can be spawned like other background tasks.
pub async fn keep_resuming(runner: Runner, stop: CancellationToken) -> Result<(), Infallible> {
    loop {
        match runner.resume_due().await {
            // There may be more.
            Ok(taken) if taken > 0 && !stop.is_cancelled() => continue,
            Ok(_) => {}
            Err(failure) => {
                let problem = failure.problem();
                tracing::warn!(%problem, "unfinished sagas cannot be looked up");
            }
        }
        if let Ok(unfinished) = runner.store.unfinished().await {
            runner.metrics.unfinished.set(i64::try_from(unfinished).unwrap_or(i64::MAX));
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = runner.nudge.notified() => {}
            () = tokio::time::sleep(LOOK_PAUSE) => {}
        }
    }
}
