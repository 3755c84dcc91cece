//! Every truncation and every flipped bit of every golden file, first as they are, then behind a matching digest.

use lictor_license_file::context;
use lictor_license_file::frame::{FileType, Frame};
use lictor_license_file::lif;
use lictor_license_file::modified_context::ModifiedContext;
use lictor_license_file::{FileError, armor, update};
use lictor_signing::cbor;

use crate::golden::{self, Parts};
use crate::support::{close_again, scale};

/// What a file does when it is taken: a text that is equal for equal effects.
fn effect(name: &str, file: &[u8], parts: &Parts) -> Result<String, FileError> {
    let Parts { vendor, container, chain, .. } = parts;
    match Frame::parse(file)?.file_type {
        FileType::LicenseInformation => lif::read(file).map(|opened| format!("{opened:?}")),
        FileType::Context => context::read(file).map(|verified| format!("{verified:?}")),
        FileType::Receipt => context::read_receipt(file).map(|verified| format!("{verified:?}")),
        FileType::ModifiedContext => ModifiedContext::read(file, &vendor.root).map(|modified| format!("{modified:?}")),
        FileType::Update => {
            let position = if name.contains("rotation") || name.contains("checkpoint") { 5 } else { 0 };
            let state = container.import(file, &vendor.root, &chain.states[position])?;
            Ok(format!("{state:?}"))
        }
    }
}

#[test]
fn every_truncation_is_told_as_such() {
    let parts = golden::parts();
    for (name, whole) in golden::framed() {
        assert!(effect(name, &whole, &parts).is_ok(), "{name}");
        for length in 0..whole.len() {
            let expected = if length == 0 { FileError::NotAFile } else { FileError::Truncated };
            assert_eq!(effect(name, &whole[..length], &parts), Err(expected), "{name} cut to {length}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(matches!(effect(name, &longer, &parts), Err(FileError::Damaged(_))), "{name} with one byte more");
    }
}

#[test]
fn every_flipped_bit_is_damage_and_never_an_effect() {
    let parts = golden::parts();
    for (name, whole) in golden::framed() {
        let mut file = whole.clone();
        for bit in 0..whole.len() * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            let refusal = effect(name, &file, &parts).expect_err("a flipped bit");
            let told = matches!(
                refusal,
                FileError::Damaged(_) | FileError::Truncated | FileError::NotAFile | FileError::TooLarge { .. }
            );
            assert!(told, "{name} bit {bit}: {refusal:?}");
            file[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_flipped_bit_behind_a_matching_digest_is_refused_or_means_the_same() {
    let parts = golden::parts();
    let step = if scale() >= 10 { 1 } else { 7 };
    for (name, whole) in golden::framed() {
        let truth = effect(name, &whole, &parts).expect("a golden file");
        let mut same = 0;
        for bit in (0..(whole.len() - 32) * 8).step_by(step) {
            let mut file = whole.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            close_again(&mut file);
            match effect(name, &file, &parts) {
                Ok(found) => {
                    assert_eq!(found, truth, "{name} bit {bit}");
                    same += 1;
                }
                Err(FileError::Fork { .. }) => panic!("{name} bit {bit}: a forgery was taken for a signed segment"),
                Err(_) => {}
            }
        }
        // The minor version of the frame is the only thing that readers ignore.
        assert!(same <= 16, "{name}: {same} flips without effect");
    }
}

#[test]
fn every_flipped_bit_of_an_envelope_is_refused() {
    // The same through the segment alone, where every byte is signed, names its key, or is the signature.
    let parts = golden::parts();
    let bytes = &parts.chain.segments[0];
    for bit in 0..bytes.len() * 8 {
        let mut segment = bytes.clone();
        segment[bit / 8] ^= 1 << (bit % 8);
        let file = update::build(&[], &[segment]).expect("a small file");
        let result = parts.container.import(&file, &parts.vendor.root, &parts.chain.states[0]);
        assert!(result.is_err(), "bit {bit}");
        assert!(!matches!(result, Err(FileError::Fork { .. } | FileError::Gap { .. })), "bit {bit} was believed");
    }
}

#[test]
fn armor_survives_mail_and_nothing_else() {
    let file = golden::read("v1-one.rau");
    let text = armor::wrap(&file);
    let unwrapped = |text: &str| armor::unwrap(text.as_bytes()).map(std::borrow::Cow::into_owned);
    assert_eq!(unwrapped(&text).as_ref(), Ok(&file));
    let mailed = format!("Dear customer,\r\n\r\n> {}\r\nregards", text.trim_end().replace('\n', "\r\n> "));
    assert_eq!(unwrapped(&mailed).as_ref(), Ok(&file), "quoted with other line ends");
    let parts = golden::parts();
    for length in 0..text.len() - 1 {
        let cut = &text[..length];
        let refused = armor::unwrap(cut.as_bytes()).and_then(|file| effect("v1-one.rau", &file, &parts));
        assert!(refused.is_err(), "{length} bytes");
    }
    let mut bytes = text.clone().into_bytes();
    for bit in (0..bytes.len() * 8).step_by(if scale() >= 10 { 1 } else { 3 }) {
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(found) = armor::unwrap(&bytes) {
            let harmless = found.as_ref() == file.as_slice();
            assert!(harmless || effect("v1-one.rau", &found, &parts).is_err(), "bit {bit}");
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn decoding_and_encoding_a_context_is_the_identity() {
    for name in ["v1-new.rac", "v1-evidence.rac", "v1-receipt.rac"] {
        let verified = context::read_any(&golden::read(name)).expect("a golden file");
        let bytes = cbor::encode(&verified.context);
        assert_eq!(lictor_license_file::Digest::of(&bytes), verified.hash, "{name}");
    }
}
