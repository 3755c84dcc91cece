//! How long a plan holds, how it is repeated, and that nobody gets a license twice.

use std::{sync::Arc, time::Duration};

use lictor_clock::Clock as _;
use lictor_license_central::domain::{
    license::LicenseState,
    plan::{Place, Purpose},
    reservation::RESERVATION_TIME,
};
use lictor_licensing::{ContainerKind, error::ErrorCode};

use crate::world::{code, issued, machine, on_each_engine, take};

#[tokio::test]
async fn of_many_at_once_exactly_one_gets_the_license() {
    on_each_engine(async |world| {
        let license = world.license().await;
        let world = Arc::new(world);
        let racers: Vec<_> = (0..8)
            .map(|_| {
                let (world, license) = (Arc::clone(&world), license.clone());
                tokio::spawn(async move { world.reserve(&license, world.activation()).await })
            })
            .collect();
        let mut winners = 0;
        for racer in racers {
            match racer.await.expect("joined") {
                Ok(_) => winners += 1,
                refused => assert_eq!(code(refused), ErrorCode::Conflict),
            }
        }
        assert_eq!(winners, 1);
    })
    .await;
}

#[tokio::test]
async fn of_two_plans_for_the_last_seat_one_gets_it() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 5).await;
        world.put(&license, 'a', 4, true).await;
        let world = Arc::new(world);
        let racers: Vec<_> = ['b', 'c', 'd', 'e']
            .map(|digit| {
                let (world, license) = (Arc::clone(&world), license.clone());
                tokio::spawn(async move { world.plan(world.activation(), digit, take(&license, 1)).await })
            })
            .into();
        let mut winners = 0;
        for racer in racers {
            match racer.await.expect("joined") {
                Ok(_) => winners += 1,
                refused => assert!(matches!(code(refused), ErrorCode::Conflict | ErrorCode::WrongState)),
            }
        }
        assert_eq!(winners, 1);
        assert_eq!(world.again(&license).await.free(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_repeat_gets_the_same_answer_at_every_stage() {
    on_each_engine(async |world| {
        let license = world.license().await;
        let activation = world.activation();
        let first = world.reserve(&license, activation).await.expect("reserved");
        assert_eq!(issued(&first), [(license.id, "add", 2)]);
        assert_eq!(world.reserve(&license, activation).await.expect("again"), first);
        world.store.keep(activation, world.clock.now()).await.expect("kept");
        world.store.keep(activation, world.clock.now()).await.expect("kept again");
        assert_eq!(world.reserve(&license, activation).await.expect("kept"), first);
        for _ in 0..2 {
            world.store.commit(activation, 4, &world.moment()).await.expect("committed");
            assert_eq!(world.reserve(&license, activation).await.expect("committed"), first);
        }
        for _ in 0..2 {
            world.store.confirm(activation, &world.moment()).await.expect("confirmed");
            assert_eq!(world.reserve(&license, activation).await.expect("confirmed"), first);
        }
        assert_eq!(code(world.plan(activation, 'b', take(&license, 0)).await), ErrorCode::RequestIdReused);
        let story: Vec<String> = world.story(&license.id.to_string()).await.into_iter().map(|(_, what)| what).collect();
        assert_eq!(story, ["created", "Available -> Collected", "Collected -> Confirmed"], "repeats announce nothing");
    })
    .await;
}

#[tokio::test]
async fn a_lapsed_plan_gives_way_and_cannot_come_back() {
    on_each_engine(async |world| {
        let license = world.license().await;
        let (slow, quick) = (world.activation(), world.activation());
        world.reserve(&license, slow).await.expect("reserved");
        world.clock.advance(RESERVATION_TIME - Duration::from_micros(1));
        assert_eq!(code(world.reserve(&license, quick).await), ErrorCode::Conflict);
        world.clock.advance(Duration::from_micros(1));
        assert_eq!(code(world.store.keep(slow, world.clock.now()).await), ErrorCode::WrongState);
        world.reserve(&license, quick).await.expect("its time is over");
        assert_eq!(code(world.store.commit(slow, 1, &world.moment()).await), ErrorCode::WrongState);
        assert_eq!(code(world.reserve(&license, slow).await), ErrorCode::WrongState);
        world.store.commit(quick, 1, &world.moment()).await.expect("the other goes on");
    })
    .await;
}

#[tokio::test]
async fn a_late_commit_counts_as_long_as_nobody_took_the_license() {
    on_each_engine(async |world| {
        let license = world.license().await;
        let activation = world.activation();
        world.reserve(&license, activation).await.expect("reserved");
        world.clock.advance(RESERVATION_TIME * 2);
        world.store.commit(activation, 1, &world.moment()).await.expect("nobody else took it");
        assert_eq!(world.state(&license).await, LicenseState::Collected);
    })
    .await;
}

#[tokio::test]
async fn a_kept_plan_never_lapses_and_only_the_issuers_word_ends_it() {
    on_each_engine(async |world| {
        let license = world.license().await;
        let activation = world.activation();
        world.reserve(&license, activation).await.expect("reserved");
        world.store.keep(activation, world.clock.now()).await.expect("kept");
        world.clock.advance(RESERVATION_TIME * 100);
        assert_eq!(code(world.reserve(&license, world.activation()).await), ErrorCode::Conflict);
        let release = async |not_issued| world.store.release(activation, "why", not_issued, &world.moment()).await;
        assert_eq!(code(release(false).await), ErrorCode::WrongState);
        release(true).await.expect("nothing was issued");
        release(true).await.expect("again");
        world.reserve(&license, world.activation()).await.expect("free again");
    })
    .await;
}

#[tokio::test]
async fn what_was_issued_is_never_released() {
    on_each_engine(async |world| {
        let license = world.license().await;
        let activation = world.put_in(&license, false).await;
        let refused = world.store.release(activation, "why", true, &world.moment()).await;
        assert_eq!(code(refused), ErrorCode::WrongState);
        assert_eq!(world.state(&license).await, LicenseState::Collected);
    })
    .await;
}

#[tokio::test]
async fn a_binding_that_does_not_fit_is_refused_before_anything_is_set_aside() {
    on_each_engine(async |world| {
        let order = world.order(&[("truck", 1), ("reports", 0)]).await;
        let ticket = Some(order.tickets[0].id);
        let all = || Purpose::Activate { ticket, picks: Vec::new(), withdraw: Vec::new() };
        for (kind, virtual_machine) in
            [(ContainerKind::Volume, false), (ContainerKind::Kubernetes, false), (ContainerKind::Machine, true)]
        {
            let place = Place { kind: Some(kind), virtual_machine, ..machine('a') };
            let activation = world.activation();
            assert_eq!(code(world.plan_at(activation, Some(place), all()).await), ErrorCode::BindingForbidden);
            assert!(world.store.reservation(activation).await.expect("a store").is_none());
        }
        assert_eq!(world.plan(world.activation(), 'a', all()).await.expect("all of them").changes.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_spent_ticket_gives_nothing() {
    on_each_engine(async |world| {
        let license = world.license().await;
        world.put_in(&license, true).await;
        let all = Purpose::Activate { ticket: Some(license.ticket), picks: Vec::new(), withdraw: Vec::new() };
        assert_eq!(code(world.plan(world.activation(), 'b', all).await), ErrorCode::WrongState);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_ticket_or_activation_is_named() {
    on_each_engine(async |world| {
        let unknown = lictor_licensing::id::TicketId::new(world.clock.now(), [7; 10]);
        let all = Purpose::Activate { ticket: Some(unknown), picks: Vec::new(), withdraw: Vec::new() };
        assert_eq!(code(world.plan(world.activation(), 'a', all).await), ErrorCode::TicketUnknown);
        let nobody = world.activation();
        assert_eq!(code(world.store.keep(nobody, world.clock.now()).await), ErrorCode::NotFound);
        assert_eq!(code(world.store.commit(nobody, 1, &world.moment()).await), ErrorCode::NotFound);
        assert_eq!(code(world.store.confirm(nobody, &world.moment()).await), ErrorCode::NotFound);
        world.store.release(nobody, "", false, &world.moment()).await.expect("there is nothing to give back");
    })
    .await;
}
