//! The history as plans write it, and what it says about a date.

use lictor_license_central::{
    domain::{
        history::{self, Certainty, Fact},
        plan::Purpose,
    },
    store::HistoryOf,
};
use lictor_licensing::id::LicenseId;
use lictor_storage::sqlx;

use crate::{
    life::day,
    world::{World, firm, on_each_engine},
};

impl World {
    async fn facts(&self, of: HistoryOf) -> Vec<Fact> {
        self.store.history(&of).await.expect("a store")
    }

    async fn words(&self, id: LicenseId) -> Vec<String> {
        self.facts(HistoryOf::License(id)).await.iter().map(|fact| fact.what.name().to_owned()).collect()
    }

    /// What the container with this digit could run on a day.
    async fn ran(&self, digit: char, number: u64) -> Vec<(LicenseId, Certainty)> {
        let facts = self.facts(HistoryOf::Container(firm(), format!("130-{digit}"))).await;
        history::usable(&facts, day(number)).into_iter().map(|row| (row.license, row.certainty)).collect()
    }
}

#[tokio::test]
async fn the_life_of_a_license_is_told_step_by_step() {
    on_each_engine(async |world| {
        let (ticket, license) = world.ticket_of("planner").await;
        assert_eq!(world.words(license).await, ["created"]);
        world.go_to(1);
        let activation = world.plan_in(ticket, 'a').await.expect("a plan");
        world.issue(activation, 7).await;
        world.go_to(4);
        world.prove(activation).await;
        let facts = world.facts(HistoryOf::License(license)).await;
        let issued = facts.iter().find(|fact| fact.what == history::What::Issued).expect("issued");
        assert_eq!((issued.counter, issued.quantity, issued.serial.as_str()), (7, 10, "130-a"));
        assert_eq!(issued.activation, Some(activation));
        world.go_to(9);
        world.give_back(ticket, 'a').await.expect("given back");
        let words = world.words(license).await;
        assert_eq!(words, ["created", "issued", "proven", "leaving", "returned"]);

        assert!(world.ran('a', 0).await.is_empty());
        assert_eq!(world.ran('a', 2).await, [(license, Certainty::Possible)]);
        assert_eq!(world.ran('a', 5).await, [(license, Certainty::Proven)]);
        assert!(world.ran('a', 9).await.is_empty());
        assert!(world.ran('b', 5).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_withdrawal_without_proof_leaves_it_possible() {
    on_each_engine(async |world| {
        let (ticket, license) = world.ticket_of("planner").await;
        world.carry_in(ticket, 'a').await;
        world.go_to(10);
        let purpose = Purpose::Withdraw { licenses: vec![license], reason: "not paid".to_owned() };
        let withdrawal = world.plan_for('a', purpose).await.expect("a plan");
        world.issue(withdrawal, 2).await;
        assert_eq!(world.ran('a', 9).await, [(license, Certainty::Proven)]);
        assert_eq!(world.ran('a', 500).await, [(license, Certainty::Possible)]);
        let facts = world.facts(HistoryOf::License(license)).await;
        assert!(facts.iter().any(|fact| fact.what.name() == "withdrawn" && fact.why.contains("not paid")), "{facts:?}");
        world.go_to(30);
        world.prove(withdrawal).await;
        assert!(world.ran('a', 30).await.is_empty());
        assert_eq!(world.ran('a', 29).await, [(license, Certainty::Possible)]);
    })
    .await;
}

#[tokio::test]
async fn merges_and_renewals_are_told_with_their_dates() {
    on_each_engine(async |world| {
        let (first, old) = world.ticket_of("painter-30").await;
        let (second, new) = world.ticket_of("painter-90").await;
        world.carry_in(first, 'a').await;
        world.go_to(10);
        let joining = world.plan_in(second, 'a').await.expect("a plan");
        world.issue(joining, 2).await;
        let mut on_day_15 = world.ran('a', 15).await;
        on_day_15.sort();
        let mut both = vec![(old, Certainty::Possible), (new, Certainty::Possible)];
        both.sort();
        assert_eq!(on_day_15, both);
        world.go_to(20);
        world.prove(joining).await;
        assert_eq!(world.ran('a', 119).await, [(new, Certainty::Proven)]);
        assert!(world.ran('a', 120).await.is_empty());
        assert!(world.words(old).await.contains(&"merged".to_owned()));

        let (ticket, plotter) = world.ticket_of("plotter").await;
        world.carry_in(ticket, 'b').await;
        world.go_to(50);
        let renewal = world.plan_for('b', Purpose::Renew { licenses: vec![plotter] }).await.expect("a plan");
        world.issue(renewal, 2).await;
        assert_eq!(world.ran('b', 52).await, [(plotter, Certainty::Proven)], "to the old end, day 53");
        assert_eq!(world.ran('b', 53).await, [(plotter, Certainty::Possible)]);
        world.prove(renewal).await;
        world.prove(renewal).await;
        assert_eq!(world.ran('b', 82).await, [(plotter, Certainty::Proven)]);
        assert!(world.ran('b', 83).await.is_empty());
        assert_eq!(world.words(plotter).await, ["created", "issued", "proven", "renewed", "proven"]);
    })
    .await;
}

#[tokio::test]
async fn a_lost_container_is_never_sure_again() {
    on_each_engine(async |world| {
        let (ticket, plotter) = world.ticket_of("plotter").await;
        world.carry_in(ticket, 'a').await;
        world.go_to(5);
        let replace = Purpose::Replace { ticket, lost_serial: "130-a".to_owned(), by_hand: false };
        let replacing = world.plan_for('b', replace).await.expect("a plan");
        world.issue(replacing, 1).await;
        world.prove(replacing).await;
        assert_eq!(world.ran('a', 4).await, [(plotter, Certainty::Proven)]);
        assert_eq!(world.ran('a', 6).await, [(plotter, Certainty::Possible)]);
        assert_eq!(world.ran('b', 6).await, [(plotter, Certainty::Proven)]);
        assert!(world.ran('a', 33).await.is_empty(), "a container that nobody reaches runs out by itself");
    })
    .await;
}

#[tokio::test]
async fn nobody_rewrites_history() {
    on_each_engine(async |world| {
        world.ticket_of("planner").await;
        for text in [
            "UPDATE license_history SET why = 'something else'",
            "UPDATE license_history SET happened_at = 0",
            "DELETE FROM license_history",
        ] {
            let mut tx = world.store.db().begin().await.expect("a transaction");
            let refused = sqlx::query(text).execute(tx.conn()).await.expect_err(text);
            assert!(refused.to_string().contains("history of a license never"), "{refused}");
        }
    })
    .await;
}
