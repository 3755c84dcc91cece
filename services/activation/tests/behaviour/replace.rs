//! A lost container: its licenses go into a new one by the rule of their item, and the old one gets nothing any more.

use std::time::Duration;

use lictor_api::{error::problem, types::v1::LicenseState};
use lictor_clock::Clock as _;
use lictor_licensing::error::ErrorCode;

use crate::world::on_each_engine;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_container_is_blocked_and_its_licenses_live_on_in_the_new_one() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut lost, mut new) = (world.floating(10).await, world.device(), world.device());
        let license = front.put_in(&mut lost, &ticket, 10).await;
        let answer = front.replace("lost", &ticket, &lost, new.context()).await.expect("replaced");
        front.import(&mut new, &answer.update).await;
        let now = world.vendor.clock.now();
        assert_eq!(new.seats(&license, now), 10);
        assert_eq!(world.vendor.state(&license).await, LicenseState::Confirmed);

        // It turns up again: nothing goes in any more, and what it gets takes everything out.
        let other = world.ticket().await;
        let refused = problem(&front.activate("again", &other.ticket, lost.context()).await.expect_err("blocked"));
        assert_eq!(refused.code, ErrorCode::ContainerSuspected, "{refused}");
        let context = front.fresh(&mut lost).await;
        let pulled = front.pull(context).await.expect("pulled");
        let receipt = lost.import(&pulled.update).expect("a good update file");
        assert!(!lost.holds(&license));
        front.submit(receipt).await.expect("taken");
        front.take_proofs().await;
        assert_eq!(world.vendor.state(&license).await, LicenseState::Confirmed, "its proof changes nothing any more");
        assert_eq!(world.vendor.license(&license).await.available, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rule_of_the_item_is_kept_and_staff_may_go_beyond_it() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut first) = (world.floating(10).await, world.device());
        front.put_in(&mut first, &ticket, 10).await;
        let (mut second, mut third) = (world.device(), world.device());
        let answer = front.replace("one", &ticket, &first, second.context()).await.expect("once per period");
        front.import(&mut second, &answer.update).await;
        let again = front.replace("one", &ticket, &first, second.context()).await.expect("repeated");
        assert_eq!(again.update, answer.update);
        let refused = problem(&front.replace("two", &ticket, &second, third.context()).await.expect_err("too soon"));
        assert_eq!(refused.code, ErrorCode::LicenseForbids, "{refused}");
        assert!(world.vendor.container(&second).await.suspicion.is_empty(), "a refusal blocks nobody");
        front.replace_by_staff("two", &ticket, &second, third.context()).await.expect("by hand");
        let mut fourth = world.device();
        world.vendor.clock.advance(Duration::from_hours(31 * 24));
        front.replace("three", &ticket, &third, fourth.context()).await.expect("a period later");
    })
    .await;
}
