//! Subscriptions in the store: the pure rules are tested where they stand, here that nothing of them gets lost.

use lictor_clock::duration::days;
use lictor_license_central::domain::{
    license::LicenseState,
    plan::{Departure, Pick, Purpose, What},
};
use lictor_licensing::error::ErrorCode;

use crate::{
    life::{day, place},
    world::{code, on_each_engine},
};

#[tokio::test]
async fn days_are_added_to_what_runs_and_the_old_license_is_merged() {
    on_each_engine(async |world| {
        let (first, old) = world.ticket_of("painter-30").await;
        let (second, new) = world.ticket_of("painter-365").await;
        world.carry_in(first, 'a').await;
        assert_eq!(world.end_of(old).await, Some(day(30)));
        world.go_to(10);
        let put = Purpose::Activate { ticket: Some(second), picks: Vec::new(), withdraw: Vec::new() };
        let changes = world.changes_of('a', put).await;
        assert_eq!(changes.len(), 2, "one update: {changes:?}");
        assert!(changes.iter().any(|change| change.license == old && change.what == What::Withdraw));
        assert!(changes.iter().any(|change| change.license == new && matches!(change.what, What::Add(_))));

        world.carry_in(second, 'a').await;
        assert_eq!(world.end_of(new).await, Some(day(395)));
        let merged = world.look(old).await;
        assert_eq!((merged.state(), merged.merged_into), (LicenseState::Merged, Some(new)));
        let story = world.story(&old.to_string()).await;
        assert!(story.iter().any(|(_, what)| what == "lictor.license.merged.v1"), "{story:?}");
        assert_eq!(code(world.plan_in(first, 'b').await), ErrorCode::WrongState, "spent for good");
    })
    .await;
}

#[tokio::test]
async fn a_merge_that_was_planned_and_released_leaves_no_trace() {
    on_each_engine(async |world| {
        let (first, old) = world.ticket_of("painter-30").await;
        let (second, new) = world.ticket_of("painter-90").await;
        world.carry_in(first, 'a').await;
        let before = world.look(old).await;
        let planned = world.plan_in(second, 'a').await.expect("a plan");
        world.store.release(planned, "called off", true, &world.moment()).await.expect("released");
        assert_eq!(world.look(old).await, before);
        assert_eq!(world.look(new).await.state(), LicenseState::Available);
        // And it may be done again, later.
        world.go_to(5);
        world.carry_in(second, 'a').await;
        assert_eq!(world.end_of(new).await, Some(day(120)));
    })
    .await;
}

#[tokio::test]
async fn an_expired_subscription_is_taken_out_without_backfill() {
    on_each_engine(async |world| {
        let (first, old) = world.ticket_of("painter-30").await;
        let (second, new) = world.ticket_of("painter-90").await;
        world.carry_in(first, 'a').await;
        world.go_to(100);
        world.carry_in(second, 'a').await;
        assert_eq!(world.end_of(new).await, Some(day(190)));
        let gone = world.look(old).await;
        assert!(gone.allocations.is_empty() && gone.merged_into.is_none(), "{gone:?}");
        assert_eq!(code(world.plan_in(first, 'b').await), ErrorCode::LicenseForbids, "its days are over");
    })
    .await;
}

#[tokio::test]
async fn the_last_ticket_moves_the_whole_and_its_days_pass_until_the_proof() {
    on_each_engine(async |world| {
        let (first, _) = world.ticket_of("painter-30").await;
        let (second, carrier) = world.ticket_of("painter-90").await;
        world.carry_in(first, 'a').await;
        world.carry_in(second, 'a').await;
        assert_eq!(world.end_of(carrier).await, Some(day(120)));
        world.go_to(20);
        let refused = world.give_back(first, 'a').await;
        assert_eq!(code(refused), ErrorCode::WrongState, "its days went to the other");

        let leaving = Purpose::GiveBack { ticket: second, picks: Vec::new() };
        let leaving = world.plan_for('a', leaving).await.expect("a plan");
        world.issue(leaving, 3).await;
        assert_eq!(world.look(carrier).await.remaining, None, "nothing before the proof");
        assert!(world.plan_in(second, 'b').await.is_err());
        world.go_to(25);
        world.prove(leaving).await;
        assert_eq!(world.look(carrier).await.remaining, Some(days(95)));
        world.go_to(300);
        world.carry_in(second, 'b').await;
        assert_eq!(world.end_of(carrier).await, Some(day(395)));
        assert_eq!(world.look(carrier).await.remaining, None);
    })
    .await;
}

