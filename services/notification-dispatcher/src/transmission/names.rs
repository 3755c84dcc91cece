//! Names that people choose for files and executables, and paths into events: plain, short, and never a way out of a folder.

use std::{fmt, str::FromStr};

use serde_json::Value;

/// Longest name.
pub const NAME_BYTES: usize = 64;
/// Longest path into an event.
pub const PATH_BYTES: usize = 128;

/// A name inside one folder: letters, digits, `.`, `_` and `-`, not beginning with `.` or `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PlainName(String);

/// Why a text is no plain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 64 letters, digits, `.`, `_` or `-`, and begins with a letter or digit")]
pub struct PlainNameError;

impl PlainName {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlainName {
    type Err = PlainNameError;

    fn from_str(text: &str) -> Result<Self, PlainNameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins && text.len() <= NAME_BYTES && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PlainNameError)
        }
    }
}

impl fmt::Display for PlainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a value stands in a notification's body: a JSON pointer such as `/data/order_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPath(String);

/// Why a text is no path into an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a path into an event is a JSON pointer such as /data/order_id, of at most 128 bytes")]
pub struct EventPathError;

impl EventPath {
    /// What stands there, if anything does.
    pub fn find<'a>(&self, body: &'a Value) -> Option<&'a Value> {
        body.pointer(&self.0).filter(|value| !value.is_null())
    }

    /// The path as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventPath {
    type Err = EventPathError;

    fn from_str(text: &str) -> Result<Self, EventPathError> {
        let good = text.starts_with('/') && text.len() <= PATH_BYTES && !text.chars().any(char::is_control);
        if good { Ok(Self(text.to_owned())) } else { Err(EventPathError) }
    }
}

/// The body as one line: as it is when it has no line break, written anew otherwise. Nothing when it is no JSON.
pub(super) fn one_line(body: &[u8]) -> Option<Vec<u8>> {
    let line = if body.iter().any(|byte| matches!(byte, b'\n' | b'\r')) || body.first() != Some(&b'{') {
        serde_json::from_slice::<Value>(body).ok()?.to_string().into_bytes()
    } else {
        body.to_vec()
    };
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_out_of_its_folder() {
        for bad in ["", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "-rf", "a b", "a\0b", "a\nb", "ä", "a\\b"]
        {
            assert_eq!(bad.parse::<PlainName>(), Err(PlainNameError), "{bad:?}");
        }
        assert!("a".repeat(65).parse::<PlainName>().is_err());
        assert_eq!("orders.v1_a-b".parse::<PlainName>().expect("a name").as_str(), "orders.v1_a-b");
    }

    #[test]
    fn a_body_with_line_breaks_becomes_one_line_and_no_json_none() {
        assert_eq!(one_line(b"{\n \"a\": \"x\\ny\"\n}").expect("a line"), br#"{"a":"x\ny"}"#);
        assert_eq!(one_line(br#"{"b":1,"a":2}"#).expect("a line"), br#"{"b":1,"a":2}"#);
        assert_eq!(one_line(b"two\nlines"), None);
        assert_eq!(one_line(b"plain"), None);
    }

    #[test]
    fn a_path_finds_what_is_there_and_nothing_else() {
        let body = serde_json::json!({ "data": { "order_id": "ord_1", "none": null } });
        let find = |path: &str| path.parse::<EventPath>().expect("a path").find(&body).cloned();
        assert_eq!(find("/data/order_id"), Some(Value::from("ord_1")));
        assert_eq!(find("/data/none"), None);
        assert_eq!(find("/data/none/deeper"), None);
        assert_eq!("data/order_id".parse::<EventPath>(), Err(EventPathError));
    }
}
