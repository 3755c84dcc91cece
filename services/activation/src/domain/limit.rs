//! How often something may be done: so many at once, then one per interval. Each count is one number, the time at which
//! everything so far would be paid for; the same arithmetic runs inside Redis.

use std::{net::IpAddr, time::Duration};

use lictor_clock::Timestamp;

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Units at once, 1 and up: tries, calls, or KiB.
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

    /// What `units` cost, in milliseconds of paid-for time; never more than the whole burst.
    #[must_use]
    pub fn cost_ms(&self, units: u32) -> i64 {
        self.refill_ms().saturating_mul(i64::from(units)).min(self.reach_ms())
    }

    /// Takes `cost_ms` at `now_ms` with everything before it paid for at `paid_ms`: the new paid-for time, or how many
    /// milliseconds to wait.
    ///
    /// # Errors
    /// The wait.
    pub fn take(&self, cost_ms: i64, paid_ms: i64, now_ms: i64) -> Result<i64, i64> {
        let next = paid_ms.max(now_ms).saturating_add(cost_ms);
        let over = next.saturating_sub(now_ms).saturating_sub(self.reach_ms());
        if over > 0 { Err(over) } else { Ok(next) }
    }
}

/// The limits of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Wrong tickets of one address.
    pub peer: Limit,
    /// Wrong tickets of all addresses together.
    pub all: Limit,
    /// Calls without a ticket of one address.
    pub calls: Limit,
    /// KiB that one address sends with such calls.
    pub kibibytes: Limit,
}

/// Something that is to be counted under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// What is counted, such as `guess`.
    pub class: &'static str,
    /// Whose it is: an address, or `all`.
    pub who: String,
    /// The limit.
    pub limit: Limit,
    /// Milliseconds of paid-for time.
    pub cost_ms: i64,
}

impl Charge {
    /// So many units of a limit.
    #[must_use]
    pub fn new(class: &'static str, who: String, limit: Limit, units: u32) -> Self {
        Self { class, who, limit, cost_ms: limit.cost_ms(units) }
    }
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

    fn take(paid: i64, now: i64) -> Result<i64, i64> {
        LIMIT.take(LIMIT.cost_ms(1), paid, now)
    }

    #[test]
    fn a_burst_is_free_and_then_one_per_interval() {
        let mut paid = 0;
        for _ in 0..3 {
            paid = take(paid, 1_000_000).expect("within the burst");
        }
        assert_eq!(take(paid, 1_000_000), Err(10_000));
        assert_eq!(take(paid, 1_009_999), Err(1));
        paid = take(paid, 1_010_000).expect("after the interval");
        assert!(take(paid, 1_010_001).is_err());
    }

    #[test]
    fn a_clock_set_back_gives_no_extra_tries() {
        let mut paid = 0;
        for _ in 0..3 {
            paid = take(paid, 1_000_000).expect("within the burst");
        }
        assert!(take(paid, 500_000).is_err());
    }

    #[test]
    fn something_larger_than_the_burst_takes_all_of_it() {
        assert_eq!(LIMIT.cost_ms(1_000), 30_000);
        let paid = LIMIT.take(LIMIT.cost_ms(1_000), 0, 1_000_000).expect("possible once");
        assert_eq!(LIMIT.take(LIMIT.cost_ms(1_000), paid, 1_000_000), Err(30_000));
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
