//! How figures are shown: each side of a round on a line, then the median of the rounds' ratios with its range.

use std::io::{self, Write};

use crate::figures::median;
use crate::scenario::Stretch;

/// A round: the bare twin, and the product.
pub type Round = (Stretch, Stretch);

/// One round on a line.
///
/// # Errors
/// The output is closed.
pub fn show(out: &mut impl Write, round: usize, unit: &str, (twin, real): &Round) -> io::Result<()> {
    let side = |stretch: &Stretch| {
        format!(
            "{:>6.0} {unit}/s, {:>6.1} us CPU each, others {:>3.0} %",
            stretch.count / stretch.wall,
            cpu(stretch) * 1e6,
            stretch.others * 100.0
        )
    };
    writeln!(out, "  round {round}: twin {} | licence server {}", side(twin), side(real))
}

/// CPU seconds of the server for one of what was counted.
#[must_use]
pub fn cpu(stretch: &Stretch) -> f64 {
    stretch.server_cpu / stretch.count
}

/// Bytes that the server grew by for one of what was counted.
#[must_use]
pub fn bytes(stretch: &Stretch) -> f64 {
    stretch.grown / stretch.count
}

/// The median over the rounds of what one side has to the other, with the range, beside the aim.
///
/// # Errors
/// The output is closed.
pub fn ratio(
    out: &mut impl Write,
    what: &str,
    aim: &str,
    rounds: &[Round],
    figure: impl Fn(&Stretch) -> f64,
) -> io::Result<()> {
    let ratios: Vec<f64> = rounds.iter().map(|(twin, real)| figure(real) / figure(twin)).collect();
    let (least, most) = range(&ratios);
    let (middle, rounds) = (median(&ratios), ratios.len());
    writeln!(
        out,
        "  {what}, licence server / twin: {middle:.2} (from {least:.2} to {most:.2} in {rounds} rounds; {aim})"
    )
}

/// The least and the most.
#[must_use]
pub fn range(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    (least, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}
