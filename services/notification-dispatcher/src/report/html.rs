//! Figures as one HTML page: nothing to fetch, no script, readable on paper, in light and in dark.

use std::fmt::Write;

use lictor_clock::Timestamp;

use super::{
    chart::{self, Series, grouped},
    figures::{Bucket, Figures, ItemRow},
    period::Period,
};
use crate::pages::{STYLE, escape::escape};

/// Items in the page's table; the CSV has all of them.
const ITEMS_SHOWN: usize = 100;

/// Writes the page; `now` stands at its foot.
pub fn render(figures: &Figures, now: Timestamp) -> String {
    let span = &figures.span;
    let word = match span.period {
        Period::Daily => "Daily report",
        Period::Weekly => "Weekly report",
        Period::Monthly => "Monthly report",
    };
    let title = format!("{word}: {}", span.title());
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{}</title><style>{STYLE}</style></head><body><main>\n<h1>{}</h1>\n<p class=\"lead\">{word} \u{b7} days of UTC{}</p>\n",
        escape(&title),
        escape(&span.title()),
        span.offset(),
    );
    tiles(&mut html, figures);
    course(&mut html, figures);
    items(&mut html, figures);
    transactions(&mut html, figures);
    parts(&mut html, figures);
    // Writing to a string cannot fail.
    let _ = write!(
        html,
        "<p class=\"foot\">{} \u{b7} from {} until {} \u{b7} written {now}</p>\n</main></body></html>\n",
        escape(&span.name()),
        span.from,
        span.until
    );
    html
}

fn tiles(html: &mut String, figures: &Figures) {
    html.push_str("<div class=\"tiles\">");
    for (name, value) in [
        ("new licenses", figures.total(|bucket| bucket.licenses)),
        ("seats, units", figures.total(|bucket| bucket.quantity)),
        ("new orders", figures.total(|bucket| bucket.orders)),
        ("transactions", figures.total(|bucket| bucket.transactions)),
        ("licenses expired", figures.events_of("lictor.license.expired.v1")),
        ("licenses withdrawn", figures.events_of("lictor.license.withdrawn.v1")),
    ] {
        let _ = write!(html, "<div class=\"tile\"><b>{}</b><span>{name}</span></div>", grouped(value));
    }
    html.push_str("</div>\n");
}

fn course(html: &mut String, figures: &Figures) {
    html.push_str("<section><h2>New licenses and transactions</h2>");
    let nothing = figures.buckets.iter().all(|bucket| bucket.licenses == 0 && bucket.transactions == 0);
    if nothing {
        empty(html, "Nothing was sold or activated in this time", "Orders and activations will show here.");
    } else {
        let labels: Vec<String> = figures.buckets.iter().map(|bucket| bucket.label.clone()).collect();
        let values = |column: fn(&Bucket) -> u64| figures.buckets.iter().map(column).collect();
        let series = [
            Series { name: "new licenses", values: values(|bucket| bucket.licenses) },
            Series { name: "transactions", values: values(|bucket| bucket.transactions) },
        ];
        html.push_str("<div class=\"legend\">");
        for (place, one) in series.iter().enumerate() {
            let _ = write!(
                html,
                "<span><svg viewBox=\"0 0 10 10\"><rect class=\"series-{place}\" width=\"10\" height=\"10\" rx=\"2\"/></svg>{}</span>",
                one.name
            );
        }
        html.push_str("</div>");
        html.push_str(&chart::columns("New licenses and transactions", &labels, &series));
    }
    html.push_str("</section>\n");
}

