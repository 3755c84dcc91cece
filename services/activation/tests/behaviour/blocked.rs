//! Seats that meet a container which gets nothing any more: blocked, or under suspicion. None is lost, none waits unseen.

use std::time::Duration;

use lictor_activation::saga::Step;
use lictor_api::{
    activation::v1::{Activation, ActivationKind, ActivationState, RetryActivationRequest, TransferLicenseRequest},
    convert::timestamp,
    error::problem,
    types::v1::LicenseState,
    update::v1::{BlockContainerRequest, update_service_client::UpdateServiceClient},
};
use lictor_auth::Role;
use lictor_clock::Clock as _;
use lictor_licensing::error::ErrorCode;
use lictor_test_support::device::TestDevice;
use tonic::Status;

use crate::{
    front::{Front, moving},
    world::{FIRM, World, on_each_engine},
};

const DAY: Duration = Duration::from_hours(24);

/// Somebody blocks a container by hand; nothing of what lies in it is replaced.
async fn block(world: &World, device: &TestDevice) {
    let mut updates = UpdateServiceClient::new(world.vendor.update(&[Role::Support]));
    let request = BlockContainerRequest {
        firm_code: FIRM,
        serial: device.serial.clone(),
        reason: "stolen".to_owned(),
        reference: format!("block-{}", device.serial),
    };
    updates.block_container(request).await.expect("blocked");
}

fn seats(world: &World, device: &TestDevice, license: &str) -> u32 {
    device.seats(license, world.vendor.clock.now())
}

/// License-central knows of all ten seats in this container and of none elsewhere.
async fn all_lie_in(world: &World, license: &str, device: &TestDevice) {
    let held = world.vendor.license(license).await;
    assert!(held.allocations.iter().all(|part| part.serial == device.serial), "{held:?}");
    let seats: u32 = held.allocations.iter().map(|part| part.quantity).sum();
    assert_eq!((held.state(), seats), (LicenseState::Confirmed, 10), "{held:?}");
}

/// Imports what waits for a container.
async fn deliver(front: &Front, device: &mut TestDevice) {
    let update = front.pending(device).await;
    assert!(!update.is_empty(), "nothing waits for {}", device.serial);
    front.import(device, &update).await;
}

async fn send_elsewhere(front: &Front, arrival: &str, to: &TestDevice) -> Result<Activation, Status> {
    let request = RetryActivationRequest { activation_id: arrival.to_owned(), to_serial: to.serial.clone() };
    Ok(front.staff().retry_activation(request).await?.into_inner().activation.expect("it"))
}

/// 4 of 10 seats have left for a container that is blocked while they are on their way. Gives the stalled arrival.
async fn stranded(
    world: &World,
    front: &Front,
    old: &mut TestDevice,
    new: &mut TestDevice,
    lend: bool,
) -> (String, Activation) {
    let ticket = world.floating(10).await;
    let license = front.put_in(old, &ticket, 10).await;
    let until = world.vendor.clock.now().saturating_add(30 * DAY);
    let request = TransferLicenseRequest {
        target_context: new.context(),
        lend_until: lend.then(|| timestamp(until)),
        ..moving(&format!("move-{license}"), &ticket, 4, front.fresh(old).await)
    };
    let answer = front.transfer(request).await.expect("begun");
    block(world, new).await;
    front.import(old, &answer.update).await;
    let open = front.open().await;
    let arrival = open.into_iter().find(|saga| saga.kind() == ActivationKind::Arrive).expect("an open arrival");
    (license, arrival)
}

