//! The texts inside a series of codes: numbered, each with its own checksum, joined in any order.
//!
//! `LICTOR:1:FILE:N:OF:DATA:CHECK` with FILE the first 8 hex digits of the file's SHA-256, N from 1 to OF, DATA in base 32,
//! and CHECK the CRC-32C of everything before it. Capital letters, digits and colons are all in the compact alphabet of QR
//! codes.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{MAX_CODES, base32};
use crate::args::hex;

const MARK: &str = "LICTOR:1:";
/// Everything of a part but its data: the mark, 8 + 2 + 2 digits, three colons between, one before the check, 8 digits.
const OVERHEAD: usize = MARK.len() + 8 + 1 + 2 + 1 + 2 + 1 + 1 + 8;

/// Cuts a file into texts of at most `capacity` characters; none when that would be more than [`MAX_CODES`].
pub(crate) fn split(file: &[u8], capacity: usize) -> Option<Vec<String>> {
    let most = base32::decoded_len(capacity.saturating_sub(OVERHEAD));
    if most == 0 {
        return None;
    }
    let count = file.len().div_ceil(most).max(1);
    if count > MAX_CODES {
        return None;
    }
    // All of about one size, rather than full ones and a rest.
    let each = file.len().div_ceil(count).max(1);
    let id = id_of(file);
    let chunks: Vec<&[u8]> = if file.is_empty() { vec![&[]] } else { file.chunks(each).collect() };
    let count = chunks.len();
    let part = |(place, chunk): (usize, &&[u8])| {
        let text = format!("{MARK}{id}:{}:{count}:{}", place + 1, base32::encode(chunk));
        let check = check_of(&text);
        format!("{text}:{check}")
    };
    Some(chunks.iter().enumerate().map(part).collect())
}

fn id_of(file: &[u8]) -> String {
    hex(&Sha256::digest(file)[..4]).to_uppercase()
}

fn check_of(text: &str) -> String {
    format!("{:08X}", crc32c::crc32c(text.as_bytes()))
}

/// Why scanned texts give no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JoinError {
    /// Nothing in the text is a part of a series.
    NoParts,
    /// Parts of several files; for each how many of how many are there.
    SeveralFiles(Vec<(String, usize, usize)>),
    /// These numbers of so many are missing. Damaged ones count as missing.
    Missing { missing: Vec<usize>, of: usize, damaged: usize },
    /// All parts are there, and yet they do not give the file that they name.
    WrongSum,
}

struct Part {
    id: String,
    number: usize,
    of: usize,
    data: Vec<u8>,
}

/// Joins the texts of scanned codes, separated by white space, in any order; the same one twice is fine.
pub(crate) fn join(scanned: &str) -> Result<Vec<u8>, JoinError> {
    let mut files: BTreeMap<(String, usize), BTreeMap<usize, Vec<u8>>> = BTreeMap::new();
    let mut damaged = 0;
    let words = scanned.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '\u{feff}'));
    for word in words.filter(|word| word.get(..MARK.len()).is_some_and(|start| start.eq_ignore_ascii_case(MARK))) {
        match read(word) {
            Some(part) => {
                files.entry((part.id, part.of)).or_default().insert(part.number, part.data);
            }
            None => damaged += 1,
        }
    }
    if files.len() > 1 {
        let count = |((id, of), parts): (&(String, usize), &BTreeMap<usize, Vec<u8>>)| (id.clone(), parts.len(), *of);
        return Err(JoinError::SeveralFiles(files.iter().map(count).collect()));
    }
    let Some(((id, of), parts)) = files.pop_first() else {
        return Err(JoinError::NoParts);
    };
    let missing: Vec<usize> = (1..=of).filter(|number| !parts.contains_key(number)).collect();
    if !missing.is_empty() {
        return Err(JoinError::Missing { missing, of, damaged });
    }
    let file: Vec<u8> = parts.into_values().flatten().collect();
    if id_of(&file) == id { Ok(file) } else { Err(JoinError::WrongSum) }
}

fn read(word: &str) -> Option<Part> {
    let upper = word.to_ascii_uppercase();
    let (text, check) = upper.rsplit_once(':')?;
    if check_of(text) != check {
        return None;
    }
    let fields: Vec<&str> = text[MARK.len()..].split(':').collect();
    let [id, number, of, data] = fields[..] else { return None };
    let (number, of) = (number.parse().ok()?, of.parse().ok()?);
    if number == 0 || number > of || of > MAX_CODES || id.len() != 8 {
        return None;
    }
    Some(Part { id: id.to_owned(), number, of, data: base32::decode(data)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file() -> Vec<u8> {
        (0..500_u32).map(|place| (place * 31 % 251) as u8).collect()
    }

    #[test]
    fn parts_join_in_any_order_with_duplicates_and_in_any_case() {
        let mut parts = split(&file(), 154).expect("few enough");
        assert!(parts.len() >= 6, "{}", parts.len());
        assert!(parts.iter().all(|part| part.len() <= 154));
        parts.reverse();
        parts.push(parts[2].to_lowercase());
        assert_eq!(join(&format!("scanned:\r\n{}\nend", parts.join("\r\n"))), Ok(file()));
    }

    #[test]
    fn missing_parts_are_named() {
        let mut parts = split(&file(), 154).expect("few enough");
        let of = parts.len();
        parts.remove(4);
        parts.remove(1);
        assert_eq!(join(&parts.join("\n")), Err(JoinError::Missing { missing: vec![2, 5], of, damaged: 0 }));
    }

    #[test]
    fn a_damaged_part_counts_as_missing_unless_it_was_scanned_well_too() {
        let parts = split(&file(), 154).expect("few enough");
        let broken = parts[0].replacen("LICTOR:1:", "LICTOR:1:9", 1);
        let rest = parts[1..].join("\n");
        let told = join(&format!("{broken}\n{rest}"));
        assert_eq!(told, Err(JoinError::Missing { missing: vec![1], of: parts.len(), damaged: 1 }));
        assert_eq!(join(&format!("{broken}\n{}\n{rest}", parts[0])), Ok(file()));
    }

    #[test]
    fn parts_of_two_files_are_not_mixed() {
        let one = split(&file(), 154).expect("few enough");
        let two = split(b"another file", 154).expect("few enough");
        let told = join(&format!("{}\n{}", one[0], two[0]));
        assert!(matches!(told, Err(JoinError::SeveralFiles(files)) if files.len() == 2));
        assert_eq!(join("nothing of ours"), Err(JoinError::NoParts));
    }

    #[test]
    fn a_series_never_gets_too_long() {
        assert_eq!(split(&vec![0; 10_000], 154), None);
        assert_eq!(split(b"abc", OVERHEAD), None, "no room for data");
        let largest = split(&vec![7; 9_000], 300).expect("few enough");
        assert!(largest.len() <= MAX_CODES);
        assert_eq!(split(b"", 154).expect("one").len(), 1);
    }

    proptest! {
        #[test]
        fn whatever_is_split_joins_again(file in proptest::collection::vec(any::<u8>(), 0..2_000), capacity in 90_usize..600) {
            if let Some(parts) = split(&file, capacity) {
                prop_assert!(parts.iter().all(|part| part.len() <= capacity));
                prop_assert_eq!(join(&parts.join("\n")), Ok(file));
            }
        }

        #[test]
        fn no_scanned_text_breaks_the_reader(text in "(LICTOR:1:[0-9A-F:]{0,60}[\\s]?){0,4}\\PC{0,80}") {
            let _ = join(&text);
        }
    }
}
