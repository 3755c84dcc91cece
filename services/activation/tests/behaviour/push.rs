//! What the vendor starts: pushes without the user, lost updates, withdrawals.

use lictor_api::{error::problem, types::v1::LicenseState};
use lictor_licensing::error::ErrorCode;
use lictor_test_support::device::TestDevice;

use crate::{
    front::Front,
    world::{World, on_each_engine},
};

async fn activated(front: &Front, world: &World, device: &mut TestDevice) -> String {
    let ticket = world.ticket().await;
    let answer = front.activate(&ticket.ticket_id, &ticket.ticket, device.context()).await.expect("activated");
    front.import(device, &answer.update).await;
    ticket.licenses[0].license_id.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_update_rides_in_the_next_one() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let mut device = world.device();
        let base = activated(&front, &world, &mut device).await;
        let (lost, next) = (world.ticket().await, world.ticket().await);
        let first = front.push("lost", &device, &lost.ticket, &[]).await.expect("pushed");
        assert_eq!((first.segments, first.to), (1, 2));
        let second = front.push("next", &device, &next.ticket, &[]).await.expect("pushed");
        assert_eq!((second.segments, second.to), (2, 3), "both segments in one file");
        assert_eq!(front.pending(&device).await, second.update);
        front.import(&mut device, &second.update).await;
        for license in [&base, &lost.licenses[0].license_id, &next.licenses[0].license_id] {
            assert!(device.holds(license));
            assert_eq!(world.vendor.state(license).await, LicenseState::Confirmed);
        }
        assert!(front.pending(&device).await.is_empty());
        let again = front.push("lost", &device, &lost.ticket, &[]).await.expect("repeated");
        assert_eq!(again.update, first.update, "still the same file");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_repeated_by_its_id_and_refused_with_another_body() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let mut device = world.device();
        activated(&front, &world, &mut device).await;
        let (one, other) = (world.ticket().await, world.ticket().await);
        let first = front.push("push", &device, &one.ticket, &[]).await.expect("pushed");
        assert_eq!(front.push("push", &device, &one.ticket, &[]).await.expect("repeated"), first);
        let refused = front.push("push", &device, &other.ticket, &[]).await.expect_err("another ticket");
        assert_eq!(problem(&refused).code, ErrorCode::RequestIdReused);
        assert_eq!(world.vendor.state(&other.licenses[0].license_id).await, LicenseState::Available);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_license_never_collected_is_withdrawn_at_once() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let ticket = world.ticket().await;
        let license = &ticket.licenses[0].license_id;
        for _ in 0..2 {
            let told = front.withdraw("once", license).await.expect("withdrawn");
            assert_eq!((told.state.as_str(), told.serials.len()), ("withdrawn", 0));
        }
        let mut device = world.device();
        let refused = front.activate("late", &ticket.ticket, device.context()).await.expect_err("withdrawn");
        assert_eq!(problem(&refused).code, ErrorCode::WrongState);
        assert!(world.events().await.is_empty(), "no container was changed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_returns_until_proven_and_cannot_be_skipped() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let mut device = world.device();
        let license = activated(&front, &world, &mut device).await;
        let told = front.withdraw("w", &license).await.expect("begun");
        assert_eq!((told.state.as_str(), told.serials), ("returning", vec![device.serial.clone()]));
        let second = front.withdraw("another-request", &license).await.expect("told");
        assert_eq!((second.state.as_str(), second.serials), ("returning", vec![device.serial.clone()]));
        // Whatever is pushed next carries the withdrawal along.
        let ticket = world.ticket().await;
        let push = front.push("next", &device, &ticket.ticket, &[]).await.expect("pushed");
        assert_eq!(push.segments, 2, "the second request for a withdrawal issued nothing");
        front.import(&mut device, &push.update).await;
        assert!(!device.holds(&license) && device.holds(&ticket.licenses[0].license_id));
        assert_eq!(world.vendor.state(&license).await, LicenseState::Withdrawn);
        assert_eq!(front.withdraw("w", &license).await.expect("repeated").state, "withdrawn");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_while_collected_and_not_proven() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.ticket().await, world.device());
        let license = &ticket.licenses[0].license_id;
        let first = front.activate("one", &ticket.ticket, device.context()).await.expect("activated");
        assert_eq!(front.withdraw("w", license).await.expect("begun").state, "returning");
        // The container still takes the old file, and says so.
        front.import(&mut device, &first.update).await;
        assert!(device.holds(license));
        assert_eq!(world.vendor.state(license).await, LicenseState::Returning);
        let update = front.pending(&device).await;
        front.import(&mut device, &update).await;
        assert!(!device.holds(license));
        assert_eq!(world.vendor.state(license).await, LicenseState::Withdrawn);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_push_leaves_everything_as_it_was() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (mut device, mut elsewhere) = (world.device(), world.device());
        let here = activated(&front, &world, &mut device).await;
        let there = activated(&front, &world, &mut elsewhere).await;
        let ticket = world.ticket().await;
        let sold = &ticket.licenses[0].license_id;
        // One of the two withdrawals is for another container.
        let refused = front.push("p1", &device, &ticket.ticket, &[&here, &there]).await.expect_err("refused");
        assert_eq!(problem(&refused).code, ErrorCode::WrongState);
        assert_eq!(world.vendor.state(sold).await, LicenseState::Available);
        for license in [&here, &there] {
            assert_eq!(world.vendor.state(license).await, LicenseState::Confirmed);
        }
        front.push("p2", &device, &ticket.ticket, &[&here]).await.expect("a right one goes through");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_pushes_are_refused() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let device = world.device();
        let ticket = world.ticket().await;
        let license = &ticket.licenses[0].license_id;
        let code = async |outcome| {
            problem(
                &{
                    let outcome: Result<lictor_api::activation::v1::CreatePushResponse, tonic::Status> = outcome;
                    outcome
                }
                .expect_err("refused"),
            )
            .code
        };
        assert_eq!(code(front.push("a", &device, "", &[]).await).await, ErrorCode::InvalidArgument);
        assert_eq!(code(front.push("b", &device, &ticket.ticket, &[]).await).await, ErrorCode::NotFound);
        assert_eq!(code(front.push("", &device, &ticket.ticket, &[]).await).await, ErrorCode::InvalidArgument);
        assert_eq!(code(front.push("c", &device, "", &["lic_1"]).await).await, ErrorCode::InvalidArgument);
        let unknown = front.withdraw("d", "lic_00000000000000000000000000").await.expect_err("no such license");
        assert_eq!(problem(&unknown).code, ErrorCode::NotFound);
        assert_eq!(world.vendor.state(license).await, LicenseState::Available);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_a_withdrawal_that_is_on_its_way_is_refused_and_ends() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let mut device = world.device();
        let license = activated(&front, &world, &mut device).await;
        assert_eq!(front.withdraw("w", &license).await.expect("begun").state, "returning");
        for _ in 0..2 {
            let refused = problem(&front.push("p", &device, "", &[&license]).await.expect_err("nothing to do"));
            assert_eq!(refused.code, ErrorCode::WrongState);
            assert!(refused.message.starts_with("there is nothing to do"), "{}", refused.message);
        }
        assert_eq!(front.runner.store().unfinished().await.expect("a store"), (0, 0), "no saga is left half-way");
        let update = front.pending(&device).await;
        front.import(&mut device, &update).await;
        assert_eq!(world.vendor.state(&license).await, LicenseState::Withdrawn);
    })
    .await;
}
