//! What the engines themselves refuse, whoever asks.

use lictor_push_update_generator::store;
use lictor_storage::sqlx;

use crate::world::{World, add, request, worlds};

async fn refused(world: &World, statement: &'static str) {
    let outcome = sqlx::query(statement).execute(world.db.pool()).await;
    let error = outcome.expect_err(statement).to_string();
    assert!(error.contains("written once") || error.contains("only forward"), "{statement}: {error}");
}

#[tokio::test]
async fn issued_bytes_cannot_be_changed_or_deleted() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let issued = world.issue(&device, "act_1", vec![add(1)]).await;
        for statement in [
            "UPDATE segment_envelope SET stored_at = 0",
            "UPDATE segment_envelope SET k = 2",
            "DELETE FROM segment_envelope",
            "UPDATE root_document SET version = 2",
            "DELETE FROM root_document",
            "DELETE FROM segment",
            "UPDATE segment SET reference = 'other'",
            "UPDATE segment SET payload = segment.head",
            "UPDATE segment SET head = segment.prev_head",
            "UPDATE segment SET k = 9",
            "UPDATE segment SET state = 'reserved'",
            "UPDATE segment SET root_through = 9",
            "UPDATE segment SET operations = segment.head",
        ] {
            refused(&world, statement).await;
        }
        assert_eq!(world.issue(&device, "act_1", vec![add(1)]).await, issued);
        let receipt = device.import(&issued.file.bytes).expect("an import");
        world.take(&receipt).await;
        refused(&world, "UPDATE segment SET state = 'issued'").await;
    })
    .await;
}

#[tokio::test]
async fn a_second_segment_for_a_counter_and_a_broken_link_are_refused() {
    worlds(async |world| {
        let device = world.known_device(1).await;
        world.issue(&device, "act_1", vec![add(1)]).await;
        let copy = |columns: &str| {
            format!(
                "INSERT INTO segment (container_id, firm_code, epoch, k, from_k, prev_head, follows, head, \
                 state_digest, reference, request_hash, purpose, payload, operations, file_from, file_root, summary, \
                 state, reserved_at) SELECT container_id, firm_code, epoch, {columns}, state_digest, 'act_x', \
                 request_hash, purpose, payload, operations, 0, 0, '', 'reserved', 0 FROM segment"
            )
        };
        for (columns, what) in [
            ("1, 0, prev_head, NULL, head", "the same counter"),
            ("2, 1, prev_head, 1, head", "a head that nothing has"),
            ("3, 2, head, 2, head", "a gap"),
            ("2, 1, head, NULL, head", "no link"),
        ] {
            let outcome = sqlx::query(sqlx::AssertSqlSafe(copy(columns))).execute(world.db.pool()).await;
            assert!(outcome.is_err(), "{what}");
        }
        let good = sqlx::query(sqlx::AssertSqlSafe(copy("2, 1, head, 1, head"))).execute(world.db.pool()).await;
        assert!(good.is_ok(), "{good:?}");
        let key = request(&device, "look", vec![add(0)]).key;
        assert_eq!(store::segment::reserved_of(&world.db, &key).await.expect("segments").len(), 1);
    })
    .await;
}
