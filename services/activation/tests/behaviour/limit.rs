//! The limits on the public: one behaviour, in this process and in Redis.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use lictor_activation::{
    domain::limit::{Limit, Limits},
    limit::Limiter,
};
use lictor_clock::{Clock as _, ManualClock, SystemClock, Timestamp};

const LIMITS: Limits = Limits {
    peer: Limit { burst: 4, refill: Duration::from_secs(30) },
    all: Limit { burst: 10, refill: Duration::from_secs(10) },
    calls: Limit { burst: 5, refill: Duration::from_secs(2) },
    kibibytes: Limit { burst: 100, refill: Duration::from_secs(1) },
};

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

/// Runs a test with each counter, fresh.
async fn with_each(test: impl AsyncFn(Limiter, ManualClock)) {
    let clock = ManualClock::new(Timestamp::from_seconds(1_767_225_600));
    test(Limiter::in_memory(LIMITS, clock.shared()), clock).await;
    let Some(url) = std::env::var("LICTOR_TEST_REDIS_URL").ok().filter(|url| !url.is_empty()) else {
        eprintln!("SKIPPED on Redis: LICTOR_TEST_REDIS_URL is not set");
        return;
    };
    // Redis forgets by its own clock, so the test's clock must not lie behind it.
    let clock = ManualClock::new(SystemClock.now());
    let random: [u8; 8] = std::array::from_fn(|_| 0).map(|_: u8| rand_byte());
    let prefix = format!("test-{random:x?}");
    test(Limiter::shared(&url, &prefix, LIMITS, clock.shared()).expect("an address"), clock).await;
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
        let wait = guesses.take(address(1)).await.expect_err("over").wait();
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
    let guesses = Limiter::shared("redis://127.0.0.1:1/", "test", LIMITS, clock.shared()).expect("an address");
    for _ in 0..4 {
        drop(guesses.take(address(1)).await.expect("within the burst"));
    }
    assert!(guesses.take(address(1)).await.is_err());
}

#[tokio::test]
async fn calls_and_bytes_of_an_address_are_limited() {
    with_each(async |limiter, clock| {
        for _ in 0..5 {
            limiter.visit(address(1), 10).await.expect("within the burst");
        }
        assert!(limiter.visit(address(1), 10).await.is_err());
        limiter.visit(address(2), 100 * 1024).await.expect("another address, and all of its bytes");
        assert!(limiter.visit(address(2), 1).await.is_err(), "one call more would be free, its bytes are not");
        clock.advance(Duration::from_secs(2));
        limiter.visit(address(1), 10).await.expect("one more");
        limiter.visit(address(2), 2 * 1024).await.expect("two more");
        drop(limiter.take(address(1)).await.expect("calls are no guesses"));
    })
    .await;
}

/// A Redis of this test's own, which can be restarted.
struct Redis {
    process: std::process::Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Redis {
    /// Nothing when there is no Redis on this machine.
    async fn start() -> Option<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let folder = tempfile::tempdir().ok()?;
        let process = Self::spawn(port, folder.path())?;
        let redis = Self { process, port, folder };
        redis.ready().await;
        Some(redis)
    }

    fn spawn(port: u16, folder: &std::path::Path) -> Option<std::process::Child> {
        std::process::Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(folder)
            .stdout(std::process::Stdio::null())
            .spawn()
            .ok()
    }

    async fn ready(&self) {
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(tokio::time::Instant::now() < end, "Redis never came up");
            tokio::task::yield_now().await;
        }
    }

    fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    async fn restart(&mut self) {
        self.stop();
        self.process = Self::spawn(self.port, self.folder.path()).expect("it ran before");
        self.ready().await;
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_counted_over_replicas_and_limited_also_when_redis_is_restarted() {
    let Some(mut redis) = Redis::start().await else {
        eprintln!("SKIPPED: there is no redis-server on this machine");
        return;
    };
    let clock = ManualClock::new(SystemClock.now());
    let replica = || Limiter::shared(&redis.url(), "replicas", LIMITS, clock.shared()).expect("an address");
    let (one, two) = (replica(), replica());
    for turn in 0..4 {
        let limiter = if turn % 2 == 0 { &one } else { &two };
        drop(limiter.take(address(1)).await.expect("within the burst of both"));
    }
    assert!(one.take(address(1)).await.is_err());
    assert!(two.take(address(1)).await.is_err(), "one count for both");

    // While it is away each replica counts by itself: a guesser gains one burst for each, and no more.
    redis.stop();
    let mut taken = 0;
    for limiter in [&one, &two] {
        for _ in 0..6 {
            taken += u32::from(limiter.take(address(1)).await.is_ok());
        }
    }
    assert_eq!(taken, 8);
    redis.restart().await;
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    let mut after = 0;
    // It has forgotten: one burst more over both, and then the limit holds again.
    while tokio::time::Instant::now() < end {
        let answers = [one.take(address(1)).await.is_ok(), two.take(address(1)).await.is_ok()];
        after += answers.iter().filter(|answer| **answer).count();
        if after >= 4 && answers == [false, false] {
            break;
        }
    }
    assert_eq!(after, 4, "one burst over both replicas");
}