#[tokio::test(flavor = "multi_thread")]
async fn seats_for_a_blocked_container_stall_visibly_and_go_where_support_sends_them() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (mut old, mut new, mut third) = (world.device(), world.device(), world.device());
        let (license, arrival) = stranded(&world, &front, &mut old, &mut new, false).await;
        assert_eq!(arrival.state(), ActivationState::Stalled);
        assert!(arrival.reason.contains("blocked") && arrival.reason.contains("--to"), "{}", arrival.reason);
        assert_eq!(front.transfer_now(&arrival.transfer_id).await.state, "departed");
        assert_eq!(front.retry(&arrival.activation_id).await.state(), ActivationState::Stalled, "nothing has changed");

        front.submit(third.context()).await.expect("seen");
        let sent = send_elsewhere(&front, &arrival.activation_id, &third).await.expect("sent");
        assert_eq!((sent.state(), &sent.serial), (ActivationState::Completed, &third.serial));
        assert_eq!(sent.activation_id, arrival.activation_id, "it is the same arrival");
        let again = send_elsewhere(&front, &arrival.activation_id, &third).await.expect("a repeat");
        assert_eq!(again.state(), ActivationState::Completed);
        deliver(&front, &mut third).await;
        assert_eq!((seats(&world, &old, &license), seats(&world, &third, &license)), (6, 4));
        assert_eq!(world.vendor.container(&third).await.latest, 1, "once, however often it was asked for");
        assert_eq!(front.transfer_now(&arrival.transfer_id).await.state, "arrived");
        let late = problem(&send_elsewhere(&front, &arrival.activation_id, &old).await.expect_err("too late"));
        assert_eq!(late.code, ErrorCode::WrongState, "{late}");
        assert!(front.open().await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stranded_seats_come_back_to_where_they_came_from_and_a_loan_ends_by_it() {
    on_each_engine(async |world| {
        let front = world.front().await;
        for lend in [false, true] {
            let (mut old, mut new) = (world.device(), world.device());
            let (license, arrival) = stranded(&world, &front, &mut old, &mut new, lend).await;
            let refused = problem(&send_elsewhere(&front, &arrival.activation_id, &new).await.expect_err("blocked"));
            assert_eq!(refused.code, ErrorCode::ContainerSuspected, "{refused}");
            let sent = send_elsewhere(&front, &arrival.activation_id, &old).await.expect("sent");
            assert_eq!(sent.state(), ActivationState::Completed);
            deliver(&front, &mut old).await;
            assert_eq!(seats(&world, &old, &license), 10);
            assert_eq!(old.end_of(&license), None, "its own seats, and for good");
            world.vendor.clock.advance(40 * DAY);
            assert_eq!(front.time_passes().await, 0, "no loan is due");
            all_lie_in(&world, &license, &old).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seats_are_not_sent_where_they_may_not_live() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (mut old, mut new) = (world.device(), world.device());
        let (_, arrival) = stranded(&world, &front, &mut old, &mut new, true).await;
        let kind = lictor_licensing::ContainerKind::Volume;
        let mut volume = TestDevice::new(world.vendor.number(), kind, &world.root);
        front.submit(volume.context()).await.expect("seen");
        let refused = problem(&send_elsewhere(&front, &arrival.activation_id, &volume).await.expect_err("a volume"));
        assert_eq!(refused.code, ErrorCode::BindingForbidden, "{refused}");
        let unknown = world.device();
        let refused = problem(&send_elsewhere(&front, &arrival.activation_id, &unknown).await.expect_err("unknown"));
        assert_eq!(refused.code, ErrorCode::NotFound, "{refused}");
        assert_eq!(front.open().await.len(), 1, "it waits on");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_departure_that_is_kept_when_its_container_is_blocked_ends_and_moves_nothing() {
    on_each_engine(async |world| {
        let front = world.front().await;
        for step in [Step::Planned, Step::PlannedNoted, Step::Kept] {
            let (ticket, mut old, mut new) = (world.floating(10).await, world.device(), world.device());
            let license = front.put_in(&mut old, &ticket, 10).await;
            let context = front.fresh(&mut old).await;
            let request = TransferLicenseRequest {
                target_context: new.context(),
                ..moving(&format!("move-{step:?}"), &ticket, 4, context)
            };
            let (dying, killer) = world.front_killed_at(step).await;
            dying.transfer(request.clone()).await.expect_err("killed");
            assert!(killer.has_struck(), "{step:?}");
            block(&world, &old).await;
            let next = world.front().await;
            next.resume().await;
            let told = problem(&next.transfer(request).await.expect_err("blocked"));
            assert!(!told.message.is_empty(), "{step:?}: {told}");
            assert!(next.open().await.is_empty(), "{step:?}: {:?}", next.open().await);
            let held = world.vendor.license(&license).await;
            let seats: u32 = held.allocations.iter().map(|part| part.quantity).sum();
            assert_eq!(seats + held.available, 10, "{step:?}: {held:?}");
            assert_eq!(world.vendor.container(&new).await.latest, 0, "{step:?}: nothing came in");
        }
    })
    .await;
}

async fn lent(world: &World, front: &Front) -> (TestDevice, TestDevice, String) {
    let (ticket, mut lender, mut borrower) = (world.floating(10).await, world.device(), world.device());
    let license = front.put_in(&mut lender, &ticket, 10).await;
    let until = world.vendor.clock.now().saturating_add(30 * DAY);
    let request = TransferLicenseRequest {
        target_context: borrower.context(),
        lend_until: Some(timestamp(until)),
        ..moving(&format!("lend-{license}"), &ticket, 4, front.fresh(&mut lender).await)
    };
    let answer = front.transfer(request).await.expect("lent");
    front.import(&mut lender, &answer.update).await;
    deliver(front, &mut borrower).await;
    (lender, borrower, license)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loan_comes_home_a_day_after_its_end_whatever_became_of_the_borrower() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (mut lender, borrower, license) = lent(&world, &front).await;
        block(&world, &borrower).await;
        world.vendor.clock.advance(30 * DAY);
        for _ in 0..3 {
            front.time_passes().await;
        }
        assert_eq!(front.pending(&lender).await, Vec::<u8>::new(), "the borrower's clock may be a day behind");
        assert_eq!(seats(&world, &borrower, &license), 0, "the entry has ended by itself");
        // The refused attempt of the first day is followed by one a day later.
        world.vendor.clock.advance(DAY + Duration::from_hours(1));
        for _ in 0..3 {
            front.time_passes().await;
        }
        deliver(&front, &mut lender).await;
        assert_eq!(seats(&world, &lender, &license), 10);
        all_lie_in(&world, &license, &lender).await;
        assert!(front.open().await.is_empty(), "{:?}", front.open().await);
        world.vendor.clock.advance(10 * DAY);
        assert_eq!(front.time_passes().await, 0, "nothing is due any more");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loan_that_comes_home_by_date_does_so_once_whatever_step_dies() {
    on_each_engine(async |world| {
        let front = world.front().await;
        for step in [
            Step::Planned,
            Step::Kept,
            Step::Issued,
            Step::IssuedNoted,
            Step::Committed,
            Step::CommittedNoted,
            Step::Confirmed,
        ] {
            let (mut lender, borrower, license) = lent(&world, &front).await;
            block(&world, &borrower).await;
            world.vendor.clock.advance(31 * DAY);
            let (dying, killer) = world.front_killed_at(step).await;
            dying.time_passes().await;
            assert!(killer.has_struck(), "{step:?} was never reached");
            let next = world.front().await;
            for _ in 0..3 {
                next.time_passes().await;
            }
            deliver(&next, &mut lender).await;
            assert_eq!(seats(&world, &lender, &license), 10, "{step:?}");
            assert!(next.open().await.is_empty(), "{step:?}: {:?}", next.open().await);
        }
    })
    .await;
}
