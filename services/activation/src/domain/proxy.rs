//! Whose address counts when a proxy stands before the service: the last one that no trusted proxy wrote.

use std::{net::IpAddr, str::FromStr};

/// Most hops that are looked at.
const MAX_HOPS: usize = 16;

/// A network of addresses, such as `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an address such as 10.1.2.3 or a network such as 10.0.0.0/8")]
pub struct NoNetwork;

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| NoNetwork)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(NoNetwork) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    /// Whether an address lies in it.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// The proxies that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(pub Vec<Network>);

impl Proxies {
    /// Whether this is one of them.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }

    /// Who called, when the connection comes from `direct` and the `x-forwarded-for` lines say `forwarded`, first line
    /// first. Every proxy appends the address that it saw, so only what trusted ones appended is believed. What cannot be
    /// read ends the search.
    #[must_use]
    pub fn caller<'a>(&self, direct: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut caller = direct;
        let hops = forwarded.rev().flat_map(|line| line.rsplit(','));
        for hop in hops.take(MAX_HOPS) {
            if !self.trust(caller) {
                break;
            }
            let Ok(before) = hop.trim().parse() else {
                break;
            };
            caller = before;
        }
        caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn proxies(texts: &[&str]) -> Proxies {
        Proxies(texts.iter().map(|text| text.parse().expect("a network")).collect())
    }

    #[test]
    fn without_trusted_proxies_nobody_is_believed() {
        let none = Proxies::default();
        assert_eq!(none.caller(ip("192.0.2.1"), ["198.51.100.7"].into_iter()), ip("192.0.2.1"));
    }

    #[test]
    fn a_caller_cannot_put_words_into_a_proxys_mouth() {
        let proxies = proxies(&["10.0.0.0/8"]);
        let lines = ["1.1.1.1, 2.2.2.2, 192.0.2.9, 10.0.0.3"];
        assert_eq!(proxies.caller(ip("10.0.0.2"), lines.into_iter()), ip("192.0.2.9"));
        let split = ["1.1.1.1, 192.0.2.9", "10.0.0.3"];
        assert_eq!(proxies.caller(ip("10.0.0.2"), split.into_iter()), ip("192.0.2.9"));
        assert_eq!(proxies.caller(ip("203.0.113.1"), lines.into_iter()), ip("203.0.113.1"));
    }

    #[test]
    fn what_cannot_be_read_ends_the_search() {
        let proxies = proxies(&["10.0.0.0/8"]);
        assert_eq!(proxies.caller(ip("10.0.0.2"), ["unknown"].into_iter()), ip("10.0.0.2"));
        assert_eq!(proxies.caller(ip("10.0.0.2"), std::iter::empty()), ip("10.0.0.2"));
        let endless = "10.0.0.1,".repeat(10_000);
        assert_eq!(proxies.caller(ip("10.0.0.2"), [endless.as_str()].into_iter()), ip("10.0.0.2"));
    }

    #[test]
    fn networks_are_read_and_compared_by_their_bits() {
        let v6: Network = "2001:db8::/32".parse().expect("a network");
        assert!(v6.holds(ip("2001:db8:1::1")) && !v6.holds(ip("2001:db9::1")) && !v6.holds(ip("10.0.0.1")));
        let all: Network = "0.0.0.0/0".parse().expect("a network");
        assert!(all.holds(ip("203.0.113.1")) && all.holds(ip("::ffff:203.0.113.1")));
        let one: Network = "127.0.0.1".parse().expect("an address");
        assert!(one.holds(ip("127.0.0.1")) && !one.holds(ip("127.0.0.2")));
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x", "proxy"] {
            assert_eq!(wrong.parse::<Network>(), Err(NoNetwork), "{wrong}");
        }
    }
}
