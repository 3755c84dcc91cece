//! How many statements a database is sent. PostgreSQL's driver tells them in the thread that waits, so they are counted
//! per thread: a test of one thread counts its own.

use std::cell::Cell;
use std::sync::Once;

use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Statements;

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            COUNT.set(COUNT.get() + 1);
        }
    }
}

/// Counts from now on, in every thread for itself. For the whole process: a listener of one thread is not told of what
/// another thread came across first.
///
/// # Panics
/// Another listener is set in this process.
pub fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let listener = tracing_subscriber::registry().with(Statements);
        assert!(tracing::subscriber::set_global_default(listener).is_ok(), "nobody else listens");
    });
    COUNT.take();
}

/// Statements of this thread since [`listen`] or the last call.
#[must_use]
pub fn counted() -> usize {
    COUNT.take()
}
