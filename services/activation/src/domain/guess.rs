//! How often tickets may be tried: so many wrong ones at once, then one per interval. Each limit is one number, the time
//! at which all tries so far would be paid for; the same arithmetic runs inside Redis.

use std::{net::IpAddr, time::Duration};

use lictor_clock::Timestamp;

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Wrong tries at once, 1 and up.
    pub burst: u32,
    /// Time after which one more is allowed, 1 ms and up.
    pub refill: Duration,
}

impl Limit {
    /// The refill in whole milliseconds, at least one.
    #[must_use]
    pub fn refill_ms(&self) -> i64 {
        i64::try_from(self.refill.as_millis()).unwrap_or(i64::MAX).clamp(1, 86_400_000)
    }

    /// How far ahead the paid-for time may lie, in milliseconds.
    #[must_use]
    pub fn reach_ms(&self) -> i64 {
        self.refill_ms().saturating_mul(i64::from(self.burst.clamp(1, 1_000_000)))
    }

    /// One try at `now_ms` with everything before it paid for at `paid_ms`: the new paid-for time, or how many
    /// milliseconds to wait.
    ///
    /// # Errors
    /// The wait.
    pub fn take(&self, paid_ms: i64, now_ms: i64) -> Result<i64, i64> {
        let next = paid_ms.max(now_ms).saturating_add(self.refill_ms());
        let over = next.saturating_sub(now_ms).saturating_sub(self.reach_ms());
        if over > 0 { Err(over) } else { Ok(next) }
    }

    /// A try that was right costs nothing: the paid-for time without it.
    #[must_use]
    pub fn refund(&self, paid_ms: i64) -> i64 {
        paid_ms.saturating_sub(self.refill_ms())
    }
}

/// Both limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For one address.
    pub peer: Limit,
    /// Over all addresses.
    pub all: Limit,
}

/// Under which name an address is counted: IPv6 by its /64, which is what one customer gets.
#[must_use]
pub fn peer_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// Whole milliseconds of a time.
#[must_use]
pub fn millis(now: Timestamp) -> i64 {
    now.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { burst: 3, refill: Duration::from_secs(10) };

    #[test]
    fn a_burst_is_free_and_then_one_per_interval() {
        let mut paid = 0;
        for _ in 0..3 {
            paid = LIMIT.take(paid, 1_000_000).expect("within the burst");
        }
        assert_eq!(LIMIT.take(paid, 1_000_000), Err(10_000));
        assert_eq!(LIMIT.take(paid, 1_009_999), Err(1));
        paid = LIMIT.take(paid, 1_010_000).expect("after the interval");
        assert!(LIMIT.take(paid, 1_010_001).is_err());
    }

    #[test]
    fn a_refunded_try_costs_nothing() {
        let mut paid = 0;
        for _ in 0..1_000 {
            paid = LIMIT.take(paid, 1_000_000).expect("always refunded");
            paid = LIMIT.refund(paid);
        }
    }

    #[test]
    fn a_clock_set_back_gives_no_extra_tries() {
        let mut paid = 0;
        for _ in 0..3 {
            paid = LIMIT.take(paid, 1_000_000).expect("within the burst");
        }
        assert!(LIMIT.take(paid, 500_000).is_err());
    }

    #[test]
    fn neighbours_in_one_ipv6_network_share_a_count() {
        let key = |text: &str| peer_key(text.parse().expect("an address"));
        assert_eq!(key("2001:db8:1:2:aaaa::1"), key("2001:db8:1:2:bbbb::2"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
