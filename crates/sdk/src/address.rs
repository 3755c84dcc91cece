//! Where licence servers are: the list in `CODEMETER_HOST`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The port of a licence server when none is given.
pub const DEFAULT_PORT: u16 = 22350;
/// The environment variable that names licence servers.
pub const HOST_VARIABLE: &str = "CODEMETER_HOST";
/// Most servers that one list may name.
pub const MAX_ADDRESSES: usize = 16;
/// Where a licence server on the same machine has its socket, unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/var/lib/lictor/lictor.sock";

/// The place of one licence server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A Unix socket on this machine.
    Unix(PathBuf),
    /// A host name or IP address, and a port.
    Tcp {
        /// Host name or IP address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

/// A text that names no licence server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no licence server: write name[:port], several separated by commas, or unix:/path")]
pub struct AddressError(pub String);

impl Address {
    /// Reads a list such as `box,other:22351,unix:/run/lictor.sock`.
    ///
    /// # Errors
    /// When the list is empty, has more than [`MAX_ADDRESSES`] entries, or one of them is no address.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, AddressError> {
        let wrong = || AddressError(list.to_owned());
        let addresses = list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(Self::from_str)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| wrong())?;
        if addresses.is_empty() || addresses.len() > MAX_ADDRESSES { Err(wrong()) } else { Ok(addresses) }
    }

    /// Whether it is on this machine, as far as its name says.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => {
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }

    /// What a program uses that was told nothing: `CODEMETER_HOST`, else the socket of a server on this machine if there
    /// is one, else the default port of this machine.
    ///
    /// # Errors
    /// When `CODEMETER_HOST` is set but no list of servers.
    pub fn from_environment() -> Result<Vec<Self>, AddressError> {
        if let Some(list) = std::env::var_os(HOST_VARIABLE)
            && !list.is_empty()
        {
            return Self::parse_list(&list.to_string_lossy());
        }
        let local = Self::Tcp { host: "localhost".to_owned(), port: DEFAULT_PORT };
        let socket = PathBuf::from(DEFAULT_SOCKET);
        if socket.exists() { Ok(vec![Self::Unix(socket), local]) } else { Ok(vec![local]) }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Unix(PathBuf::from(path))) };
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return Err(wrong()),
                }
            }
            // More than one colon without brackets is an IPv6 address without a port.
            None if text.matches(':').count() > 1 => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(DEFAULT_PORT), str::parse).map_err(|_| wrong())?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || host.len() > 253 || port == 0 || !host.chars().all(plain) {
            return Err(wrong());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_people_write_them() {
        let list = Address::parse_list("box, other:22351 ,[::1]:5,fe80::1,[::2],unix:/run/l.sock").expect("addresses");
        let shown: Vec<String> = list.iter().map(Address::to_string).collect();
        assert_eq!(
            shown,
            ["box:22350", "other:22351", "[::1]:5", "[fe80::1]:22350", "[::2]:22350", "unix:/run/l.sock"]
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in ["", ",", "box:0", "box:x", "bo x", "unix:", "[::1", "[::1]x", "a/b", "box:99999"] {
            assert!(Address::parse_list(bad).is_err(), "{bad:?}");
        }
        assert!(Address::parse_list(&vec!["box"; MAX_ADDRESSES + 1].join(",")).is_err());
    }
}
