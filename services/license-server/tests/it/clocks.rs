//! Clocks that go wrong, and the signed time that puts them right.

use std::time::{Duration, Instant};

use lictor_api::convert;
use lictor_api::server::v1 as wire;
use lictor_clock::{ManualClock, Timestamp};
use lictor_license_server::domain::ask::Moment;
use lictor_license_server::domain::time::{LEAP, ProvenTime};
use lictor_licensing::options::Options;

use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, Vendor, add, add_item, options, start_of_tests};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const DATED: u32 = 201;
const PERPETUAL: u32 = 202;

/// A dated licence that ends ten days after the start, and a perpetual one.
async fn server() -> (TestServer, Vendor) {
    let end = start_of_tests().saturating_add(10 * DAY);
    let dated = Options { expiration_time: Some(end), ..options(DATED, Some(1)) };
    TestServer::with(vec![add_item(1, dated, Vec::new(), 1), add(2, PERPETUAL, 1)]).await
}

async fn grants(server: &mut TestServer, product: u32) -> bool {
    let wish = wire::AcquireRequest { firm_code: FIRM, product_code: product, ..Default::default() };
    let request = wire::ExplainRequest { request: Some(wish) };
    server.containers.explain(request).await.expect("explained").into_inner().granted
}

/// Whether the clock is suspect, and the proven time.
async fn told(server: &mut TestServer) -> (bool, Timestamp) {
    let listed = server.containers.list_containers(wire::ListContainersRequest {}).await.expect("listed").into_inner();
    let proven = listed.proven_time.expect("a proven time");
    (listed.clock_suspect, convert::from_timestamp(&proven).expect("a time"))
}

async fn nonce(server: &mut TestServer) -> Vec<u8> {
    let request = wire::CreateTimeNonceRequest { firm_code: FIRM };
    server.containers.create_time_nonce(request).await.expect("a nonce").into_inner().nonce
}

async fn import(server: &mut TestServer, statement: Vec<u8>) -> Result<wire::ImportTimeResponse, tonic::Status> {
    let request = wire::ImportTimeRequest { firm_code: FIRM, statement };
    server.containers.import_time(request).await.map(tonic::Response::into_inner)
}

