//! Seats from one container to another: out, proven, and only then in.

use std::time::Duration;

use lictor_activation::domain::{
    purpose::{Container, Departure, Pick, Purpose},
    saga::{Asked, Saga},
};
use lictor_api::{activation::v1::TransferLicenseRequest, convert::timestamp, error::problem};
use lictor_clock::{Clock as _, Timestamp};
use lictor_licensing::{
    ContainerKind,
    error::ErrorCode,
    id::{ActivationId, TransferId},
};
use lictor_test_support::device::TestDevice;

use crate::{
    front::{Front, moving},
    world::{FIRM, World, on_each_engine},
};

const DAY: Duration = Duration::from_hours(24);

/// Carries on what is due, and imports what waits for a device.
async fn deliver(front: &Front, device: &mut TestDevice) {
    front.resume().await;
    let update = front.pending(device).await;
    if !update.is_empty() {
        front.import(device, &update).await;
    }
}

fn seats(world: &World, device: &TestDevice, license: &str) -> u32 {
    device.seats(license, world.vendor.clock.now())
}

#[tokio::test(flavor = "multi_thread")]
async fn seats_leave_provably_before_they_arrive() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut old, mut new) = (world.floating(10).await, world.device(), world.device());
        let license = front.put_in(&mut old, &ticket, 10).await;
        let context = front.fresh(&mut old).await;
        let request = TransferLicenseRequest { target_context: new.context(), ..moving("move", &ticket, 4, context) };
        let answer = front.transfer(request).await.expect("begun");
        let transfer = answer.transfer.expect("a transfer");
        assert_eq!((transfer.state.as_str(), transfer.quantity), ("departing", 4));
        assert!(front.pending(&new).await.is_empty(), "nothing arrives before the proof");

        front.import(&mut old, &answer.update).await;
        assert_eq!(seats(&world, &old, &license), 6);
        deliver(&front, &mut new).await;
        assert_eq!(seats(&world, &new, &license), 4);
        assert_eq!((old.modules(&license), new.modules(&license)), (1, 1), "modules go along, unchanged");
        let done = front.transfer_now(&transfer.transfer_id).await;
        assert_eq!(done.state, "arrived");
        assert!(!done.arrive_activation_id.is_empty() && done.depart_activation_id != done.arrive_activation_id);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_transfer_is_one_transfer_with_the_same_file() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut old, mut new) = (world.floating(10).await, world.device(), world.device());
        front.put_in(&mut old, &ticket, 10).await;
        let context = front.fresh(&mut old).await;
        let request = TransferLicenseRequest { target_context: new.context(), ..moving("move", &ticket, 4, context) };
        let first = front.transfer(request.clone()).await.expect("begun");
        let again = TransferLicenseRequest { target_context: new.context(), context: old.context(), ..request };
        assert_eq!(front.transfer(again.clone()).await.expect("repeated"), first);
        let refused = front.transfer(TransferLicenseRequest { quantity: 5, ..again }).await.expect_err("another wish");
        assert_eq!(problem(&refused).code, ErrorCode::RequestIdReused);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_needs_a_fresh_context_and_two_containers_that_the_vendor_knows() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut old, mut new) = (world.floating(10).await, world.device(), world.device());
        let license = front.put_in(&mut old, &ticket, 10).await;
        let stale = TransferLicenseRequest { target_context: new.context(), ..moving("a", &ticket, 4, old.context()) };
        let refused = problem(&front.transfer(stale).await.expect_err("not fresh"));
        assert!(refused.message.contains("not fresh"), "{refused}");
        let context = front.fresh(&mut old).await;
        let same = TransferLicenseRequest { target_context: old.context(), ..moving("b", &ticket, 4, context.clone()) };
        assert_eq!(problem(&front.transfer(same).await.expect_err("the same")).code, ErrorCode::InvalidArgument);
        let never =
            TransferLicenseRequest { to_serial: "130-77".to_owned(), ..moving("c", &ticket, 4, context.clone()) };
        assert_eq!(problem(&front.transfer(never).await.expect_err("never seen")).code, ErrorCode::NotFound);
        let nowhere = moving("d", &ticket, 4, context.clone());
        assert_eq!(problem(&front.transfer(nowhere).await.expect_err("nowhere")).code, ErrorCode::InvalidArgument);
        let many = TransferLicenseRequest { target_context: new.context(), ..moving("e", &ticket, 11, context) };
        assert_eq!(problem(&front.transfer(many).await.expect_err("too many")).code, ErrorCode::QuantityExhausted);
        assert_eq!(seats(&world, &old, &license), 10);
        assert!(front.open().await.is_empty(), "nothing is left half-way");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_moves_seats_without_ticket_and_context() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut old, mut new) = (world.floating(10).await, world.device(), world.device());
        let license = front.put_in(&mut old, &ticket, 10).await;
        front.submit(new.context()).await.expect("seen");
        let request = TransferLicenseRequest {
            ticket: String::new(),
            from_serial: old.serial.clone(),
            to_serial: new.serial.clone(),
            ..moving("staff", &ticket, 0, Vec::new())
        };
        let refused = front.transfer(request.clone()).await.expect_err("the public needs a ticket");
        assert_eq!(problem(&refused).code, ErrorCode::InvalidArgument);
        let answer = front.transfer_by_staff(request).await.expect("begun");
        front.import(&mut old, &answer.update).await;
        deliver(&front, &mut new).await;
        assert_eq!((seats(&world, &old, &license), seats(&world, &new, &license)), (0, 10));
    })
    .await;
}

