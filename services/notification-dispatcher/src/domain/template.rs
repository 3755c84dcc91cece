//! Field mapping: JSON in which `"{data.license_id}"` stands for what the notification says there.
//!
//! A text that is one place alone becomes the value itself, a number or a list too; places inside a longer text are
//! written into it. What the notification does not say becomes null, or nothing inside a text. `{{` is a brace.

use serde_json::{Map, Value};

/// Most bytes of a template.
pub const TEMPLATE_BYTES: usize = 16 * 1024;
/// Most places of a template.
pub const PLACES: usize = 256;
const DEPTH: usize = 16;
const PATH_BYTES: usize = 256;

/// A template that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    text: String,
    root: Node,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Fixed(Value),
    Place(Vec<String>),
    Text(Vec<Piece>),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Fixed(String),
    Place(Vec<String>),
}

/// Why a text is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Too long, too deep or too many places.
    #[error("a template has at most 16 KiB, {PLACES} places and {DEPTH} levels")]
    TooLarge,
    /// Not JSON.
    #[error("the template is no JSON")]
    NotJson,
    /// A brace without its other one, or an odd path.
    #[error("a place in a template is written like {{data.license_id}}, and a brace like {{{{")]
    Place,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES {
            return Err(TemplateError::TooLarge);
        }
        let value: Value = serde_json::from_str(text).map_err(|_| TemplateError::NotJson)?;
        let mut places = 0;
        let root = node(value, 0, &mut places)?;
        Ok(Self { text: text.to_owned(), root })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The body for a notification.
    pub fn fill(&self, notification: &Value) -> Vec<u8> {
        filled(&self.root, notification).to_string().into_bytes()
    }
}

fn node(value: Value, depth: usize, places: &mut usize) -> Result<Node, TemplateError> {
    if depth > DEPTH {
        return Err(TemplateError::TooLarge);
    }
    Ok(match value {
        Value::String(text) => {
            let mut pieces = pieces(&text)?;
            *places += pieces.iter().filter(|piece| matches!(piece, Piece::Place(_))).count();
            if *places > PLACES {
                return Err(TemplateError::TooLarge);
            }
            match pieces.as_mut_slice() {
                [] => Node::Fixed(Value::String(String::new())),
                [Piece::Fixed(fixed)] => Node::Fixed(Value::String(std::mem::take(fixed))),
                [Piece::Place(path)] => Node::Place(std::mem::take(path)),
                _ => Node::Text(pieces),
            }
        }
        Value::Array(list) => {
            Node::List(list.into_iter().map(|value| node(value, depth + 1, places)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => Node::Object(
            map.into_iter()
                .map(|(key, value)| Ok((key, node(value, depth + 1, places)?)))
                .collect::<Result<_, TemplateError>>()?,
        ),
        fixed => Node::Fixed(fixed),
    })
}

fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut fixed = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        fixed.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            fixed.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            fixed.push('}');
            rest = after;
        } else {
            let (inside, after) =
                from.strip_prefix('{').and_then(|open| open.split_once('}')).ok_or(TemplateError::Place)?;
            let plain = |step: &str| {
                !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            };
            if inside.len() > PATH_BYTES || !inside.split('.').all(plain) {
                return Err(TemplateError::Place);
            }
            if !fixed.is_empty() {
                pieces.push(Piece::Fixed(std::mem::take(&mut fixed)));
            }
            pieces.push(Piece::Place(inside.split('.').map(str::to_owned).collect()));
            rest = after;
        }
    }
    fixed.push_str(rest);
    if !fixed.is_empty() {
        pieces.push(Piece::Fixed(fixed));
    }
    Ok(pieces)
}

fn filled(node: &Node, notification: &Value) -> Value {
    match node {
        Node::Fixed(value) => value.clone(),
        Node::Place(path) => found(path, notification).cloned().unwrap_or(Value::Null),
        Node::Text(pieces) => {
            let mut text = String::new();
            for piece in pieces {
                match piece {
                    Piece::Fixed(fixed) => text.push_str(fixed),
                    Piece::Place(path) => match found(path, notification) {
                        None | Some(Value::Null) => {}
                        Some(Value::String(value)) => text.push_str(value),
                        Some(other) => text.push_str(&other.to_string()),
                    },
                }
            }
            Value::String(text)
        }
        Node::List(list) => Value::Array(list.iter().map(|node| filled(node, notification)).collect()),
        Node::Object(map) => Value::Object(
            map.iter().map(|(key, node)| (key.clone(), filled(node, notification))).collect::<Map<_, _>>(),
        ),
    }
}

fn found<'a>(path: &[String], notification: &'a Value) -> Option<&'a Value> {
    path.iter().try_fold(notification, |value, step| match value {
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_become_values_and_texts() {
        let template = Template::new(
            r#"{"no": "{data.license_id}", "n": "{data.quantity}", "line": "{data.item} x {data.quantity}{data.none}",
                "second": "{data.ids.1}", "gone": "{data.none}", "brace": "{{x}}", "fixed": [1, true, null, ""]}"#,
        )
        .expect("a template");
        let body =
            template.fill(&json!({"data": {"license_id": "lic_1", "quantity": 3, "item": "cad", "ids": ["a", "b"]}}));
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            body,
            json!({"no": "lic_1", "n": 3, "line": "cad x 3", "second": "b", "gone": null, "brace": "{x}",
                   "fixed": [1, true, null, ""]})
        );
    }

    #[test]
    fn what_an_event_says_is_never_read_as_a_place() {
        let template = Template::new(r#"{"a": "-{data.customer}-", "b": "{data.customer}"}"#).expect("a template");
        let body = template.fill(&json!({"data": {"customer": "{data.secret}\"}", "secret": "s"}}));
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body, json!({"a": "-{data.secret}\"}-", "b": "{data.secret}\"}"}));
    }

    #[test]
    fn slips_are_refused() {
        for (bad, why) in [
            ("{", TemplateError::NotJson),
            (r#""{data""#, TemplateError::Place),
            (r#""data}""#, TemplateError::Place),
            (r#""{}""#, TemplateError::Place),
            (r#""{a..b}""#, TemplateError::Place),
            (r#""{a b}""#, TemplateError::Place),
        ] {
            assert_eq!(Template::new(bad).err(), Some(why), "{bad}");
        }
        assert_eq!(Template::new(&"x".repeat(TEMPLATE_BYTES + 1)).err(), Some(TemplateError::TooLarge));
        let deep = format!("{}1{}", "[".repeat(DEPTH + 2), "]".repeat(DEPTH + 2));
        assert_eq!(Template::new(&deep).err(), Some(TemplateError::TooLarge));
        let many = serde_json::to_string(&vec!["{a}"; PLACES + 1]).expect("JSON");
        assert_eq!(Template::new(&many).err(), Some(TemplateError::TooLarge));
    }
}
