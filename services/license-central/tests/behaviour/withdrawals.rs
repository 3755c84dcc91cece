//! Taking licenses back: at once, or when the container proves that it let go.

use lictor_api::central::v1::PlanResponse;
use lictor_clock::Clock as _;
use lictor_license_central::{
    domain::{license::LicenseState, plan::Purpose},
    failure::Failure,
};
use lictor_licensing::{
    error::ErrorCode,
    id::{ActivationId, LicenseId},
};

use crate::world::{World, code, container, issued, on_each_engine, take};

async fn withdraw(world: &World, activation: ActivationId, licenses: &[LicenseId]) -> Result<PlanResponse, Failure> {
    let purpose = Purpose::Withdraw { licenses: licenses.to_vec(), reason: "not paid".to_owned() };
    world.plan_at(activation, None, purpose).await
}

/// What a push to the container `a` takes back, with all of a ticket put in when one is named.
fn push(ticket: Option<lictor_licensing::id::TicketId>, withdraw: &[LicenseId]) -> Purpose {
    Purpose::Activate { ticket, picks: Vec::new(), withdraw: withdraw.to_vec() }
}

async fn story(world: &World, license: LicenseId) -> Vec<String> {
    let story = world.story(&license.to_string()).await;
    assert!(story.iter().enumerate().all(|(place, (number, _))| *number == place as u64 + 1), "{story:?}");
    story.into_iter().map(|(_, what)| what).collect()
}

#[tokio::test]
async fn a_license_in_no_container_is_withdrawn_at_once() {
    on_each_engine(async |world| {
        let license = world.license().await;
        let activation = world.activation();
        for _ in 0..2 {
            let done = withdraw(&world, activation, &[license.id]).await.expect("withdrawn");
            assert!(done.done && done.changes.is_empty());
        }
        assert_eq!(world.state(&license).await, LicenseState::Withdrawn);
        assert_eq!(story(&world, license.id).await, ["created", "withdrawn, pending false"]);
        assert_eq!(code(world.reserve(&license, world.activation()).await), ErrorCode::WrongState);
    })
    .await;
}

