//! What else lay in a lost container is lost with it, whatever ticket it came from.

use std::time::Duration;

use lictor_clock::{Clock as _, duration::days};
use lictor_license_central::{
    domain::{
        allocation::AllocationState,
        license::{License, LicenseState},
        plan::{Departure, Purpose},
        transfer::TransferState,
    },
    store::{DueWork, HistoryOf},
};
use lictor_licensing::{error::ErrorCode, id::TransferId};

use crate::world::{World, code, issued, machine, on_each_engine, pick, take};

const POOL: &str = r"
firm_code: 6000001
items:
  - name: pool
    product_item:
      product_code: 700
      license_quantity: {count: 4}
      transfer: {may_move: true, may_return: true, splittable: true, depth: 9}
    reactivation: {once_per_days: 180}
";

fn replace(license: &License, lost: char) -> Purpose {
    Purpose::Replace { ticket: license.ticket, lost_serial: machine(lost).serial, by_hand: false }
}

/// Two tickets with four seats each.
async fn two(world: &World) -> [License; 2] {
    world.apply(POOL, "pool").await.expect("applied");
    [world.sold("pool", 4).await, world.sold("pool", 4).await]
}

/// The ticket of `license` is carried from one container into another.
async fn carry_over(world: &World, license: &License, lost: char, new: char) {
    let activation = world.activation();
    world.plan(activation, new, replace(license, lost)).await.expect("planned");
    world.carry_out(activation, true).await;
}

async fn parts(world: &World, license: &License) -> Vec<(char, AllocationState, u32)> {
    let parts = world.again(license).await.allocations.into_iter();
    let place = |container: &str| container.chars().next().expect("an id");
    let mut parts: Vec<_> = parts.map(|part| (place(&part.container), part.state, part.quantity)).collect();
    parts.sort_unstable();
    parts
}

async fn send(world: &World, license: &License, from: char, to: char, lend: Option<u64>) -> TransferId {
    let activation = world.activation();
    let transfer = TransferId::new(world.clock.now(), lictor_license_central::ids::random());
    let purpose = Purpose::Depart(Departure {
        transfer,
        ticket: Some(license.ticket),
        pick: pick(license, 2),
        target: Some(machine(to)),
        lend_until: lend.map(|time| world.clock.now().saturating_add(days(time))),
        returns: None,
    });
    world.plan(activation, from, purpose).await.expect("planned");
    world.carry_out(activation, true).await;
    transfer
}

async fn arrive(world: &World, transfer: TransferId, at: char, proven: bool) {
    let activation = world.activation();
    world.plan(activation, at, Purpose::Arrive { transfer }).await.expect("planned");
    world.carry_out(activation, proven).await;
}

#[tokio::test]
async fn other_tickets_in_a_lost_container_are_lost_with_it_and_each_is_replaced_by_itself() {
    on_each_engine(async |world| {
        let [first, second] = two(&world).await;
        world.put(&first, 'a', 0, true).await;
        world.put(&second, 'a', 3, true).await;
        world.put(&second, 'd', 1, true).await;
        let told = world.events().await.len();
        let replacing = world.activation();
        world.plan(replacing, 'b', replace(&first, 'a')).await.expect("planned");
        assert_eq!(world.state(&second).await, LicenseState::Confirmed, "nothing is certain yet");
        world.carry_out(replacing, true).await;
        assert_eq!(world.state(&second).await, LicenseState::Lost);
        use AllocationState::{Confirmed, Lost};
        assert_eq!(parts(&world, &second).await, [('a', Lost, 3), ('d', Confirmed, 1)]);
        assert_eq!(world.again(&second).await.available(), 0, "its seats are not given away beside the rule");
        assert_eq!(code(world.plan(world.activation(), 'c', take(&second, 1)).await), ErrorCode::WrongState);
        let subject = second.id.to_string();
        let events = world.events().await.split_off(told);
        assert_eq!(events.iter().filter(|event| event.subject == subject).count(), 1, "one change of it is told");
        let history = world.store.history(&HistoryOf::License(second.id)).await.expect("a store");
        let fact = history.iter().find(|fact| fact.what.name() == "written-off").expect("it is noted");
        assert_eq!((fact.quantity, fact.why.contains("all that lay in it")), (3, true));
        // It is not counted before it is carried over, and then once.
        carry_over(&world, &second, 'a', 'c').await;
        assert_eq!(
            (world.state(&second).await, world.held(&second).await),
            (LicenseState::Confirmed, vec![('c', 3), ('d', 1)])
        );
        let soon = world.plan(world.activation(), 'e', replace(&second, 'c')).await;
        assert_eq!(code(soon), ErrorCode::LicenseForbids);
    })
    .await;
}

