//! Seats that go from one container to another: nothing is doubled or lost on the way.

use std::time::Duration;

use lictor_api::central::v1::PlanResponse;
use lictor_clock::{Clock as _, Timestamp, duration::days};
use lictor_license_central::{
    domain::{
        license::{License, LicenseState},
        plan::{Departure, Purpose},
        transfer::{Transfer, TransferState},
    },
    failure::Failure,
    ids,
    store::DueWork,
};
use lictor_licensing::{
    error::ErrorCode,
    id::{ActivationId, TransferId},
};

use crate::world::{World, code, issued, machine, on_each_engine, pick, take};

#[derive(Debug)]
struct Leg {
    transfer: TransferId,
    activation: ActivationId,
}

impl World {
    async fn depart(
        &self,
        license: &License,
        seats: u32,
        (from, to): (char, char),
        lend_until: Option<Timestamp>,
    ) -> Result<(Leg, PlanResponse), Failure> {
        let transfer = TransferId::new(self.clock.now(), ids::random());
        let departure = Departure {
            transfer,
            ticket: Some(license.ticket),
            pick: pick(license, seats),
            target: Some(machine(to)),
            lend_until,
            returns: None,
        };
        let activation = self.activation();
        let plan = self.plan(activation, from, Purpose::Depart(departure)).await?;
        Ok((Leg { transfer, activation }, plan))
    }

    /// Gives a loan back from the container of the borrower.
    async fn send_home(&self, license: &License, loan: TransferId, from: char) -> Result<(Leg, PlanResponse), Failure> {
        let transfer = TransferId::new(self.clock.now(), ids::random());
        let departure = Departure {
            transfer,
            ticket: None,
            pick: pick(license, 0),
            target: None,
            lend_until: None,
            returns: Some(loan),
        };
        let activation = self.activation();
        let plan = self.plan(activation, from, Purpose::Depart(departure)).await?;
        Ok((Leg { transfer, activation }, plan))
    }

    async fn arrive(&self, transfer: TransferId, to: char) -> Result<(ActivationId, PlanResponse), Failure> {
        let activation = self.activation();
        let plan = self.plan(activation, to, Purpose::Arrive { transfer }).await?;
        Ok((activation, plan))
    }

    /// A whole transfer, proven on both sides.
    async fn transfer(&self, license: &License, seats: u32, way: (char, char), until: Option<Timestamp>) -> TransferId {
        let (leg, _) = self.depart(license, seats, way, until).await.expect("planned");
        self.carry_out(leg.activation, true).await;
        let (arrival, _) = self.arrive(leg.transfer, way.1).await.expect("planned");
        self.carry_out(arrival, true).await;
        leg.transfer
    }

    async fn look_at(&self, id: TransferId) -> Transfer {
        self.store.transfer(id).await.expect("a store").expect("the transfer")
    }

    async fn due(&self) -> Vec<DueWork> {
        self.store.due(self.clock.now(), 100).await.expect("a store")
    }
}

#[tokio::test]
async fn seats_arrive_only_after_they_provably_left() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 10).await;
        world.put(&license, 'a', 6, true).await;
        let (leg, plan) = world.depart(&license, 4, ('a', 'b'), None).await.expect("planned");
        assert_eq!(issued(&plan), [(license.id, "replace", 2)]);
        assert_eq!(code(world.arrive(leg.transfer, 'b').await), ErrorCode::WrongState);
        world.carry_out(leg.activation, false).await;
        assert_eq!(code(world.arrive(leg.transfer, 'b').await), ErrorCode::WrongState, "no proof yet");
        assert!(world.due().await.is_empty());
        world.store.confirm(leg.activation, &world.moment()).await.expect("proven");
        assert_eq!(world.due().await, [DueWork::Arrival(leg.transfer)]);
        assert_eq!((world.held(&license).await, world.again(&license).await.available()), (vec![('a', 2)], 4));
        assert_eq!(world.state(&license).await, LicenseState::Returning, "four seats are on their way");
        assert_eq!(code(world.plan(world.activation(), 'c', take(&license, 5)).await), ErrorCode::QuantityExhausted);

        let (arrival, plan) = world.arrive(leg.transfer, 'b').await.expect("planned");
        assert_eq!(issued(&plan), [(license.id, "add", 4)]);
        assert_eq!(code(world.arrive(leg.transfer, 'b').await), ErrorCode::Conflict, "one carries them in");
        world.carry_out(arrival, true).await;
        assert_eq!(world.held(&license).await, [('a', 2), ('b', 4)]);
        assert_eq!(world.look_at(leg.transfer).await.state, TransferState::Arrived);
        assert_eq!(code(world.arrive(leg.transfer, 'b').await), ErrorCode::WrongState);
        let told: Vec<String> = world.story(&license.id.to_string()).await.into_iter().map(|(_, what)| what).collect();
        for what in ["transfer departing", "transfer departed", "transfer arriving", "transfer arrived"] {
            assert_eq!(told.iter().filter(|one| *one == what).count(), 1, "{told:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn there_and_back_again_leaves_everything_as_it_was() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 5).await;
        world.put_in(&license, true).await;
        world.transfer(&license, 5, ('a', 'b'), None).await;
        assert_eq!(world.held(&license).await, [('b', 5)]);
        world.transfer(&license, 2, ('b', 'a'), None).await;
        world.transfer(&license, 3, ('b', 'a'), None).await;
        assert_eq!(
            (world.held(&license).await, world.state(&license).await),
            (vec![('a', 5)], LicenseState::Confirmed)
        );
    })
    .await;
}