#[tokio::test]
async fn a_license_in_a_container_is_returning_until_proof() {
    on_each_engine(async |world| {
        let license = world.license().await;
        world.put_in(&license, true).await;
        let activation = world.activation();
        for _ in 0..2 {
            let begun = withdraw(&world, activation, &[license.id]).await.expect("begun");
            assert_eq!(issued(&begun), [(license.id, "withdraw", 0)]);
            assert_eq!((begun.container_id, begun.done), (container('a'), false));
        }
        assert_eq!(world.state(&license).await, LicenseState::Returning);
        world.store.commit(activation, 2, &world.moment()).await.expect("committed");
        assert_eq!(world.state(&license).await, LicenseState::Returning);
        for _ in 0..2 {
            world.store.confirm(activation, &world.moment()).await.expect("confirmed");
        }
        assert_eq!(world.state(&license).await, LicenseState::Withdrawn);
        assert_eq!(
            story(&world, license.id).await,
            [
                "created",
                "Available -> Collected",
                "Collected -> Confirmed",
                "withdrawn, pending true",
                "Returning -> Withdrawn"
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn withdrawn_while_collected_ends_in_either_order_of_proof() {
    on_each_engine(async |world| {
        for placing_first in [true, false] {
            let license = world.license().await;
            let placing = world.put_in(&license, false).await;
            let taking = world.activation();
            withdraw(&world, taking, &[license.id]).await.expect("begun");
            world.store.commit(taking, 2, &world.moment()).await.expect("committed");
            let order = if placing_first { [placing, taking] } else { [taking, placing] };
            for activation in order {
                world.store.confirm(activation, &world.moment()).await.expect("confirmed");
            }
            assert_eq!(world.state(&license).await, LicenseState::Withdrawn);
        }
    })
    .await;
}

#[tokio::test]
async fn a_reservation_that_issued_nothing_yet_gives_way_to_the_vendor() {
    on_each_engine(async |world| {
        let order = world.order(&[("truck", 1), ("tram", 0)]).await;
        let [first, second] = order.tickets[0].licenses.as_slice() else { panic!("two licenses") };
        let activation = world.activation();
        world.plan(activation, 'a', push(Some(first.ticket), &[])).await.expect("both reserved");
        withdraw(&world, world.activation(), &[first.id]).await.expect("withdrawn at once");
        assert_eq!(world.state(first).await, LicenseState::Withdrawn);
        assert_eq!(code(world.store.keep(activation, world.clock.now()).await), ErrorCode::WrongState);
        world.reserve(second, world.activation()).await.expect("the other license is free again");
    })
    .await;
}

#[tokio::test]
async fn a_license_that_is_being_issued_is_waited_for() {
    on_each_engine(async |world| {
        let license = world.license().await;
        let placing = world.activation();
        world.reserve(&license, placing).await.expect("reserved");
        world.store.keep(placing, world.clock.now()).await.expect("kept");
        let taking = world.activation();
        assert_eq!(code(withdraw(&world, taking, &[license.id]).await), ErrorCode::Conflict);
        assert_eq!(world.state(&license).await, LicenseState::Available, "nothing is half done");
        world.store.commit(placing, 1, &world.moment()).await.expect("committed");
        assert_eq!(withdraw(&world, taking, &[license.id]).await.expect("begun").changes.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_second_withdrawal_points_to_the_first() {
    on_each_engine(async |world| {
        let license = world.license().await;
        world.put_in(&license, true).await;
        let (first, second) = (world.activation(), world.activation());
        withdraw(&world, first, &[license.id]).await.expect("begun");
        assert_eq!(code(withdraw(&world, second, &[license.id]).await), ErrorCode::Conflict, "it is being issued");
        world.store.commit(first, 2, &world.moment()).await.expect("committed");
        for _ in 0..2 {
            let told = withdraw(&world, second, &[license.id]).await.expect("told");
            assert!(told.changes.is_empty() && !told.done);
            assert_eq!(told.on_their_way[0].activation_id, first.to_string());
        }
        assert_eq!(story(&world, license.id).await.len(), 4, "the second announces nothing");
    })
    .await;
}

#[tokio::test]
async fn a_push_takes_all_back_or_nothing() {
    on_each_engine(async |world| {
        let (here, nowhere) = (world.license().await, world.license().await);
        world.put_in(&here, true).await;
        let refused = world.plan(world.activation(), 'a', push(None, &[here.id, nowhere.id])).await;
        assert_eq!(code(refused), ErrorCode::WrongState);
        assert_eq!(world.state(&here).await, LicenseState::Confirmed);
        assert_eq!(world.state(&nowhere).await, LicenseState::Available);
        let refused = world.plan(world.activation(), 'b', push(None, &[here.id])).await;
        assert_eq!(code(refused), ErrorCode::WrongState, "it lies elsewhere");
        let missing = LicenseId::new(world.clock.now(), [1; 10]);
        assert_eq!(code(withdraw(&world, world.activation(), &[here.id, missing]).await), ErrorCode::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_push_that_is_refused_leaves_no_trace() {
    on_each_engine(async |world| {
        for confirmed in [true, false] {
            let (held, sold) = (world.license().await, world.license().await);
            world.put_in(&held, confirmed).await;
            let before = world.again(&held).await;
            let activation = world.activation();
            let plan = world.plan(activation, 'a', push(Some(sold.ticket), &[held.id])).await.expect("planned");
            assert_eq!(issued(&plan), [(held.id, "withdraw", 0), (sold.id, "add", 2)]);
            world.store.keep(activation, world.clock.now()).await.expect("kept");
            world.store.release(activation, "refused by the issuer", true, &world.moment()).await.expect("released");
            assert_eq!(world.again(&held).await, before);
            assert_eq!(world.state(&sold).await, LicenseState::Available);
            let begun = withdraw(&world, world.activation(), &[held.id]).await.expect("can be withdrawn anew");
            assert_eq!(begun.changes.len(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn a_push_withdraws_when_it_is_issued_and_ends_with_proof() {
    on_each_engine(async |world| {
        let (held, sold) = (world.license().await, world.license().await);
        world.put_in(&held, true).await;
        let activation = world.activation();
        world.plan(activation, 'a', push(Some(sold.ticket), &[held.id])).await.expect("planned");
        assert_eq!(world.state(&held).await, LicenseState::Confirmed, "nothing was issued");
        world.carry_out(activation, false).await;
        assert_eq!(world.state(&held).await, LicenseState::Returning);
        world.store.confirm(activation, &world.moment()).await.expect("confirmed");
        assert_eq!(world.state(&held).await, LicenseState::Withdrawn);
        assert_eq!(world.state(&sold).await, LicenseState::Confirmed);
        assert_eq!(story(&world, held.id).await[3..], ["withdrawn, pending true", "Returning -> Withdrawn"]);
    })
    .await;
}

#[tokio::test]
async fn a_withdrawal_that_the_issuer_refused_is_called_off() {
    on_each_engine(async |world| {
        let license = world.license().await;
        world.put_in(&license, true).await;
        let activation = world.activation();
        withdraw(&world, activation, &[license.id]).await.expect("begun");
        assert_eq!(world.state(&license).await, LicenseState::Returning);
        world.store.release(activation, "refused", true, &world.moment()).await.expect("released");
        assert_eq!(world.state(&license).await, LicenseState::Confirmed);
    })
    .await;
}

#[tokio::test]
async fn each_container_that_holds_a_part_gets_a_plan_of_its_own() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 6).await;
        world.put(&license, 'a', 2, true).await;
        world.put(&license, 'b', 3, false).await;
        let first = world.activation();
        let plan = withdraw(&world, first, &[license.id]).await.expect("begun");
        assert_eq!((plan.container_id.as_str(), plan.others.len()), (container('a').as_str(), 1));
        assert_eq!(plan.others[0].container_id, container('b'));
        assert_eq!(code(world.plan(world.activation(), 'c', take(&license, 1)).await), ErrorCode::WrongState);
        world.carry_out(first, true).await;
        assert_eq!(world.state(&license).await, LicenseState::Returning, "the other container holds its part");
        let second = world.activation();
        let purpose = || Purpose::Withdraw { licenses: vec![license.id], reason: String::new() };
        let plan = world.plan(second, 'b', purpose()).await.expect("begun");
        assert_eq!((issued(&plan), plan.others.len()), (vec![(license.id, "withdraw", 0)], 0));
        world.carry_out(second, true).await;
        assert_eq!(world.state(&license).await, LicenseState::Withdrawn);
        let third = world.plan_at(world.activation(), None, purpose()).await.expect("nothing is left");
        assert!(third.done);
    })
    .await;
}

#[tokio::test]
async fn an_activation_that_finds_its_withdrawal_begun_by_another_can_be_given_up() {
    on_each_engine(async |world| {
        let license = world.license().await;
        world.put_in(&license, true).await;
        let (first, second) = (world.activation(), world.activation());
        withdraw(&world, first, &[license.id]).await.expect("begun");
        world.carry_out(first, false).await;
        let told = world.plan(second, 'a', push(None, &[license.id])).await.expect("told");
        assert_eq!(told.on_their_way[0].activation_id, first.to_string());
        world.store.release(second, "nothing to do", true, &world.moment()).await.expect("given up");
        assert_eq!(world.state(&license).await, LicenseState::Returning, "the first one goes on");
        world.store.confirm(first, &world.moment()).await.expect("confirmed");
        assert_eq!(world.state(&license).await, LicenseState::Withdrawn);
    })
    .await;
}
