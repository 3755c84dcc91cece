//! What changes between two versions of an item, one line each, for people.

use serde_json::Value;

/// Most lines of one answer.
pub const MAX_LINES: usize = 1_000;
/// Most characters of one shown value.
const VALUE_CHARS: usize = 60;

/// Adds a line to `lines` for every value of an item that differs. Values of secret and hidden data are not shown.
pub fn lines(item: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    walk(item, "", old, new, lines);
}

fn walk(item: &str, path: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    if old == new || lines.len() >= MAX_LINES {
        return;
    }
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
            for key in keys {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let (was, is) = (before.get(key).unwrap_or(&Value::Null), after.get(key).unwrap_or(&Value::Null));
                walk(item, &below, was, is, lines);
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            for place in 0..before.len().max(after.len()) {
                let (was, is) = (before.get(place).unwrap_or(&Value::Null), after.get(place).unwrap_or(&Value::Null));
                walk(item, &format!("{path}[{place}]"), was, is, lines);
            }
        }
        _ if is_secret(path) => {
            lines.push(format!("{item}: {path} changes (not shown)"));
        }
        (Value::Null, is) => lines.push(format!("{item}: {path} is set to {}", shown(is))),
        (was, Value::Null) => lines.push(format!("{item}: {path} is removed, it was {}", shown(was))),
        (was, is) => lines.push(format!("{item}: {path} changes from {} to {}", shown(was), shown(is))),
    }
}

fn shown(value: &Value) -> String {
    let text = match redacted(value) {
        Value::String(text) => text,
        other => other.to_string(),
    };
    if text.chars().count() <= VALUE_CHARS {
        return text;
    }
    let mut short: String = text.chars().take(VALUE_CHARS).collect();
    short.push('…');
    short
}

/// The value without what nobody may read, however deep it lies.
fn redacted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let shown = map.iter().map(|(key, value)| {
                let secret = is_secret(key);
                (key.clone(), if secret { Value::String("not shown".to_owned()) } else { redacted(value) })
            });
            Value::Object(shown.collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(redacted).collect()),
        other => other.clone(),
    }
}

fn is_secret(path: &str) -> bool {
    path.contains("secret_data") || path.contains("hidden_data")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn diff(old: &Value, new: &Value) -> Vec<String> {
        let mut found = Vec::new();
        lines("truck", old, new, &mut found);
        found
    }

    #[test]
    fn every_difference_has_its_line() {
        let old = json!({"license_quantity": {"count": 1}, "text": "a", "modules": [{"product_code": 1}]});
        let new = json!({"license_quantity": {"count": 5}, "status": "disabled", "modules": [{"product_code": 1}, {"product_code": 2}]});
        let found = diff(&old, &new);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found.contains(&"truck: license_quantity.count changes from 1 to 5".to_owned()));
        assert!(diff(&old, &old).is_empty());
    }

    #[test]
    fn secrets_are_never_shown() {
        let found = diff(&json!({"secret_data": {"1": "alpha"}}), &json!({"secret_data": {"1": "beta"}}));
        assert_eq!(found, ["truck: secret_data.1 changes (not shown)"]);
        let added = diff(&json!({}), &json!({"modules": [{"hidden_data": {"access_code": "open sesame"}}]}));
        assert!(!added.join("").contains("sesame"), "{added:?}");
    }

    #[test]
    fn an_endless_diff_is_cut() {
        let many: Vec<u32> = (0..5_000).collect();
        assert_eq!(diff(&json!({"x": []}), &json!({ "x": many })).len(), MAX_LINES);
    }
}
