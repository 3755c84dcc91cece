//! Text armor for mail: the same file as lines of base64 between two marks.
//!
//! It needs no checksum of its own: the frame inside closes with one.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::FileError;
use crate::frame::MAGIC;
use crate::limits::MAX_ARMOR_BYTES;

const BEGIN: &str = "-----BEGIN LICTOR FILE-----";
const END: &str = "-----END LICTOR FILE-----";
const LINE: usize = 64;

/// The armored form of a file.
#[must_use]
pub fn wrap(file: &[u8]) -> String {
    let encoded = STANDARD.encode(file);
    let mut text = String::with_capacity(encoded.len() + encoded.len() / LINE + BEGIN.len() + END.len() + 4);
    text.push_str(BEGIN);
    text.push('\n');
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII, so every position is a boundary.
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// The file inside its armor, or the input itself when it has none. Text before and after the marks, as mail programs
/// add it, and white space inside are ignored.
///
/// # Errors
/// [`FileError::Truncated`] when the closing mark is missing, [`FileError::Damaged`] when the lines are not base64.
pub fn unwrap(input: &[u8]) -> Result<Cow<'_, [u8]>, FileError> {
    if input.starts_with(&MAGIC[..4]) {
        return Ok(Cow::Borrowed(input));
    }
    let Some(start) = find(input, BEGIN.as_bytes()) else {
        return Ok(Cow::Borrowed(input));
    };
    if input.len() > MAX_ARMOR_BYTES {
        return Err(FileError::TooLarge { what: "the armored file", limit: MAX_ARMOR_BYTES });
    }
    let inside = &input[start + BEGIN.len()..];
    let end = find(inside, END.as_bytes()).ok_or(FileError::Truncated)?;
    // Mail programs mark quoted lines with '>'.
    let digits: Vec<u8> =
        inside[..end].iter().copied().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'>').collect();
    STANDARD.decode(digits).map(Cow::Owned).map_err(|_| FileError::Damaged("its text armor is not base64"))
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
