//! Taking licenses back: at once, or when the container proves that it let go.

use lictor_clock::Clock as _;
use lictor_license_central::{
    domain::license::LicenseState,
    failure::Failure,
    store::{Withdrawal, WithdrawalRequest},
};
use lictor_licensing::{
    error::ErrorCode,
    id::{ActivationId, LicenseId},
};

use crate::world::{World, code, container, on_each_engine};

async fn withdraw(world: &World, activation: ActivationId, licenses: &[LicenseId]) -> Result<Withdrawal, Failure> {
    let request =
        WithdrawalRequest { activation, licenses: licenses.to_vec(), reason: "not paid".to_owned(), container: None };
    world.store.begin_withdrawal(&request, &world.moment()).await
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
            assert!(done.licenses.is_empty());
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
            assert_eq!(begun.licenses.len(), 1);
            assert_eq!(
                (begun.licenses[0].activation, begun.licenses[0].container.clone()),
                (activation, container('a'))
            );
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
        let wish =
            lictor_license_central::store::ReserveRequest { licenses: Vec::new(), ..world.wish(first, activation) };
        world.store.reserve(&wish, world.clock.now()).await.expect("both reserved");
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
        assert_eq!(withdraw(&world, taking, &[license.id]).await.expect("begun").licenses.len(), 1);
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
        for _ in 0..2 {
            let told = withdraw(&world, second, &[license.id]).await.expect("told");
            assert_eq!(told.licenses[0].activation, first);
        }
        assert_eq!(story(&world, license.id).await.len(), 4, "the second announces nothing");
    })
    .await;
}

#[tokio::test]
async fn all_licenses_of_a_withdrawal_or_none() {
    on_each_engine(async |world| {
        let (here, nowhere) = (world.license().await, world.license().await);
        world.put_in(&here, true).await;
        let request = WithdrawalRequest {
            activation: world.activation(),
            licenses: vec![here.id, nowhere.id],
            reason: String::new(),
            container: Some(container('a')),
        };
        let refused = world.store.begin_withdrawal(&request, &world.moment()).await;
        assert_eq!(code(refused), ErrorCode::WrongState);
        assert_eq!(world.state(&here).await, LicenseState::Confirmed);
        assert_eq!(world.state(&nowhere).await, LicenseState::Available);
        let elsewhere =
            WithdrawalRequest { licenses: vec![here.id], container: Some(container('b')), ..request.clone() };
        assert_eq!(code(world.store.begin_withdrawal(&elsewhere, &world.moment()).await), ErrorCode::WrongState);
        let missing = LicenseId::new(world.clock.now(), [1; 10]);
        assert_eq!(code(withdraw(&world, world.activation(), &[here.id, missing]).await), ErrorCode::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_push_that_is_refused_calls_its_withdrawal_off() {
    on_each_engine(async |world| {
        for confirmed in [true, false] {
            let (held, sold) = (world.license().await, world.license().await);
            world.put_in(&held, confirmed).await;
            let push = world.activation();
            world.reserve(&sold, push).await.expect("reserved");
            world.store.keep(push, world.clock.now()).await.expect("kept");
            let request = WithdrawalRequest {
                activation: push,
                licenses: vec![held.id],
                reason: String::new(),
                container: Some(container('a')),
            };
            for _ in 0..2 {
                world.store.begin_withdrawal(&request, &world.moment()).await.expect("begun");
            }
            assert_eq!(world.state(&held).await, LicenseState::Returning);
            world.store.release(push, "refused by the issuer", true, &world.moment()).await.expect("released");
            let before = if confirmed { LicenseState::Confirmed } else { LicenseState::Collected };
            assert_eq!(world.state(&held).await, before);
            assert_eq!(world.state(&sold).await, LicenseState::Available);
            withdraw(&world, world.activation(), &[held.id]).await.expect("can be withdrawn anew");
        }
    })
    .await;
}

#[tokio::test]
async fn an_activation_that_finds_its_withdrawal_begun_by_another_can_be_given_up() {
    on_each_engine(async |world| {
        let license = world.license().await;
        world.put_in(&license, true).await;
        let first = world.activation();
        withdraw(&world, first, &[license.id]).await.expect("begun");
        let second = WithdrawalRequest {
            activation: world.activation(),
            licenses: vec![license.id],
            reason: String::new(),
            container: Some(container('a')),
        };
        for _ in 0..2 {
            let told = world.store.begin_withdrawal(&second, &world.moment()).await.expect("told");
            assert_eq!(told.licenses[0].activation, first);
        }
        world.store.release(second.activation, "nothing to do", true, &world.moment()).await.expect("given up");
        assert_eq!(world.state(&license).await, LicenseState::Returning, "the first one goes on");
        world.store.commit(first, 2, &world.moment()).await.expect("committed");
        world.store.confirm(first, &world.moment()).await.expect("confirmed");
        assert_eq!(world.state(&license).await, LicenseState::Withdrawn);
    })
    .await;
}