#[tokio::test]
async fn a_given_up_leg_loses_nothing() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 5).await;
        world.put_in(&license, true).await;
        let before = world.again(&license).await;
        let (leg, _) = world.depart(&license, 2, ('a', 'b'), None).await.expect("planned");
        world.store.release(leg.activation, "given up", false, &world.moment()).await.expect("released");
        assert_eq!(world.again(&license).await, before);
        assert_eq!(world.look_at(leg.transfer).await.state, TransferState::CalledOff);

        let (leg, _) = world.depart(&license, 2, ('a', 'b'), None).await.expect("planned");
        world.carry_out(leg.activation, true).await;
        let (arrival, first) = world.arrive(leg.transfer, 'b').await.expect("planned");
        world.store.keep(arrival, world.clock.now()).await.expect("kept");
        world.store.release(arrival, "refused", true, &world.moment()).await.expect("released");
        assert_eq!(world.due().await, [DueWork::Arrival(leg.transfer)], "it waits again");
        assert_eq!(world.again(&license).await.available(), 0);
        let (lapsing, _) = world.arrive(leg.transfer, 'b').await.expect("planned");
        world.clock.advance(Duration::from_secs(901));
        assert_eq!(world.due().await, [DueWork::Arrival(leg.transfer)], "its time is over");
        let (arrival, again) = world.arrive(leg.transfer, 'b').await.expect("planned");
        assert_eq!(again.changes, first.changes);
        assert_eq!(code(world.store.keep(lapsing, world.clock.now()).await), ErrorCode::WrongState);
        world.carry_out(arrival, true).await;
        assert_eq!(world.held(&license).await, [('a', 3), ('b', 2)]);
    })
    .await;
}

#[tokio::test]
async fn rules_of_the_license_bind_a_transfer() {
    on_each_engine(async |world| {
        let fixed = world.license().await;
        world.put_in(&fixed, true).await;
        assert_eq!(code(world.depart(&fixed, 0, ('a', 'b'), None).await), ErrorCode::LicenseForbids, "may not move");
        let license = world.sold("planner", 5).await;
        world.put(&license, 'a', 4, true).await;
        assert_eq!(code(world.depart(&license, 5, ('a', 'b'), None).await), ErrorCode::QuantityExhausted);
        assert_eq!(code(world.depart(&license, 0, ('b', 'c'), None).await), ErrorCode::WrongState, "not there");
        assert_eq!(code(world.depart(&license, 1, ('a', 'a'), None).await), ErrorCode::InvalidArgument);
        let past = Some(world.clock.now());
        assert_eq!(code(world.depart(&license, 1, ('a', 'b'), past).await), ErrorCode::InvalidArgument);
        // Three moves in a row are allowed.
        for way in [('a', 'b'), ('b', 'c'), ('c', 'd')] {
            world.transfer(&license, 1, way, None).await;
        }
        assert_eq!(code(world.depart(&license, 1, ('d', 'e'), None).await), ErrorCode::LicenseForbids);
        world.depart(&license, 1, ('a', 'e'), None).await.expect("those that stayed were never moved");
    })
    .await;
}

#[tokio::test]
async fn another_customers_container_gets_nothing() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 5).await;
        world.put_in(&license, true).await;
        world.order_of("Somebody else", "planner", 'b').await;
        assert_eq!(code(world.depart(&license, 1, ('a', 'b'), None).await), ErrorCode::LicenseForbids);
        world.depart(&license, 1, ('a', 'c'), None).await.expect("nobody's container may become his");
    })
    .await;
}

#[tokio::test]
async fn a_loan_ends_by_its_date_and_its_seats_come_home_with_proof() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 5).await;
        world.put_in(&license, true).await;
        let until = world.clock.now().saturating_add(days(7));
        let loan = world.transfer(&license, 2, ('a', 'b'), Some(until)).await;
        let lent = world.again(&license).await;
        let part = lent.allocations.iter().find(|part| part.loan.is_some()).expect("lent");
        assert_eq!((part.expires_at, part.loan.as_ref().map(|loan| loan.until)), (Some(until), Some(until)));
        assert_eq!(code(world.depart(&license, 0, ('b', 'c'), None).await), ErrorCode::WrongState, "lent seats stay");
        assert!(world.due().await.is_empty());

        let (leg, plan) = world.send_home(&license, loan, 'b').await.expect("early");
        assert_eq!(issued(&plan), [(license.id, "withdraw", 0)]);
        world.carry_out(leg.activation, true).await;
        let (arrival, plan) = world.arrive(leg.transfer, 'a').await.expect("planned");
        assert_eq!(issued(&plan), [(license.id, "replace", 5)]);
        world.carry_out(arrival, true).await;
        assert_eq!(world.held(&license).await, [('a', 5)]);
        world.clock.advance(days(30));
        assert!(world.due().await.is_empty(), "it is over already");
        let home = world.again(&license).await;
        assert!(
            home.allocations.iter().all(|part| part.expires_at.is_none() && part.loan.is_none() && part.moves == 0)
        );
    })
    .await;
}

