//! Which event types a destination wants.

use std::str::FromStr;

/// Most patterns of one destination.
pub const PATTERNS: usize = 64;
/// Most bytes of one pattern.
pub const PATTERN_BYTES: usize = 128;

/// The wish of one destination; no pattern at all means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeFilter(Vec<Pattern>);

/// One event type, or all that begin alike: `lictor.order.created.v1`, `lictor.license.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This type and no other.
    Exact(String),
    /// Every type that begins so; ends with a dot.
    Begins(String),
}

/// Why a list of patterns cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not of the form of an event type.
    #[error("an event type is written like lictor.order.created.v1, or lictor.license.* for all of a noun")]
    Pattern,
    /// More than [`PATTERNS`].
    #[error("a destination names at most {PATTERNS} event types")]
    TooMany,
}

impl TypeFilter {
    /// Reads the patterns of a request or a row.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, FilterError> {
        let mut list = Vec::new();
        for text in patterns {
            if list.len() == PATTERNS {
                return Err(FilterError::TooMany);
            }
            list.push(text.parse()?);
        }
        Ok(Self(list))
    }

    /// True when the destination wants events of this type.
    pub fn wants(&self, kind: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|pattern| match pattern {
                Pattern::Exact(exact) => exact == kind,
                Pattern::Begins(begin) => kind.starts_with(begin.as_str()),
            })
    }

    /// The patterns as they were written.
    pub fn patterns(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|pattern| match pattern {
                Pattern::Exact(exact) => exact.clone(),
                Pattern::Begins(begin) => format!("{begin}*"),
            })
            .collect()
    }
}

impl FromStr for Pattern {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        if text.len() > PATTERN_BYTES {
            return Err(FilterError::Pattern);
        }
        let (fixed, open) = match text.strip_suffix('*') {
            Some(begin) => (begin.strip_suffix('.').ok_or(FilterError::Pattern)?, true),
            None => (text, false),
        };
        let mut parts = fixed.split('.');
        let ours = parts.next() == Some("lictor");
        let plain = parts
            .all(|part| !part.is_empty() && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')));
        match (ours && plain, open) {
            (false, _) => Err(FilterError::Pattern),
            (true, true) => Ok(Self::Begins(format!("{fixed}."))),
            (true, false) => Ok(Self::Exact(fixed.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pattern_wants_everything() {
        assert!(TypeFilter::default().wants("lictor.order.created.v1"));
    }

    #[test]
    fn star_takes_a_whole_noun_and_not_its_neighbour() {
        let filter = TypeFilter::new(["lictor.license.*", "lictor.order.created.v1"]).expect("a filter");
        assert!(filter.wants("lictor.license.created.v1"));
        assert!(filter.wants("lictor.order.created.v1"));
        assert!(!filter.wants("lictor.order.created.v2"));
        assert!(!filter.wants("lictor.licensee.created.v1"));
        assert_eq!(filter.patterns(), ["lictor.license.*", "lictor.order.created.v1"]);
    }

    #[test]
    fn slips_are_refused() {
        for bad in [
            "",
            "*",
            "lictor*",
            "lictor..x",
            "order.created.v1",
            "lictor.Order",
            "lictor.*.v1",
            "lictor.a b",
            "lictor.",
        ] {
            assert_eq!(bad.parse::<Pattern>(), Err(FilterError::Pattern), "{bad}");
        }
        assert_eq!(TypeFilter::new(vec!["lictor.*"; PATTERNS + 1]).err(), Some(FilterError::TooMany));
    }
}
