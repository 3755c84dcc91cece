//! Golden files: written once, read for ever by every later version.
//!
//! `LICTOR_WRITE_GOLDEN=1 cargo test` writes those that are missing and never replaces one.

use std::fs;
use std::path::PathBuf;

use lictor_license_file::context::{self, Reason};
use lictor_license_file::evidence::Evidence;
use lictor_license_file::frame::{FileType, Frame};
use lictor_license_file::lif::{self, LicenseInformation};
use lictor_license_file::modified_context::ModifiedContext;
use lictor_license_file::verdict::{SegmentResult, VerdictCode};
use lictor_license_file::{Digest, armor, product_item, update};
use lictor_licensing::binding::{Binding, Bindings};
use lictor_licensing::item::Part;
use lictor_signing::{Envelope, TimeStatement};

use crate::product_items::with_every_option;
use crate::support::{Chain, Container, FIRM, Vendor, add, at, firm, license, rebased, story, time_statement};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A golden file by its name.
pub(crate) fn read(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).expect("a golden file that is part of the source")
}

/// All golden files inside a frame.
pub(crate) fn framed() -> Vec<(&'static str, Vec<u8>)> {
    NAMES
        .iter()
        .filter(|name| !name.ends_with(".txt") && !name.ends_with(".cbor"))
        .map(|name| (*name, read(name)))
        .collect()
}

pub(crate) const NAMES: &[&str] = &[
    "v1-first.lif",
    "v1-rotated.lif",
    "v1-new.rac",
    "v1-evidence.rac",
    "v1-receipt.rac",
    "v1-one.rau",
    "v1-five.rau",
    "v1-checkpoint.rau",
    "v1-rotation.rau",
    "v1-rebase.rau",
    "v1-pending.ram",
    "v1-rebased.ram",
    "v1-armored.txt",
    "v1-all-options.cbor",
    "v1-time-statement.cbor",
];

/// What the golden files are made of. Their makers may change with later versions; the files do not.
pub(crate) struct Parts {
    pub(crate) vendor: Vendor,
    pub(crate) rotation: Vec<u8>,
    pub(crate) rotated: Vendor,
    pub(crate) container: Container,
    pub(crate) chain: Chain,
}

pub(crate) fn parts() -> Parts {
    let vendor = Vendor::new(FIRM);
    let (rotation, rotated) = vendor.rotated();
    let container = Container::new(1);
    let chain = story(&vendor, &container);
    Parts { vendor, rotation, rotated, container, chain }
}

fn make(name: &str) -> Vec<u8> {
    let Parts { vendor, rotation, rotated, container, mut chain } = parts();
    let information = LicenseInformation {
        firm_code: firm(FIRM),
        bindings: Bindings::DEFAULT.with(Binding::Folder),
        activation_address: "https://activation.example.com".to_owned(),
        issued_at: at(5),
    };
    let first_root = vendor.root.envelope_bytes().to_vec();
    let receipt = Reason::Receipt(vec![
        SegmentResult { from: 0, to: 1, verdict: VerdictCode::AlreadyApplied },
        SegmentResult { from: 1, to: 2, verdict: VerdictCode::Applied },
    ]);
    match name {
        "v1-first.lif" => lif::build(&information, &[first_root], &[&vendor.issue]).expect("a small file"),
        "v1-rotated.lif" => {
            let silent = LicenseInformation { activation_address: String::new(), ..information };
            lif::build(&silent, &[first_root, rotation], &[&rotated.issue]).expect("a small file")
        }
        "v1-new.rac" => signed(&container, container.context(&chain.states[0], 1, Reason::Request)),
        "v1-evidence.rac" => {
            let mut context = container.context(&chain.states[3], 7, Reason::Request);
            context.vendor_nonce = Some([0xEE; 32]);
            let counters = context.counters.0.entry(license(2)).or_default();
            counters.entry(Part::Parent).or_default().units_used = 12;
            counters.entry(Part::Module(0)).or_default().usage_start = Some(at(3));
            context.evidence = vec![
                Evidence::Fork { at: 3, known: Some(Digest([1; 32])), other_hash: Digest([2; 32]), other: vec![3; 40] },
                Evidence::Rollback { local: 5, witness: 9, at: at(6) },
                Evidence::Clock { floor: at(100), clock: at(-100) },
            ];
            signed(&container, context)
        }
        "v1-receipt.rac" => signed(&container, container.context(&chain.states[2], 8, receipt)),
        "v1-one.rau" => update::build(&[], &chain.segments[..1]).expect("a small file"),
        "v1-five.rau" => update::build(&[], &chain.segments).expect("a small file"),
        "v1-checkpoint.rau" => {
            chain.checkpoint(&[0, 2, 5]);
            update::build(&[], &chain.segments[5..]).expect("a small file")
        }
        "v1-rotation.rau" => {
            chain.vendor = rotated;
            chain.issue(vec![add(9, 2)]);
            update::build(&[rotation], &chain.segments[5..]).expect("a small file")
        }
        "v1-rebase.rau" => update::build(&[], &rebased(&chain).segments).expect("a small file"),
        "v1-rebased.ram" => {
            modified_rebased(&container, &chain).to_file(at(9), &[&vendor.issue]).expect("a small file")
        }
        "v1-time-statement.cbor" => time_statement(&vendor, at(50)).to_bytes(),
        "v1-pending.ram" => modified(&container, &chain).to_file(at(9), &[&vendor.issue]).expect("a small file"),
        "v1-armored.txt" => armor::wrap(&make("v1-one.rau")).into_bytes(),
        "v1-all-options.cbor" => product_item::encode(&with_every_option()).expect("a small item"),
        other => panic!("no maker for {other}"),
    }
}

