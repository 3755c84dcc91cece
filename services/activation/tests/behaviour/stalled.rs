//! Sagas that can neither go on nor end: a person sees them, puts right what is wrong, and has them tried again.

use lictor_api::{
    activation::v1::ActivationState,
    central::v1::{
        ActivatePurpose, CommitRequest, KeepReservationRequest, PlanRequest,
        allocation_service_client::AllocationServiceClient, plan_request::Purpose,
    },
    error::problem,
    types::v1::{ContainerKind, LicenseState},
    update::v1::{IssueUpdateRequest, update_service_client::UpdateServiceClient},
};
use lictor_auth::Role;
use lictor_clock::Clock as _;
use lictor_licensing::{error::ErrorCode, id::ActivationId};
use lictor_test_support::device::TestDevice;

use crate::{
    front::Front,
    world::{FIRM, World, on_each_engine},
};

/// A license that license-central knows to lie in a container which the generator has never seen, as after its database
/// was restored; with what makes up for it.
async fn in_an_unknown_container(world: &World, device: &TestDevice) -> (String, IssueUpdateRequest) {
    let ticket = world.ticket().await;
    let mut central = AllocationServiceClient::new(world.vendor.central(&[Role::Service]));
    let id = ActivationId::new(world.vendor.clock.now(), [world.vendor.number() as u8; 10]).to_string();
    let request = PlanRequest {
        activation_id: id.clone(),
        container_id: device.id(),
        serial: device.serial.clone(),
        kind: ContainerKind::Machine.into(),
        virtual_machine: false,
        purpose: Some(Purpose::Activate(ActivatePurpose { ticket_id: ticket.ticket_id.clone(), ..Default::default() })),
    };
    let plan = central.plan(request).await.expect("planned").into_inner();
    central.keep_reservation(KeepReservationRequest { activation_id: id.clone() }).await.expect("kept");
    central.commit(CommitRequest { activation_id: id.clone(), counter: 1 }).await.expect("committed");
    let missing =
        IssueUpdateRequest { reference: id, firm_code: FIRM, container_id: device.id(), changes: plan.changes };
    (ticket.licenses[0].license_id.clone(), missing)
}

/// Somebody looks: the container sends its context, and the generator gets what it had lost.
async fn put_right(world: &World, front: &Front, device: &mut TestDevice, missing: IssueUpdateRequest) {
    front.submit(device.context()).await.expect("seen");
    let mut updates = UpdateServiceClient::new(world.vendor.update(&[Role::Service]));
    updates.issue_update(missing).await.expect("issued");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_begun_withdrawal_that_is_refused_for_good_is_shown_and_tried_again_by_hand() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let mut device = world.device();
        let (license, missing) = in_an_unknown_container(&world, &device).await;
        let refused = problem(&front.withdraw("w", &license).await.expect_err("the generator knows no such container"));
        assert_eq!(refused.code, ErrorCode::NotFound, "{refused}");

        let open = front.open().await;
        assert_eq!(open.len(), 1, "{open:?}");
        assert_eq!(
            (open[0].state(), open[0].waits_for.as_str()),
            (ActivationState::Stalled, "somebody who looks at it")
        );
        assert!(!open[0].reason.is_empty(), "it says why");
        assert_eq!(front.runner.store().unfinished().await.expect("a store"), (1, 1));
        assert_eq!(front.runner.resume_due().await.expect("a store"), 0, "nobody runs against the wall for ever");
        assert_eq!(front.retry(&open[0].activation_id).await.state(), ActivationState::Stalled, "nothing has changed");

        put_right(&world, &front, &mut device, missing).await;
        let after = front.retry(&open[0].activation_id).await;
        assert_eq!((after.state(), after.reason.as_str()), (ActivationState::Completed, ""));
        let update = front.pending(&device).await;
        front.import(&mut device, &update).await;
        assert_eq!(world.vendor.state(&license).await, LicenseState::Withdrawn);
        assert!(front.open().await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_saga_is_tried_once_a_day_by_itself() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let mut device = world.device();
        let (license, missing) = in_an_unknown_container(&world, &device).await;
        front.withdraw("w", &license).await.expect_err("stalled");
        put_right(&world, &front, &mut device, missing).await;
        world.vendor.clock.advance(std::time::Duration::from_hours(23));
        assert_eq!(front.runner.resume_due().await.expect("a store"), 0);
        world.vendor.clock.advance(std::time::Duration::from_hours(2));
        assert_eq!(front.runner.resume_due().await.expect("a store"), 1);
        assert_eq!(world.vendor.container(&device).await.latest, 2, "the withdrawal was issued");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_listed_with_what_it_waits_for_and_left_to_its_container() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.ticket().await, world.device());
        let answer = front.activate("one", &ticket.ticket, device.context()).await.expect("activated");
        let open = front.open().await;
        assert_eq!(open.len(), 1);
        assert_eq!(open[0].waits_for, "the proof of the container");
        assert_eq!(front.retry(&open[0].activation_id).await.state(), ActivationState::Completed);
        front.import(&mut device, &answer.update).await;
        assert!(front.open().await.is_empty());
    })
    .await;
}
