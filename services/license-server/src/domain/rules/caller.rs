//! Who asks for what.

use std::net::IpAddr;

use super::super::peer::PeerContainer;

/// Who asks. Only the address and the container are proven.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller<'a> {
    /// The other end of the connection; none over the Unix socket.
    pub address: Option<IpAddr>,
    /// The container behind the address, as the engine knows it.
    pub container: Option<&'a PeerContainer>,
    /// The host, as the program says.
    pub host: &'a str,
    /// The user, as the program says.
    pub user: &'a str,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The vendor.
    pub firm_code: u32,
    /// The product.
    pub product_code: u32,
}