#[tokio::test]
async fn a_loan_comes_home_without_the_borrowers_word_once_no_clock_can_be_that_wrong() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 5).await;
        world.put_in(&license, true).await;
        let until = world.clock.now().saturating_add(days(7));
        let loan = world.transfer(&license, 2, ('a', 'b'), Some(until)).await;
        world.clock.advance(days(7));
        assert_eq!(world.due().await, [DueWork::Loan(loan)]);
        let (leg, _) = world.send_home(&license, loan, 'b').await.expect("the end has come");
        world.carry_out(leg.activation, false).await;
        assert!(world.due().await.is_empty(), "the borrower's clock may be behind");
        assert_eq!(code(world.arrive(leg.transfer, 'a').await), ErrorCode::WrongState);
        world.clock.advance(days(1));
        assert_eq!(world.due().await, [DueWork::Arrival(leg.transfer)]);
        let (arrival, plan) = world.arrive(leg.transfer, 'a').await.expect("planned");
        assert_eq!(issued(&plan), [(license.id, "replace", 5)]);
        // Given up and begun again: the seats go on waiting.
        world.store.release(arrival, "given up", false, &world.moment()).await.expect("released");
        assert_eq!(world.due().await, [DueWork::Arrival(leg.transfer)]);
        let (arrival, _) = world.arrive(leg.transfer, 'a').await.expect("planned");
        world.carry_out(arrival, true).await;
        assert_eq!(world.held(&license).await, [('a', 5)]);
        // The borrower's proof comes at last, and changes nothing.
        for _ in 0..2 {
            world.store.confirm(leg.activation, &world.moment()).await.expect("late");
        }
        assert_eq!((world.held(&license).await, world.again(&license).await.free()), (vec![('a', 5)], 0));
        assert_eq!(world.look_at(leg.transfer).await.state, TransferState::Arrived);
    })
    .await;
}

#[tokio::test]
async fn what_is_withdrawn_on_its_way_arrives_nowhere() {
    on_each_engine(async |world| {
        for proven_first in [true, false] {
            let license = world.sold("planner", 5).await;
            world.put_in(&license, true).await;
            let (leg, _) = world.depart(&license, 5, ('a', 'b'), None).await.expect("planned");
            world.carry_out(leg.activation, proven_first).await;
            let withdraw = Purpose::Withdraw { licenses: vec![license.id], reason: String::new() };
            let plan = world.plan_at(world.activation(), None, withdraw).await.expect("withdrawn");
            assert_eq!(plan.done, proven_first);
            if !proven_first {
                assert_eq!(plan.on_their_way[0].activation_id, leg.activation.to_string());
                world.store.confirm(leg.activation, &world.moment()).await.expect("proven");
            }
            assert_eq!(world.state(&license).await, LicenseState::Withdrawn);
            assert_eq!(world.look_at(leg.transfer).await.state, TransferState::CalledOff);
            assert_eq!(code(world.arrive(leg.transfer, 'b').await), ErrorCode::WrongState);
            assert!(world.due().await.is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn a_withdrawal_while_the_leaving_is_planned_is_not_lost() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 5).await;
        world.put_in(&license, true).await;
        let (leg, _) = world.depart(&license, 2, ('a', 'b'), None).await.expect("planned");
        let withdraw = || Purpose::Withdraw { licenses: vec![license.id], reason: String::new() };
        let taking = world.activation();
        let plan = world.plan_at(taking, None, withdraw()).await.expect("the departure gives way");
        assert_eq!(issued(&plan), [(license.id, "withdraw", 0)]);
        assert_eq!(code(world.store.keep(leg.activation, world.clock.now()).await), ErrorCode::WrongState);
        assert_eq!(world.look_at(leg.transfer).await.state, TransferState::CalledOff);
        world.carry_out(taking, true).await;
        assert_eq!(world.state(&license).await, LicenseState::Withdrawn);
    })
    .await;
}

#[tokio::test]
async fn the_late_proof_of_an_activation_does_not_meet_its_seats_on_their_way_elsewhere() {
    on_each_engine(async |world| {
        let license = world.sold("planner", 10).await;
        let activation = world.put(&license, 'a', 6, false).await;
        // The receipt proves both steps; what comes of it is noted in any order.
        let (leg, _) = world.depart(&license, 4, ('a', 'b'), None).await.expect("planned");
        world.carry_out(leg.activation, true).await;
        world.store.confirm(activation, &world.moment()).await.expect("taken");
        let (arrival, _) = world.arrive(leg.transfer, 'b').await.expect("planned");
        world.carry_out(arrival, true).await;
        assert_eq!(world.held(&license).await, [('a', 2), ('b', 4)]);
        assert_eq!(world.state(&license).await, LicenseState::Confirmed);
    })
    .await;
}
