//! What the time brings: begun once by any number of replicas, carried out whatever dies.

use std::time::Duration;

use lictor_activation::saga::Step;
use lictor_api::{
    activation::v1::ActivationKind,
    central::v1::{CancelRenewalRequest, license_service_client::LicenseServiceClient},
};
use lictor_auth::Role;
use lictor_clock::Clock as _;
use lictor_test_support::device::TestDevice;

use crate::{
    front::Front,
    world::{FIRM, World, on_each_engine},
};

const DAY: Duration = Duration::from_hours(24);

async fn rented(front: &Front, world: &World) -> (TestDevice, String) {
    let (ticket, mut device) = (world.vendor.order(FIRM, &["rented"]).await, world.device());
    let answer = front.activate(&ticket.ticket_id, &ticket.ticket, device.context()).await.expect("activated");
    front.import(&mut device, &answer.update).await;
    (device, ticket.licenses[0].license_id.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_replicas_begin_one_saga_for_what_is_due() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (mut device, license) = rented(&front, &world).await;
        let end = device.end_of(&license).expect("a technical end");
        assert_eq!(front.time_passes().await, 0, "it is not due yet");
        world.vendor.clock.advance(24 * DAY);
        let other = world.front().await;
        let (one, two) = tokio::join!(front.runner.begin_due(), other.runner.begin_due());
        assert_eq!(one.expect("looked") + two.expect("looked"), 1);
        front.resume().await;
        assert_eq!(front.time_passes().await, 0, "nor a second time");
        let open = front.open().await;
        assert_eq!((open.len(), open[0].kind()), (1, ActivationKind::Renew));
        let context = front.fresh(&mut device).await;
        let pulled = front.pull(context).await.expect("pulled");
        assert_eq!(pulled.segments, 1);
        front.import(&mut device, &pulled.update).await;
        assert!(device.end_of(&license).expect("an end") > end);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_goes_on_period_after_period_until_it_is_cancelled() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (mut device, license) = rented(&front, &world).await;
        for days in [24, 30, 30] {
            world.vendor.clock.advance(days * DAY);
            front.time_passes().await;
            let update = front.pending(&device).await;
            front.import(&mut device, &update).await;
            assert_eq!(device.seats(&license, world.vendor.clock.now()), 1);
        }
        let mut licenses = LicenseServiceClient::new(world.vendor.central(&[Role::Support]));
        let request =
            CancelRenewalRequest { request_id: "cancel".to_owned(), license_id: license.clone(), resume: false };
        licenses.cancel_renewal(request).await.expect("cancelled");
        world.vendor.clock.advance(40 * DAY);
        assert_eq!(front.time_passes().await, 0);
        assert_eq!(device.seats(&license, world.vendor.clock.now()), 0, "it has run out by itself");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_killed_at_any_step_is_one_segment() {
    on_each_engine(async |world| {
        let front = world.front().await;
        for step in [Step::Planned, Step::PlannedNoted, Step::Kept, Step::Issued, Step::IssuedNoted, Step::Committed] {
            let (mut device, license) = rented(&front, &world).await;
            let end = device.end_of(&license).expect("an end");
            world.vendor.clock.advance(24 * DAY);
            let (dying, killer) = world.front_killed_at(step).await;
            dying.time_passes().await;
            assert!(killer.has_struck(), "{step:?} was never reached");
            let next = world.front().await;
            next.time_passes().await;
            assert_eq!(world.vendor.container(&device).await.latest, 2, "{step:?}");
            let update = next.pending(&device).await;
            next.import(&mut device, &update).await;
            assert!(device.end_of(&license).expect("an end") > end, "{step:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arrival_that_nobody_began_is_found_and_carried_out() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut old, mut new) = (world.floating(10).await, world.device(), world.device());
        let license = front.put_in(&mut old, &ticket, 10).await;
        let context = front.fresh(&mut old).await;
        let request = lictor_api::activation::v1::TransferLicenseRequest {
            target_context: new.context(),
            ..crate::front::moving("move", &ticket, 4, context)
        };
        let answer = front.transfer(request).await.expect("begun");
        // License-central is told of the proof by a process that dies before it notes it, and whose tables are lost.
        let receipt = old.import(&answer.update).expect("a good update file");
        let (dying, killer) = world.front_killed_at(Step::Confirmed).await;
        dying.submit(receipt).await.expect("taken");
        dying.take_proofs().await;
        assert!(killer.has_struck());
        let heir = world.front().await;
        assert_eq!(heir.runner.begin_due().await.expect("looked"), 1, "license-central knows that it is due");
        heir.resume().await;
        let update = heir.pending(&new).await;
        heir.import(&mut new, &update).await;
        assert_eq!(new.seats(&license, world.vendor.clock.now()), 4);
        assert_eq!(world.vendor.container(&new).await.latest, 1, "one arrival, however it was begun");
    })
    .await;
}
