//! Rotation of a vendor's keys through update files.

use lictor_license_file::segment::Segment;
use lictor_license_file::{FileError, apply, issue, update};
use lictor_signing::{RootError, Signer, TrustedRoot};

use crate::golden::{self, Parts};
use crate::support::{FIRM, Vendor, add};

#[test]
fn old_and_new_keys_against_old_and_new_roots() {
    let Parts { vendor, rotation, rotated, container, chain } = golden::parts();
    let mut by_old = chain.clone();
    by_old.issue(vec![add(9, 1)]);
    let mut by_new = chain.clone();
    by_new.vendor = rotated.clone();
    by_new.issue(vec![add(9, 1)]);
    for (signed_by_new, knows_new, file_has_root, accepted) in [
        (false, false, false, true),
        (false, false, true, false),
        (false, true, false, false),
        (false, true, true, false),
        (true, false, false, false),
        (true, false, true, true),
        (true, true, false, true),
        (true, true, true, true),
    ] {
        let segment = if signed_by_new { &by_new } else { &by_old }.segments[5].clone();
        let roots = if file_has_root { vec![rotation.clone()] } else { Vec::new() };
        let file = update::build(&roots, &[segment]).expect("a small file");
        let root = if knows_new { &rotated.root } else { &vendor.root };
        let result = container.import(&file, root, &chain.states[5]);
        let case = format!("new key {signed_by_new}, knows new {knows_new}, root in file {file_has_root}");
        assert_eq!(result.is_ok(), accepted, "{case}");
        if !accepted {
            assert!(matches!(result, Err(FileError::Forged(_))), "{case}");
        }
    }
}

#[test]
fn segments_already_applied_stay_good_after_their_key_was_retired() {
    let Parts { rotation, rotated, container, mut chain, .. } = golden::parts();
    chain.vendor = rotated.clone();
    chain.issue(vec![add(9, 1)]);
    let all = update::build(&[rotation], &chain.segments).expect("a small file");
    let old_root = Vendor::new(FIRM).root;
    assert_eq!(container.import(&all, &old_root, &chain.states[5]).as_ref(), Ok(chain.latest()));
    assert_eq!(container.import(&all, &rotated.root, chain.latest()).as_ref(), Ok(chain.latest()));
}

#[test]
fn pending_segments_are_signed_again_without_changing_the_chain() {
    let Parts { rotation, rotated, container, chain, .. } = golden::parts();
    let again: Vec<_> = chain
        .segments
        .iter()
        .map(|bytes| {
            let segment = Segment::read(bytes).expect("a segment");
            let signers: [&dyn Signer; 1] = [&rotated.issue];
            issue::sign_payload(segment.envelope().unverified_payload(), &signers).expect("a signature")
        })
        .collect();
    let file = update::build(&[rotation], &again).expect("a small file");
    let old_root = Vendor::new(FIRM).root;
    for position in 0..=5 {
        let reached = container.import(&file, &old_root, &chain.states[position]);
        assert_eq!(reached.as_ref(), Ok(chain.latest()), "from {position}");
    }
}

#[test]
fn a_file_carries_a_container_through_many_rotations() {
    let Parts { vendor, container, chain, .. } = golden::parts();
    let roots: Vec<_> = (2..=6).map(|version| Vendor::sign_root(&Vendor::document(FIRM, version, 0), &[0])).collect();
    let file = update::build(&roots, &chain.segments).expect("a small file");
    let import = apply::verify(&file, container.device(), &vendor.root, &chain.states[0]).expect("a good file");
    assert_eq!(import.new_root().map(TrustedRoot::version), Some(6));
    let known = import.root().clone();
    let import = apply::verify(&file, container.device(), &known, &chain.states[0]).expect("older roots are no news");
    assert!(import.new_root().is_none());
    let missing = update::build(&roots[1..], &chain.segments).expect("a small file");
    let refusal = apply::verify(&missing, container.device(), &vendor.root, &chain.states[0]).expect_err("a hole");
    assert_eq!(refusal, FileError::Root(RootError::WrongVersion { trusted: 1, found: 3 }));
    let backwards: Vec<_> = roots.iter().rev().cloned().collect();
    let backwards = update::build(&backwards, &chain.segments).expect("a small file");
    assert!(apply::verify(&backwards, container.device(), &vendor.root, &chain.states[0]).is_err());
}

#[test]
fn a_second_root_of_the_same_version_is_refused() {
    let Parts { rotation, rotated, container, chain, .. } = golden::parts();
    let mut other = Vendor::document(FIRM, 2, 1);
    other.name = "Somebody else".to_owned();
    let other = Vendor::sign_root(&other, &[0, 1]);
    let file = update::build(&[other], &[]).expect("a small file");
    let refusal = apply::verify(&file, container.device(), &rotated.root, &chain.states[0]).expect_err("two roots");
    assert_eq!(refusal, FileError::Root(RootError::WrongVersion { trusted: 2, found: 2 }));
    let alone = update::build(&[rotation], &[]).expect("a small file");
    let import = apply::verify(&alone, container.device(), &Vendor::new(FIRM).root, &chain.states[0])
        .expect("a root alone is a good file");
    assert!(import.new_root().is_some() && !import.has_steps());
}
