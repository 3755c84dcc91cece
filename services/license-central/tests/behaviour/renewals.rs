//! Licenses with a technical end: renewed in time, once at a time, until somebody cancels.

use lictor_clock::{Clock as _, duration::minutes};
use lictor_license_central::{
    domain::plan::Purpose,
    store::{DueRenewal, DueWork},
};
use lictor_licensing::{
    error::ErrorCode,
    id::{ActivationId, LicenseId},
};

use crate::{
    life::day,
    world::{World, code, container, on_each_engine},
};

impl World {
    async fn due_renewals(&self) -> Vec<DueRenewal> {
        let work = self.store.due(self.clock.now(), 1_000).await.expect("a store");
        let renewals = work.into_iter().filter_map(|work| match work {
            DueWork::Renewal(due) => Some(due),
            _ => None,
        });
        renewals.collect()
    }

    async fn plan_renewal(&self, licenses: &[LicenseId]) -> ActivationId {
        self.plan_for('a', Purpose::Renew { licenses: licenses.to_vec() }).await.expect("a plan")
    }
}

#[tokio::test]
async fn a_license_is_due_near_its_end_and_moves_by_one_period() {
    on_each_engine(async |world| {
        let (ticket, plotter) = world.ticket_of("plotter").await;
        world.carry_in(ticket, 'a').await;
        assert_eq!(world.end_of(plotter).await, Some(day(33)));
        world.go_to(25);
        assert!(world.due_renewals().await.is_empty());
        let early = world.plan_for('a', Purpose::Renew { licenses: vec![plotter] }).await;
        assert_eq!(code(early), ErrorCode::WrongState);
        world.go_to(26);
        let due = world.due_renewals().await;
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].container.as_str(), due[0].serial.as_str()), (container('a').as_str(), "130-a"));
        assert_eq!(due[0].licenses, [plotter]);
        assert_eq!(world.due_renewals().await, due, "the same name until it is done");

        let renewal = world.plan_renewal(&due[0].licenses).await;
        assert!(world.due_renewals().await.is_empty(), "somebody is at it");
        world.issue(renewal, 2).await;
        assert_eq!(world.end_of(plotter).await, Some(day(63)));
        let story = world.story(&plotter.to_string()).await;
        assert!(story.iter().any(|(_, what)| what == "lictor.license.renewed.v1"), "{story:?}");
        world.prove(renewal).await;
        assert!(world.due_renewals().await.is_empty());
        world.go_to(56);
        assert_eq!(world.due_renewals().await.len(), 1, "and so on");
    })
    .await;
}

#[tokio::test]
async fn a_renewal_that_nobody_collects_is_followed_by_no_second_one() {
    on_each_engine(async |world| {
        let (ticket, plotter) = world.ticket_of("plotter").await;
        world.carry_in(ticket, 'a').await;
        world.go_to(26);
        let renewal = world.plan_renewal(&[plotter]).await;
        world.issue(renewal, 2).await;
        for number in (26..800).step_by(7) {
            world.go_to(number);
            assert!(world.due_renewals().await.is_empty(), "on day {number}");
        }
        // It wakes up after two years: the next one goes from that day.
        world.prove(renewal).await;
        assert_eq!(world.due_renewals().await.len(), 1);
        let next = world.plan_renewal(&[plotter]).await;
        world.issue(next, 3).await;
        world.prove(next).await;
        let end = world.end_of(plotter).await.expect("an end");
        assert_eq!(end.since(world.clock.now()), lictor_clock::duration::days(33));
    })
    .await;
}

