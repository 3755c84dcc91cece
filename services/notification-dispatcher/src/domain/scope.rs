//! Filters by item and customer, and what an event says about either.
//!
//! Events of licences and orders say it themselves. Events of activations, transfers and tickets name licences or an
//! order only; what those are about is known from earlier events ([`Knowledge`]).

use std::collections::HashMap;

use serde_json::Value;

/// Most names of one filter.
pub const NAMES: usize = 64;
/// Most bytes of one name.
pub const NAME_BYTES: usize = 128;

/// Which items and customers a destination wants events of; empty for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    items: Vec<String>,
    customers: Vec<String>,
}

/// Why names cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "at most {NAMES} items and {NAMES} customers can be named, each in 1 to {NAME_BYTES} bytes without control characters"
)]
pub struct ScopeError;

/// The last known data of orders and licences, by their ids.
#[derive(Debug, Clone, Default)]
pub struct Knowledge(pub HashMap<String, Value>);

/// Whether an event is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// That depends on this order or license, of which nothing has been heard yet.
    DependsOn(String),
}

impl Scope {
    /// Reads the names of a request or a row.
    ///
    /// # Errors
    /// See [`ScopeError`].
    pub fn new(items: &[String], customers: &[String]) -> Result<Self, ScopeError> {
        for list in [items, customers] {
            let good = |name: &String| (1..=NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
            if list.len() > NAMES || !list.iter().all(good) {
                return Err(ScopeError);
            }
        }
        Ok(Self { items: items.to_vec(), customers: customers.to_vec() })
    }

    /// True when it leaves nothing out.
    pub fn is_everything(&self) -> bool {
        self.items.is_empty() && self.customers.is_empty()
    }

    /// Whether an event with this `data` is wanted.
    pub fn wants(&self, data: &Value, known: &Knowledge) -> Wanted {
        if self.is_everything() {
            return Wanted::Yes;
        }
        let mut wanted = Wanted::No;
        let needed = needs(data);
        if needed.is_empty() {
            return if self.fits(data) { Wanted::Yes } else { Wanted::No };
        }
        for id in needed {
            match known.0.get(id) {
                Some(about) if self.fits(about) => return Wanted::Yes,
                Some(_) => {}
                None => wanted = Wanted::DependsOn(id.to_owned()),
            }
        }
        wanted
    }

    fn fits(&self, about: &Value) -> bool {
        let named = |name: &str, list: &[String]| list.iter().any(|one| one == name);
        let customer = about["customer"].as_str().unwrap_or_default();
        let of_customer = self.customers.is_empty() || named(customer, &self.customers);
        let item = about["item"].as_str().into_iter();
        let lines = about["lines"].as_array().into_iter().flatten().filter_map(|line| line["item"].as_str());
        of_customer && (self.items.is_empty() || item.chain(lines).any(|name| named(name, &self.items)))
    }
}

/// The orders and licences that say what an event with this `data` is about; none when it says so itself.
pub fn needs(data: &Value) -> Vec<&str> {
    if data.get("item").is_some() || data.get("customer").is_some() {
        return Vec::new();
    }
    let many = data["license_ids"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let found: Vec<&str> = data["license_id"].as_str().into_iter().chain(many).collect();
    if found.is_empty() { data["order_id"].as_str().into_iter().collect() } else { found }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope(items: &[&str], customers: &[&str]) -> Scope {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Scope::new(&owned(items), &owned(customers)).expect("names")
    }

    #[test]
    fn item_and_customer_must_both_fit() {
        let both = scope(&["cad"], &["acme"]);
        let known = Knowledge::default();
        assert_eq!(both.wants(&json!({"license_id": "l", "item": "cad", "customer": "acme"}), &known), Wanted::Yes);
        assert_eq!(both.wants(&json!({"license_id": "l", "item": "cad", "customer": "other"}), &known), Wanted::No);
        let order = json!({"order_id": "o", "customer": "acme", "lines": [{"item": "cam"}, {"item": "cad"}]});
        assert_eq!(both.wants(&order, &known), Wanted::Yes);
        assert_eq!(both.wants(&json!({"serial": "9-1"}), &known), Wanted::No);
        assert_eq!(scope(&[], &[]).wants(&json!({}), &known), Wanted::Yes);
    }

    #[test]
    fn activation_is_judged_by_what_is_known_of_its_licenses() {
        let mut known = Knowledge::default();
        let activation = json!({"activation_id": "a", "license_ids": ["l1", "l2"]});
        let cad = scope(&["cad"], &[]);
        assert_eq!(cad.wants(&activation, &known), Wanted::DependsOn("l2".to_owned()));
        known.0.insert("l2".to_owned(), json!({"item": "cam"}));
        assert_eq!(cad.wants(&activation, &known), Wanted::DependsOn("l1".to_owned()));
        known.0.insert("l1".to_owned(), json!({"item": "cad"}));
        assert_eq!(cad.wants(&activation, &known), Wanted::Yes);
        assert_eq!(scope(&["other"], &[]).wants(&activation, &known), Wanted::No);
    }

    #[test]
    fn names_are_bounded() {
        let many = vec!["a".to_owned(); NAMES + 1];
        assert_eq!(Scope::new(&many, &[]), Err(ScopeError));
        assert_eq!(Scope::new(&[], &["a\nb".to_owned()]), Err(ScopeError));
        assert_eq!(Scope::new(&[String::new()], &[]), Err(ScopeError));
        assert_eq!(Scope::new(&["x".repeat(NAME_BYTES + 1)], &[]), Err(ScopeError));
    }
}
