//! Who is on the other end, and whether that counts as local.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use lictor_licensing::access::Origin;

/// The container that a peer runs in, by the word of the container engine. Without it nothing about containers is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerContainer {
    /// 64 hexadecimal digits; a container that is made anew has another one.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Its image, as it was named when the container was started.
    pub image: String,
    /// Its labels. Whoever may start containers chooses them.
    pub labels: BTreeMap<String, String>,
}

/// A range of addresses, such as `172.18.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no subnet: write an address and a prefix length, such as 172.18.0.0/16")]
pub struct SubnetError(pub String);

impl Subnet {
    /// A range of all addresses that share the first `prefix` bits with `address`; none when there are not so many bits.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// Whether an address lies in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                ours.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                ours.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let wrong = || SubnetError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        Self::new(address, prefix.parse().map_err(|_| wrong())?).ok_or_else(wrong)
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Where a peer is: loopback and the given networks are local, all else is the network.
#[must_use]
pub fn origin_of(address: IpAddr, local: &[Subnet]) -> Origin {
    // A peer that speaks IPv4 to an IPv6 socket is still the same peer.
    let address = address.to_canonical();
    if address.is_loopback() || local.iter().any(|subnet| subnet.contains(address)) {
        Origin::Local
    } else {
        Origin::Network
    }
}

/// The IPv4 networks that this host is attached to, out of the kernel's table of routes: those without a gateway.
#[must_use]
pub fn attached_v4(routes: &str) -> Vec<Subnet> {
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::swap_bytes);
    routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (destination, gateway) = (number(fields.get(1)?)?, number(fields.get(2)?)?);
            let mask = number(fields.get(7)?)?;
            let attached = gateway == 0 && mask != 0;
            let prefix = u8::try_from(mask.leading_ones()).ok()?;
            attached.then(|| Subnet::new(IpAddr::from(destination.to_be_bytes()), prefix)).flatten()
        })
        .collect()
}

/// The IPv6 networks that this host is attached to, out of the kernel's table of interface addresses.
#[must_use]
pub fn attached_v6(addresses: &str) -> Vec<Subnet> {
    addresses
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let address = u128::from_str_radix(fields.first()?, 16).ok()?;
            let prefix = u8::from_str_radix(fields.get(2)?, 16).ok()?;
            // A whole machine's own address makes nobody else local.
            (prefix < 128).then(|| Subnet::new(IpAddr::from(address.to_be_bytes()), prefix)).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn the_own_container_network_is_local_and_nothing_else_is() {
        let local = attached_v4(ROUTES);
        assert_eq!(local.iter().map(Subnet::to_string).collect::<Vec<_>>(), ["172.18.0.0/16"]);
        for near in ["127.0.0.1", "::1", "172.18.3.4", "::ffff:172.18.3.4", "::ffff:127.0.0.1"] {
            assert_eq!(origin_of(ip(near), &local), Origin::Local, "{near}");
        }
        for far in ["172.19.0.1", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1"] {
            assert_eq!(origin_of(ip(far), &local), Origin::Network, "{far}");
        }
    }

    #[test]
    fn interface_addresses_give_their_networks() {
        let table = "fd000000000000000000000000000005 02 40 00 80     eth0\n\
                     00000000000000000000000000000001 01 80 10 80       lo\n";
        let networks = attached_v6(table);
        assert_eq!(networks.len(), 1);
        assert!(networks[0].contains(ip("fd00::99")) && !networks[0].contains(ip("fd01::1")));
    }

    #[test]
    fn subnets_are_read_strictly() {
        assert!("0.0.0.0/0".parse::<Subnet>().expect("all").contains(ip("8.8.8.8")));
        assert!("10.1.2.3/32".parse::<Subnet>().expect("one").contains(ip("10.1.2.3")));
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "::/129", "a/b"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }
}
