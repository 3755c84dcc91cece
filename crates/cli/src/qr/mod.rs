//! Small files as a series of QR codes, for places that a camera reaches and no cable does.

mod base32;
mod draw;
mod parts;
mod png;

pub(crate) use draw::{Look, half_blocks, svg};
pub(crate) use parts::{JoinError, join, split};
pub(crate) use png::png;

use qrcodegen::{DataTooLong, Mask, QrCode, QrCodeEcc, QrSegment, Version};

/// Most codes of one series: more than that nobody scans, and a stick is quicker.
pub(crate) const MAX_CODES: usize = 64;
/// Light modules around a code, as the standard wants them.
pub(crate) const QUIET: i32 = 4;
/// Largest version that a telephone reads from a sheet of paper or a picture.
pub(crate) const PICTURE_VERSION: u8 = 20;
/// Smallest version of a series in a terminal: below it the series gets too long.
pub(crate) const LEAST_VERSION: u8 = 4;

/// What a series is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Largest version, 1 to 40.
    pub(crate) version: u8,
    /// How much of a code may be dirty and still be read.
    pub(crate) safety: QrCodeEcc,
}

impl Size {
    /// For pictures, which may be printed.
    pub(crate) const PICTURE: Self = Self { version: PICTURE_VERSION, safety: QrCodeEcc::Medium };

    /// The largest that fits a terminal with room for two lines of text; none when the terminal is too small.
    pub(crate) fn of_terminal(columns: u16, rows: u16) -> Option<Self> {
        let side = i32::from(columns).min((i32::from(rows) - 3) * 2) - 2 * QUIET;
        let version = u8::try_from((side - 17).div_euclid(4)).unwrap_or(0).min(PICTURE_VERSION);
        // A screen is clean, and a small code is read more easily than a safe one.
        (version >= LEAST_VERSION).then_some(Self { version, safety: QrCodeEcc::Low })
    }

    /// Characters that fit into one code.
    pub(crate) fn capacity(self) -> usize {
        let fits = |count: usize| self.encode_fixed(&"A".repeat(count)).is_ok();
        let (mut fitting, mut too_many) = (0, 4_297);
        while too_many - fitting > 1 {
            let middle = usize::midpoint(fitting, too_many);
            if fits(middle) { fitting = middle } else { too_many = middle }
        }
        fitting
    }

    fn encode_fixed(self, text: &str) -> Result<QrCode, DataTooLong> {
        let version = Version::new(self.version);
        let segments = [QrSegment::make_alphanumeric(text)];
        // The mask plays no part in how much fits, and choosing one is the slow part.
        QrCode::encode_segments_advanced(&segments, self.safety, version, version, Some(Mask::new(0)), false)
    }

