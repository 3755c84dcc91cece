//! A process dies between any two steps of a saga; the next one ends what it began, with the same bytes.

use lictor_activation::{
    domain::{
        purpose::{Container, Purpose},
        saga::{Asked, Saga},
        state::State,
    },
    saga::Step,
    store::Ended,
};
use lictor_api::{activation::v1::ActivationState, error::problem, types::v1::LicenseState};
use lictor_clock::Clock as _;
use lictor_licensing::{
    ContainerKind,
    error::{ErrorCode, Problem},
    id::{ActivationId, TicketId},
};
use lictor_test_support::device::TestDevice;

use crate::{
    front::Front,
    world::{FIRM, World, on_each_engine},
};

/// How many segments the generator ever issued for a container.
async fn issued(world: &World, device: &TestDevice) -> u64 {
    world.vendor.container(device).await.latest
}

const UP_TO_THE_FILE: [Step; 8] = [
    Step::Begun,
    Step::Planned,
    Step::PlannedNoted,
    Step::Kept,
    Step::Issued,
    Step::IssuedNoted,
    Step::Committed,
    Step::CommittedNoted,
];

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_killed_at_any_step_ends_once_with_the_same_bytes() {
    on_each_engine(async |world| {
        for by_itself in [true, false] {
            for step in UP_TO_THE_FILE {
                let (ticket, mut device) = (world.ticket().await, world.device());
                let license = &ticket.licenses[0].license_id;
                let request_id = format!("{step:?}-{by_itself}");
                let (front, killer) = world.front_killed_at(step).await;
                let dead = front.activate(&request_id, &ticket.ticket, device.context()).await;
                assert_eq!(problem(&dead.expect_err("killed")).code, ErrorCode::Unavailable, "{step:?}");
                assert!(killer.has_struck(), "{step:?} was never reached");

                let front = world.front().await;
                if by_itself {
                    front.resume().await;
                    assert_eq!(
                        world.vendor.state(license).await,
                        LicenseState::Collected,
                        "{step:?}: nobody asked again"
                    );
                }
                let answer = front.activate(&request_id, &ticket.ticket, device.context()).await.expect("repeated");
                let again = front.activate(&request_id, &ticket.ticket, device.context()).await.expect("repeated");
                assert_eq!(answer, again, "{step:?}");
                let activation = answer.activation.expect("an activation");
                assert_eq!(activation.state(), ActivationState::Completed, "{step:?}");
                assert_eq!(issued(&world, &device).await, 1, "{step:?}: one segment");
                assert_eq!(world.announced(&activation.activation_id).await, (1, 0), "{step:?}");

                front.import(&mut device, &answer.update).await;
                assert_eq!((device.state.entries.len(), device.holds(license)), (1, true), "{step:?}");
                assert_eq!(world.announced(&activation.activation_id).await, (1, 1), "{step:?}");
                assert_eq!(world.vendor.state(license).await, LicenseState::Confirmed, "{step:?}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proof_is_passed_on_once_whatever_dies() {
    on_each_engine(async |world| {
        for step in [Step::Confirmed, Step::ConfirmedNoted] {
            let (ticket, mut device) = (world.ticket().await, world.device());
            let (front, killer) = world.front_killed_at(step).await;
            let answer =
                front.activate(&format!("{step:?}"), &ticket.ticket, device.context()).await.expect("activated");
            front.import(&mut device, &answer.update).await;
            assert!(killer.has_struck(), "{step:?} was never reached");

            world.front().await.take_proofs().await;
            let activation = answer.activation.expect("an activation").activation_id;
            assert_eq!(world.announced(&activation).await, (1, 1), "{step:?}");
            assert_eq!(world.vendor.state(&ticket.licenses[0].license_id).await, LicenseState::Confirmed, "{step:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proof_that_comes_before_the_commit_waits_for_it() {
    on_each_engine(async |world| {
        let (ticket, mut device) = (world.ticket().await, world.device());
        let (front, _) = world.front_killed_at(Step::IssuedNoted).await;
        front.activate("one", &ticket.ticket, device.context()).await.expect_err("killed");
        // Support hands the pending update out before anybody has resumed the saga.
        let update = front.pending(&device).await;
        let receipt = device.import(&update).expect("a good update file");
        front.submit(receipt).await.expect("taken");

        let front = world.front().await;
        front.take_proofs().await;
        assert_eq!(world.vendor.state(&ticket.licenses[0].license_id).await, LicenseState::Confirmed);
    })
    .await;
}

async fn put_in(front: &Front, world: &World, device: &mut TestDevice) -> String {
    let ticket = world.ticket().await;
    let answer = front.activate(&ticket.ticket_id, &ticket.ticket, device.context()).await.expect("activated");
    front.import(device, &answer.update).await;
    ticket.licenses[0].license_id.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_with_a_withdrawal_killed_at_any_step_is_one_segment() {
    on_each_engine(async |world| {
        for step in [Step::Begun, Step::Planned, Step::PlannedNoted, Step::Kept, Step::Issued, Step::Committed] {
            let front = world.front().await;
            let mut device = world.device();
            let old = put_in(&front, &world, &mut device).await;
            let ticket = world.ticket().await;
            let new = &ticket.licenses[0].license_id;
            let (front, killer) = world.front_killed_at(step).await;
            front.push(&format!("{step:?}"), &device, &ticket.ticket, &[&old]).await.expect_err("killed");
            assert!(killer.has_struck(), "{step:?} was never reached");

            let front = world.front().await;
            let push = front.push(&format!("{step:?}"), &device, &ticket.ticket, &[&old]).await.expect("repeated");
            let again = front.push(&format!("{step:?}"), &device, &ticket.ticket, &[&old]).await.expect("repeated");
            assert_eq!(push, again, "{step:?}");
            assert_eq!(issued(&world, &device).await, 2, "{step:?}: both changes in one segment");
            assert_eq!(world.vendor.state(&old).await, LicenseState::Returning);
            front.import(&mut device, &push.update).await;
            assert!(device.holds(new) && !device.holds(&old), "{step:?}");
            assert_eq!(world.vendor.state(&old).await, LicenseState::Withdrawn, "{step:?}");
            assert_eq!(world.vendor.state(new).await, LicenseState::Confirmed, "{step:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_killed_at_any_step_is_carried_on() {
    on_each_engine(async |world| {
        for step in
            [Step::Begun, Step::Planned, Step::PlannedNoted, Step::Issued, Step::Committed, Step::CommittedNoted]
        {
            let front = world.front().await;
            let mut device = world.device();
            let license = put_in(&front, &world, &mut device).await;
            let (front, killer) = world.front_killed_at(step).await;
            front.withdraw(&format!("{step:?}"), &license).await.expect_err("killed");
            assert!(killer.has_struck(), "{step:?} was never reached");

            let front = world.front().await;
            front.resume().await;
            assert_eq!(issued(&world, &device).await, 2, "{step:?}: one more segment");
            let update = front.pending(&device).await;
            front.import(&mut device, &update).await;
            assert_eq!(device.state.entries.len(), 0, "{step:?}");
            assert_eq!(world.vendor.state(&license).await, LicenseState::Withdrawn, "{step:?}");
            let told = front.withdraw(&format!("{step:?}"), &license).await.expect("repeated");
            assert_eq!((told.state.as_str(), told.serials.len()), ("withdrawn", 0), "{step:?}");
        }
    })
    .await;
}

/// A saga for a container that the generator never saw: it refuses for good, after everything was set aside.
fn hopeless(world: &World, ticket: TicketId, request_id: &str) -> Saga {
    let now = world.vendor.clock.now();
    let asked =
        Asked { caller: "test".to_owned(), request_id: request_id.to_owned(), body_hash: [0; 32], traceparent: None };
    let container = Container {
        id: "ab".repeat(32),
        serial: "130-1".to_owned(),
        kind: Some(ContainerKind::Machine),
        virtual_machine: false,
    };
    let id = ActivationId::new(now, [world.vendor.number() as u8; 10]);
    Saga::new(id, Purpose::Activate { ticket, picks: Vec::new() }, asked, now).of(FIRM, Some(container))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_the_issuer_gives_everything_back_whatever_dies() {
    on_each_engine(async |world| {
        for step in [None, Some(Step::RefusingNoted), Some(Step::Released), Some(Step::ReleasedNoted)] {
            let ticket = world.ticket().await;
            let id = ticket.ticket_id.parse().expect("a ticket id");
            let saga = hopeless(&world, id, &format!("{step:?}"));
            if let Some(step) = step {
                let (front, killer) = world.front_killed_at(step).await;
                front.runner.run(saga.clone(), None).await.expect_err("killed");
                assert!(killer.has_struck(), "{step:?} was never reached");
            }
            let front = world.front().await;
            let settled = front.runner.run(saga, None).await.expect("settled");
            assert_eq!(settled.saga.state, State::Refused);
            assert_eq!(settled.saga.problem.expect("a reason").code, ErrorCode::NotFound);
            assert_eq!(world.vendor.state(&ticket.licenses[0].license_id).await, LicenseState::Available);
            let mut device = world.device();
            front.activate("next", &ticket.ticket, device.context()).await.expect("the ticket is as good as before");
        }
        assert!(
            world.events().await.iter().all(|event| event.r#type.ends_with("completed.v1")),
            "refusals are not announced"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_missed_its_own_last_step_leaves_the_saga_at_rest() {
    on_each_engine(async |world| {
        let (ticket, mut device) = (world.ticket().await, world.device());
        let front = world.front().await;
        let answer = front.activate("one", &ticket.ticket, device.context()).await.expect("activated");
        let id: ActivationId = answer.activation.expect("it").activation_id.parse().expect("an id");
        let (store, now) = (front.runner.store(), world.vendor.clock.now());
        // What a run does whose last commit was stored without an answer: it believes that it failed.
        let problem = Problem::new(ErrorCode::Unavailable, "the database does not answer", "");
        let ended = Ended::Failed { problem: &problem, again_at: now, stalled: true };
        store.put_down(id, "test", ended).await.expect("put down");
        assert_eq!(front.runner.resume_due().await.expect("a store"), 0, "it waits for proof and is not due");
        front.import(&mut device, &answer.update).await;
        assert_eq!(world.vendor.state(&ticket.licenses[0].license_id).await, LicenseState::Confirmed);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_time_is_over_does_not_end_the_next_ones() {
    on_each_engine(async |world| {
        let ticket = world.ticket().await;
        let saga = hopeless(&world, ticket.ticket_id.parse().expect("a ticket id"), "slow");
        let front = world.front().await;
        let (store, clock) = (front.runner.store(), &world.vendor.clock);
        store.begin(&saga, None, "slow", clock.now()).await.expect("begun");
        clock.advance(std::time::Duration::from_secs(61));
        store.claim(saga.id, "next", clock.now()).await.expect("a store").expect("free to be taken over");
        store.put_down(saga.id, "slow", Ended::AtRest).await.expect("put down");
        let third = store.claim(saga.id, "third", clock.now()).await.expect("a store");
        assert!(third.is_none(), "the next runner still works on it");
    })
    .await;
}