fn items(html: &mut String, figures: &Figures) {
    html.push_str("<section class=\"long\"><h2>By item</h2>");
    let ranked = figures.ranked();
    if ranked.is_empty() {
        empty(html, "No item was touched", "Items show here once licenses of them are made or changed.");
        html.push_str("</section>\n");
        return;
    }
    let most = ranked.iter().map(|(_, row)| row.licenses).max().unwrap_or(0);
    html.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>item</th><th class=\"bars\"></th><th class=\"n\">new licenses</th>\
         <th class=\"n\">seats, units</th><th class=\"n\">transactions</th><th class=\"n\">withdrawn</th>\
         <th class=\"n\">expired</th></tr></thead><tbody>",
    );
    for (name, row) in ranked.iter().take(ITEMS_SHOWN) {
        let _ = write!(
            html,
            "<tr><td class=\"name\">{}</td><td class=\"wide bars\">{}</td>{}</tr>",
            escape(name),
            chart::bar(row.licenses, most),
            cells(row)
        );
    }
    let mut all = ItemRow::default();
    for (_, row) in &ranked {
        all.licenses = all.licenses.saturating_add(row.licenses);
        all.quantity = all.quantity.saturating_add(row.quantity);
        all.transactions = all.transactions.saturating_add(row.transactions);
        all.withdrawn = all.withdrawn.saturating_add(row.withdrawn);
        all.expired = all.expired.saturating_add(row.expired);
    }
    let _ = write!(
        html,
        "</tbody><tfoot><tr><td>all items</td><td class=\"bars\"></td>{}</tr></tfoot></table></div>",
        cells(&all)
    );
    if ranked.len() > ITEMS_SHOWN {
        let _ = write!(
            html,
            "<p class=\"soft small\">{} further items are in the CSV file.</p>",
            grouped(u64::try_from(ranked.len() - ITEMS_SHOWN).unwrap_or(u64::MAX))
        );
    }
    html.push_str("</section>\n");
}

fn cells(row: &ItemRow) -> String {
    [row.licenses, row.quantity, row.transactions, row.withdrawn, row.expired].map(cell).concat()
}

/// A figure; nothing is a dot, so that what is there stands out.
fn cell(value: u64) -> String {
    match value {
        0 => "<td class=\"n soft\">\u{b7}</td>".to_owned(),
        value => format!("<td class=\"n\">{}</td>", grouped(value)),
    }
}

fn transactions(html: &mut String, figures: &Figures) {
    html.push_str("<section><h2>Transactions by kind</h2>");
    if figures.transactions.is_empty() {
        empty(
            html,
            "No container was changed",
            "Activations, returns and withdrawals show here when they are complete.",
        );
    } else {
        let most = figures.transactions.values().copied().max().unwrap_or(0);
        html.push_str("<table><thead><tr><th>kind</th><th class=\"bars\"></th><th class=\"n\">transactions</th></tr></thead><tbody>");
        for (kind, count) in &figures.transactions {
            let _ = write!(
                html,
                "<tr><td class=\"name\">{}</td><td class=\"wide bars\">{}</td>{}</tr>",
                escape(kind),
                chart::bar(*count, most),
                cell(*count)
            );
        }
        html.push_str("</tbody></table>");
    }
    html.push_str("</section>\n");
}

fn parts(html: &mut String, figures: &Figures) {
    if figures.events.is_empty() {
        return;
    }
    let column = if figures.span.period == Period::Daily { "hour" } else { "day" };
    let _ = write!(
        html,
        "<section class=\"long\"><h2>By {column}</h2><div class=\"scroll\"><table><thead><tr><th>{column}</th>\
         <th class=\"n\">new orders</th><th class=\"n\">new licenses</th><th class=\"n\">seats, units</th>\
         <th class=\"n\">transactions</th></tr></thead><tbody>"
    );
    for bucket in &figures.buckets {
        let cells = [bucket.orders, bucket.licenses, bucket.quantity, bucket.transactions].map(cell).concat();
        let _ = write!(html, "<tr><td class=\"keep\">{}</td>{cells}</tr>", escape(&bucket.label));
    }
    html.push_str("</tbody></table></div></section>\n");
}

fn empty(html: &mut String, what: &str, next: &str) {
    let _ = write!(html, "<div class=\"empty\"><b>{what}</b>{next}</div>");
}
