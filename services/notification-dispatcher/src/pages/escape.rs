//! Text into HTML and SVG, safe in elements and in quoted attributes.

/// The text with everything that could end it replaced. Control characters, and those that turn the direction of text
/// around, become visible marks: an event can not dress up as something else.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '`' => safe.push_str("&#96;"),
            '\n' | '\t' => safe.push(character),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}' => {
                safe.push('\u{fffd}');
            }
            control if control.is_control() => safe.push('\u{fffd}'),
            plain => safe.push(plain),
        }
    }
    safe
}

/// A value inside a URL's query.
pub fn in_query(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            safe.push(char::from(byte));
        } else {
            safe.push_str(&format!("%{byte:02X}"));
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_an_element_or_an_attribute() {
        assert_eq!(escape("<a b=\"c\" d='e'>&`"), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;&#96;");
        assert_eq!(escape("a\u{202e}b\0c"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(in_query("a b&c=ä\"<"), "a%20b%26c%3D%C3%A4%22%3C");
    }
}
