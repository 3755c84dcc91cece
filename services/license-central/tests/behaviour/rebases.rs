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

#[tokio::test]
async fn a_refused_rebase_does_not_count_against_the_customer() {
    on_each_engine(async |world| {
        for _ in 0..5 {
            let refused = note(&world, false);
            let counted = world.store.note_rebase(&refused, world.clock.now()).await.expect("counted");
            assert_eq!(counted.count, 1);
            for _ in 0..2 {
                let released = world.store.release(refused.activation, "blocked", true, &world.moment()).await;
                released.expect("taken back, however often");
            }
            let late = world.store.note_rebase(&refused, world.clock.now()).await;
            assert_eq!(code(late), ErrorCode::WrongState, "a late copy of the request counts nothing");
        }
        for count in [1, 2, 3] {
            let counted = world.store.note_rebase(&note(&world, false), world.clock.now()).await.expect("counted");
            assert_eq!(counted.count, count);
        }
        assert_eq!(
            code(world.store.note_rebase(&note(&world, false), world.clock.now()).await),
            ErrorCode::LicenseForbids
        );
    })
    .await;
}
