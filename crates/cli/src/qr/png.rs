//! Codes as PNG pictures: one bit per pixel, written without compression, which such small pictures do not need.

use qrcodegen::QrCode;

use super::QUIET;

/// Pixels per module and side.
const SCALE: i32 = 8;
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Most bytes of a block that is stored as it is.
const BLOCK: usize = 65_535;

/// The code with its quiet zone as a PNG file.
pub(crate) fn png(code: &QrCode) -> Vec<u8> {
    let modules = code.size() + 2 * QUIET;
    // At most (177 + 8) * 8, so it always fits.
    let side = u32::try_from(modules * SCALE).unwrap_or_default();
    let mut pixels = Vec::new();
    for y in 0..modules {
        // A filter byte, then eight pixels per byte; a module is exactly one byte wide, light ones are set bits.
        let mut line = vec![0_u8];
        line.extend((0..modules).map(|x| if code.get_module(x - QUIET, y - QUIET) { 0x00 } else { 0xFF }));
        for _ in 0..SCALE {
            pixels.extend_from_slice(&line);
        }
    }
    let mut header = Vec::new();
    header.extend_from_slice(&side.to_be_bytes());
    header.extend_from_slice(&side.to_be_bytes());
    // One bit per pixel, shades of grey, and the only methods there are.
    header.extend_from_slice(&[1, 0, 0, 0, 0]);
    let mut file = SIGNATURE.to_vec();
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"IDAT", &stored(&pixels));
    chunk(&mut file, b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    file.extend_from_slice(&u32::try_from(content.len()).unwrap_or_default().to_be_bytes());
    let start = file.len();
    file.extend_from_slice(kind);
    file.extend_from_slice(content);
    let check = crc32(&file[start..]);
    file.extend_from_slice(&check.to_be_bytes());
}

/// A zlib stream of stored blocks.
fn stored(content: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = content.chunks(BLOCK).peekable();
    while let Some(block) = blocks.next() {
        stream.push(u8::from(blocks.peek().is_none()));
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(&(!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend_from_slice(&adler32(content).to_be_bytes());
    stream
}

fn adler32(content: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in content {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    (b << 16) | a
}

/// The checksum of PNG, bit by bit: pictures are few and small.
fn crc32(content: &[u8]) -> u32 {
    let mut check = u32::MAX;
    for byte in content {
        check ^= u32::from(*byte);
        for _ in 0..8 {
            check = if check & 1 == 1 { (check >> 1) ^ 0xEDB8_8320 } else { check >> 1 };
        }
    }
    !check
}
