//! Giving licenses back: credited once, and only with the container's proof.

use lictor_clock::Clock as _;
use lictor_license_central::domain::{
    license::{License, LicenseState},
    plan::Purpose,
};
use lictor_licensing::error::ErrorCode;

use crate::world::{code, issued, on_each_engine, pick, take};

fn back(license: &License, seats: u32) -> Purpose {
    Purpose::GiveBack { ticket: license.ticket, picks: vec![pick(license, seats)] }
}

#[tokio::test]
async fn a_returned_license_is_available_only_after_proof() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 5).await;
        world.put_in(&license, true).await;
        let activation = world.activation();
        let plan = world.plan(activation, 'a', back(&license, 0)).await.expect("planned");
        assert_eq!(issued(&plan), [(license.id, "withdraw", 0)]);
        assert_eq!(world.state(&license).await, LicenseState::Confirmed);
        world.carry_out(activation, false).await;
        assert_eq!(world.state(&license).await, LicenseState::Returning);
        assert_eq!(world.again(&license).await.available(), 0, "the container may still hold it");
        assert_eq!(code(world.plan(world.activation(), 'b', take(&license, 1)).await), ErrorCode::WrongState);
        world.store.confirm(activation, &world.moment()).await.expect("confirmed");
        assert_eq!(world.state(&license).await, LicenseState::Available);
        assert_eq!(world.again(&license).await.available(), 5);
    })
    .await;
}

#[tokio::test]
async fn a_replayed_receipt_credits_a_return_once() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 5).await;
        world.put_in(&license, true).await;
        let first = world.activation();
        world.plan(first, 'a', back(&license, 2)).await.expect("planned");
        world.carry_out(first, true).await;
        assert_eq!(world.again(&license).await.available(), 2);
        world.put(&license, 'b', 2, true).await;
        let told = world.story(&license.id.to_string()).await.len();
        for _ in 0..10 {
            world.store.confirm(first, &world.moment()).await.expect("the same proof again");
        }
        assert_eq!(world.again(&license).await.available(), 0);
        assert_eq!(world.held(&license).await, [('a', 3), ('b', 2)]);
        assert_eq!(world.story(&license.id.to_string()).await.len(), told, "nothing new is announced");
    })
    .await;
}

#[tokio::test]
async fn a_container_restored_after_its_return_regains_nothing() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 5).await;
        let placing = world.put_in(&license, false).await;
        let taking = world.activation();
        world.plan(taking, 'a', back(&license, 0)).await.expect("planned");
        world.carry_out(taking, true).await;
        // The restored container proves the state before the return, for ever.
        for _ in 0..3 {
            world.store.confirm(placing, &world.moment()).await.expect("late proof");
            assert_eq!(world.again(&license).await.available(), 5);
            assert!(world.held(&license).await.is_empty());
        }
        // Whatever comes in now is a new part: nothing adds to what the restored container shows.
        let plan = world.plan(world.activation(), 'a', take(&license, 5)).await.expect("planned");
        assert_eq!(issued(&plan), [(license.id, "add", 5)]);
    })
    .await;
}

#[tokio::test]
async fn a_part_that_is_given_back_leaves_the_rest_in_place() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 5).await;
        world.put(&license, 'a', 3, true).await;
        world.put(&license, 'a', 2, true).await;
        let activation = world.activation();
        let plan = world.plan(activation, 'a', back(&license, 4)).await.expect("planned");
        assert_eq!(issued(&plan), [(license.id, "replace", 1)]);
        assert_eq!(code(world.plan(world.activation(), 'a', back(&license, 1)).await), ErrorCode::Conflict);
        world.carry_out(activation, false).await;
        let plan = world.plan(world.activation(), 'a', back(&license, 1)).await.expect("the rest as well");
        assert_eq!(issued(&plan), [(license.id, "withdraw", 0)]);
        world.store.confirm(activation, &world.moment()).await.expect("confirmed");
        assert_eq!((world.held(&license).await, world.again(&license).await.available()), (vec![('a', 1)], 4));
    })
    .await;
}

#[tokio::test]
async fn what_may_not_be_given_back_stays() {
    on_each_engine(async |world| {
        let license = world.license().await;
        world.put_in(&license, true).await;
        assert_eq!(code(world.plan(world.activation(), 'a', back(&license, 0)).await), ErrorCode::LicenseForbids);
        let planner = world.sold("planner", 3).await;
        assert_eq!(code(world.plan(world.activation(), 'a', back(&planner, 0)).await), ErrorCode::WrongState);
        world.put(&planner, 'a', 2, true).await;
        assert_eq!(code(world.plan(world.activation(), 'b', back(&planner, 0)).await), ErrorCode::WrongState);
        assert_eq!(code(world.plan(world.activation(), 'a', back(&planner, 3)).await), ErrorCode::QuantityExhausted);
        let foreign = Purpose::GiveBack { ticket: license.ticket, picks: vec![pick(&planner, 1)] };
        assert_eq!(code(world.plan(world.activation(), 'a', foreign).await), ErrorCode::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_return_that_lapses_leaves_no_trace() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 5).await;
        world.put_in(&license, true).await;
        let before = world.again(&license).await;
        let slow = world.activation();
        world.plan(slow, 'a', back(&license, 2)).await.expect("planned");
        world.clock.advance(std::time::Duration::from_secs(901));
        let quick = world.activation();
        world.plan(quick, 'a', back(&license, 1)).await.expect("the slow one gave way");
        assert_eq!(code(world.store.keep(slow, world.clock.now()).await), ErrorCode::WrongState);
        world.store.release(quick, "given up", false, &world.moment()).await.expect("released");
        assert_eq!(world.again(&license).await, before);
    })
    .await;
}
