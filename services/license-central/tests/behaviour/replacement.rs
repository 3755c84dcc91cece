//! A lost container: its licenses go into a new one, and nothing it proves later counts.

use lictor_clock::{Clock as _, duration::days};
use lictor_license_central::domain::{
    license::{License, LicenseState},
    plan::Purpose,
};
use lictor_licensing::error::ErrorCode;

use crate::world::{World, code, issued, machine, on_each_engine, pick, take};

const POOL: &str = r"
firm_code: 6000001
items:
  - name: pool
    product_item:
      product_code: 700
      license_quantity: {count: 4}
      transfer: {may_move: true, may_return: true, splittable: true}
    reactivation: {once_per_days: 180}
";

fn replace(license: &License, lost: char, by_hand: bool) -> Purpose {
    Purpose::Replace { ticket: license.ticket, lost_serial: machine(lost).serial, by_hand }
}

async fn pool(world: &World) -> License {
    world.apply(POOL, "pool").await.expect("applied");
    world.sold("pool", 4).await
}

#[tokio::test]
async fn the_licenses_go_into_the_new_container_and_late_proof_changes_nothing() {
    on_each_engine(async |world| {
        let license = pool(&world).await;
        let placing = world.put(&license, 'a', 0, false).await;
        let activation = world.activation();
        let plan = world.plan(activation, 'b', replace(&license, 'a', false)).await.expect("planned");
        assert_eq!((issued(&plan), plan.block_serial), (vec![(license.id, "add", 4)], machine('a').serial));
        assert_eq!(world.held(&license).await, [('a', 4)], "nothing was issued yet");
        world.carry_out(activation, true).await;
        assert_eq!(world.held(&license).await, [('b', 4)]);
        for _ in 0..2 {
            world.store.confirm(placing, &world.moment()).await.expect("the lost one turns up");
        }
        assert_eq!((world.held(&license).await, world.again(&license).await.free()), (vec![('b', 4)], 0));
        assert_eq!(world.state(&license).await, LicenseState::Confirmed);
    })
    .await;
}

#[tokio::test]
async fn a_return_from_a_lost_container_is_not_credited_beside_its_replacement() {
    on_each_engine(async |world| {
        let license = pool(&world).await;
        world.put(&license, 'a', 0, true).await;
        let returning = world.activation();
        let back = Purpose::GiveBack { ticket: license.ticket, picks: vec![pick(&license, 3)] };
        world.plan(returning, 'a', back).await.expect("planned");
        world.carry_out(returning, false).await;
        let replacing = world.activation();
        let plan = world.plan(replacing, 'b', replace(&license, 'a', false)).await.expect("planned");
        assert_eq!(issued(&plan), [(license.id, "add", 4)]);
        let told = world.store.confirm(returning, &world.moment()).await;
        assert_eq!(code(told), ErrorCode::Conflict, "it is being written off");
        world.carry_out(replacing, true).await;
        world.store.confirm(returning, &world.moment()).await.expect("late");
        assert_eq!((world.held(&license).await, world.again(&license).await.available()), (vec![('b', 4)], 0));
    })
    .await;
}

#[tokio::test]
async fn a_replacement_that_is_given_up_lets_the_old_container_go_on() {
    on_each_engine(async |world| {
        let license = pool(&world).await;
        world.put(&license, 'a', 3, true).await;
        let before = world.again(&license).await;
        let replacing = world.activation();
        world.plan(replacing, 'b', replace(&license, 'a', false)).await.expect("planned");
        assert_eq!(code(world.plan(world.activation(), 'a', take(&license, 1)).await), ErrorCode::Conflict);
        world.store.keep(replacing, world.clock.now()).await.expect("kept");
        world.store.release(replacing, "refused", true, &world.moment()).await.expect("released");
        assert_eq!(world.again(&license).await, before);
        // One that lapses does not stand in the way of proof either.
        let returning = world.activation();
        let back = Purpose::GiveBack { ticket: license.ticket, picks: vec![pick(&license, 1)] };
        world.plan(returning, 'a', back).await.expect("planned");
        world.carry_out(returning, false).await;
        let lapsing = world.activation();
        world.plan(lapsing, 'b', replace(&license, 'a', false)).await.expect("planned");
        world.clock.advance(std::time::Duration::from_secs(901));
        world.store.confirm(returning, &world.moment()).await.expect("proven");
        assert_eq!((world.held(&license).await, world.again(&license).await.available()), (vec![('a', 2)], 2));
        assert_eq!(code(world.store.commit(lapsing, 1, &world.moment()).await), ErrorCode::WrongState);
    })
    .await;
}

#[tokio::test]
async fn the_rule_of_the_item_says_how_often() {
    on_each_engine(async |world| {
        let license = pool(&world).await;
        world.put(&license, 'a', 0, true).await;
        let first = world.activation();
        world.plan(first, 'b', replace(&license, 'a', false)).await.expect("once");
        world.carry_out(first, true).await;
        assert_eq!(
            code(world.plan(world.activation(), 'c', replace(&license, 'a', false)).await),
            ErrorCode::WrongState
        );
        let soon = world.plan(world.activation(), 'c', replace(&license, 'b', false)).await;
        assert_eq!(code(soon), ErrorCode::LicenseForbids);
        let by_hand = world.activation();
        world.plan(by_hand, 'c', replace(&license, 'b', true)).await.expect("support may");
        world.carry_out(by_hand, true).await;
        world.clock.advance(days(181));
        world.plan(world.activation(), 'd', replace(&license, 'c', false)).await.expect("time has passed");

        let never = world.sold("planner", 2).await;
        world.put(&never, 'a', 0, true).await;
        for by_hand in [true, false] {
            let refused = world.plan(world.activation(), 'b', replace(&never, 'a', by_hand)).await;
            assert_eq!(code(refused), ErrorCode::LicenseForbids);
        }
        let usual = world.license().await;
        world.put(&usual, 'a', 0, true).await;
        let refused = world.plan(world.activation(), 'b', replace(&usual, 'a', false)).await;
        assert_eq!(code(refused), ErrorCode::LicenseForbids, "support decides");
        world.plan(world.activation(), 'b', replace(&usual, 'a', true)).await.expect("support may");
    })
    .await;
}
