//! Crockford's base32: digits that people cannot confuse.

const DIGITS: [u8; 32] = *b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The digit of a value; only the lowest five bits count.
pub(crate) fn digit(value: u8) -> char {
    char::from(DIGITS[usize::from(value & 31)])
}

/// The value of a digit in its one canonical spelling.
pub(crate) fn strict_value(byte: u8) -> Option<u8> {
    let value = match byte {
        b'0'..=b'9' => byte - b'0',
        b'A'..=b'H' => byte - b'A' + 10,
        b'J' | b'K' => byte - b'J' + 18,
        b'M' | b'N' => byte - b'M' + 20,
        b'P'..=b'T' => byte - b'P' + 22,
        b'V'..=b'Z' => byte - b'V' + 27,
        _ => return None,
    };
    Some(value)
}

/// The value of a digit as somebody may have typed it: any case, O for zero, I and L for one.
pub(crate) fn lenient_value(symbol: char) -> Option<u8> {
    match symbol.to_ascii_uppercase() {
        'O' => Some(0),
        'I' | 'L' => Some(1),
        upper => strict_value(u8::try_from(upper).ok()?),
    }
}
