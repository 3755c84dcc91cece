//! How much the database has to do for one activation. PostgreSQL's driver tells its statements in the thread that waits,
//! so they can be counted there.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use lictor_clock::Clock as _;
use lictor_storage::Dialect;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
};

use crate::world::{on_each_engine, take};

struct Statements(Arc<AtomicUsize>);

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[tokio::test]
async fn an_activation_costs_few_statements() {
    on_each_engine(async |world| {
        if world.store.db().dialect() != Dialect::Postgres {
            return;
        }
        let (before, license) = (world.sold("truck", 2).await, world.sold("truck", 2).await);
        world.put(&before, 'a', 0, true).await;
        let count = Arc::new(AtomicUsize::new(0));
        let listening = tracing_subscriber::registry().with(Statements(Arc::clone(&count)));
        let listening = tracing::subscriber::set_default(listening);
        let activation = world.activation();
        world.plan(activation, 'b', take(&license, 0)).await.expect("planned");
        let planning = count.swap(0, Ordering::SeqCst);
        world.store.keep(activation, world.clock.now()).await.expect("kept");
        let keeping = count.swap(0, Ordering::SeqCst);
        world.store.commit(activation, 1, &world.moment()).await.expect("committed");
        let committing = count.swap(0, Ordering::SeqCst);
        world.store.confirm(activation, &world.moment()).await.expect("confirmed");
        let confirming = count.swap(0, Ordering::SeqCst);
        drop(listening);
        eprintln!("statements: {planning} to plan, {keeping} to keep, {committing} to commit, {confirming} to confirm");
        assert!((4..=10).contains(&planning), "{planning} statements to plan");
        assert!((1..=3).contains(&keeping), "{keeping} statements to keep");
        assert!((5..=12).contains(&committing), "{committing} statements to commit");
        assert!((5..=12).contains(&confirming), "{confirming} statements to confirm");
    })
    .await;
}
