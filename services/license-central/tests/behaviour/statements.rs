//! How much the database has to do for one activation. PostgreSQL's driver tells its statements in the thread that waits,
//! so they can be counted there.

use std::{cell::Cell, sync::Once};

use lictor_clock::Clock as _;
use lictor_storage::Dialect;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
};

use crate::world::{on_each_engine, take};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Statements;

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            COUNT.set(COUNT.get() + 1);
        }
    }
}

/// Counts from now on, in every thread for itself. For the whole process: a listener of one thread is not told of what
/// another thread came across first.
fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let listener = tracing_subscriber::registry().with(Statements);
        tracing::subscriber::set_global_default(listener).expect("nobody else listens");
    });
    COUNT.take();
}

#[tokio::test]
async fn an_activation_costs_few_statements() {
    on_each_engine(async |world| {
        if world.store.db().dialect() != Dialect::Postgres {
            return;
        }
        let (before, license) = (world.sold("truck", 2).await, world.sold("truck", 2).await);
        world.put(&before, 'a', 0, true).await;
        listen();
        let activation = world.activation();
        world.plan(activation, 'b', take(&license, 0)).await.expect("planned");
        let planning = COUNT.take();
        world.store.keep(activation, world.clock.now()).await.expect("kept");
        let keeping = COUNT.take();
        world.store.commit(activation, 1, &world.moment()).await.expect("committed");
        let committing = COUNT.take();
        world.store.confirm(activation, &world.moment()).await.expect("confirmed");
        let confirming = COUNT.take();
        eprintln!("statements: {planning} to plan, {keeping} to keep, {committing} to commit, {confirming} to confirm");
        assert!((4..=10).contains(&planning), "{planning} statements to plan");
        assert!((1..=3).contains(&keeping), "{keeping} statements to keep");
        assert!((5..=12).contains(&committing), "{committing} statements to commit");
        assert!((5..=12).contains(&confirming), "{confirming} statements to confirm");
    })
    .await;
}
