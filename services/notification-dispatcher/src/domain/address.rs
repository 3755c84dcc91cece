//! Which addresses a webhook may never reach unless the operator opens them: the closed list.
//!
//! Everything that is not plain unicast of the public internet is closed, and so is every IPv6 form that carries an IPv4
//! address inside: the address inside is judged as if it had been written plainly, and forms that a gateway would
//! translate are closed as a whole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses, `address/prefix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    base: IpAddr,
    prefix: u8,
}

/// Why a text is no block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a block of addresses is written like 10.1.0.0/16 or fd00:1::/32")]
pub struct BlockError;

impl Block {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    const fn v6(base: [u16; 8], prefix: u8) -> Self {
        let [a, b, c, d, e, f, g, h] = base;
        Self { base: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix }
    }

    /// True when `address` lies in the block. An IPv4 address never lies in an IPv6 block.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                same_prefix(u128::from(base.to_bits()) << 96, u128::from(address.to_bits()) << 96, self.prefix)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => same_prefix(base.to_bits(), address.to_bits(), self.prefix),
            _ => false,
        }
    }
}

impl std::str::FromStr for Block {
    type Err = BlockError;

    /// Reads `address/prefix`; a lone address is a block of one.
    fn from_str(text: &str) -> Result<Self, BlockError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| BlockError)?;
        let longest = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix.parse().map_err(|_| BlockError)?,
        };
        if prefix > longest {
            return Err(BlockError);
        }
        Ok(Self { base, prefix })
    }
}

fn same_prefix(left: u128, right: u128, prefix: u8) -> bool {
    prefix == 0 || (left ^ right) >> (128 - u32::from(prefix)) == 0
}

/// IPv4 blocks of the special-purpose registry that are not the public internet.
const CLOSED_V4: &[Block] = &[
    // this network; 0.0.0.0 reaches the host itself
    Block::v4(0, 0, 0, 0, 8),
    // private
    Block::v4(10, 0, 0, 0, 8),
    // carrier-grade NAT; some clouds keep their metadata service in it
    Block::v4(100, 64, 0, 0, 10),
    // loopback
    Block::v4(127, 0, 0, 0, 8),
    // link-local, with the metadata service of most clouds
    Block::v4(169, 254, 0, 0, 16),
    // private
    Block::v4(172, 16, 0, 0, 12),
    // protocol assignments
    Block::v4(192, 0, 0, 0, 24),
    // documentation
    Block::v4(192, 0, 2, 0, 24),
    // 6to4 relays
    Block::v4(192, 88, 99, 0, 24),
    // private
    Block::v4(192, 168, 0, 0, 16),
    // benchmarks
    Block::v4(198, 18, 0, 0, 15),
    // documentation
    Block::v4(198, 51, 100, 0, 24),
    Block::v4(203, 0, 113, 0, 24),
    // multicast
    Block::v4(224, 0, 0, 0, 4),
    // reserved, and broadcast
    Block::v4(240, 0, 0, 0, 4),
    // a cloud's platform service that answers on a public address
    Block::v4(168, 63, 129, 16, 32),
];

/// IPv6 blocks inside 2000::/3 that are not the public internet. Everything outside 2000::/3 is closed anyway: that is
/// loopback, mapped, translated (64:ff9b::/96, 64:ff9b:1::/48), discard, unique local, link-local, site-local, segment
/// routing and multicast.
const CLOSED_V6: &[Block] = &[
    // protocol assignments, with Teredo, benchmarks and ORCHID
    Block::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    // documentation
    Block::v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    // 6to4: carries any IPv4 address
    Block::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    // documentation
    Block::v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

const GLOBAL_UNICAST: Block = Block::v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// True when `address` is on the closed list.
pub fn is_closed(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => CLOSED_V4.iter().any(|block| block.contains(address)),
        IpAddr::V6(v6) => {
            !GLOBAL_UNICAST.contains(address) || CLOSED_V6.iter().any(|block| block.contains(address)) || is_isatap(v6)
        }
    }
}

/// The plain form of an address that has IPv4 written as mapped IPv6, which is how an operator would have allowed it.
pub fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// ISATAP interface ids (`…:0:5efe:a.b.c.d`, `…:200:5efe:a.b.c.d`) tunnel to the IPv4 address at the end.
fn is_isatap(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    segments[5] == 0x5efe && matches!(segments[4], 0 | 0x200)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(text: &str) -> bool {
        is_closed(text.parse().expect("an address"))
    }

    #[test]
    fn everything_but_public_unicast_is_closed() {
        for text in [
            // this host and this network
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.255.254",
            "::",
            "::1",
            // private
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "192.168.255.255",
            // carrier-grade NAT, with a metadata service
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            // link-local, with metadata services
            "169.254.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "168.63.129.16",
            "fd00:ec2::254",
            "fd20:ce::254",
            // protocol, documentation, benchmark
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "198.51.100.7",
            "203.0.113.9",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "2001:db8::1",
            "3fff::1",
            "2001:2::1",
            "100::1",
            // multicast, reserved, broadcast
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "ff0e::1",
            // unique local, segment routing
            "fc00::1",
            "fdff::1",
            "5f00::1",
            // IPv4 inside IPv6: mapped, compatible, translated, 6to4, Teredo, ISATAP; public ones inside are closed too
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a00:1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2002:808:808::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2600::5efe:127.0.0.1",
            "2600::200:5efe:10.0.0.1",
        ] {
            assert!(closed(text), "{text} must be closed");
        }
    }

    #[test]
    fn public_addresses_are_open() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "168.63.129.15",
            "2606:4700:4700::1111",
            "2a00:1450:4001::200e",
            "2001:4860:4860::8888",
            "2003::1",
        ] {
            assert!(!closed(text), "{text} must be open");
        }
    }

    #[test]
    fn block_holds_its_addresses_only() {
        let block: Block = "10.1.0.0/16".parse().expect("a block");
        assert!(block.contains("10.1.255.255".parse().expect("an address")));
        assert!(!block.contains("10.2.0.0".parse().expect("an address")));
        assert!(!block.contains("::ffff:10.1.0.1".parse().expect("an address")));
        let all: Block = "0.0.0.0/0".parse().expect("a block");
        assert!(all.contains("203.0.113.1".parse().expect("an address")));
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "host/8", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(bad.parse::<Block>(), Err(BlockError), "{bad}");
        }
    }
}
