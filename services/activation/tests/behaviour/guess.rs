//! The limits on guessing: one behaviour, in this process and in Redis.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use lictor_activation::{
    domain::guess::{Limit, Limits},
    guess::Guesses,
};
use lictor_clock::{Clock as _, ManualClock, SystemClock, Timestamp};

const LIMITS: Limits = Limits {
    peer: Limit { burst: 4, refill: Duration::from_secs(30) },
    all: Limit { burst: 10, refill: Duration::from_secs(10) },
};

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

/// Runs a test with each counter, fresh.
async fn with_each(test: impl AsyncFn(Guesses, ManualClock)) {
    let clock = ManualClock::new(Timestamp::from_seconds(1_767_225_600));
    test(Guesses::in_memory(LIMITS, clock.shared()), clock).await;
    let Some(url) = std::env::var("LICTOR_TEST_REDIS_URL").ok().filter(|url| !url.is_empty()) else {
        eprintln!("SKIPPED on Redis: LICTOR_TEST_REDIS_URL is not set");
        return;
    };
    // Redis forgets by its own clock, so the test's clock must not lie behind it.
    let clock = ManualClock::new(SystemClock.now());
    let random: [u8; 8] = std::array::from_fn(|_| 0).map(|_: u8| rand_byte());
    let prefix = format!("test-{random:x?}");
    test(Guesses::shared(&url, &prefix, LIMITS, clock.shared()).expect("an address"), clock).await;
}

fn rand_byte() -> u8 {
    let mut byte = [0];
    getrandom::fill(&mut byte).expect("random bytes");
    byte[0]
}

#[tokio::test]
async fn an_address_has_a_burst_and_then_one_try_per_interval() {
    with_each(async |guesses, clock| {
        for _ in 0..4 {
            drop(guesses.take(address(1)).await.expect("within the burst"));
        }
        let wait = guesses.take(address(1)).await.expect_err("over").0;
        assert!(wait > Duration::from_secs(29) && wait <= Duration::from_secs(30), "{wait:?}");
        drop(guesses.take(address(2)).await.expect("another address"));
        clock.advance(Duration::from_secs(30));
        drop(guesses.take(address(1)).await.expect("one more"));
        assert!(guesses.take(address(1)).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_right_ticket_costs_nothing() {
    with_each(async |guesses, _| {
        for _ in 0..50 {
            let taken = guesses.take(address(1)).await.expect("always given back");
            guesses.refund(taken).await;
        }
        for _ in 0..4 {
            drop(guesses.take(address(1)).await.expect("the burst is whole"));
        }
        assert!(guesses.take(address(1)).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn all_addresses_together_are_limited_too() {
    with_each(async |guesses, clock| {
        for last in 0..10 {
            drop(guesses.take(address(last)).await.expect("within the burst of all"));
        }
        assert!(guesses.take(address(99)).await.is_err());
        clock.advance(Duration::from_secs(10));
        drop(guesses.take(address(99)).await.expect("one more"));
    })
    .await;
}

#[tokio::test]
async fn a_refused_try_costs_nothing_more() {
    with_each(async |guesses, clock| {
        for _ in 0..4 {
            drop(guesses.take(address(1)).await.expect("within the burst"));
        }
        for _ in 0..3 {
            assert!(guesses.take(address(1)).await.is_err());
        }
        clock.advance(Duration::from_secs(30));
        drop(guesses.take(address(1)).await.expect("refusals did not add to the wait"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_guesses_do_not_slip_through() {
    with_each(async |guesses, _| {
        let guesses = Arc::new(guesses);
        let tries: Vec<_> = (0..40)
            .map(|_| {
                let guesses = Arc::clone(&guesses);
                tokio::spawn(async move { guesses.take(address(1)).await.is_ok() })
            })
            .collect();
        let mut taken = 0;
        for one in tries {
            taken += u32::from(one.await.expect("joined"));
        }
        assert_eq!(taken, 4);
    })
    .await;
}

#[tokio::test]
async fn without_an_answer_from_redis_this_process_counts() {
    let clock = ManualClock::new(SystemClock.now());
    let guesses = Guesses::shared("redis://127.0.0.1:1/", "test", LIMITS, clock.shared()).expect("an address");
    for _ in 0..4 {
        drop(guesses.take(address(1)).await.expect("within the burst"));
    }
    assert!(guesses.take(address(1)).await.is_err());
}
