//! Ports for programs that must be told theirs before they listen.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel gives to whoever asks for any, so that nobody takes one between the look and the use; each
/// process of tests begins elsewhere.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A loopback address that nobody listens on, and that is given out once.
pub(crate) fn a_port() -> SocketAddr {
    let begin = u16::try_from(std::process::id() * 37 % u32::from(COUNT)).expect("small");
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (begin + step % COUNT) % COUNT;
        if let Ok(free) = TcpListener::bind(("127.0.0.1", port)) {
            return free.local_addr().expect("an address");
        }
    }
    panic!("no port is free")
}
