//! What one attempt came to, and what that means.

use std::{fmt, str::FromStr, time::Duration};

use lictor_clock::Timestamp;

/// Most bytes of an answer that are read.
pub const ANSWER_READ_BYTES: usize = 16 * 1024;
/// Most bytes of an answer that are kept.
pub const ANSWER_KEPT_BYTES: usize = 2 * 1024;

macro_rules! results {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// The class of an attempt's result.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum AttemptResult {
            $($(#[$doc])* $variant,)*
        }

        impl AttemptResult {
            /// All classes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in tables, answers and metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

results! {
    /// 2xx and a whole answer.
    Taken = "taken";
    /// A whole answer with another status, redirects included.
    Refused = "refused";
    /// 410: the receiver wants nothing more.
    Gone = "gone";
    /// The deadline passed before the last byte.
    Timeout = "timeout";
    /// The name has no address.
    Dns = "dns";
    /// No connection.
    Connect = "connect";
    /// The receiver's certificate is not good, or the handshake failed.
    Tls = "tls";
    /// The connection broke before the answer was whole.
    Truncated = "truncated";
    /// The address is on the closed list, or plain http is not allowed there.
    Blocked = "blocked";
    /// What came back is not HTTP.
    Protocol = "protocol";
    /// The operator's own program, folder or mail server could not take it.
    Failed = "failed";
}

/// A text that names no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no result of an attempt")]
pub struct UnknownResult(String);

impl fmt::Display for AttemptResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AttemptResult {
    type Err = UnknownResult;

    fn from_str(text: &str) -> Result<Self, UnknownResult> {
        Self::ALL.iter().copied().find(|result| result.name() == text).ok_or_else(|| UnknownResult(text.to_owned()))
    }
}

/// One attempt, as it goes on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When the call began.
    pub at: Timestamp,
    /// HTTP status; 0 without an answer.
    pub status: u16,
    /// From the name look-up to the last byte.
    pub latency: Duration,
    /// The class.
    pub result: AttemptResult,
    /// First bytes of the answer, or what went wrong; at most [`ANSWER_KEPT_BYTES`], without NUL.
    pub answer: String,
    /// What the receiver asked for, from the time of the answer.
    pub retry_after: Option<Duration>,
}

impl Attempt {
    /// The class of a whole answer by its status alone.
    pub const fn result_of_status(status: u16) -> AttemptResult {
        match status {
            200..=299 => AttemptResult::Taken,
            410 => AttemptResult::Gone,
            _ => AttemptResult::Refused,
        }
    }

    /// True when the whole destination should rest, not only this delivery: it says that it is overloaded.
    pub fn is_overload(&self) -> bool {
        matches!(self.status, 429 | 502 | 503 | 504)
    }

    /// One phrase for people: what the last attempt said.
    pub fn summary(&self) -> String {
        if self.status == 0 {
            self.result.name().to_owned()
        } else {
            format!("{} with status {}", self.result, self.status)
        }
    }
}

/// The part of an answer that is kept: at most [`ANSWER_KEPT_BYTES`], never half a character, nothing that a text column
/// cannot hold.
pub fn kept(answer: &[u8]) -> String {
    let cut = &answer[..answer.len().min(ANSWER_KEPT_BYTES)];
    let mut text = String::with_capacity(cut.len());
    for character in String::from_utf8_lossy(cut).chars() {
        let character = if character == '\0' { char::REPLACEMENT_CHARACTER } else { character };
        if text.len() + character.len_utf8() > ANSWER_KEPT_BYTES {
            break;
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_no_success() {
        for status in [100, 199, 300, 301, 302, 307, 308, 400, 404, 429, 500, 503, 599] {
            assert_eq!(Attempt::result_of_status(status), AttemptResult::Refused, "{status}");
        }
        assert_eq!(Attempt::result_of_status(204), AttemptResult::Taken);
        assert_eq!(Attempt::result_of_status(410), AttemptResult::Gone);
    }

    #[test]
    fn kept_answer_is_short_text_without_nul() {
        assert_eq!(kept(b"a\0b"), "a\u{fffd}b");
        assert_eq!(kept(&[0xff; 5_000]).len(), 2_046, "three bytes each");
        let long = "ä".repeat(3_000);
        assert!(kept(long.as_bytes()).len() <= ANSWER_KEPT_BYTES);
    }

    #[test]
    fn names_are_read_back() {
        for result in AttemptResult::ALL {
            assert_eq!(result.name().parse(), Ok(*result));
        }
    }
}
