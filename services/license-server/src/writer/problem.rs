//! What the writer says when its disk does not do what it should.

use lictor_licensing::error::{ErrorCode, Problem};

/// The sentence about a full disk.
pub(crate) fn no_space() -> Problem {
    Problem::new(
        ErrorCode::Unavailable,
        "the disk of the licence server is full, so nothing new can be promised",
        "free space in its state folder; seats that are held go on and can be given back",
    )
}

/// The sentence about a broken disk.
pub(crate) fn broken() -> Problem {
    Problem::new(
        ErrorCode::Unavailable,
        "the disk of the licence server has failed, and the server is ending",
        "look into its log, then start it again",
    )
}