#[tokio::test]
async fn a_license_that_was_never_collected_is_not_renewed() {
    on_each_engine(async |world| {
        let (ticket, _) = world.ticket_of("plotter").await;
        let activation = world.plan_in(ticket, 'a').await.expect("a plan");
        world.issue(activation, 1).await;
        world.go_to(30);
        assert!(world.due_renewals().await.is_empty());
        world.prove(activation).await;
        assert_eq!(world.due_renewals().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_renewal_that_was_given_up_or_lapsed_is_due_again_under_another_name() {
    on_each_engine(async |world| {
        let (ticket, plotter) = world.ticket_of("plotter").await;
        world.carry_in(ticket, 'a').await;
        world.go_to(27);
        let first = world.due_renewals().await;
        let renewal = world.plan_renewal(&[plotter]).await;
        world.clock.advance(minutes(1));
        world.store.release(renewal, "the issuer refused", true, &world.moment()).await.expect("released");
        let second = world.due_renewals().await;
        assert_eq!(second[0].licenses, first[0].licenses);
        assert_ne!(second[0].key, first[0].key);
        world.clock.advance(minutes(1));
        world.plan_renewal(&[plotter]).await;
        assert!(world.due_renewals().await.is_empty());
        world.clock.advance(minutes(20));
        let third = world.due_renewals().await;
        assert_eq!(third.len(), 1, "a plan that nobody goes on with is not waited for");
        assert_ne!(third[0].key, second[0].key);
    })
    .await;
}

#[tokio::test]
async fn licenses_of_one_container_are_renewed_together() {
    on_each_engine(async |world| {
        let mut tickets = Vec::new();
        for place in ['a', 'a', 'b'] {
            let (ticket, license) = world.ticket_of("plotter").await;
            world.carry_in(ticket, place).await;
            tickets.push(license);
        }
        world.go_to(30);
        let mut due = world.due_renewals().await;
        due.sort_by_key(|due| due.serial.clone());
        assert_eq!(due.iter().map(|due| due.licenses.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(due[1].licenses, [tickets[2]]);
        assert_ne!(due[0].key, due[1].key);
        assert_eq!(world.store.due(day(30), 1).await.expect("a store").len(), 1, "no more than asked for");
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_license_runs_out_and_resumes_only_before() {
    on_each_engine(async |world| {
        let (ticket, plotter) = world.ticket_of("plotter").await;
        world.carry_in(ticket, 'a').await;
        let told = world.cancel(plotter, false, "c1").await.expect("cancelled");
        world.go_to(30);
        assert!(world.due_renewals().await.is_empty());
        let renewal = Purpose::Renew { licenses: vec![plotter] };
        assert_eq!(code(world.plan_for('a', renewal).await), ErrorCode::WrongState);
        assert_eq!(world.cancel(plotter, false, "c1").await.expect("repeated"), told);
        assert_eq!(world.cancel(plotter, false, "c2").await.expect("so already"), told, "it was cancelled on day 0");
        assert_eq!(code(world.cancel(plotter, true, "c1").await), ErrorCode::RequestIdReused);

        world.cancel(plotter, true, "c3").await.expect("resumed");
        assert_eq!(world.due_renewals().await.len(), 1);
        world.cancel(plotter, false, "c4").await.expect("cancelled");
        world.go_to(33);
        assert_eq!(code(world.cancel(plotter, true, "c5").await), ErrorCode::WrongState);
        assert_eq!(world.end_of(plotter).await, Some(day(33)));
    })
    .await;
}

#[tokio::test]
async fn only_what_renews_itself_can_be_cancelled() {
    on_each_engine(async |world| {
        let (_, tram) = world.ticket_of("tram").await;
        assert_eq!(code(world.cancel(tram, false, "c1").await), ErrorCode::WrongState);
        assert_eq!(code(world.cancel(tram, true, "c2").await), ErrorCode::WrongState);
        let (ticket, plotter) = world.ticket_of("plotter").await;
        world.carry_in(ticket, 'a').await;
        let purpose = Purpose::Withdraw { licenses: vec![plotter], reason: "not paid".to_owned() };
        world.plan_for('a', purpose).await.expect("withdrawn");
        assert_eq!(code(world.cancel(plotter, false, "c3").await), ErrorCode::WrongState);
        world.go_to(30);
        assert!(world.due_renewals().await.is_empty(), "nothing withdrawn is renewed");
    })
    .await;
}
