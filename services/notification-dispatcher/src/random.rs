//! Randomness from the operating system, in the one place that is allowed to ask for it.

/// Fresh random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes once it has started");
    bytes
}

/// A random number for jitter.
pub(crate) fn number() -> u16 {
    u16::from_be_bytes(bytes())
}

/// 128 random bits as hex.
pub(crate) fn hex() -> String {
    bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
}
