//! Patterns for names: `*` stands for any characters, `?` for one; upper and lower case are the same.

use serde::Deserialize;

/// Longest pattern in bytes.
const MAX_PATTERN_BYTES: usize = 256;

/// A pattern for names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pattern(Vec<char>);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_PATTERN_BYTES {
            return Err(format!("a pattern has 1 to {MAX_PATTERN_BYTES} bytes"));
        }
        Ok(Self(text.to_lowercase().chars().collect()))
    }
}

impl Pattern {
    /// Whether the pattern describes the whole of `text`. Takes time in proportion to both lengths multiplied, never more.
    pub(super) fn fits(&self, text: &str) -> bool {
        let text: Vec<char> = text.to_lowercase().chars().collect();
        let (mut at, mut from) = (0, 0);
        // Where the last star was, and how much of the text it stands for so far.
        let mut star: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.0.get(from) {
                Some('*') => {
                    star = Some((from, at));
                    from += 1;
                }
                Some(wanted) if *wanted == '?' || *wanted == text[at] => {
                    at += 1;
                    from += 1;
                }
                _ => {
                    let Some((position, taken)) = star else { return false };
                    star = Some((position, taken + 1));
                    at = taken + 1;
                    from = position + 1;
                }
            }
        }
        self.0[from..].iter().all(|left| *left == '*')
    }
}
