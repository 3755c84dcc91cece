//! How much the database has to do. The texts are the same on both engines; PostgreSQL's driver tells them in the thread
//! that waits, so they can be counted there.

use lictor_storage::Dialect;
use lictor_test_support::statements::{counted, listen};

use crate::world::{add, request, worlds};

/// Requests at the same moment.
const CROWD: usize = 32;

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
        let issuing = counted();
        let receipt = device.import(&issued.file.bytes).expect("an import");
        world.take(&receipt).await;
        let taking = counted();
        world.issue(&device, "act_2", vec![add(2), add(3), add(4)]).await;
        let repeating = counted();

        let mut devices = vec![device];
        for number in 2..=u8::try_from(CROWD).expect("a small crowd") {
            let device = world.known_device(number).await;
            world.issue(&device, &format!("before_{number}"), vec![add(1)]).await;
            devices.push(device);
        }
        listen();
        let mut tasks = tokio::task::JoinSet::new();
        for (place, device) in devices.iter().enumerate() {
            let (issuer, asked) = (world.issuer.clone(), request(device, &format!("crowd_{place}"), vec![add(5)]));
            tasks.spawn(async move { issuer.issue(&asked).await.expect("issued").to });
        }
        tasks.join_all().await;
        let crowded = counted();

        eprintln!("statements: {issuing} to issue, {taking} to take a receipt in, {repeating} to repeat");
        eprintln!("statements: {crowded} to issue {CROWD} at once");
        assert!(crowded < 4 * CROWD, "{crowded} statements to issue {CROWD} at once");
        assert!((8..=16).contains(&issuing), "{issuing} statements to issue");
        assert!((6..=12).contains(&taking), "{taking} statements to take a receipt in");
        assert!((3..=6).contains(&repeating), "{repeating} statements to repeat an answer");
    })
    .await;
}
