//! What the operator opened for webhooks beyond the public internet: blocks of addresses and names of hosts.

use std::{net::IpAddr, str::FromStr};

use super::address::{Block, is_closed, plain};

/// Most entries of an allow-list.
pub const ENTRIES: usize = 256;

/// The operator's list. Empty by default: only https to public addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    blocks: Vec<Block>,
    hosts: Vec<String>,
}

/// Why a text is no allow-list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowListError {
    /// Neither a block nor a name.
    #[error("{0:?} is neither a block of addresses such as 10.1.0.0/16 nor the name of a host")]
    Entry(String),
    /// More than [`ENTRIES`] entries.
    #[error("an allow-list has at most {ENTRIES} entries")]
    TooMany,
}

impl AllowList {
    /// True when `address` may be connected to for a destination at `host`: it is public, or the operator opened the
    /// address or the host.
    pub fn opens(&self, host: &str, address: IpAddr) -> bool {
        !is_closed(address) || self.names(host) || self.holds(address)
    }

    /// True when plain http is allowed to `host`: only where the operator named it, or an address block that it is in.
    pub fn opens_plain_http(&self, host: &str) -> bool {
        self.names(host) || bare(host).parse().is_ok_and(|address| self.holds(address))
    }

    fn names(&self, host: &str) -> bool {
        self.hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    fn holds(&self, address: IpAddr) -> bool {
        let plain = plain(address);
        self.blocks.iter().any(|block| block.contains(address) || block.contains(plain))
    }
}

/// An IPv6 address as it stands in a URL has brackets around it.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

impl FromStr for AllowList {
    type Err = AllowListError;

    /// Reads entries with commas between: `127.0.0.0/8,10.1.2.3,erp.example.com`.
    fn from_str(text: &str) -> Result<Self, AllowListError> {
        let mut list = Self::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            if list.blocks.len() + list.hosts.len() == ENTRIES {
                return Err(AllowListError::TooMany);
            }
            if let Ok(block) = entry.parse() {
                list.blocks.push(block);
            } else if is_host_name(entry) {
                list.hosts.push(entry.to_ascii_lowercase());
            } else {
                return Err(AllowListError::Entry(entry.to_owned()));
            }
        }
        Ok(list)
    }
}

/// Letters, digits, `-` and dots, with at least one letter: a name that only looks like an address is a slip.
fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> AllowList {
        text.parse().expect("a list")
    }

    #[test]
    fn empty_list_opens_public_addresses_only() {
        let empty = AllowList::default();
        assert!(empty.opens("example.com", IpAddr::from([93, 184, 215, 14])));
        assert!(!empty.opens("example.com", IpAddr::from([127, 0, 0, 1])));
        assert!(!empty.opens_plain_http("example.com"));
    }

    #[test]
    fn named_host_is_open_wherever_it_lies_and_no_other() {
        let named = list("erp.internal");
        assert!(named.opens("ERP.internal", IpAddr::from([10, 0, 0, 5])));
        assert!(named.opens_plain_http("erp.internal"));
        assert!(!named.opens("crm.internal", IpAddr::from([10, 0, 0, 5])));
        assert!(!named.opens("erp.internal.evil.example", IpAddr::from([10, 0, 0, 5])));
    }

    #[test]
    fn block_opens_its_mapped_form_and_plain_http_to_literals() {
        let blocks = list("127.0.0.0/8, ::1");
        assert!(blocks.opens("x", "::ffff:127.0.0.1".parse().expect("an address")));
        assert!(!blocks.opens("x", IpAddr::from([10, 0, 0, 1])));
        assert!(blocks.opens_plain_http("127.0.0.1"));
        assert!(blocks.opens_plain_http("[::1]"));
        assert!(!blocks.opens_plain_http("localhost"), "a name may resolve elsewhere tomorrow");
    }

    #[test]
    fn slips_are_refused() {
        for bad in ["10.0.0.0/40", "10.0.0", "http://x", "a b", "*.example.com", "host:80"] {
            assert!(bad.parse::<AllowList>().is_err(), "{bad}");
        }
        assert_eq!(vec!["a1"; 300].join(",").parse::<AllowList>(), Err(AllowListError::TooMany));
    }
}
