//! How much the database has to do for one activation. PostgreSQL's driver tells its statements in the thread that waits,
//! so they can be counted there.

use lictor_clock::Clock as _;
use lictor_storage::Dialect;
use lictor_test_support::statements::{counted, listen};

use crate::world::{on_each_engine, take};

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
        let planning = counted();
        world.store.keep(activation, world.clock.now()).await.expect("kept");
        let keeping = counted();
        world.store.commit(activation, 1, &world.moment()).await.expect("committed");
        let committing = counted();
        world.store.confirm(activation, &world.moment()).await.expect("confirmed");
        let confirming = counted();
        eprintln!("statements: {planning} to plan, {keeping} to keep, {committing} to commit, {confirming} to confirm");
        assert!((4..=10).contains(&planning), "{planning} statements to plan");
        assert!((1..=3).contains(&keeping), "{keeping} statements to keep");
        assert!((5..=12).contains(&committing), "{committing} statements to commit");
        assert!((5..=12).contains(&confirming), "{confirming} statements to confirm");
    })
    .await;
}
