//! A ticket into a container, and everything that may be repeated.

use std::future::Future;

use lictor_api::{
    activation::v1::{ActivateRequest, ActivationState},
    error::problem,
    types::v1::LicenseState,
};
use lictor_licensing::error::ErrorCode;
use lictor_test_support::device::TestDevice;

use crate::world::{FIRM, on_each_engine};

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_goes_into_a_container_and_is_proven() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.ticket().await, world.device());
        let license = ticket.licenses[0].license_id.clone();
        let seen = front.inspect(&ticket.ticket).await.expect("inspected");
        assert_eq!((seen.firm_code, seen.licenses[0].state.as_str()), (FIRM, "available"));

        let answer = front.activate("one", &ticket.ticket, device.context()).await.expect("activated");
        let activation = answer.activation.expect("an activation");
        assert_eq!(activation.state(), ActivationState::Completed);
        assert_eq!((activation.from, activation.to), (0, 1));
        assert!(activation.ticket.ends_with("*****") && !ticket.ticket.ends_with('*'));
        assert_eq!(world.vendor.state(&license).await, LicenseState::Collected);

        front.import(&mut device, &answer.update).await;
        assert!(device.holds(&license));
        assert_eq!(world.vendor.state(&license).await, LicenseState::Confirmed);
        assert_eq!(front.activation(&activation.activation_id).await.state(), ActivationState::Confirmed);
        assert_eq!(world.announced(&activation.activation_id).await, (1, 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_gets_the_same_file_byte_for_byte() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.ticket().await, world.device());
        let first = front.activate("one", &ticket.ticket, device.context()).await.expect("activated");
        let again = front.activate("one", &ticket.ticket, device.context()).await.expect("with a newer context");
        assert_eq!(again, first);
        front.import(&mut device, &first.update).await;
        let late = front.activate("one", &ticket.ticket, device.context()).await.expect("after the proof");
        assert_eq!(late.update, first.update);
        assert_eq!(world.events().await.len(), 2, "repeats announce nothing");

        let mut other = world.device();
        let refused = front.activate("one", &ticket.ticket, other.context()).await.expect_err("another container");
        assert_eq!(problem(&refused).code, ErrorCode::RequestIdReused);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_copies_of_a_request_are_one_activation() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.ticket().await, world.device());
        let context = device.context();
        let front = &front;
        let copies = (0..6).map(|_| front.activate("one", &ticket.ticket, context.clone()));
        let mut answers = Vec::new();
        for copy in futures_of(copies).await {
            answers.push(copy.expect("answered"));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(world.events().await.len(), 1);
    })
    .await;
}