    /// The code of one part.
    pub(crate) fn encode(self, part: &str) -> Result<QrCode, DataTooLong> {
        let segments = [QrSegment::make_alphanumeric(part)];
        QrCode::encode_segments_advanced(&segments, self.safety, Version::MIN, Version::new(self.version), None, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pixels: impl FnMut(usize, usize) -> u8, width: usize, height: usize) -> String {
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, pixels);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "exactly one code is seen");
        grids[0].decode().expect("decoded").1
    }

    fn noise(count: usize) -> Vec<u8> {
        (0..count).map(|place| (place * 7 + place / 3 * 11) as u8).collect()
    }

    #[test]
    fn capacities_are_those_of_the_standard() {
        let of = |version, safety| Size { version, safety }.capacity();
        assert_eq!(of(1, QrCodeEcc::Low), 25);
        assert_eq!(of(4, QrCodeEcc::Low), 114);
        assert_eq!(of(13, QrCodeEcc::Low), 619);
        assert_eq!(of(20, QrCodeEcc::Medium), 970);
        assert_eq!(of(40, QrCodeEcc::Low), 4_296);
    }

    #[test]
    fn a_code_fits_the_terminal_that_it_is_made_for() {
        for (columns, rows) in [(80, 24), (80, 40), (120, 50), (200, 60), (60, 80)] {
            let size = Size::of_terminal(columns, rows).expect("large enough");
            let side = i32::from(size.version) * 4 + 17 + 2 * QUIET;
            assert!(side <= i32::from(columns) && (side + 1) / 2 + 2 < i32::from(rows), "{columns} x {rows}: {side}");
        }
        assert_eq!(Size::of_terminal(30, 24), None);
        assert_eq!(Size::of_terminal(80, 10), None);
        assert_eq!(Size::of_terminal(0, 0), None);
    }

    #[test]
    fn an_independent_reader_gets_the_file_back_from_a_terminal() {
        let file = noise(700);
        for look in [Look::Colours, Look::Plain] {
            let size = Size::of_terminal(80, 40).expect("large enough");
            let parts = split(&file, size.capacity()).expect("few enough");
            let scanned: Vec<String> = parts
                .iter()
                .map(|part| {
                    let drawn = half_blocks(&size.encode(part).expect("fits"), look);
                    let (pixels, side) = pixels_of(&drawn, look);
                    let scale = 4;
                    read(|x, y| pixels[y / scale * side + x / scale], side * scale, pixels.len() / side * scale)
                })
                .collect();
            assert_eq!(join(&scanned.join("\n")).expect("joined"), file);
        }
    }

    /// What an eye sees of half blocks: one pixel per half.
    fn pixels_of(drawn: &str, look: Look) -> (Vec<u8>, usize) {
        let (dark, light) = (0_u8, 255_u8);
        let mut pixels = Vec::new();
        let mut side = 0;
        for line in drawn.lines() {
            if look == Look::Colours {
                assert!(line.starts_with("\x1b[38;5;16;48;5;231m") && line.ends_with("\x1b[0m"), "black on white");
            }
            let bare: String = line.replace("\x1b[38;5;16;48;5;231m", "").replace("\x1b[0m", "");
            side = bare.chars().count();
            for (upper, lower) in [(true, false), (false, true)] {
                pixels.extend(bare.chars().map(|block| match block {
                    '█' => dark,
                    '▀' if upper => dark,
                    '▄' if lower => dark,
                    ' ' | '▀' | '▄' => light,
                    other => panic!("{other:?}"),
                }));
            }
        }
        (pixels, side)
    }

    #[test]
    fn an_independent_reader_gets_the_file_back_from_pictures() {
        let file = noise(3_000);
        let size = Size::PICTURE;
        let parts = split(&file, size.capacity()).expect("few enough");
        assert!(parts.len() > 1, "a series is tested");
        let mut scanned = Vec::new();
        for part in &parts {
            let picture = png(&size.encode(part).expect("fits"));
            let mut reader = ::png::Decoder::new(std::io::Cursor::new(&picture)).read_info().expect("a PNG");
            let mut line = vec![0; reader.output_buffer_size().expect("size")];
            let info = reader.next_frame(&mut line).expect("pixels");
            assert_eq!((info.bit_depth, info.color_type), (::png::BitDepth::One, ::png::ColorType::Grayscale));
            let (width, bytes) = (info.width as usize, info.line_size);
            scanned.push(read(
                |x, y| if line[y * bytes + x / 8] >> (7 - x % 8) & 1 == 0 { 0 } else { 255 },
                width,
                info.height as usize,
            ));
        }
        scanned.reverse();
        assert_eq!(join(&scanned.join(" ")).expect("joined in any order"), file);
    }

    #[test]
    fn a_vector_picture_has_one_square_per_dark_module() {
        let code = Size::PICTURE.encode("LICTOR:1").expect("fits");
        let drawn = svg(&code);
        let dark = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
        let dark = dark.filter(|&(x, y)| code.get_module(x, y)).count();
        assert_eq!(drawn.matches("h1v1h-1z").count(), dark);
        assert!(drawn.starts_with("<svg ") && drawn.trim_end().ends_with("</svg>"));
    }
}
