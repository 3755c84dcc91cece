//! The resumer: goes on with sagas that nobody works on and that are due, so many at once and no more.

use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    time::Duration,
};

use lictor_licensing::id::ActivationId;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::Runner;
use crate::failure::Failure;

/// How often is looked without being told.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// How often what is unfinished is counted, at most.
const MEASURE_PAUSE: Duration = Duration::from_secs(5);
/// Sagas that one look takes note of.
const BATCH: u32 = 100;
/// Sagas in work at once.
const AT_ONCE: usize = 8;

/// Sagas in work, and those that wait for a free place. One that is slow holds up no other.
#[derive(Default)]
struct Stream {
    waiting: VecDeque<ActivationId>,
    known: HashSet<ActivationId>,
    running: JoinSet<(ActivationId, bool)>,
    taken: u64,
}

impl Stream {
    /// Takes note of what is due; tells whether there was anything new.
    async fn look(&mut self, runner: &Runner) -> Result<bool, Failure> {
        let mut news = false;
        for id in runner.store.due(runner.clock.now(), BATCH).await? {
            if self.known.insert(id) {
                self.waiting.push_back(id);
                news = true;
            }
        }
        Ok(news)
    }

    fn fill(&mut self, runner: &Runner) {
        while self.running.len() < AT_ONCE
            && let Some(id) = self.waiting.pop_front()
        {
            let runner = runner.clone();
            self.running.spawn(async move { (id, runner.resume(id).await) });
        }
    }

    /// Waits until one has come to rest; false when none is in work.
    async fn one(&mut self) -> bool {
        match self.running.join_next().await {
            Some(Ok((id, taken))) => {
                self.known.remove(&id);
                self.taken += u64::from(taken);
                true
            }
            // A panic of one saga is its own; its id stays known, so it is not taken up again by this process at once.
            Some(Err(_)) => true,
            None => false,
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }
}

impl Runner {
    /// Goes on with sagas that are due until none is, and tells how many it took up. One that cannot be taken up does not
    /// count.
    ///
    /// # Errors
    /// A store that does not answer. A saga that cannot go on is left for later and is no error.
    pub async fn resume_due(&self) -> Result<u64, Failure> {
        let mut stream = Stream::default();
        stream.look(self).await?;
        stream.fill(self);
        while stream.one().await {
            stream.fill(self);
        }
        Ok(stream.taken)
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

/// Resumes at once, when told, and from time to time, until `stop`. What is in work then is let go: another start takes it
/// up.
///
/// # Errors
/// None; the result is there so that it can be spawned like other background tasks.
pub async fn keep_resuming(runner: Runner, stop: CancellationToken) -> Result<(), Infallible> {
    let mut stream = Stream::default();
    let mut pace = tokio::time::interval(LOOK_PAUSE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut look, mut measured) = (true, None::<Instant>);
    while !stop.is_cancelled() {
        // What waits already comes first; a look then costs nothing and misses nothing.
        if look && stream.waiting.is_empty() {
            match stream.look(&runner).await {
                // There may be more than one look takes note of.
                Ok(news) => look = news && stream.waiting.len() >= BATCH as usize,
                Err(failure) => {
                    let problem = failure.problem();
                    tracing::warn!(%problem, "unfinished sagas cannot be looked up");
                    look = false;
                }
            }
        }
        stream.fill(&runner);
        if stream.is_idle() {
            stream.known.clear();
            if measured.is_none_or(|at| at.elapsed() >= MEASURE_PAUSE) {
                measured = Some(Instant::now());
                runner.measure().await;
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = runner.nudge.notified() => look = true,
            _ = pace.tick() => look = true,
            true = stream.one() => {}
        }
    }
    while stream.one().await {}
    Ok(())
}

impl Runner {
    async fn measure(&self) {
        if let Ok((unfinished, stalled)) = self.store.unfinished().await {
            let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
            self.metrics.unfinished.set(gauge(unfinished));
            self.metrics.stalled.set(gauge(stalled));
        }
    }
}
