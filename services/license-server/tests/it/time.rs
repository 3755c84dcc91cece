//! Clocks that are wrong, and what was used here before an update came.

use std::time::{Duration, Instant};

use lictor_api::server::v1::{AcquireRequest, ExplainRequest};
use lictor_license_file::segment::Operation;
use lictor_licensing::options::{Options, UsagePeriod};

use crate::stage::client::RawClient;
use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, add, add_item, license, options, start_of_tests};

const DATED: u32 = 201;
const PERPETUAL: u32 = 202;

/// Whether the server would give a seat of the product now.
async fn would_grant(server: &mut TestServer, product: u32) -> bool {
    let wish = AcquireRequest { firm_code: FIRM, product_code: product, ..Default::default() };
    server.containers.explain(ExplainRequest { request: Some(wish) }).await.expect("explained").into_inner().granted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_back_revives_no_license_and_harms_no_perpetual_one() {
    let (start, hour) = (start_of_tests(), Duration::from_secs(3_600));
    let dated = |number, product, end| {
        add_item(number, Options { expiration_time: Some(end), ..options(product, Some(1)) }, Vec::new(), 1)
    };
    // One that ended before its own update was signed, and one that ends while the server runs.
    let over = dated(1, 200, start.saturating_sub(hour));
    let (mut server, _vendor) =
        TestServer::with(vec![over, dated(2, DATED, start.saturating_add(hour)), add(3, PERPETUAL, 1)]).await;
    for back in [Duration::from_secs(60), 24 * hour, 365 * 24 * hour] {
        server.clock.set_now(start.saturating_sub(hour + back));
        assert!(!would_grant(&mut server, 200).await, "the signed time counts, {back:?} before the end");
        assert!(would_grant(&mut server, PERPETUAL).await);
    }

    // Time that passed here counts too, as soon as it was noted, which happens once a minute of uptime.
    server.clock.set_now(start);
    assert!(would_grant(&mut server, DATED).await);
    let begun = Instant::now();
    loop {
        server.clock.set_now(start.saturating_add(2 * hour));
        server.clock.advance(Duration::from_secs(60));
        assert!(!would_grant(&mut server, DATED).await);
        server.clock.set_now(start);
        if !would_grant(&mut server, DATED).await {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the time that passed is never noted");
    }
    let mut server = server.restarted().await;
    assert!(!would_grant(&mut server, DATED).await, "also after a restart");
    assert!(would_grant(&mut server, PERPETUAL).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_keeps_what_was_used_here_before_it_came() {
    let period = UsagePeriod::new(Duration::from_secs(1_000)).expect("a period");
    let operation = || add_item(1, Options { usage_period: Some(period), ..options(DATED, Some(1)) }, Vec::new(), 1);
    let (mut server, mut vendor) = TestServer::with(vec![operation()]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let granted = client.acquire(1, DATED).await.expect("the first use");
    client.release(&granted.session_id).await.expect("released");
    server.clock.advance(Duration::from_secs(700));
    // The vendor never heard of the use, and computed the digest of the state without it.
    let Operation::AddEntry { item, .. } = operation() else { unreachable!("it adds") };
    let context = server.context(FIRM).await;
    let update = vendor.update(&context, vec![Operation::ReplaceEntry { license: license(1), item, quantity: 1 }]);
    assert_eq!(server.import(&update).await.expect("imported").to, 2);
    assert!(would_grant(&mut server, DATED).await);
    server.clock.advance(Duration::from_secs(300));
    assert_eq!(client.acquire(2, DATED).await.expect_err("the period goes on").reasons[0].code, 71);
}