async fn lent(front: &Front, world: &World, until: Timestamp) -> (TestDevice, TestDevice, String, String) {
    let (ticket, mut lender, mut borrower) = (world.floating(10).await, world.device(), world.device());
    let license = front.put_in(&mut lender, &ticket, 10).await;
    let context = front.fresh(&mut lender).await;
    let request = TransferLicenseRequest {
        target_context: borrower.context(),
        lend_until: Some(timestamp(until)),
        ..moving("lend", &ticket, 4, context)
    };
    let answer = front.transfer(request).await.expect("lent");
    front.import(&mut lender, &answer.update).await;
    deliver(front, &mut borrower).await;
    (lender, borrower, license, answer.transfer.expect("a transfer").transfer_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn lent_seats_end_in_time_and_come_back_without_the_borrowers_proof() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let until = world.vendor.clock.now().saturating_add(30 * DAY);
        let (mut lender, mut borrower, license, _) = lent(&front, &world, until).await;
        assert_eq!((seats(&world, &lender, &license), seats(&world, &borrower, &license)), (6, 4));
        assert_eq!(borrower.end_of(&license), Some(until));

        world.vendor.clock.advance(30 * DAY);
        assert_eq!(seats(&world, &borrower, &license), 0, "the entry has ended by itself");
        for _ in 0..3 {
            front.time_passes().await;
        }
        assert_eq!(front.pending(&lender).await, Vec::<u8>::new(), "the borrower's clock may be a day behind");
        world.vendor.clock.advance(DAY);
        for _ in 0..3 {
            front.time_passes().await;
        }
        deliver(&front, &mut lender).await;
        assert_eq!(seats(&world, &lender, &license), 10, "back, and the borrower never answered");
        let update = front.pending(&borrower).await;
        front.import(&mut borrower, &update).await;
        assert!(!borrower.holds(&license), "what ended is cleared away by the pending update");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loan_goes_back_before_its_end_when_the_borrower_proves_it() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let until = world.vendor.clock.now().saturating_add(30 * DAY);
        let (mut lender, mut borrower, license, loan) = lent(&front, &world, until).await;
        let request = TransferLicenseRequest {
            firm_code: FIRM,
            request_id: "early".to_owned(),
            from_serial: borrower.serial.clone(),
            returns_transfer_id: loan,
            ..TransferLicenseRequest::default()
        };
        let answer = front.transfer_by_staff(request).await.expect("begun");
        assert!(front.pending(&lender).await.is_empty(), "not before the proof");
        front.import(&mut borrower, &answer.update).await;
        deliver(&front, &mut lender).await;
        assert_eq!((seats(&world, &lender, &license), seats(&world, &borrower, &license)), (10, 0));
        world.vendor.clock.advance(40 * DAY);
        assert_eq!(front.time_passes().await, 0, "nothing is due any more");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_legs_of_a_transfer_are_one_trace() {
    on_each_engine(async |world| {
        const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let front = world.front().await;
        let (ticket, mut old, mut new) = (world.floating(10).await, world.device(), world.device());
        let license = front.put_in(&mut old, &ticket, 10).await;
        front.submit(new.context()).await.expect("seen");
        let container = |device: &TestDevice| Container {
            id: device.id(),
            serial: device.serial.clone(),
            kind: Some(ContainerKind::Machine),
            virtual_machine: false,
        };
        let (now, transfer) = (world.vendor.clock.now(), TransferId::from_u128(77));
        let departure = Departure {
            transfer,
            ticket: None,
            pick: Pick { license: license.parse().expect("a license id"), quantity: 4 },
            target: container(&new),
            lend_until: None,
            returns: None,
        };
        let asked = Asked {
            caller: "test".to_owned(),
            request_id: "traced".to_owned(),
            body_hash: [0; 32],
            traceparent: Some(TRACE.to_owned()),
        };
        let id = ActivationId::from_u128(78);
        let saga = Saga::new(id, Purpose::Depart(Box::new(departure)), asked, now).of(FIRM, Some(container(&old)));
        let settled = front.runner.run(saga, None).await.expect("issued");
        front.import(&mut old, &settled.issued.expect("an update").update).await;
        let legs = front.runner.store().of_transfer(transfer).await.expect("a store");
        let traces: Vec<_> = legs.iter().map(|leg| leg.traceparent.as_deref()).collect();
        assert_eq!(traces, [Some(TRACE), Some(TRACE)]);
    })
    .await;
}
