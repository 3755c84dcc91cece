//! The way back of a container that was restored from a copy.

use lictor_api::{activation::v1::ActivationState, error::problem, types::v1::LicenseState};
use lictor_clock::Clock as _;
use lictor_licensing::error::ErrorCode;
use lictor_test_support::device::TestDevice;

use crate::{front::Front, world::World, world::on_each_engine};

/// A container with a license whose copy was put back.
async fn restored(front: &Front, world: &World) -> (TestDevice, String) {
    let (ticket, mut device) = (world.floating(10).await, world.device());
    front.submit(device.context()).await.expect("seen");
    let mut backup = device.clone();
    let license = front.put_in(&mut device, &ticket, 10).await;
    for _ in 0..8 {
        backup.context();
    }
    (backup, license)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_container_comes_back_by_its_own_hand() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (mut device, license) = restored(&front, &world).await;
        let context = front.fresh(&mut device).await;
        let answer = front.rebase("back", context.clone()).await.expect("rebased");
        let again = front.rebase("back", context).await.expect("repeated");
        assert_eq!(again.update, answer.update);
        front.import(&mut device, &answer.update).await;
        assert_eq!(device.state.epoch, 1);
        assert_eq!(device.seats(&license, world.vendor.clock.now()), 10, "what the vendor knows it to hold");
        let activation = front.activation(&answer.activation.expect("it").activation_id).await;
        assert_eq!(activation.state(), ActivationState::Confirmed);
        assert_eq!(world.vendor.state(&license).await, LicenseState::Confirmed);
        let next = world.ticket().await;
        let update = front.activate("next", &next.ticket, device.context()).await.expect("it is trusted again").update;
        front.import(&mut device, &update).await;
        assert!(device.holds(&next.licenses[0].license_id));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebase_needs_a_fresh_context_and_is_counted() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (mut device, _) = restored(&front, &world).await;
        let refused = problem(&front.rebase("stale", device.context()).await.expect_err("not fresh"));
        assert!(refused.message.contains("not fresh"), "{refused}");
        for number in 0..3 {
            let context = front.fresh(&mut device).await;
            let answer = front.rebase(&format!("by-hand-{number}"), context).await.expect("rebased");
            front.import(&mut device, &answer.update).await;
        }
        let context = front.fresh(&mut device).await;
        let refused = problem(&front.rebase("fourth", context.clone()).await.expect_err("three a year"));
        assert!(
            matches!(
                refused.code,
                ErrorCode::LimitExceeded
                    | ErrorCode::QuantityExhausted
                    | ErrorCode::LicenseForbids
                    | ErrorCode::WrongState
            ),
            "{refused}"
        );
        let answer = front.rebase_by_staff("fourth", context).await.expect("support may");
        front.import(&mut device, &answer.update).await;
        assert_eq!(device.state.epoch, 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_its_way_when_the_chain_began_anew_is_proven_by_the_rebase() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.ticket().await, world.device());
        let activation = front.activate("lost", &ticket.ticket, device.context()).await.expect("activated");
        let context = front.fresh(&mut device).await;
        let answer = front.rebase("back", context).await.expect("rebased");
        front.import(&mut device, &answer.update).await;
        let license = &ticket.licenses[0].license_id;
        assert!(device.holds(license));
        assert_eq!(world.vendor.state(license).await, LicenseState::Confirmed);
        let lost = front.activation(&activation.activation.expect("it").activation_id).await;
        assert_eq!(lost.state(), ActivationState::Confirmed);
    })
    .await;
}
