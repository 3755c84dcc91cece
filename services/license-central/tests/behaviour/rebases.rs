//! How often chains may begin anew.

use lictor_clock::{Clock as _, duration::days};
use lictor_license_central::store::RebaseNote;
use lictor_licensing::error::ErrorCode;

use crate::world::{World, code, container, firm, on_each_engine};

fn note(world: &World, by_hand: bool) -> RebaseNote {
    RebaseNote {
        activation: world.activation(),
        firm: firm(),
        container: container('a'),
        serial: "130-0000000001".to_owned(),
        by_hand,
    }
}

#[tokio::test]
async fn three_rebases_a_year_are_free_and_support_may_exceed_them() {
    on_each_engine(async |world| {
        let now = || world.clock.now();
        let first = note(&world, false);
        for _ in 0..3 {
            assert_eq!(world.store.note_rebase(&first, now()).await.expect("counted once").count, 1);
        }
        for count in [2, 3] {
            assert_eq!(world.store.note_rebase(&note(&world, false), now()).await.expect("counted").count, count);
        }
        let fourth = note(&world, false);
        assert_eq!(code(world.store.note_rebase(&fourth, now()).await), ErrorCode::LicenseForbids);
        let by_hand = RebaseNote { by_hand: true, ..fourth };
        let counted = world.store.note_rebase(&by_hand, now()).await.expect("support may");
        assert_eq!((counted.count, counted.counted_for), (4, container('a')));
        let elsewhere = RebaseNote { container: container('b'), ..first };
        assert_eq!(code(world.store.note_rebase(&elsewhere, now()).await), ErrorCode::RequestIdReused);
        world.clock.advance(days(366));
        assert_eq!(world.store.note_rebase(&note(&world, false), now()).await.expect("a new year").count, 1);
    })
    .await;
}
