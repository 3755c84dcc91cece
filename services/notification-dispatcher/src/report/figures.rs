//! Counting: from events to what a report shows.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;
use serde_json::Value;

use super::period::Span;

/// Items that get a line of their own; further ones are counted together.
pub const ITEMS: usize = 500;
/// Kinds and types that get a line of their own.
const WORDS: usize = 100;
/// Longest name of an item.
const ITEM_CHARACTERS: usize = 128;
/// Under this name stands what is beyond the limits.
pub const OTHERS: &str = "(others)";
/// Under this name stand licenses whose item is not known any more.
pub const UNKNOWN: &str = "(unknown)";

/// One event, as far as reports read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Its type.
    pub kind: String,
    /// When it happened.
    pub at: Timestamp,
    /// What it carries.
    pub data: Value,
}

/// What happened in a part of the period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub label: String,
    /// New orders.
    pub orders: u64,
    /// New licenses.
    pub licenses: u64,
    /// Seats or units of the new licenses.
    pub quantity: u64,
    /// Completed transactions.
    pub transactions: u64,
}

/// What happened to an item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemRow {
    /// New licenses.
    pub licenses: u64,
    /// Their seats or units.
    pub quantity: u64,
    /// Licenses that a transaction changed in a container.
    pub transactions: u64,
    /// Licenses that were withdrawn.
    pub withdrawn: u64,
    /// Licenses that ended.
    pub expired: u64,
}

/// A report's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// The period.
    pub span: Span,
    /// Its parts, in order.
    pub buckets: Vec<Bucket>,
    /// By name.
    pub items: BTreeMap<String, ItemRow>,
    /// Completed transactions by what they were for.
    pub transactions: BTreeMap<String, u64>,
    /// Events by type.
    pub events: BTreeMap<String, u64>,
    starts: Vec<Timestamp>,
}

impl Figures {
    /// Nothing counted yet.
    pub fn new(span: Span) -> Self {
        let parts = span.parts();
        let starts = parts.iter().map(|part| part.from).collect();
        let buckets = parts.into_iter().map(|part| Bucket { label: part.label, ..Bucket::default() }).collect();
        Self { span, buckets, items: BTreeMap::new(), transactions: BTreeMap::new(), events: BTreeMap::new(), starts }
    }

    /// Counts one event; `item_of` knows the items of licenses that a transaction names by their ids only.
    pub fn count(&mut self, fact: &Fact, item_of: impl Fn(&str) -> Option<String>) {
        if fact.at < self.span.from || fact.at >= self.span.until {
            return;
        }
        *entry(&mut self.events, &fact.kind, WORDS) += 1;
        let part = self.starts.partition_point(|start| *start <= fact.at).saturating_sub(1);
        let text = |name: &str| fact.data.get(name).and_then(Value::as_str).unwrap_or_default();
        let named = |name: &str| if name.is_empty() { UNKNOWN.to_owned() } else { name.to_owned() };
        match fact.kind.as_str() {
            "lictor.order.created.v1" => self.buckets[part].orders += 1,
            "lictor.license.created.v1" => {
                let quantity = fact.data.get("quantity").and_then(Value::as_u64).unwrap_or_default();
                let row = entry(&mut self.items, &named(text("item")), ITEMS);
                row.licenses += 1;
                row.quantity = row.quantity.saturating_add(quantity);
                self.buckets[part].licenses += 1;
                self.buckets[part].quantity = self.buckets[part].quantity.saturating_add(quantity);
            }
            "lictor.license.withdrawn.v1" => entry(&mut self.items, &named(text("item")), ITEMS).withdrawn += 1,
            "lictor.license.expired.v1" => entry(&mut self.items, &named(text("item")), ITEMS).expired += 1,
            "lictor.activation.completed.v1" => {
                self.buckets[part].transactions += 1;
                *entry(&mut self.transactions, &named(text("kind")), WORDS) += 1;
                for id in license_ids(&fact.data) {
                    let item = item_of(id).unwrap_or_else(|| UNKNOWN.to_owned());
                    entry(&mut self.items, &item, ITEMS).transactions += 1;
                }
            }
            _ => {}
        }
    }

