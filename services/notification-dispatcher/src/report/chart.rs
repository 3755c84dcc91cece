//! Charts as SVG: shapes and classes only, so that one stylesheet colors them and no script is needed.

use std::fmt::Write;

use crate::pages::escape::escape;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 12.0;
/// Most labels below a chart; with more parts some are left out.
const LABELS: usize = 16;

/// One row of columns: a name for the legend, a value per part.
#[derive(Debug, Clone)]
pub struct Series<'a> {
    /// What it counts.
    pub name: &'a str,
    /// As many as there are labels.
    pub values: Vec<u64>,
}

/// Columns side by side, at most two series.
pub fn columns(title: &str, labels: &[String], series: &[Series<'_>]) -> String {
    let most = series.iter().flat_map(|one| &one.values).copied().max().unwrap_or(0);
    let top = ceiling(most);
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(title)
    );
    let plot = HEIGHT - BOTTOM - TOP;
    for step in 0..=4_u32 {
        let y = TOP + plot * f64::from(4 - step) / 4.0;
        let _ = write!(svg, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
        let value = part_of(top, step);
        let _ = write!(
            svg,
            "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            compact(value)
        );
    }
    let slot = (WIDTH - LEFT) / count(labels.len().max(1));
    let column = (slot * 0.72 / count(series.len().max(1))).min(36.0);
    let every = labels.len().div_ceil(LABELS).max(1);
    for (number, label) in labels.iter().enumerate() {
        let middle = LEFT + slot * (count(number) + 0.5);
        let first = middle - column * count(series.len()) / 2.0;
        for (place, one) in series.iter().enumerate() {
            let value = one.values.get(number).copied().unwrap_or(0);
            let height = if top == 0 { 0.0 } else { plot * ratio(value, top) };
            if value > 0 {
                let height = height.max(1.5);
                let _ = write!(
                    svg,
                    "<rect class=\"series-{place}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"2\">\
                     <title>{}: {} {}</title></rect>",
                    first + column * count(place) + 1.0,
                    TOP + plot - height,
                    column - 2.0,
                    escape(label),
                    grouped(value),
                    escape(one.name)
                );
            }
        }
        if number % every == 0 {
            let _ = write!(
                svg,
                "<text class=\"axis\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - 8.0,
                escape(label)
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// A bar for a cell of a table, as wide as `value` is of `most`.
pub fn bar(value: u64, most: u64) -> String {
    let width = if most == 0 { 0.0 } else { 100.0 * ratio(value, most) };
    let width = if value > 0 { width.max(1.0) } else { 0.0 };
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"series-0\" width=\"{width:.1}\" height=\"8\"/></svg>"
    )
}

/// `1 234 567` with thin spaces that do not break.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `950`, `1.2k`, `3.4M`: for an axis.
fn compact(value: u64) -> String {
    const STEPS: [(u64, &str); 3] = [(1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")];
    for (least, letter) in STEPS {
        if value >= least {
            let unit = if letter == "k" { 1_000 } else { least };
            let tenths = value / (unit / 10);
            let rest = if tenths.is_multiple_of(10) { String::new() } else { format!(".{}", tenths % 10) };
            return format!("{}{rest}{letter}", tenths / 10);
        }
    }
    grouped(value)
}

/// The smallest round number from 4 up that is at least `most` and divides into four.
fn ceiling(most: u64) -> u64 {
    let mut unit: u64 = 4;
    loop {
        for factor in [1, 2, 3, 5] {
            if let Some(round) = unit.checked_mul(factor).filter(|round| *round >= most) {
                return round;
            }
        }
        match unit.checked_mul(10) {
            Some(next) => unit = next,
            None => return u64::MAX,
        }
    }
}

fn part_of(top: u64, quarters: u32) -> u64 {
    (top / 4).saturating_mul(u64::from(quarters))
}

#[expect(clippy::cast_precision_loss, reason = "a place on a picture")]
fn ratio(value: u64, of: u64) -> f64 {
    value as f64 / of as f64
}

#[expect(clippy::cast_precision_loss, reason = "a place on a picture")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number_that_holds_everything() {
        for (most, top) in [(0, 4), (4, 4), (5, 8), (9, 12), (13, 20), (21, 40), (41, 80), (150, 200), (201, 400)] {
            assert_eq!(ceiling(most), top, "{most}");
        }
        assert!(ceiling(u64::MAX) == u64::MAX);
        for most in 0..2_000 {
            assert!(ceiling(most) >= most && ceiling(most).is_multiple_of(4));
        }
    }

    #[test]
    fn figures_are_grouped_and_short_on_axes() {
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(12), "12");
        assert_eq!((compact(9_999).as_str(), compact(12_500).as_str()), ("9\u{202f}999", "12.5k"));
        assert_eq!(compact(2_000_000), "2M");
    }

    #[test]
    fn a_hostile_label_stays_text() {
        let svg = columns("<x>", &["<script>".to_owned()], &[Series { name: "\"&", values: vec![u64::MAX] }]);
        assert!(!svg.contains("<script>") && !svg.contains("aria-label=\"<x>"), "{svg}");
    }
}
