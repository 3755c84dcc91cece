//! Base 32 of RFC 4648 without padding: its letters are all in the compact alphabet of QR codes, and none of them is lost
//! when text is trimmed, wrapped or changed in case.

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Characters that `bytes` bytes become.
pub(super) const fn encoded_len(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

/// Most bytes that fit into `characters`.
pub(super) const fn decoded_len(characters: usize) -> usize {
    characters * 5 / 8
}

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(encoded_len(bytes.len()));
    let (mut held, mut count) = (0_u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(char::from(ALPHABET[(held >> count) as usize & 31]));
        }
    }
    if count > 0 {
        text.push(char::from(ALPHABET[(held << (5 - count)) as usize & 31]));
    }
    text
}

/// None when a character is none of the alphabet, or the end is not what [`encode`] writes.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(decoded_len(text.len()));
    let (mut held, mut count) = (0_u32, 0);
    for character in text.bytes() {
        let upper = character.to_ascii_uppercase();
        let value = ALPHABET.iter().position(|letter| *letter == upper)?;
        held = (held << 5) | u32::try_from(value).ok()?;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((held >> count) as u8);
        }
    }
    let rest = held & ((1 << count) - 1);
    (rest == 0 && encoded_len(bytes.len()) == text.len()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_standard_hold() {
        for (plain, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text).expect("decoded"), plain.as_bytes());
            assert_eq!(decode(&text.to_lowercase()).expect("decoded"), plain.as_bytes());
        }
    }

    #[test]
    fn what_nobody_writes_is_refused() {
        for bad in ["M", "MZ1", "MZ=", "MZ", "M Y", "MÄ"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
