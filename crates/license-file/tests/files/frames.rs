//! The frame: what it tells apart, and what it never allocates.

use lictor_license_file::FileError;
use lictor_license_file::frame::{self, FileType, Frame, SectionType};
use lictor_license_file::limits::{MAX_FILE_BYTES, MAX_ROOTS, MAX_SEGMENTS};

use crate::support::close_again;

fn sample() -> Vec<u8> {
    let sections: [(SectionType, &[u8]); 2] = [(SectionType::Root, b"one"), (SectionType::Segment, b"")];
    frame::build(FileType::Update, &sections).expect("a small file")
}

/// A file with these bytes between header and digest section.
fn with_body(body: &[u8]) -> Vec<u8> {
    let mut file = frame::build(FileType::Update, &[]).expect("a small file");
    let digest_section = file.split_off(18);
    file.extend_from_slice(body);
    file.extend_from_slice(&digest_section);
    let length = u32::try_from(file.len()).expect("below 4 GiB");
    file[14..18].copy_from_slice(&length.to_be_bytes());
    close_again(&mut file);
    file
}

fn section(kind: u16, length: u32, bytes: &[u8]) -> Vec<u8> {
    let mut section = kind.to_be_bytes().to_vec();
    section.extend_from_slice(&length.to_be_bytes());
    section.extend_from_slice(bytes);
    section
}

#[test]
fn a_file_reads_back() {
    let file = sample();
    let parsed = Frame::parse(&file).expect("a good file");
    assert_eq!(parsed.file_type, FileType::Update);
    assert_eq!(parsed.sections, [(SectionType::Root, &b"one"[..]), (SectionType::Segment, b"")]);
    assert!(parsed.only(SectionType::Root).is_ok());
    assert!(parsed.only(SectionType::Envelope).is_err());
}

#[test]
fn text_mode_damage_and_foreign_files_are_told_apart() {
    let file = sample();
    let unix: Vec<u8> = file.iter().copied().filter(|byte| *byte != b'\r').collect();
    let seven_bit: Vec<u8> = file.iter().map(|byte| byte & 0x7F).collect();
    assert!(matches!(Frame::parse(&unix), Err(FileError::Damaged(_))));
    assert!(matches!(Frame::parse(&seven_bit), Err(FileError::Damaged(_))));
    for other in [&b"PK\x03\x04 some archive"[..], b"\x89PNG\r\n\x1a\n", b"hello", b""] {
        assert_eq!(Frame::parse(other), Err(FileError::NotAFile));
    }
}

#[test]
fn unknown_sections_are_refused_only_when_critical() {
    let known = section(0x8002, 3, b"one");
    let ignored = with_body(&[section(0x0123, 2, b"xx"), known.clone()].concat());
    assert_eq!(Frame::parse(&ignored).expect("a good file").sections, [(SectionType::Root, &b"one"[..])]);
    let critical = with_body(&[section(0x8123, 2, b"xx"), known].concat());
    assert_eq!(Frame::parse(&critical), Err(FileError::UnknownCritical("section 291".to_owned())));
    let unmarked = with_body(&section(0x0002, 3, b"one"));
    assert!(matches!(Frame::parse(&unmarked), Err(FileError::Damaged(_))), "a known section cannot be made optional");
}

#[test]
fn newer_formats_flags_and_types_ask_for_an_upgrade() {
    for (place, value) in [(9, 2), (8, 1), (13, 1), (12, 200)] {
        let mut file = sample();
        file[place] = value;
        close_again(&mut file);
        let refusal = Frame::parse(&file).expect_err("something new");
        assert_eq!(refusal.code().name(), "file_too_new", "byte {place}: {refusal}");
    }
    let mut minor = sample();
    minor[11] = 9;
    close_again(&mut minor);
    assert_eq!(Frame::parse(&minor).map(|frame| frame.minor), Ok(9));
}

#[test]
fn lengths_that_lie_are_refused_before_any_memory_is_taken() {
    for claimed in [u32::MAX, u32::MAX - 1, 1 << 31] {
        let mut file = sample();
        file[14..18].copy_from_slice(&claimed.to_be_bytes());
        close_again(&mut file);
        assert!(matches!(Frame::parse(&file), Err(FileError::TooLarge { .. })));
        let body = with_body(&section(0x8002, claimed, b"one"));
        assert!(matches!(Frame::parse(&body), Err(FileError::Damaged(_))));
        let ignored = with_body(&section(0x0123, claimed, b"one"));
        assert!(matches!(Frame::parse(&ignored), Err(FileError::Damaged(_))));
    }
    for claimed in 0..56_u32 {
        let mut file = sample();
        file[14..18].copy_from_slice(&claimed.to_be_bytes());
        assert!(matches!(Frame::parse(&file), Err(FileError::Damaged(_))));
    }
    let mut large = vec![0; MAX_FILE_BYTES + 1];
    large[..8].copy_from_slice(&frame::MAGIC);
    assert!(matches!(Frame::parse(&large), Err(FileError::TooLarge { .. })));
    let largest = vec![0; MAX_FILE_BYTES - 18 - 6 - 6 - 32];
    let file = frame::build(FileType::Update, &[(SectionType::Segment, &largest)]).expect("exactly the limit");
    assert_eq!(file.len(), MAX_FILE_BYTES);
    assert!(Frame::parse(&file).is_ok());
    let over = vec![0; largest.len() + 1];
    assert!(frame::build(FileType::Update, &[(SectionType::Segment, &over)]).is_err());
}

#[test]
fn counts_of_sections_are_limited() {
    let empty = section(0x8003, 0, b"");
    for (count, accepted) in [(MAX_SEGMENTS, true), (MAX_SEGMENTS + 1, false), (MAX_SEGMENTS * 10, false)] {
        let file = with_body(&empty.repeat(count));
        let allowed = Frame::parse(&file)
            .and_then(|frame| frame.allow(&[(SectionType::Segment, MAX_SEGMENTS), (SectionType::Root, MAX_ROOTS)]));
        assert_eq!(allowed.is_ok(), accepted, "{count} segments");
    }
    // As many as fit into the largest file, of a kind that would be ignored.
    let million = with_body(&section(0x0001 + 0x100, 0, b"").repeat(690_000));
    assert!(matches!(Frame::parse(&million), Err(FileError::TooLarge { .. })));
}

#[test]
fn a_digest_section_is_the_end_and_only_there() {
    let inner = section(0xFFFF, 32, &[0; 32]);
    assert!(matches!(Frame::parse(&with_body(&inner)), Err(FileError::Damaged(_))), "two of them");
    let mut short = sample();
    let place = short.len() - 33;
    short[place] = 31;
    close_again(&mut short);
    assert!(matches!(Frame::parse(&short), Err(FileError::Damaged(_))), "another length");
}

#[test]
fn sections_that_do_not_belong_there_are_refused() {
    let sections: [(SectionType, &[u8]); 1] = [(SectionType::Context, b"")];
    let file = frame::build(FileType::Update, &sections).expect("a small file");
    assert!(lictor_license_file::update::UpdateFile::read(&file).is_err());
}