/// Lets the machine run for a while, and waits until the server has noted it.
async fn run(server: &mut TestServer, span: Duration) {
    server.clock.advance(span);
    let begun = Instant::now();
    let noted = |folder: &std::path::Path| {
        let files = std::fs::read_dir(folder).expect("the folder").filter_map(Result::ok);
        files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum::<u64>()
    };
    let before = noted(server.path());
    while noted(server.path()) == before {
        assert!(begun.elapsed() < Duration::from_secs(20), "the time is never noted");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_behind_is_suspect_and_the_proven_time_runs_on_with_the_machine() {
    let (mut server, _vendor) = server().await;
    let start = start_of_tests();
    assert_eq!(told(&mut server).await, (false, start));
    server.clock.set_now(start.saturating_sub(Duration::from_secs(4 * 60)));
    assert!(!told(&mut server).await.0, "within the tolerance");
    // 1970 is a clock whose battery is empty.
    for back in [start.saturating_sub(HOUR), start.saturating_sub(365 * DAY), Timestamp::UNIX_EPOCH] {
        server.clock.set_now(back);
        assert_eq!(told(&mut server).await, (true, start));
        assert!(grants(&mut server, DATED).await && grants(&mut server, PERPETUAL).await);
    }
    // Eleven days of running with a clock that says 1970, restarts among them.
    for _ in 0..11 {
        run(&mut server, DAY).await;
        server.clock.set_now(Timestamp::UNIX_EPOCH);
        server = server.restarted().await;
    }
    let (suspect, proven) = told(&mut server).await;
    assert!(suspect && proven >= start.saturating_add(11 * DAY - HOUR), "{proven}");
    assert!(!grants(&mut server, DATED).await, "over by the time that the machine ran");
    assert!(grants(&mut server, PERPETUAL).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_years_forward_and_back_leaves_no_trace() {
    let (mut server, mut vendor) = server().await;
    let start = start_of_tests();
    server.clock.set_now(start.saturating_add(3_650 * DAY));
    assert!(!grants(&mut server, DATED).await, "the clock is used as it is");
    let context = server.context(FIRM).await;
    server.import(&vendor.update(&context, vec![add(3, 203, 1)])).await.expect("imported");
    run(&mut server, Duration::from_secs(120)).await;
    let mut server = server.restarted().await;
    run(&mut server, Duration::from_secs(120)).await;
    server.clock.set_now(start.saturating_add(HOUR));
    assert!(grants(&mut server, DATED).await && grants(&mut server, 203).await);
    let (suspect, proven) = told(&mut server).await;
    assert!(!suspect && proven <= start.saturating_add(HOUR), "{proven}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leap_that_lasts_a_day_is_believed_and_a_signed_time_takes_even_that_back() {
    let (mut server, vendor) = server().await;
    let start = start_of_tests();
    let wrong = start.saturating_add(3_650 * DAY);
    server.clock.set_now(wrong);
    for _ in 0..4 {
        run(&mut server, 5 * HOUR).await;
        server = server.restarted().await;
    }
    assert!(told(&mut server).await.1 < start.saturating_add(2 * DAY), "twenty hours are not a day");
    run(&mut server, 5 * HOUR).await;
    assert!(told(&mut server).await.1 >= wrong, "a day of running with it, restarts or not");
    let real = start.saturating_add(2 * DAY);
    server.clock.set_now(real);
    assert!(told(&mut server).await.0 && !grants(&mut server, DATED).await);

    let asked = nonce(&mut server).await;
    let answer = import(&mut server, vendor.say_time(&asked, real)).await.expect("the way back");
    assert_eq!((answer.was_suspect, answer.is_suspect), (true, false));
    assert!(grants(&mut server, DATED).await);
    let mut server = server.restarted().await;
    assert_eq!(told(&mut server).await, (false, real));
    assert!(grants(&mut server, DATED).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_a_signed_time_finds_ahead_is_not_used_until_it_is_set() {
    let (mut server, vendor) = server().await;
    let start = start_of_tests();
    server.clock.set_now(start.saturating_add(3_650 * DAY));
    assert!(!grants(&mut server, DATED).await);
    let asked = nonce(&mut server).await;
    let answer = import(&mut server, vendor.say_time(&asked, start.saturating_add(DAY))).await.expect("imported");
    assert!(answer.is_suspect && grants(&mut server, DATED).await);
    // Not after a day of running either, nor after a restart.
    for _ in 0..3 {
        run(&mut server, 10 * HOUR).await;
        server = server.restarted().await;
        assert!(told(&mut server).await.0 && grants(&mut server, DATED).await);
    }
    run(&mut server, 9 * DAY).await;
    assert!(!grants(&mut server, DATED).await, "the time that the machine ran counts");
    server.clock.set_now(start.saturating_add(12 * DAY));
    assert!(!told(&mut server).await.0, "set right");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_is_not_the_answer_changes_nothing() {
    let (mut server, vendor) = server().await;
    let (start, stranger) = (start_of_tests(), Vendor::new(FIRM, 9));
    let before = told(&mut server).await;
    let asked = nonce(&mut server).await;
    let good = vendor.say_time(&asked, start.saturating_add(HOUR));
    let mut cases = vec![
        ("nothing", Vec::new()),
        ("too large", vec![0; 8_192]),
        ("another nonce", vendor.say_time(&[5; 32], start.saturating_add(HOUR))),
        ("another vendor", stranger.say_time(&asked, start.saturating_add(HOUR))),
        ("another role", vendor.say_time_wrongly(&asked, start.saturating_add(HOUR))),
        ("an update", vendor.root_document.clone()),
    ];
    cases.extend((0..good.len()).step_by(7).map(|length| ("cut off", good[..length].to_vec())));
    cases.extend((0..good.len()).map(|place| {
        let mut flipped = good.clone();
        flipped[place] ^= 1;
        ("flipped", flipped)
    }));
    for (what, statement) in cases {
        import(&mut server, statement).await.expect_err(what);
        assert_eq!(told(&mut server).await, before, "{what}");
    }
    // The nonce is not spent by what was never signed; by the answer it is.
    import(&mut server, good.clone()).await.expect("the answer");
    let status = import(&mut server, good).await.expect_err("spent");
    assert!(status.message().contains("answers no question"), "{}", status.message());
    // What was signed once never falls.
    let asked = nonce(&mut server).await;
    let earlier = vendor.say_time(&asked, start);
    assert!(import(&mut server, earlier).await.expect_err("earlier").message().contains("was signed before"));
    assert_eq!(told(&mut server).await.1, start.saturating_add(HOUR));
    // Old nonces, too many of them, and those of another life of the server.
    let asked = nonce(&mut server).await;
    let late = vendor.say_time(&asked, start.saturating_add(2 * HOUR));
    server.clock.advance(HOUR + Duration::from_secs(1));
    import(&mut server, late).await.expect_err("an hour is over");
    let asked = nonce(&mut server).await;
    for _ in 0..16 {
        nonce(&mut server).await;
    }
    import(&mut server, vendor.say_time(&asked, start.saturating_add(3 * HOUR))).await.expect_err("pushed out");
    let asked = nonce(&mut server).await;
    let mut server = server.restarted().await;
    import(&mut server, vendor.say_time(&asked, start.saturating_add(3 * HOUR))).await.expect_err("restarted");
}

#[test]
fn the_floor_never_falls_but_by_a_signed_time_whatever_the_clock_does() {
    let start = start_of_tests();
    let clock = ManualClock::new(start);
    let moment = || {
        use lictor_clock::Clock as _;
        Moment { now: clock.now(), boottime: clock.boottime() }
    };
    let mut time = ProvenTime::default();
    assert!(time.note(moment(), LEAP).is_none() && !time.is_suspect(moment()), "nothing is known yet");
    time.see(start);
    time.run(moment().boottime);
    let mut numbers = 0x9E37_79B9_7F4A_7C15_u64;
    let mut floor = start;
    for step in 0..20_000 {
        numbers ^= numbers << 13;
        numbers ^= numbers >> 7;
        numbers ^= numbers << 17;
        match numbers % 5 {
            0 => clock.set_now(start.saturating_add(Duration::from_secs(numbers >> 36))),
            1 => clock.set_now(Timestamp::UNIX_EPOCH),
            _ => clock.advance(Duration::from_secs(numbers % 7_200)),
        }
        if step % 3 == 0
            && let Some(noted) = time.note(moment(), Duration::from_secs(60))
        {
            time.take_note(noted);
            time.run(moment().boottime);
        }
        let now = time.floor(moment().boottime);
        assert!(now >= floor, "step {step}: {now} after {floor}");
        assert!(time.judged(moment()) >= now);
        floor = now;
    }
}
