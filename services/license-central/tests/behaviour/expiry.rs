//! Ends of licenses, announced on time by a clock that the test holds.

use lictor_api::event::v1::event::Data;
use lictor_clock::{Clock as _, Timestamp, duration::days};
use lictor_license_central::{NoticeDays, domain::plan::Purpose, store::Swept};
use lictor_licensing::id::LicenseId;
use lictor_storage::command::Command;

use crate::{
    life::day,
    world::{World, on_each_engine},
};

impl World {
    async fn sweep(&self) -> Swept {
        self.store.sweep("test", NoticeDays::USUAL, &self.moment()).await.expect("a store")
    }

    /// What was announced of a license: days ahead (0: it has ended) and the end.
    async fn notices(&self, id: LicenseId) -> Vec<(u32, i64)> {
        let events = self.events().await.into_iter().filter(|event| event.subject == id.to_string());
        let mut numbers = Vec::new();
        let mut notices = Vec::new();
        for event in events {
            numbers.push(event.aggregate_sequence);
            match event.data.expect("data") {
                Data::LicenseExpiring(it) => notices.push((it.days_ahead, it.expires_at.expect("a date").seconds)),
                Data::LicenseExpired(it) => notices.push((0, it.expired_at.expect("a date").seconds)),
                _ => {}
            }
        }
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "numbered without gaps: {numbers:?}");
        notices
    }

    pub(crate) async fn cancel(
        &self,
        id: LicenseId,
        resume: bool,
        request_id: &str,
    ) -> Result<Vec<u8>, lictor_license_central::failure::Failure> {
        let command = Command { caller: "test", method: "CancelRenewal", request_id, body: &[u8::from(resume)] };
        let event = lictor_license_central::ids::events(1, self.clock.now())[0];
        let told = |license: &lictor_license_central::domain::license::License| {
            format!("{:?}", license.renewal_cancelled_at).into_bytes()
        };
        self.store.cancel_renewal(id, resume, event, &command, &self.moment(), told).await
    }
}

fn at(end: Timestamp, ahead: &[u32]) -> Vec<(u32, i64)> {
    ahead.iter().map(|days| (*days, end.as_seconds())).collect()
}

#[tokio::test]
async fn each_lead_and_the_end_are_announced_once_and_perpetual_licenses_never() {
    on_each_engine(async |world| {
        let (ticket, short) = world.ticket_of("painter-90").await;
        let (_, endless) = world.ticket_of("tram").await;
        world.carry_in(ticket, 'a').await;
        let mut looked_at = 0;
        for number in [0, 1, 30, 59, 60, 61, 82, 83, 84, 88, 89, 90, 91, 120] {
            world.go_to(number);
            looked_at += world.sweep().await.looked_at;
            assert_eq!(world.sweep().await, Swept::default(), "nothing twice on day {number}");
        }
        assert_eq!(world.notices(short).await, at(day(90), &[30, 7, 1, 0]));
        assert!(world.notices(endless).await.is_empty());
        assert!(looked_at <= 8, "looked at {looked_at} licenses in 120 days");
    })
    .await;
}

#[tokio::test]
async fn after_three_weeks_of_standstill_only_the_nearest_lead_is_announced() {
    on_each_engine(async |world| {
        let (ticket, short) = world.ticket_of("painter-90").await;
        world.carry_in(ticket, 'a').await;
        world.go_to(59);
        world.sweep().await;
        world.go_to(84);
        world.sweep().await;
        assert_eq!(world.notices(short).await, at(day(90), &[7]));
        world.go_to(200);
        world.sweep().await;
        assert_eq!(world.notices(short).await, at(day(90), &[7, 0]));
    })
    .await;
}

#[tokio::test]
async fn a_later_end_is_announced_anew_and_the_merged_license_no_more() {
    on_each_engine(async |world| {
        let (first, old) = world.ticket_of("painter-90").await;
        let (second, new) = world.ticket_of("painter-90").await;
        world.carry_in(first, 'a').await;
        world.go_to(60);
        world.sweep().await;
        world.carry_in(second, 'a').await;
        for number in [60, 61, 83, 90, 91, 149, 150, 172, 173, 178, 179, 180, 181, 200] {
            world.go_to(number);
            world.sweep().await;
        }
        assert_eq!(world.notices(old).await, at(day(90), &[30]));
        assert_eq!(world.notices(new).await, at(day(180), &[30, 7, 1, 0]));
    })
    .await;
}

