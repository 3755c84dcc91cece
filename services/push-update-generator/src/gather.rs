//! Work that many want at the same moment, done for all of them at once: one transaction commits for a whole crowd.
//! While one piece of work runs, the next crowd gathers; nobody waits for a timer.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::oneshot;

use crate::{failure::Failure, problem};

type Work<T, R> =
    dyn Fn(Vec<T>) -> Pin<Box<dyn Future<Output = Vec<Result<R, Failure>>> + Send>> + Send + Sync + 'static;

/// Gathers pieces of work. Clones gather together.
pub(crate) struct Gather<T, R> {
    shared: Arc<Shared<T, R>>,
}

impl<T, R> Clone for Gather<T, R> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<T, R> {
    queue: Mutex<Queue<T, R>>,
    at_once: usize,
    work: Box<Work<T, R>>,
}

struct Queue<T, R> {
    waiting: VecDeque<(T, oneshot::Sender<Result<R, Failure>>)>,
    running: bool,
}

impl<T: Send + 'static, R: Send + 'static> Gather<T, R> {
    /// Does up to `at_once` pieces together with `work`, which answers each of them in their order.
    pub(crate) fn new<F, Fut>(at_once: usize, work: F) -> Self
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<Result<R, Failure>>> + Send + 'static,
    {
        let work: Box<Work<T, R>> = Box::new(move |pieces| Box::pin(work(pieces)));
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), running: false });
        Self { shared: Arc::new(Shared { queue, at_once, work }) }
    }

    /// Has a piece of work done. It is done even when the caller goes away meanwhile.
    pub(crate) async fn done(&self, piece: T) -> Result<R, Failure> {
        let (tell, told) = oneshot::channel();
        let start = {
            let mut queue = self.shared.lock();
            queue.waiting.push_back((piece, tell));
            !std::mem::replace(&mut queue.running, true)
        };
        if start {
            let shared = Arc::clone(&self.shared);
            // A task of its own: a caller that goes away must not leave the others waiting.
            tokio::spawn(shared.run());
        }
        told.await.unwrap_or_else(|_| Err(Failure::Refused(problem::internal("gathered work", &Gone))))
    }
}

impl<T: Send + 'static, R: Send + 'static> Shared<T, R> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue<T, R>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        loop {
            // Whoever was woken by the same thing as the first of this crowd is about to come.
            tokio::task::yield_now().await;
            let (pieces, tell): (Vec<_>, Vec<_>) = {
                let mut queue = self.lock();
                let crowd = queue.waiting.len().min(self.at_once);
                if crowd == 0 {
                    queue.running = false;
                    return;
                }
                queue.waiting.drain(..crowd).unzip()
            };
            let shared = Arc::clone(&self);
            // A task of its own again: should it panic, this crowd gets no answers, and the next one is served.
            let Ok(answers) = tokio::spawn(async move { (shared.work)(pieces).await }).await else {
                continue;
            };
            for (tell, answer) in tell.into_iter().zip(answers) {
                // Nobody listens any more: the work is done all the same.
                let _ = tell.send(answer);
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the work ended without an answer")]
struct Gone;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_crowd_is_served_together_and_everyone_gets_the_own_answer() {
        let rounds = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rounds);
        let gather = Gather::new(64, move |pieces: Vec<u32>| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                pieces.into_iter().map(|piece| Ok(piece * 2)).collect()
            }
        });
        let tasks: tokio::task::JoinSet<_> = (0..100_u32)
            .map(|piece| {
                let gather = gather.clone();
                async move { (piece, gather.done(piece).await.expect("an answer")) }
            })
            .collect();
        assert!(tasks.join_all().await.into_iter().all(|(piece, answer)| answer == piece * 2));
        assert!(rounds.load(Ordering::SeqCst) < 50, "{rounds:?} rounds for a hundred");
    }

    #[tokio::test]
    async fn work_that_dies_takes_only_its_own_crowd_with_it() {
        let gather = Gather::new(64, |pieces: Vec<u32>| async move {
            assert!(!pieces.contains(&13), "as a fault in the work would");
            pieces.into_iter().map(Ok).collect()
        });
        assert!(gather.done(13).await.is_err());
        assert_eq!(gather.done(14).await.expect("an answer"), 14);
    }
}
