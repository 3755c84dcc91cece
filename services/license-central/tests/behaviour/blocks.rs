//! Containers that staff blocked at the issuer: nothing more is planned for them.

use lictor_clock::{Clock as _, duration::days};
use lictor_license_central::{
    domain::plan::{Departure, Purpose},
    failure::Failure,
    store::BlockedContainer,
};
use lictor_licensing::{error::ErrorCode, id::TransferId};

use crate::world::{World, container, firm, issued, machine, on_each_engine, pick, take};

async fn block(world: &World, digit: char, reason: &str) -> bool {
    let blocked = BlockedContainer {
        firm: firm(),
        container: container(digit),
        serial: machine(digit).serial,
        reason: reason.to_owned(),
    };
    world.store.note_blocked(&blocked, world.clock.now()).await.expect("a store")
}

#[tokio::test]
async fn nothing_but_a_withdrawal_is_planned_for_a_blocked_container() {
    on_each_engine(async |world| {
        let held = world.sold("truck", 2).await;
        world.put(&held, 'a', 0, true).await;
        let elsewhere = world.sold("truck", 2).await;
        world.put(&elsewhere, 'b', 0, true).await;
        assert!(block(&world, 'a', "stolen, case 4711").await);
        assert!(!block(&world, 'a', "again").await, "the first word counts");
        let more = world.sold("truck", 2).await;
        let moved_to = Purpose::Depart(Departure {
            transfer: TransferId::new(world.clock.now(), lictor_license_central::ids::random()),
            ticket: Some(elsewhere.ticket),
            pick: pick(&elsewhere, 1),
            target: Some(machine('a')),
            lend_until: None,
            returns: None,
        });
        let back = Purpose::GiveBack { ticket: held.ticket, picks: Vec::new() };
        for (digit, purpose) in [('a', take(&more, 0)), ('a', back), ('b', moved_to)] {
            let text = format!("{purpose:?}");
            let Err(Failure::Refused(problem)) = world.plan(world.activation(), digit, purpose).await else {
                panic!("not refused: {text}")
            };
            assert_eq!(problem.code, ErrorCode::WrongState, "{text}");
            assert!(problem.message.contains("blocked (stolen, case 4711)"), "{problem}");
            assert!(problem.next.contains("lictor replace"), "{problem}");
        }
        assert_eq!(world.again(&more).await.free(), 2, "nothing was set aside");
        let purpose = Purpose::Withdraw { licenses: vec![held.id], reason: "unpaid".to_owned() };
        let plan = world.plan_at(world.activation(), None, purpose).await.expect("a withdrawal is planned");
        assert_eq!(issued(&plan), [(held.id, "withdraw", 0)]);
        world.put(&more, 'c', 0, true).await;
        let asked = [container('a'), container('c')];
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let blocked = world.store.blocked_among(firm(), &asked).await.expect("a store");
        assert_eq!(blocked.into_iter().collect::<Vec<_>>(), [container('a')]);
    })
    .await;
}

#[tokio::test]
async fn licenses_in_a_blocked_container_are_not_renewed() {
    on_each_engine(async |world| {
        let plotter = world.sold("plotter", 0).await;
        world.put(&plotter, 'a', 0, true).await;
        world.clock.advance(days(27));
        assert_eq!(world.store.due(world.clock.now(), 9).await.expect("a store").len(), 1);
        block(&world, 'a', "").await;
        assert!(world.store.due(world.clock.now(), 9).await.expect("a store").is_empty());
    })
    .await;
}
