//! The one thing that is needed of tar archives: the content of the first file.

const BLOCK: usize = 512;

/// The content of the first ordinary file of an archive; none when there is none, or the archive is cut off.
pub(super) fn first_file(archive: &[u8]) -> Option<&[u8]> {
    let mut rest = archive;
    loop {
        let (header, after) = rest.split_at_checked(BLOCK)?;
        let length = usize::try_from(octal(&header[124..136])?).ok()?;
        match header[156] {
            b'0' | 0 if header[0] != 0 => return after.get(..length),
            // Records that describe what comes next.
            b'x' | b'g' | b'L' | b'K' => rest = after.get(length.checked_next_multiple_of(BLOCK)?..)?,
            _ => return None,
        }
    }
}

/// A number as tar writes it: octal digits, filled up with blanks and zeros.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..4].copy_from_slice(b"name");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[156] = kind;
        let mut bytes = [header, content.to_vec()].concat();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    #[test]
    fn the_first_file_is_found_behind_its_extended_header() {
        let archive =
            [entry(b'x', b"30 mtime=1350244992.023960108\n"), entry(b'0', b"content"), vec![0; 1024]].concat();
        assert_eq!(first_file(&archive), Some(&b"content"[..]));
    }

    #[test]
    fn folders_links_and_empty_archives_hold_no_file() {
        for archive in [entry(b'5', b""), entry(b'2', b""), vec![0; 1024], Vec::new()] {
            assert_eq!(first_file(&archive), None);
        }
    }

    #[test]
    fn archives_that_are_cut_off_or_lie_about_lengths_are_refused() {
        let archive = [entry(b'x', b"x"), entry(b'0', &[7; 600])].concat();
        // All but the padding of the last block is needed.
        let needed = archive.len() - (1024 - 600);
        for length in 0..needed {
            assert_eq!(first_file(&archive[..length]), None, "{length} bytes");
        }
        assert!(first_file(&archive[..needed]).is_some());
        let mut lying = entry(b'0', b"content");
        lying[124..136].copy_from_slice(b"777777777777");
        assert_eq!(first_file(&lying), None);
        lying[124..136].copy_from_slice(b"not octal...");
        assert_eq!(first_file(&lying), None);
    }
}
