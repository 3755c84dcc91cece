//! Figures as CSV by RFC 4180: one table in long form, so that one file holds parts, items and transactions.

use super::figures::Figures;

/// The columns.
const HEAD: [&str; 6] = ["report", "table", "name", "figure", "value", "from"];

/// Writes the file. Lines end with CR LF, the first one names the columns.
pub fn render(figures: &Figures) -> String {
    let mut text = String::new();
    line(&mut text, &HEAD);
    let report = figures.span.name();
    let from = figures.span.from.to_string();
    let parts = figures.span.parts();
    let mut row = |table: &str, name: &str, figure: &str, value: u64, from: &str| {
        line(&mut text, &[&report, table, name, figure, &value.to_string(), from]);
    };
    for (bucket, part) in figures.buckets.iter().zip(&parts) {
        let from = part.from.to_string();
        row("period", &bucket.label, "orders", bucket.orders, &from);
        row("period", &bucket.label, "licenses", bucket.licenses, &from);
        row("period", &bucket.label, "quantity", bucket.quantity, &from);
        row("period", &bucket.label, "transactions", bucket.transactions, &from);
    }
    for (name, item) in figures.ranked() {
        row("item", name, "licenses", item.licenses, &from);
        row("item", name, "quantity", item.quantity, &from);
        row("item", name, "transactions", item.transactions, &from);
        row("item", name, "withdrawn", item.withdrawn, &from);
        row("item", name, "expired", item.expired, &from);
    }
    for (kind, count) in &figures.transactions {
        row("transaction", kind, "transactions", *count, &from);
    }
    for (kind, count) in &figures.events {
        row("event", kind, "events", *count, &from);
    }
    text
}

fn line(text: &mut String, fields: &[&str]) {
    for (number, field) in fields.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        push(text, field);
    }
    text.push_str("\r\n");
}

/// One field. What a spreadsheet would take for a formula gets an apostrophe before it, and everything that could end
/// the field is quoted.
fn push(text: &mut String, field: &str) {
    let formula = field.trim_start().starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])
        || field.starts_with(['\t', '\r', '\n'])
        || field.trim_start().starts_with(['\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    let field = if formula { format!("'{field}") } else { field.to_owned() };
    if formula || field.contains([',', '"', '\r', '\n', ';']) {
        text.push('"');
        text.push_str(&field.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(&field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(field: &str) -> String {
        let mut text = String::new();
        push(&mut text, field);
        text
    }

    #[test]
    fn a_field_is_never_a_formula_and_never_ends_early() {
        for (field, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("  +1", "\"'  +1\""),
            ("-2", "\"'-2\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("\u{ff1d}1", "\"'\u{ff1d}1\""),
            ("2026-11-22", "2026-11-22"),
        ] {
            assert_eq!(written(field), expected);
        }
    }
}