fn signed(container: &Container, context: context::Context) -> Vec<u8> {
    context.to_file(&container.signer).expect("a small file")
}

fn modified(container: &Container, chain: &Chain) -> ModifiedContext {
    let confirmed = signed(container, container.context(&chain.states[2], 3, Reason::Request));
    ModifiedContext {
        confirmed: Some(confirmed),
        pending: chain.segments[2..].to_vec(),
        predicted: chain.latest().clone(),
    }
}

fn modified_rebased(container: &Container, chain: &Chain) -> ModifiedContext {
    let confirmed = signed(container, container.context(&chain.states[2], 3, Reason::Request));
    let next = rebased(chain);
    ModifiedContext { confirmed: Some(confirmed), pending: next.segments.clone(), predicted: next.latest().clone() }
}

#[test]
fn golden_files_exist() {
    for name in NAMES {
        let path = folder().join(name);
        if !path.exists() && std::env::var_os("LICTOR_WRITE_GOLDEN").is_some() {
            fs::write(&path, make(name)).expect("a writable source tree");
        }
        assert!(path.exists(), "{name} is missing");
    }
    let known = fs::read_dir(folder()).expect("the folder of golden files").count();
    assert_eq!(known, NAMES.len(), "every golden file is named, and none was dropped");
}

#[test]
fn this_version_still_writes_the_same_bytes() {
    // When the format gets a new version on purpose, this test follows it and the files of version 1 stay.
    for name in NAMES {
        assert_eq!(make(name), read(name), "{name}");
    }
}

#[test]
fn license_information_reads_back() {
    let Parts { vendor, rotated, .. } = parts();
    let first = lif::read(&read("v1-first.lif")).expect("a good file");
    assert_eq!(first.root, vendor.root);
    assert_eq!(first.information.firm_code, firm(FIRM));
    assert_eq!(first.information.activation_address, "https://activation.example.com");
    assert!(first.information.bindings.contains(Binding::Folder));
    assert!(!first.information.bindings.contains(Binding::Volume));
    let second = lif::read(&read("v1-rotated.lif")).expect("a good file");
    assert_eq!(second.root, rotated.root);
    assert_eq!(lif::read_known(&read("v1-rotated.lif"), &vendor.root).expect("a good file"), second);
    assert_eq!(lif::read_known(&read("v1-rotated.lif"), &rotated.root).expect("a good file"), second);
    assert!(lif::read_known(&read("v1-first.lif"), &rotated.root).is_err(), "signed with a retired key");
}

