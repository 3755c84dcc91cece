//! Codes as characters of a terminal and as vector pictures.

use std::fmt::Write as _;

use qrcodegen::QrCode;

use super::QUIET;

/// How a code stands in a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Black on white whatever the terminal's own colours are.
    Colours,
    /// Characters alone, as on paper: for files and terminals that want no colours.
    Plain,
}

/// Black and white from the fixed part of the palette, which themes leave alone.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const AS_BEFORE: &str = "\x1b[0m";

/// The code with its quiet zone, two rows of modules per line.
pub(crate) fn half_blocks(code: &QrCode, look: Look) -> String {
    let size = code.size();
    let mut text = String::new();
    let mut y = -QUIET;
    while y < size + QUIET {
        if look == Look::Colours {
            text.push_str(BLACK_ON_WHITE);
        }
        for x in -QUIET..size + QUIET {
            // Outside of the code there are only light modules.
            text.push(match (code.get_module(x, y), code.get_module(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        if look == Look::Colours {
            text.push_str(AS_BEFORE);
        }
        text.push('\n');
        y += 2;
    }
    text
}

/// The code as a vector picture.
pub(crate) fn svg(code: &QrCode) -> String {
    let side = code.size() + 2 * QUIET;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" width=\"{0}\" height=\"{0}\" \
         shape-rendering=\"crispEdges\">\n<rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/>\n<path fill=\"#000\" d=\"",
        side * 8
    );
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            // Writing to a String cannot fail.
            let _ = write!(text, "M{} {}h1v1h-1z", x + QUIET, y + QUIET);
        }
    }
    text.push_str("\"/>\n</svg>\n");
    text
}
