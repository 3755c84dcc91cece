//! The corpora of the fuzz targets, and random changes of them, through the same functions.

use std::fs;
use std::path::PathBuf;

use lictor_signing::cbor;

use crate::golden::{self, Parts};
use crate::hostile::rand_like::Numbers;
use crate::support::scale;
use crate::targets::TARGETS;

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

/// What each corpus starts from.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let Parts { vendor, rotation, container, chain, .. } = golden::parts();
    let files = |ending: &str| -> Vec<(String, Vec<u8>)> {
        golden::NAMES
            .iter()
            .filter(|name| name.ends_with(ending))
            .map(|name| ((*name).to_owned(), golden::read(name)))
            .collect()
    };
    match target {
        "frame" => {
            ["v1-first.lif", "v1-new.rac", "v1-one.rau"].map(|name| (name.to_owned(), golden::read(name))).to_vec()
        }
        "armor" => files(".txt"),
        "root_document" => {
            let document = cbor::encode(vendor.root.document());
            vec![
                ("first".to_owned(), vendor.root.envelope_bytes().to_vec()),
                ("rotation".to_owned(), rotation),
                ("document".to_owned(), document),
            ]
        }
        "segment" => {
            let mut folded = chain.clone();
            folded.checkpoint(&[0, 2]);
            vec![
                ("ordinary".to_owned(), chain.segments[2].clone()),
                ("checkpoint".to_owned(), folded.segments[5].clone()),
                ("rebase".to_owned(), crate::support::rebased(&chain).segments[0].clone()),
            ]
        }
        "segment_body" => {
            let mut folded = chain.clone();
            folded.checkpoint(&[0, 2]);
            folded.segments.push(crate::support::rebased(&chain).segments[0].clone());
            [0, 2, 4, 5, 6]
                .map(|place| {
                    let segment = lictor_license_file::segment::Segment::read(&folded.segments[place]);
                    let body = segment.and_then(|segment| segment.open(&container.sealing));
                    (format!("body-{place}"), cbor::encode(&body.expect("an issued segment")))
                })
                .to_vec()
        }
        "product_item" => vec![("v1-all-options.cbor".to_owned(), golden::read("v1-all-options.cbor"))],
        "time_statement" => {
            let envelope = golden::read("v1-time-statement.cbor");
            let statement = lictor_signing::Envelope::from_bytes(&envelope).expect("an envelope");
            vec![("statement".to_owned(), statement.unverified_payload().to_vec()), ("signed".to_owned(), envelope)]
        }
        "state" => {
            let state = |place: usize| chain.states[place].encode().expect("a small state");
            vec![("new".to_owned(), state(0)), ("latest".to_owned(), state(5))]
        }
        "import" => files(".rau"),
        "context" => files(".rac"),
        "license_information" => files(".lif"),
        "modified_context" => files(".ram"),
        other => panic!("no seeds for {other}"),
    }
}

#[test]
fn every_target_has_a_corpus() {
    for (target, _) in TARGETS {
        let folder = corpus(target);
        if std::env::var_os("LICTOR_WRITE_GOLDEN").is_some() {
            fs::create_dir_all(&folder).expect("a writable source tree");
            for (name, bytes) in seeds(target) {
                let path = folder.join(name);
                if !path.exists() {
                    fs::write(path, bytes).expect("a writable source tree");
                }
            }
        }
        let entries = fs::read_dir(&folder).map(Iterator::count).unwrap_or_default();
        assert!(entries > 0, "{target} has no corpus");
        let program = corpus("").join(format!("../fuzz_targets/{target}.rs"));
        assert!(program.exists(), "{target} has no program under fuzz/");
    }
}

#[test]
fn corpora_and_random_changes_of_them_break_nothing() {
    for (target, run) in TARGETS {
        let mut files: Vec<_> =
            fs::read_dir(corpus(target)).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        let inputs: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).expect("a file")).collect();
        let mut numbers = Numbers(0xD1B5_4A32_D192_ED03);
        for input in &inputs {
            run(input);
        }
        for _ in 0..300 * scale() {
            let mut bytes = inputs[numbers.below(inputs.len())].clone();
            for _ in 0..=numbers.below(4) {
                change(&mut bytes, &inputs, &mut numbers);
            }
            run(&bytes);
        }
    }
}

/// One of the usual changes: flip, set, cut out, repeat, splice, cut off, a boundary value.
fn change(bytes: &mut Vec<u8>, inputs: &[Vec<u8>], numbers: &mut Numbers) {
    if bytes.is_empty() {
        bytes.push(0);
    }
    let place = numbers.below(bytes.len());
    let length = numbers.below(bytes.len() - place + 1).min(64);
    match numbers.below(7) {
        0 => bytes[place] ^= 1 << numbers.below(8),
        1 => bytes[place] = numbers.next().to_le_bytes()[0],
        2 => drop(bytes.drain(place..place + length)),
        3 => {
            let piece = bytes[place..place + length].to_vec();
            bytes.splice(place..place, piece);
        }
        4 => {
            let other = &inputs[numbers.below(inputs.len())];
            let from = numbers.below(other.len().max(1)).min(other.len());
            bytes.truncate(place);
            bytes.extend_from_slice(&other[from..]);
        }
        5 => bytes.truncate(place),
        _ => {
            let values: [&[u8]; 6] =
                [&[0xFF; 4], &[0x00; 4], &[0x7F, 0xFF, 0xFF, 0xFF], &[0x9B], &[0x5B, 0xFF], &[0xBF]];
            let value = values[numbers.below(values.len())];
            bytes.splice(place..place, value.iter().copied());
        }
    }
}
