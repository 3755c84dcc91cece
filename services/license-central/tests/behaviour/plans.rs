//! Seats of one license in several containers.

use lictor_clock::Clock as _;
use lictor_license_central::domain::{license::LicenseState, plan::Purpose};
use lictor_licensing::error::ErrorCode;
use lictor_storage::sqlx;

use crate::world::{code, issued, on_each_engine, pick, take};

#[tokio::test]
async fn seats_are_spread_over_containers_until_none_is_left() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 10).await;
        world.put(&license, 'a', 4, true).await;
        assert_eq!(world.again(&license).await.available(), 6);
        world.put(&license, 'b', 5, true).await;
        assert_eq!(code(world.plan(world.activation(), 'c', take(&license, 2)).await), ErrorCode::QuantityExhausted);
        world.put(&license, 'c', 0, true).await;
        assert_eq!(world.held(&license).await, [('a', 4), ('b', 5), ('c', 1)]);
        assert_eq!(code(world.plan(world.activation(), 'd', take(&license, 1)).await), ErrorCode::WrongState);
        assert_eq!(world.state(&license).await, LicenseState::Confirmed);
    })
    .await;
}

#[tokio::test]
async fn more_seats_in_the_same_container_replace_its_entry() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 10).await;
        world.put(&license, 'a', 4, false).await;
        let plan = world.plan(world.activation(), 'a', take(&license, 3)).await.expect("planned");
        assert_eq!(issued(&plan), [(license.id, "replace", 7)]);
        let told = world.plan(world.activation(), 'a', take(&license, 1)).await;
        assert_eq!(code(told), ErrorCode::Conflict, "the entry is being changed");
        world.plan(world.activation(), 'b', take(&license, 1)).await.expect("another container is not concerned");
    })
    .await;
}

#[tokio::test]
async fn what_is_one_piece_is_never_divided() {
    on_each_engine(async |world| {
        let license = world.license().await;
        assert_eq!(code(world.plan(world.activation(), 'a', take(&license, 1)).await), ErrorCode::LicenseForbids);
        let plan = world.plan(world.activation(), 'a', take(&license, 2)).await.expect("the whole");
        assert_eq!(issued(&plan), [(license.id, "add", 2)]);
        let tram = world.sold("tram", 0).await;
        assert_eq!(code(world.plan(world.activation(), 'a', take(&tram, 1)).await), ErrorCode::InvalidArgument);
        assert_eq!(world.again(&tram).await.available(), 1);
        world.put_in(&tram, true).await;
        assert_eq!(world.again(&tram).await.available(), 0);
        assert_eq!(code(world.plan(world.activation(), 'b', take(&tram, 0)).await), ErrorCode::WrongState);
    })
    .await;
}

#[tokio::test]
async fn a_license_that_is_named_twice_is_refused() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 4).await;
        let picks = vec![pick(&license, 3), pick(&license, 3)];
        let purpose = Purpose::Activate { ticket: Some(license.ticket), picks, withdraw: Vec::new() };
        assert_eq!(code(world.plan(world.activation(), 'a', purpose).await), ErrorCode::InvalidArgument);
    })
    .await;
}

#[tokio::test]
async fn the_database_itself_refuses_to_sell_more_than_there_is() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 3).await;
        world.put(&license, 'a', 2, true).await;
        for statement in [
            "UPDATE allocation SET quantity = 4 WHERE license_id = $1",
            "UPDATE license SET quantity = 1 WHERE license_id = $1",
            "DELETE FROM allocation WHERE license_id = $1",
        ] {
            let mut tx = world.store.db().begin().await.expect("a transaction");
            let refused = sqlx::query(statement).bind(license.id.to_string()).execute(tx.conn()).await;
            assert!(refused.is_err(), "{statement}");
        }
        assert_eq!(world.held(&license).await, [('a', 2)]);
    })
    .await;
}

#[tokio::test]
async fn a_plan_of_many_licenses_takes_few_statements_and_one_segment() {
    on_each_engine(async |world| {
        let lines: Vec<(&str, u32)> = (0..100).map(|_| ("planner", 2)).collect();
        let order = world.order(&lines).await;
        let purpose = Purpose::Activate { ticket: Some(order.tickets[0].id), picks: Vec::new(), withdraw: Vec::new() };
        let activation = world.activation();
        let plan = world.plan(activation, 'a', purpose).await.expect("planned");
        assert_eq!(plan.changes.len(), 100);
        world.store.keep(activation, world.clock.now()).await.expect("kept");
        world.carry_out(activation, true).await;
        assert_eq!(world.state(&order.tickets[0].licenses[99]).await, LicenseState::Confirmed);
    })
    .await;
}
