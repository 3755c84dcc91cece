//! What an OData service says about a refusal: version 2 and 4 as JSON, version 2 as XML.

use std::fmt;

use serde_json::Value;

/// Longest code and message that are kept.
const CODE_CHARACTERS: usize = 64;
const MESSAGE_CHARACTERS: usize = 1_024;

/// Code and message of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ODataError {
    pub(super) code: String,
    pub(super) message: String,
}

impl fmt::Display for ODataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code.as_str() {
            "" => f.write_str(&self.message),
            code => write!(f, "{code}: {}", self.message),
        }
    }
}

/// Reads an error; nothing when the body holds none.
pub(super) fn read(body: &[u8]) -> Option<ODataError> {
    let (code, message) = match serde_json::from_slice::<Value>(body) {
        Ok(json) => of_json(&json)?,
        Err(_) => of_xml(std::str::from_utf8(body).ok()?)?,
    };
    let cut = |text: &str, most: usize| text.chars().take(most).collect();
    Some(ODataError { code: cut(&code, CODE_CHARACTERS), message: cut(&message, MESSAGE_CHARACTERS) })
}

fn of_json(json: &Value) -> Option<(String, String)> {
    let error = json.get("error")?;
    let message = error.get("message")?;
    // Version 2 says {"lang": …, "value": …} where version 4 has a plain text.
    let message = message.as_str().or_else(|| message.get("value")?.as_str())?;
    let code = error.get("code").and_then(Value::as_str).unwrap_or_default();
    Some((code.to_owned(), message.to_owned()))
}

/// A full parser would be much for two elements; entities are put back and nothing is fetched.
fn of_xml(text: &str) -> Option<(String, String)> {
    let error = &text[text.find("<error")?..];
    let message = element(error, "message")?;
    Some((element(error, "code").unwrap_or_default(), message))
}

fn element(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    loop {
        rest = &rest[rest.find('<')? + 1..];
        let after = match rest.strip_prefix(name) {
            Some(after) if after.starts_with(['>', ' ', '\t', '\r', '\n']) => after,
            _ => continue,
        };
        let content = &after[after.find('>')? + 1..];
        let content = &content[..content.find("</")?];
        let plain = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
            .iter()
            .fold(content.to_owned(), |text, (entity, plain)| text.replace(entity, plain));
        return Some(plain.trim().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_both_versions_are_read() {
        let v2 = br#"{"error":{"code":"SY/530","message":{"lang":"en","value":"Item unknown"}}}"#;
        assert_eq!(read(v2).expect("an error").to_string(), "SY/530: Item unknown");
        let v4 = br#"{"error":{"code":"","message":"no such set","details":[]}}"#;
        assert_eq!(read(v4).expect("an error").to_string(), "no such set");
        let xml = br#"<?xml version="1.0"?><error xmlns="x"><code>CM/022</code><message xml:lang="en">a &lt; b</message></error>"#;
        assert_eq!(read(xml).expect("an error").to_string(), "CM/022: a < b");
    }

    #[test]
    fn what_is_no_error_is_none_and_never_a_panic() {
        for bad in
            ["", "{}", "[]", "<error", "<error><message", "<error><message>", "<html>no</html>", "\u{e4}<error>\u{e4}"]
        {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(read(&[0xff, 0xfe]), None);
    }
}
