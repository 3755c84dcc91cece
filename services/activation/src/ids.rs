//! Random bytes: the one place of this service that asks the system for them.

/// Random bytes of the operating system.
#[must_use]
pub(crate) fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the kernel's random generator works once the system has started");
    bytes
}
