//! Seats that renew themselves and are lent: each part keeps to its own dates.

use std::time::Duration;

use lictor_api::{activation::v1::TransferLicenseRequest, convert::timestamp};
use lictor_clock::{Clock as _, Timestamp};
use lictor_test_support::device::TestDevice;

use crate::{
    front::{Front, moving},
    world::{FIRM, World, on_each_engine},
};

const DAY: Duration = Duration::from_hours(24);

struct Lent {
    lender: TestDevice,
    borrower: TestDevice,
    license: String,
    until: Timestamp,
}

/// 4 of 10 seats with a technical end of 30 days, lent for so many days.
async fn lent(world: &World, front: &Front, days: u32) -> Lent {
    let ticket = world.vendor.order_seats(FIRM, &[("leased", 10)]).await;
    let (mut lender, mut borrower) = (world.device(), world.device());
    let license = front.put_in(&mut lender, &ticket, 10).await;
    let until = world.vendor.clock.now().saturating_add(DAY * days);
    let request = TransferLicenseRequest {
        target_context: borrower.context(),
        lend_until: Some(timestamp(until)),
        ..moving("lend", &ticket, 4, front.fresh(&mut lender).await)
    };
    let answer = front.transfer(request).await.expect("lent");
    front.import(&mut lender, &answer.update).await;
    fetch(front, &mut borrower).await;
    Lent { lender, borrower, license, until }
}

async fn fetch(front: &Front, device: &mut TestDevice) {
    let update = front.pending(device).await;
    if !update.is_empty() {
        front.import(device, &update).await;
    }
}

/// Days pass one by one, both containers take what waits for them, and no seat can ever be used twice.
async fn days(world: &World, front: &Front, lent: &mut Lent, days: u32) {
    for _ in 0..days {
        world.vendor.clock.advance(DAY);
        front.time_passes().await;
        fetch(front, &mut lent.lender).await;
        fetch(front, &mut lent.borrower).await;
        let now = world.vendor.clock.now();
        let (own, borrowed) = (lent.lender.seats(&lent.license, now), lent.borrower.seats(&lent.license, now));
        assert!(own + borrowed <= 10, "{own} and {borrowed}");
        assert!(own >= 6, "the lender's own seats never end: {own}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_loan_is_renewed_with_its_lender_and_ends_on_its_date() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let mut lent = lent(&world, &front, 75).await;
        let first = lent.borrower.end_of(&lent.license).expect("a technical end");
        assert!(first < lent.until, "the technical end comes first");
        days(&world, &front, &mut lent, 40).await;
        let now = world.vendor.clock.now();
        assert_eq!(lent.borrower.seats(&lent.license, now), 4, "renewed beyond its first end");
        days(&world, &front, &mut lent, 34).await;
        assert_eq!(lent.borrower.seats(&lent.license, world.vendor.clock.now()), 4);
        assert!(lent.borrower.end_of(&lent.license).expect("an end") <= lent.until, "never beyond the loan");
        days(&world, &front, &mut lent, 4).await;
        let now = world.vendor.clock.now();
        let (own, borrowed) = (lent.lender.seats(&lent.license, now), lent.borrower.seats(&lent.license, now));
        assert_eq!((own, borrowed), (10, 0), "all of it came home");
        days(&world, &front, &mut lent, 35).await;
        assert_eq!(lent.lender.seats(&lent.license, world.vendor.clock.now()), 10, "and renews as one again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_loan_is_not_renewed_beyond_its_date() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let mut lent = lent(&world, &front, 10).await;
        assert_eq!(lent.borrower.end_of(&lent.license), Some(lent.until));
        days(&world, &front, &mut lent, 9).await;
        assert_eq!(world.vendor.container(&lent.borrower).await.latest, 1, "nothing was issued for the borrower");
        days(&world, &front, &mut lent, 40).await;
        let now = world.vendor.clock.now();
        let (own, borrowed) = (lent.lender.seats(&lent.license, now), lent.borrower.seats(&lent.license, now));
        assert_eq!((own, borrowed), (10, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_borrower_that_fetches_nothing_runs_out_and_the_seats_come_home() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let Lent { mut lender, borrower, license, .. } = lent(&world, &front, 75).await;
        for _ in 0..80 {
            world.vendor.clock.advance(DAY);
            front.time_passes().await;
            fetch(&front, &mut lender).await;
        }
        let now = world.vendor.clock.now();
        assert_eq!((lender.seats(&license, now), borrower.seats(&license, now)), (10, 0));
    })
    .await;
}
