//! A small vendor with real keys, a server in this process, and a client that speaks the protocol by hand.

pub(crate) mod client;
pub(crate) mod doors;
pub(crate) mod engine;
pub(crate) mod host;
pub(crate) mod memory;
pub(crate) mod port;
pub(crate) mod program;
pub(crate) mod server;
pub(crate) mod vendor;

/// How many cases a test with many cases tries: 1 is the small default, 100 the full count.
pub(crate) fn scale() -> u64 {
    std::env::var("LICTOR_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}