    /// The sum over a column of the parts.
    pub fn total(&self, column: impl Fn(&Bucket) -> u64) -> u64 {
        self.buckets.iter().map(column).fold(0, u64::saturating_add)
    }

    /// How many events of one type there were.
    pub fn events_of(&self, kind: &str) -> u64 {
        self.events.get(kind).copied().unwrap_or_default()
    }

    /// Items, those with most new licenses first.
    pub fn ranked(&self) -> Vec<(&str, &ItemRow)> {
        let mut rows: Vec<(&str, &ItemRow)> = self.items.iter().map(|(name, row)| (name.as_str(), row)).collect();
        rows.sort_by(|one, two| {
            (two.1.licenses, two.1.transactions, one.0).cmp(&(one.1.licenses, one.1.transactions, two.0))
        });
        rows
    }
}

/// The licenses that a transaction names.
pub fn license_ids(data: &Value) -> impl Iterator<Item = &str> {
    data.get("license_ids").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The row of a name, or the one of all others once there are `most`.
fn entry<'a, T: Default>(rows: &'a mut BTreeMap<String, T>, name: &str, most: usize) -> &'a mut T {
    let short: String = name.chars().take(ITEM_CHARACTERS).collect();
    let name = if rows.contains_key(&short) || rows.len() < most { short } else { OTHERS.to_owned() };
    rows.entry(name).or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::period::{Offset, Period};

    fn figures() -> Figures {
        let at = "2026-11-18T00:00:00Z".parse().expect("a time");
        Figures::new(Span::containing(Period::Weekly, at, Offset::default()))
    }

    fn fact(kind: &str, at: &str, data: Value) -> Fact {
        Fact { kind: format!("lictor.{kind}.v1"), at: at.parse().expect("a time"), data }
    }

    #[test]
    fn events_count_in_their_part_and_none_from_outside_counts() {
        let mut figures = figures();
        let made = |at| fact("license.created", at, json!({ "item": "CAD", "quantity": 5 }));
        for at in ["2026-11-15T23:59:59Z", "2026-11-16T00:00:00Z", "2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z"] {
            figures.count(&made(at), |_| None);
        }
        assert_eq!(figures.total(|bucket| bucket.licenses), 2);
        assert_eq!((figures.buckets[0].quantity, figures.buckets[6].quantity), (5, 5));
        assert_eq!(figures.items["CAD"], ItemRow { licenses: 2, quantity: 10, ..ItemRow::default() });
    }

    #[test]
    fn transactions_count_for_the_items_of_their_licenses() {
        let mut figures = figures();
        let data = json!({ "kind": "activate", "license_ids": ["lic_1", "lic_2"] });
        figures.count(&fact("activation.completed", "2026-11-17T08:00:00Z", data), |id| {
            (id == "lic_1").then(|| "CAD".to_owned())
        });
        assert_eq!(figures.buckets[1].transactions, 1);
        assert_eq!(figures.transactions["activate"], 1);
        assert_eq!((figures.items["CAD"].transactions, figures.items[UNKNOWN].transactions), (1, 1));
    }

    #[test]
    fn a_flood_of_names_fills_no_memory_and_no_page() {
        let mut figures = figures();
        for number in 0..2_000 {
            let data = json!({ "item": format!("{number:04}{}", "x".repeat(1_000)), "quantity": u64::MAX });
            figures.count(&fact("license.created", "2026-11-17T08:00:00Z", data), |_| None);
        }
        assert_eq!(figures.items.len(), ITEMS + 1);
        assert_eq!(figures.items[OTHERS].licenses, 1_500);
        assert_eq!(figures.total(|bucket| bucket.quantity), u64::MAX);
    }
}
