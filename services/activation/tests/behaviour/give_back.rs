//! Licenses back to the vendor: a fresh context asks, the receipt proves, and only then is anything credited.

use lictor_api::{activation::v1::ActivationState, error::problem, types::v1::LicenseState};
use lictor_licensing::error::ErrorCode;

use crate::world::on_each_engine;

#[tokio::test(flavor = "multi_thread")]
async fn a_returned_license_is_available_only_after_proof() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.floating(10).await, world.device());
        let license = front.put_in(&mut device, &ticket, 10).await;
        let context = front.fresh(&mut device).await;
        let answer = front.give_back("back", &ticket, 0, context).await.expect("begun");
        assert_eq!(answer.activation.as_ref().expect("it").state(), ActivationState::Completed);
        assert_eq!(world.vendor.license(&license).await.available, 0, "the container still holds it");
        let mut other = world.device();
        let refused = front.activate("early", &ticket.ticket, other.context()).await.expect_err("not yet");
        assert_eq!(problem(&refused).code, ErrorCode::WrongState);

        front.import(&mut device, &answer.update).await;
        assert!(!device.holds(&license));
        assert_eq!(world.vendor.license(&license).await.available, 10);
        let again = front.activate("later", &ticket.ticket, other.context()).await.expect("it is free");
        front.import(&mut other, &again.update).await;
        assert!(other.holds(&license));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_from_a_context_that_is_not_fresh_is_refused() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.floating(10).await, world.device());
        let license = front.put_in(&mut device, &ticket, 10).await;
        let foreign = device.fresh_context([9; 32]);
        for (name, context) in [("none", device.context()), ("foreign", foreign)] {
            let refused = problem(&front.give_back(name, &ticket, 0, context).await.expect_err(name));
            assert_eq!(refused.code, ErrorCode::WrongState, "{name}: {refused}");
            assert!(refused.message.contains("not fresh"), "{refused}");
        }
        let context = front.fresh(&mut device).await;
        world.vendor.clock.advance(std::time::Duration::from_hours(8 * 24));
        let refused = problem(&front.give_back("old", &ticket, 0, context).await.expect_err("a week old"));
        assert!(refused.message.contains("not fresh"), "{refused}");
        assert_eq!(world.vendor.state(&license).await, LicenseState::Confirmed);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn some_seats_go_back_and_the_rest_stays() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.floating(10).await, world.device());
        let license = front.put_in(&mut device, &ticket, 10).await;
        let context = front.fresh(&mut device).await;
        let answer = front.give_back("three", &ticket, 3, context).await.expect("begun");
        front.import(&mut device, &answer.update).await;
        let now = lictor_clock::Clock::now(&world.vendor.clock);
        assert_eq!(device.seats(&license, now), 7);
        assert_eq!(world.vendor.license(&license).await.available, 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_return_gets_the_same_file_also_when_its_challenge_is_over() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.floating(10).await, world.device());
        front.put_in(&mut device, &ticket, 10).await;
        let context = front.fresh(&mut device).await;
        let first = front.give_back("back", &ticket, 4, context).await.expect("begun");
        world.vendor.clock.advance(std::time::Duration::from_hours(30 * 24));
        let again = front.give_back("back", &ticket, 4, device.context()).await.expect("repeated");
        assert_eq!(again, first);
        let refused = front.give_back("back", &ticket, 5, device.context()).await.expect_err("another wish");
        assert_eq!(problem(&refused).code, ErrorCode::RequestIdReused);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_returned_or_is_not_there_is_refused() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (fixed, mut device) = (world.ticket().await, world.device());
        let answer = front.activate("one", &fixed.ticket, device.context()).await.expect("activated");
        front.import(&mut device, &answer.update).await;
        let context = front.fresh(&mut device).await;
        let refused = problem(&front.give_back("fixed", &fixed, 0, context).await.expect_err("not allowed"));
        assert_eq!(refused.code, ErrorCode::LicenseForbids, "{refused}");
        let elsewhere = world.floating(5).await;
        let context = front.fresh(&mut device).await;
        let refused = problem(&front.give_back("absent", &elsewhere, 0, context).await.expect_err("not here"));
        assert_eq!(refused.code, ErrorCode::WrongState, "{refused}");
        assert!(front.open().await.is_empty(), "nothing is left half-way");
    })
    .await;
}