/// Runs all at once.
pub(crate) async fn futures_of<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut open = false;
        for (future, slot) in waiting.iter_mut().zip(&mut done) {
            if slot.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(output) => *slot = Some(output),
                    std::task::Poll::Pending => open = true,
                }
            }
        }
        if open { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    done.into_iter().map(|output| output.expect("all are ready")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_containers_never_get_the_same_license() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let ticket = world.ticket().await;
        let mut devices: Vec<_> = (0..4).map(|_| world.device()).collect();
        let contexts: Vec<_> = devices.iter_mut().map(TestDevice::context).collect();
        let (front, code) = (&front, &ticket.ticket);
        let races = contexts
            .into_iter()
            .enumerate()
            .map(|(place, context)| async move { front.activate(&format!("racer-{place}"), code, context).await });
        let mut winners = 0;
        for outcome in futures_of(races).await {
            match outcome {
                Ok(_) => winners += 1,
                Err(status) => {
                    let code = problem(&status).code;
                    assert!(matches!(code, ErrorCode::Conflict | ErrorCode::WrongState), "{status:?}");
                }
            }
        }
        assert_eq!(winners, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn licenses_of_a_ticket_go_into_several_containers_when_named() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let ticket = world.vendor.order(FIRM, &["editor", "truck"]).await;
        let (mut here, mut there) = (world.device(), world.device());
        let request = |license: &str, context| ActivateRequest {
            request_id: license.to_owned(),
            ticket: ticket.ticket.clone(),
            license_ids: vec![license.to_owned()],
            context,
            quantities: Vec::new(),
        };
        let [first, second] = [0, 1].map(|place: usize| ticket.licenses[place].license_id.clone());
        let one = front.activate_as(request(&first, here.context())).await.expect("the first");
        let other = front.activate_as(request(&second, there.context())).await.expect("the second");
        here.import(&one.update).expect("a good update file");
        there.import(&other.update).expect("a good update file");
        assert!(here.holds(&first) && !here.holds(&second) && there.holds(&second) && !there.holds(&first));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_ticket_is_refused_except_for_the_container_that_holds_it() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device, mut other) = (world.ticket().await, world.device(), world.device());
        let first = front.activate("one", &ticket.ticket, device.context()).await.expect("activated");
        let again = front.activate("two", &ticket.ticket, device.context()).await.expect("the same container");
        assert_eq!(again, first, "the file again, and no second activation");
        let refused = front.activate("three", &ticket.ticket, other.context()).await.expect_err("another container");
        assert_eq!(problem(&refused).code, ErrorCode::WrongState);
        let refused_again = front.activate("three", &ticket.ticket, other.context()).await.expect_err("still another");
        assert_eq!(problem(&refused_again), problem(&refused), "a refusal is repeated too");
        front.import(&mut device, &first.update).await;
        let proven = front.activate("four", &ticket.ticket, device.context()).await.expect("it is there already");
        assert_eq!(proven.update, first.update, "the same file, which changes nothing there");
        assert_eq!(proven.activation.expect("an activation").state(), ActivationState::Confirmed);
        device.import(&proven.update).expect("a good update file");
        assert_eq!(world.events().await.len(), 2, "nothing new was announced");
        front.withdraw("w", &ticket.licenses[0].license_id).await.expect("begun");
        let refused = front.activate("five", &ticket.ticket, device.context()).await.expect_err("taken back since");
        assert_eq!(problem(&refused).code, ErrorCode::WrongState);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seats_of_one_license_go_into_several_containers_and_can_be_added_to() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let ticket = world.floating(10).await;
        let (mut here, mut there) = (world.device(), world.device());
        let license = ticket.licenses[0].license_id.clone();
        let request = |id: &str, seats: u32, context| ActivateRequest {
            request_id: id.to_owned(),
            ticket: ticket.ticket.clone(),
            license_ids: vec![license.clone()],
            context,
            quantities: vec![seats],
        };
        for (id, seats) in [("three", 3), ("two", 2)] {
            let answer = front.activate_as(request(id, seats, here.context())).await.expect("some of it");
            front.import(&mut here, &answer.update).await;
        }
        let answer = front.activate_as(request("rest", 0, there.context())).await.expect("what is left");
        front.import(&mut there, &answer.update).await;
        let now = lictor_clock::Clock::now(&world.vendor.clock);
        assert_eq!((here.seats(&license, now), there.seats(&license, now)), (5, 5));
        let refused = front.activate_as(request("more", 1, here.context())).await.expect_err("nothing is left");
        assert!(matches!(problem(&refused).code, ErrorCode::WrongState | ErrorCode::QuantityExhausted), "{refused:?}");
        let again = front.activate_as(request("again", 5, there.context())).await.expect("it lies there");
        assert_eq!(again.update, answer.update);

        for (ids, quantities) in
            [(vec![license.clone()], vec![1, 2]), (vec![license.clone(), license.clone()], vec![1, 2])]
        {
            let wrong = ActivateRequest { license_ids: ids, quantities, ..request("wrong", 1, here.context()) };
            let refused = front.activate_as(wrong).await.expect_err("cannot be understood");
            assert_eq!(problem(&refused).code, ErrorCode::InvalidArgument);
        }
    })
    .await;
}
