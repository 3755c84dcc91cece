//! Holding a JSON value against the few words of JSON Schema that the catalogue uses.

use serde_json::Value;

/// The value is what the schema allows.
pub(crate) fn fits(value: &Value, schema: &Value, at: &str) {
    if let Some(only) = schema.get("const") {
        assert_eq!(value, only, "{at}");
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        assert!(words.contains(value), "{at}: {value} is none of {words:?}");
    }
    let right = match schema.get("type").and_then(Value::as_str) {
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    assert!(right, "{at}: {value} is no {}", schema["type"]);
    if schema.get("format").is_some() {
        let time = value.as_str().map(str::parse::<lictor_clock::Timestamp>);
        assert!(matches!(time, Some(Ok(_))), "{at}: {value} is no time");
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap_or_default()).is_some(), "{at}: {name} is missing in {value}");
    }
    if let Some(members) = value.as_object() {
        for (name, member) in members {
            let schema = schema["properties"].get(name);
            let schema = schema.unwrap_or_else(|| panic!("{at}: the schema knows nothing of {name}"));
            fits(member, schema, &format!("{at}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        fits(item, &schema["items"], &format!("{at}[]"));
    }
}

/// Every member that the schema names is in the value.
pub(crate) fn uses_everything(value: &Value, schema: &Value, at: &str) {
    for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let member = value.get(name).unwrap_or_else(|| panic!("{at}: {name} is in the schema and is never sent"));
        uses_everything(member, schema, &format!("{at}.{name}"));
    }
    for item in value.as_array().into_iter().flatten() {
        uses_everything(item, &schema["items"], &format!("{at}[]"));
    }
}

/// Everything that `then` says, `now` says too.
pub(crate) fn says_at_least(now: &Value, then: &Value, at: &str) {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => {
            for (name, then) in then {
                let now = now.get(name).unwrap_or_else(|| panic!("{at}: {name} is said no longer"));
                says_at_least(now, then, &format!("{at}.{name}"));
            }
        }
        (Value::Array(now), Value::Array(then)) => {
            assert_eq!(now.len(), then.len(), "{at}");
            for (now, then) in now.iter().zip(then) {
                says_at_least(now, then, at);
            }
        }
        _ => assert_eq!(now, then, "{at}"),
    }
}