#[tokio::test]
async fn what_reaches_a_lost_container_late_is_lost_and_one_lost_container_counts_once() {
    on_each_engine(async |world| {
        let [first, second] = two(&world).await;
        world.put(&first, 'a', 0, true).await;
        world.put(&second, 'a', 1, true).await;
        let (planned, kept) = (world.activation(), world.activation());
        world.plan(kept, 'a', take(&second, 1)).await.expect("planned");
        world.store.keep(kept, world.clock.now()).await.expect("kept");
        let third = world.sold("pool", 4).await;
        world.plan(planned, 'a', take(&third, 4)).await.expect("planned");
        carry_over(&world, &first, 'a', 'b').await;
        assert_eq!(world.again(&third).await.free(), 4, "nothing was issued for it");
        assert_eq!(code(world.store.keep(planned, world.clock.now()).await), ErrorCode::WrongState);
        let busy = world.plan(world.activation(), 'c', replace(&second, 'a')).await;
        assert_eq!(code(busy), ErrorCode::Conflict, "it is not known yet what was issued");
        world.store.commit(kept, 9, &world.moment()).await.expect("it was issued before the block");
        world.store.confirm(kept, &world.moment()).await.expect("late proof");
        assert_eq!(parts(&world, &second).await, [('a', AllocationState::Lost, 1), ('a', AllocationState::Lost, 1)]);
        carry_over(&world, &second, 'a', 'c').await;
        assert_eq!((world.held(&second).await, world.again(&second).await.free()), (vec![('c', 2)], 2));
    })
    .await;
}

#[tokio::test]
async fn returns_and_moves_out_of_a_lost_container_are_lost_with_it_and_late_proof_changes_nothing() {
    on_each_engine(async |world| {
        let [first, second] = two(&world).await;
        world.put(&first, 'a', 0, true).await;
        world.put(&second, 'a', 0, true).await;
        let (returning, moving) = (world.activation(), world.activation());
        let back = Purpose::GiveBack { ticket: second.ticket, picks: vec![pick(&second, 1)] };
        world.plan(returning, 'a', back).await.expect("planned");
        world.carry_out(returning, false).await;
        let transfer = TransferId::new(world.clock.now(), lictor_license_central::ids::random());
        let purpose = Purpose::Depart(Departure {
            transfer,
            ticket: Some(second.ticket),
            pick: pick(&second, 2),
            target: Some(machine('d')),
            lend_until: None,
            returns: None,
        });
        world.plan(moving, 'a', purpose).await.expect("planned");
        world.carry_out(moving, false).await;
        carry_over(&world, &first, 'a', 'b').await;
        assert_eq!(world.state(&second).await, LicenseState::Lost);
        let ended = world.store.transfer(transfer).await.expect("a store").expect("it is there").state;
        assert_eq!(ended, TransferState::CalledOff);
        for late in [returning, moving] {
            world.store.confirm(late, &world.moment()).await.expect("late proof");
        }
        assert_eq!((world.held(&second).await, world.again(&second).await.free()), (vec![('a', 4)], 0));
        carry_over(&world, &second, 'a', 'c').await;
        assert_eq!(world.held(&second).await, [('c', 4)]);
    })
    .await;
}