#[test]
fn contexts_and_receipts_read_back() {
    let Parts { container, chain, .. } = parts();
    let new = context::read(&read("v1-new.rac")).expect("a good file").context;
    assert_eq!((new.counter, new.head, new.sequence), (0, chain.states[0].head, 1));
    assert_eq!(new.container_id(), chain.states[0].container_id);
    assert_eq!(new.profile(), container.profile);
    let evidence = context::read_any(&read("v1-evidence.rac")).expect("a good file").context;
    assert_eq!((evidence.evidence.len(), evidence.vendor_nonce), (3, Some([0xEE; 32])));
    assert_eq!(evidence.counters.part(license(2), Part::Parent).units_used, 12);
    assert_eq!(evidence.counters.part(license(2), Part::Module(0)).usage_start, Some(at(3)));
    assert_eq!(evidence.state_digest, chain.states[3].digest());
    let receipt = context::read_receipt(&read("v1-receipt.rac")).expect("a good file").context;
    assert!(matches!(&receipt.reason, Reason::Receipt(results) if results.len() == 2));
}

#[test]
fn updates_apply_from_golden_bytes() {
    let Parts { vendor, rotated, container, chain, .. } = parts();
    let import = |name: &str, root, state| container.import(&read(name), root, state);
    assert_eq!(import("v1-one.rau", &vendor.root, &chain.states[0]).as_ref(), Ok(&chain.states[1]));
    assert_eq!(import("v1-five.rau", &vendor.root, &chain.states[3]).as_ref(), Ok(&chain.states[5]));
    let armored = armor::unwrap(&read("v1-armored.txt")).map(std::borrow::Cow::into_owned);
    assert_eq!(armored.as_ref(), Ok(&read("v1-one.rau")));
    let mut folded = chain.clone();
    folded.checkpoint(&[0, 2, 5]);
    for from in [0, 2, 5] {
        let reached = import("v1-checkpoint.rau", &vendor.root, &chain.states[from]);
        assert_eq!(reached.as_ref(), Ok(folded.latest()), "from {from}");
    }
    let mut continued = chain.clone();
    continued.vendor = rotated;
    continued.issue(vec![add(9, 2)]);
    assert_eq!(import("v1-rotation.rau", &vendor.root, &chain.states[5]).as_ref(), Ok(continued.latest()));
}

#[test]
fn the_rebase_applies_from_golden_bytes_wherever_the_container_stands() {
    let Parts { vendor, container, chain, .. } = parts();
    let next = rebased(&chain);
    for from in &chain.states {
        let reached = container.import(&read("v1-rebase.rau"), &vendor.root, from);
        assert_eq!(reached.as_ref(), Ok(next.latest()), "from {}", from.counter);
    }
    let read_back = ModifiedContext::read(&read("v1-rebased.ram"), &vendor.root).expect("a good file");
    assert_eq!(read_back, modified_rebased(&container, &chain));
    assert_eq!(read_back.pending_update(&[]).as_ref(), Ok(&read("v1-rebase.rau")));
}

#[test]
fn the_statement_of_the_time_opens_from_golden_bytes() {
    let Parts { vendor, .. } = parts();
    let envelope = Envelope::from_bytes(&read("v1-time-statement.cbor")).expect("an envelope");
    let statement: TimeStatement = vendor.root.open(&envelope).expect("signed by the time role");
    assert_eq!((statement.nonce(), statement.time()), (&[0x77; 32][..], at(50)));
}

#[test]
fn the_modified_context_reads_back_and_gives_the_next_update() {
    let Parts { vendor, container, chain, .. } = parts();
    let read_back = ModifiedContext::read(&read("v1-pending.ram"), &vendor.root).expect("a good file");
    assert_eq!(read_back, modified(&container, &chain));
    let update = read_back.pending_update(&[]).expect("a small file");
    assert_eq!(update, read_back.pending_update(&[]).expect("a small file"));
    assert_eq!(container.import(&update, &vendor.root, &chain.states[2]).as_ref(), Ok(chain.latest()));
    let confirmed = read_back.confirmed_context().expect("a good context").expect("there is one");
    assert_eq!(confirmed.context.counter, 2);
}

#[test]
fn the_item_with_every_option_reads_back() {
    assert_eq!(product_item::decode(&read("v1-all-options.cbor")), Ok(with_every_option()));
}

#[test]
fn file_types_and_extensions_agree_with_the_names() {
    for (name, bytes) in framed() {
        let frame = Frame::parse(&bytes).expect("a good file");
        assert_eq!(name.rsplit('.').next(), Some(frame.file_type.extension()), "{name}");
        assert_eq!(name.contains("receipt"), frame.file_type == FileType::Receipt);
    }
}