#[tokio::test]
async fn two_tickets_for_one_container_at_once_come_one_after_the_other() {
    on_each_engine(async |world| {
        for round in ['a', 'b', 'c'] {
            let (first, one) = world.ticket_of("painter-30").await;
            let (second, other) = world.ticket_of("painter-90").await;
            let (planned, also) = tokio::join!(world.plan_in(first, round), world.plan_in(second, round));
            assert!(planned.is_ok() != also.is_ok(), "one has to wait: {planned:?} {also:?}");
            let (won, lost, late) = match (planned, also) {
                (Ok(won), Err(lost)) => (won, lost, second),
                (Err(lost), Ok(won)) => (won, lost, first),
                _ => unreachable!("just asserted"),
            };
            assert_eq!(code::<()>(Err(lost)), ErrorCode::Conflict);
            world.issue(won, 1).await;
            world.carry_in(late, round).await;
            let running = if late == first { one } else { other };
            assert_eq!(world.end_of(running).await, Some(day(120)), "nothing got lost");
        }
    })
    .await;
}

#[tokio::test]
async fn two_lines_of_one_subscription_on_a_ticket_go_in_as_one_entry_with_the_days_of_both() {
    on_each_engine(async |world| {
        let order = world.order(&[("painter-30", 0), ("painter-90", 0)]).await;
        let [first, second] = &order.tickets[0].licenses[..] else { panic!("two licenses") };
        world.carry_in(first.ticket, 'a').await;
        let (first, second) = (world.look(first.id).await, world.look(second.id).await);
        let ends = [world.end_of(first.id).await, world.end_of(second.id).await];
        assert_eq!(ends.into_iter().flatten().collect::<Vec<_>>(), [day(120)], "one entry with the days of both");
        let (carrier, joined) = if ends[0].is_some() { (&first, &second) } else { (&second, &first) };
        assert_eq!(carrier.state(), LicenseState::Confirmed);
        assert_eq!((joined.state(), joined.merged_into), (LicenseState::Merged, Some(carrier.id)));
        assert!(joined.allocations.is_empty());
    })
    .await;
}

/// The same subscription with another feature.
const OTHER_PAINTER: &str = r"
firm_code: 6000001
items:
  - name: painter-pro
    product_item:
      product_code: 400
      feature_map: 1
      text: Painter
      license_quantity: {count: 1}
      subscription: {display_name: Painter, days: 30}
      transfer: {may_move: true, may_return: true}
";

#[tokio::test]
async fn a_subscription_that_moves_waits_while_one_with_other_features_runs_at_its_target() {
    on_each_engine(async |world| {
        world.apply(OTHER_PAINTER, "other painter").await.expect("applied");
        let (coming, moved) = world.ticket_of("painter-90").await;
        world.carry_in(coming, 'a').await;
        let (running, pro) = world.ticket_of("painter-pro").await;
        world.carry_in(running, 'b').await;
        let transfer = lictor_licensing::id::TransferId::new(day(0), lictor_license_central::ids::random());
        let depart = Purpose::Depart(Departure {
            transfer,
            ticket: Some(coming),
            pick: Pick { license: moved, quantity: 0 },
            target: Some(place('b')),
            lend_until: None,
            returns: None,
        });
        let leaving = world.plan_for('a', depart).await.expect("a plan");
        world.issue(leaving, 2).await;
        world.prove(leaving).await;
        let arrive = || Purpose::Arrive { transfer };
        assert_eq!(code(world.plan_for('b', arrive()).await), ErrorCode::LicenseForbids, "other features run there");
        assert_eq!(world.end_of(pro).await, Some(day(30)), "what runs there stays as it is");
        // When that one has ended, the way is free.
        world.go_to(31);
        let arriving = world.plan_for('b', arrive()).await.expect("a plan");
        world.issue(arriving, 3).await;
        world.prove(arriving).await;
        assert_eq!(world.end_of(moved).await, Some(day(31 + 90)));
    })
    .await;
}