#[tokio::test]
async fn borrowed_seats_in_a_lost_container_go_back_to_their_lender_when_the_loan_is_over() {
    on_each_engine(async |world| {
        let [first, second] = two(&world).await;
        world.put(&first, 'a', 0, true).await;
        world.put(&second, 'd', 0, true).await;
        let loan = send(&world, &second, 'd', 'a', Some(30)).await;
        arrive(&world, loan, 'a', true).await;
        carry_over(&world, &first, 'a', 'b').await;
        assert_eq!(world.state(&second).await, LicenseState::Returning);
        assert!(world.store.due(world.clock.now(), 9).await.expect("a store").is_empty(), "they are lent still");
        world.clock.advance(days(31) + Duration::from_secs(1));
        let due = world.store.due(world.clock.now(), 9).await.expect("a store");
        let [DueWork::Arrival(back)] = due[..] else { panic!("not one arrival: {due:?}") };
        arrive(&world, back, 'd', true).await;
        assert_eq!((world.state(&second).await, world.held(&second).await), (LicenseState::Confirmed, vec![('d', 4)]));
        assert!(world.again(&second).await.allocations.iter().all(|part| part.loan.is_none()));
    })
    .await;
}

#[tokio::test]
async fn seats_that_waited_for_a_lost_container_follow_its_replacement() {
    on_each_engine(async |world| {
        let [first, second] = two(&world).await;
        world.put(&first, 'a', 0, true).await;
        world.put(&second, 'd', 0, true).await;
        let waiting = send(&world, &second, 'd', 'a', None).await;
        carry_over(&world, &first, 'a', 'b').await;
        assert_eq!(world.state(&second).await, LicenseState::Lost);
        assert!(
            world.store.due(world.clock.now(), 9).await.expect("a store").is_empty(),
            "nothing goes there any more"
        );
        let ended = world.store.transfer(waiting).await.expect("a store").expect("it is there").state;
        assert_eq!(ended, TransferState::CalledOff);
        carry_over(&world, &second, 'a', 'c').await;
        assert_eq!(world.held(&second).await, [('c', 2), ('d', 2)]);
    })
    .await;
}

#[tokio::test]
async fn seats_refused_by_a_lost_container_while_they_were_carried_in_are_lost_with_it() {
    on_each_engine(async |world| {
        let [first, second] = two(&world).await;
        world.put(&first, 'a', 0, true).await;
        world.put(&second, 'd', 0, true).await;
        let coming = send(&world, &second, 'd', 'a', None).await;
        let arriving = world.activation();
        world.plan(arriving, 'a', Purpose::Arrive { transfer: coming }).await.expect("planned");
        world.store.keep(arriving, world.clock.now()).await.expect("kept");
        carry_over(&world, &first, 'a', 'b').await;
        world.store.release(arriving, "blocked", true, &world.moment()).await.expect("released");
        assert_eq!(world.state(&second).await, LicenseState::Lost);
        carry_over(&world, &second, 'a', 'c').await;
        assert_eq!(world.held(&second).await, [('c', 2), ('d', 2)]);
    })
    .await;
}

#[tokio::test]
async fn the_vendor_takes_a_lost_license_back_at_once() {
    on_each_engine(async |world| {
        let [first, second] = two(&world).await;
        world.put(&first, 'a', 0, true).await;
        world.put(&second, 'a', 0, true).await;
        carry_over(&world, &first, 'a', 'b').await;
        let purpose = Purpose::Withdraw { licenses: vec![second.id], reason: "unpaid".to_owned() };
        let plan = world.plan_at(world.activation(), None, purpose).await.expect("planned");
        assert_eq!((plan.done, issued(&plan)), (true, Vec::new()));
        assert_eq!(world.state(&second).await, LicenseState::Withdrawn);
        assert_eq!(code(world.plan(world.activation(), 'c', replace(&second, 'a')).await), ErrorCode::WrongState);
    })
    .await;
}
