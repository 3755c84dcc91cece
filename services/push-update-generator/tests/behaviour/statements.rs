//! How much the database has to do. The texts are the same on both engines; PostgreSQL's driver tells them in the thread
//! that waits, so they can be counted there.

use std::{cell::Cell, sync::Once};

use lictor_storage::Dialect;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
};

use crate::world::{add, request, worlds};

/// Requests at the same moment.
const CROWD: usize = 32;

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
async fn a_segment_and_a_receipt_cost_few_statements() {
    worlds(async |world| {
        if world.db.dialect() != Dialect::Postgres {
            return;
        }
        let mut device = world.known_device(1).await;
        let first = world.issue(&device, "act_1", vec![add(1)]).await;
        let receipt = device.import(&first.file.bytes).expect("an import");
        world.take(&receipt).await;

        listen();
        let issued = world.issue(&device, "act_2", vec![add(2), add(3), add(4)]).await;
        let issuing = COUNT.take();
        let receipt = device.import(&issued.file.bytes).expect("an import");
        world.take(&receipt).await;
        let taking = COUNT.take();
        world.issue(&device, "act_2", vec![add(2), add(3), add(4)]).await;
        let repeating = COUNT.take();

        let mut devices = vec![device];
        for number in 2..=u8::try_from(CROWD).expect("a small crowd") {
            let device = world.known_device(number).await;
            world.issue(&device, &format!("before_{number}"), vec![add(1)]).await;
            devices.push(device);
        }
        COUNT.take();
        let mut tasks = tokio::task::JoinSet::new();
        for (place, device) in devices.iter().enumerate() {
            let (issuer, asked) = (world.issuer.clone(), request(device, &format!("crowd_{place}"), vec![add(5)]));
            tasks.spawn(async move { issuer.issue(&asked).await.expect("issued").to });
        }
        tasks.join_all().await;
        let crowded = COUNT.take();

        eprintln!("statements: {issuing} to issue, {taking} to take a receipt in, {repeating} to repeat");
        eprintln!("statements: {crowded} to issue {CROWD} at once");
        assert!(crowded < 4 * CROWD, "{crowded} statements to issue {CROWD} at once");
        assert!((8..=16).contains(&issuing), "{issuing} statements to issue");
        assert!((6..=12).contains(&taking), "{taking} statements to take a receipt in");
        assert!((3..=6).contains(&repeating), "{repeating} statements to repeat an answer");
    })
    .await;
}
