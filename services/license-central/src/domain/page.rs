//! Pages of listings: newest first, told apart by the id of their last row.

use lictor_licensing::error::{ErrorCode, Problem};

/// Rows of a page when the caller does not say.
const USUAL_SIZE: u32 = 100;
/// Most rows of a page.
const MAX_SIZE: u32 = 1_000;

/// Which part of a listing is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Rows, 1 to 1000.
    pub size: u32,
    /// Only rows whose id sorts below this one.
    pub below: Option<String>,
}

impl Page {
    /// Reads size and token as they came in; `prefix` is that of the listed ids.
    ///
    /// # Errors
    /// A refusal for a size above 1000 or a token that no listing of this kind made.
    pub fn read(size: u32, token: &str, prefix: &str) -> Result<Self, Problem> {
        let plain = |id: &str| {
            id.strip_prefix(prefix).is_some_and(|body| body.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        };
        Self::read_as(size, token, plain)
    }

    /// Reads size and token of a listing by names, such as serials, which goes upwards: [`Self::below`] is then the name
    /// that the wanted rows come after.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_named(size: u32, token: &str) -> Result<Self, Problem> {
        Self::read_as(size, token, |name| !name.chars().any(char::is_control))
    }

    fn read_as(size: u32, token: &str, good: impl Fn(&str) -> bool) -> Result<Self, Problem> {
        if size > MAX_SIZE {
            return Err(Problem::new(
                ErrorCode::LimitExceeded,
                format!("a page has at most {MAX_SIZE} rows"),
                "ask for fewer rows and follow next_page_token",
            ));
        }
        let size = if size == 0 { USUAL_SIZE } else { size };
        let below = (!token.is_empty()).then(|| text_of(token, good)).transpose()?;
        Ok(Self { size, below })
    }

    /// The token of the page after the one that ends with `last_id`.
    #[must_use]
    pub fn token_after(last_id: &str) -> String {
        last_id.bytes().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn text_of(token: &str, good: impl Fn(&str) -> bool) -> Result<String, Problem> {
    let foreign = || {
        Problem::new(
            ErrorCode::InvalidArgument,
            "this page token was not made by this listing",
            "start again without a token",
        )
    };
    if token.len() > 128 || !token.len().is_multiple_of(2) || !token.is_ascii() {
        return Err(foreign());
    }
    let bytes = (0..token.len() / 2)
        .map(|place| u8::from_str_radix(&token[place * 2..place * 2 + 2], 16))
        .collect::<Result<Vec<u8>, _>>()
        .map_err(|_| foreign())?;
    let text = String::from_utf8(bytes).map_err(|_| foreign())?;
    if good(&text) { Ok(text) } else { Err(foreign()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_id() {
        let token = Page::token_after("ord_01ABC");
        let page = Page::read(0, &token, "ord_").expect("own token");
        assert_eq!(page, Page { size: 100, below: Some("ord_01ABC".to_owned()) });
    }

    #[test]
    fn a_foreign_token_is_refused() {
        for token in
            ["x", "zz", "6f72", "é1", &Page::token_after("lic_01"), &Page::token_after("ord_' OR 1"), &"0".repeat(300)]
        {
            assert!(Page::read(10, token, "ord_").is_err(), "{token}");
        }
        assert!(Page::read(1_001, "", "ord_").is_err());
    }

    #[test]
    fn a_listing_by_names_goes_on_after_any_serial() {
        let token = Page::token_after("130-48 ä");
        assert_eq!(Page::read_named(5, &token), Ok(Page { size: 5, below: Some("130-48 ä".to_owned()) }));
        assert!(Page::read_named(5, &Page::token_after("a\nb")).is_err());
    }
}