#[tokio::test]
async fn an_item_has_its_own_leads_and_a_returned_subscription_none() {
    on_each_engine(async |world| {
        let (ticket, year) = world.ticket_of("painter-365").await;
        world.carry_in(ticket, 'a').await;
        world.go_to(305);
        world.sweep().await;
        world.give_back(ticket, 'a').await.expect("given back");
        for number in [305, 335, 351, 362, 365, 400, 495] {
            world.go_to(number);
            world.sweep().await;
        }
        assert_eq!(world.notices(year).await, at(day(365), &[60]), "nothing runs while it lies nowhere");
        world.carry_in(ticket, 'b').await;
        for number in [495, 525, 540, 541, 542, 551, 552, 553, 554, 555, 556, 600] {
            world.go_to(number);
            world.sweep().await;
        }
        assert_eq!(world.notices(year).await[1..], at(day(555), &[14, 3, 0]), "60 ahead was behind already");
    })
    .await;
}

#[tokio::test]
async fn a_fixed_date_counts_also_for_what_was_never_activated() {
    on_each_engine(async |world| {
        let (_, editor) = world.ticket_of("editor").await;
        let end = Timestamp::from_seconds(1_893_456_000);
        world.sweep().await;
        world.clock.set_now(end.saturating_sub(days(7)));
        world.sweep().await;
        world.clock.set_now(end);
        world.sweep().await;
        assert_eq!(world.notices(editor).await, at(end, &[7, 0]));
    })
    .await;
}

#[tokio::test]
async fn a_technical_end_is_announced_only_after_its_renewal_was_cancelled() {
    on_each_engine(async |world| {
        let (ticket, plotter) = world.ticket_of("plotter").await;
        world.carry_in(ticket, 'a').await;
        world.go_to(30);
        world.sweep().await;
        assert!(world.notices(plotter).await.is_empty());
        world.cancel(plotter, false, "c1").await.expect("cancelled");
        world.sweep().await;
        assert!(world.notices(plotter).await.is_empty(), "7 ahead was behind already");
        world.go_to(32);
        world.sweep().await;
        world.cancel(plotter, true, "c2").await.expect("resumed");
        world.go_to(40);
        world.sweep().await;
        assert_eq!(world.notices(plotter).await, at(day(33), &[1]), "it goes on");
        world.cancel(plotter, false, "c3").await.expect("cancelled");
        world.sweep().await;
        assert_eq!(world.notices(plotter).await, at(day(33), &[1, 0]));
    })
    .await;
}

#[tokio::test]
async fn a_withdrawn_license_is_not_announced() {
    on_each_engine(async |world| {
        let (ticket, short) = world.ticket_of("painter-90").await;
        world.carry_in(ticket, 'a').await;
        let purpose = Purpose::Withdraw { licenses: vec![short], reason: String::new() };
        world.plan_for('a', purpose).await.expect("withdrawn");
        world.go_to(95);
        world.sweep().await;
        assert!(world.notices(short).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn two_replicas_announce_everything_once_together() {
    on_each_engine(async |world| {
        let mut ids = Vec::new();
        for _ in 0..3 {
            let lines: Vec<(&str, u32)> = (0..90).map(|_| ("editor", 0)).collect();
            let order = world.order(&lines).await;
            ids.extend(order.tickets[0].licenses.iter().map(|license| license.id));
        }
        world.clock.set_now(Timestamp::from_seconds(1_893_456_000));
        let (moment, leads) = (world.moment(), NoticeDays::USUAL);
        let (one, other) =
            tokio::join!(world.store.sweep("one", leads, &moment), world.store.sweep("two", leads, &moment));
        let swept = (one.expect("a store"), other.expect("a store"));
        assert_eq!(swept.0.expired + swept.1.expired, 270);
        assert!(swept.0.expired == 0 || swept.1.expired == 0, "the lease is with one of them: {swept:?}");
        // Who died holding the lease is followed by another one after its time.
        world.clock.advance(days(1));
        assert_eq!(world.store.sweep("three", leads, &world.moment()).await.expect("a store"), Swept::default());
        for id in ids.iter().take(5) {
            assert_eq!(world.notices(*id).await.len(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn other_leads_at_the_next_start_count_for_what_runs_already() {
    on_each_engine(async |world| {
        let (ticket, short) = world.ticket_of("painter-90").await;
        world.carry_in(ticket, 'a').await;
        world.store.settle_leads(NoticeDays::USUAL).await.expect("a store");
        world.sweep().await;
        let wider = NoticeDays::try_from(vec![50]).expect("leads");
        world.store.settle_leads(wider).await.expect("a store");
        world.go_to(41);
        world.store.sweep("test", wider, &world.moment()).await.expect("a store");
        assert_eq!(world.notices(short).await, at(day(90), &[50]));
    })
    .await;
}
