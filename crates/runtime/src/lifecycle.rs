//! The life of a process: running, stopping softly, stopping hard.
//!
//! Soft: no new work, running work ends. Hard, after the grace: what still runs is dropped. A background task that ends
//! before a stop was asked for takes the whole service down: half a service that looks alive is worse than none.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Addresses, RunError, error::chain};

/// How long dropped tasks may take to go after the hard stop.
const LAST_MOMENT: Duration = Duration::from_secs(1);

type StopStep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts, tracks and stops the tasks of one service. Cheap to clone.
#[derive(Clone)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    shared: Arc<Mutex<Shared>>,
    grace: Duration,
}

#[derive(Default)]
struct Shared {
    failure: Option<RunError>,
    stop_steps: Vec<StopStep>,
}

impl Lifecycle {
    /// A life with `grace` between the soft and the hard stop.
    pub fn new(grace: Duration) -> Self {
        Self {
            soft: CancellationToken::new(),
            hard: CancellationToken::new(),
            tasks: TaskTracker::new(),
            shared: Arc::default(),
            grace,
        }
    }

    /// Cancelled when a stop is asked for: take no new work, end long streams.
    pub fn soft(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Cancelled when the grace is over.
    pub fn hard(&self) -> CancellationToken {
        self.hard.clone()
    }

    /// Runs a background task. It should watch [`Lifecycle::soft`] and return `Ok` then; an earlier end, an error or a
    /// panic stops the service and makes its exit code 1.
    pub fn spawn<F, E>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::error::Error + Send + 'static,
    {
        let hard = self.hard.clone();
        let inner = tokio::spawn(async move { hard.run_until_cancelled_owned(task).await });
        let this = self.clone();
        self.tasks.spawn(async move {
            let reason = match inner.await {
                Ok(Some(Ok(()))) if this.soft.is_cancelled() => return,
                Ok(None) => return,
                Ok(Some(Ok(()))) => "it returned before a stop was asked for".to_owned(),
                Ok(Some(Err(error))) => chain(&error),
                Err(panic) => panic.to_string(),
            };
            this.fail(name, reason);
        });
    }

    /// Runs a short task that the stop waits for; its end means nothing.
    pub fn spawn_work(&self, task: impl Future<Output = ()> + Send + 'static) {
        let hard = self.hard.clone();
        self.tasks.spawn(async move {
            hard.run_until_cancelled_owned(task).await;
        });
    }

    /// Runs after all tasks have ended, last added first: closing a database, for example.
    pub fn on_stop(&self, step: impl Future<Output = ()> + Send + 'static) {
        self.lock().stop_steps.push(Box::pin(step));
    }

    /// Ends the service with an error; the first reason is kept.
    pub fn fail(&self, part: impl Into<String>, reason: impl Into<String>) {
        let error = RunError { part: part.into(), reason: reason.into() };
        tracing::error!(part = %error.part, reason = %error.reason, "a part of the service ended");
        self.lock().failure.get_or_insert(error);
        self.soft.cancel();
    }

    /// Asks for a soft stop.
    pub fn shutdown(&self) {
        self.soft.cancel();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(&self) -> Result<(), RunError> {
        self.soft.cancelled().await;
        self.tasks.close();
        if tokio::time::timeout(self.grace, self.tasks.wait()).await.is_err() {
            tracing::warn!("the grace is over, running calls are cut");
            self.hard.cancel();
            let _ = tokio::time::timeout(LAST_MOMENT, self.tasks.wait()).await;
        }
        self.hard.cancel();
        loop {
            let Some(step) = self.lock().stop_steps.pop() else {
                break;
            };
            let _ = tokio::time::timeout(LAST_MOMENT, step).await;
        }
        self.lock().failure.clone().map_or(Ok(()), Err)
    }
}

impl std::fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lifecycle").field("stopping", &self.soft.is_cancelled()).finish_non_exhaustive()
    }
}

/// A service that serves. Dropping it does not stop it.
#[derive(Debug)]
#[must_use = "wait for it, or shut it down"]
pub struct Running {
    addresses: Addresses,
    lifecycle: Lifecycle,
}

impl Running {
    /// Usually made by [`crate::Frame::serve`]; a service with its own listeners makes it itself.
    pub fn new(addresses: Addresses, lifecycle: Lifecycle) -> Self {
        Self { addresses, lifecycle }
    }

    /// Where it listens, with the real ports.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Its life, for tasks added later.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// Asks for a soft stop; [`Running::wait`] then returns.
    pub fn shutdown(&self) {
        self.lifecycle.shutdown();
    }

    /// Returns after the service has stopped: on request (`Ok`) or because a part failed.
    pub async fn wait(&self) -> Result<(), RunError> {
        self.lifecycle.wait().await
    }
}
