//! Queries and bodies of forms: pairs of names and values, few and short.

use reqwest::Url;

/// Longest value but for a token.
pub(super) const VALUE_BYTES: usize = 256;
const PAIRS: usize = 16;

/// What a form or a query says.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`.
    pub(super) fn read(text: &str) -> Self {
        let mut url = Url::parse("x://form/").ok();
        if let Some(url) = &mut url {
            url.set_query(Some(text));
        }
        let pairs = url.iter().flat_map(|url| url.query_pairs()).take(PAIRS);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The value of a name, without space around it; empty when there is none or when it is too long.
    pub(super) fn value(&self, name: &str) -> &str {
        let found = self.long(name);
        if found.len() <= VALUE_BYTES { found } else { "" }
    }

    /// The same without a limit of its own.
    pub(super) fn long(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_browsers_write_them() {
        let form = Form::read("a=b+c%26d&e=%C3%A4&f&g=1&g=2#x");
        assert_eq!((form.value("a"), form.value("e"), form.value("f"), form.value("g")), ("b c&d", "ä", "", "1"));
        assert_eq!(Form::read(&format!("a={}", "x".repeat(300))).value("a"), "");
        assert_eq!(Form::read("%ff%fe=&&&==").value("a"), "");
    }
}
