//! Statements of the time: who may make them, when, for whom, and how they are spelled.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;
use lictor_key_store::MemorySigner;
use lictor_signing::cbor::{self, CborError};
use lictor_signing::{
    Envelope, Role, RoleKey, RoleRule, RootDocument, Signer, TimeStatement, TrustedRoot, VerifyError,
};

const FIRM: u32 = 1001;

fn signer(number: u8) -> MemorySigner {
    MemorySigner::from_seed(&[number; 32])
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn root(time: RoleRule) -> TrustedRoot {
    let document = RootDocument {
        firm_code: FIRM,
        name: "Example Software".to_owned(),
        version: 1,
        issued_at: at(0),
        roles: BTreeMap::from([
            (Role::Root, RoleRule::single(signer(1).public_key())),
            (Role::Issue, RoleRule::single(signer(2).public_key())),
            (Role::Time, time),
        ]),
    };
    TrustedRoot::trust(&Envelope::seal(&document, &[&signer(1)]).expect("signed").to_bytes()).expect("a root")
}

fn said(firm: u32, time: i64, keys: &[u8]) -> Envelope {
    let statement = TimeStatement::new(firm, &[7; 32], at(time)).expect("a good nonce");
    let keys: Vec<_> = keys.iter().map(|number| signer(*number)).collect();
    let keys: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
    Envelope::seal(&statement, &keys).expect("a key in memory signs")
}

#[test]
fn only_the_time_role_of_the_same_firm_says_the_time() {
    let root = root(RoleRule::single(signer(3).public_key()));
    let opened: TimeStatement = root.open(&said(FIRM, 100, &[3])).expect("the time role");
    assert_eq!((opened.nonce(), opened.time()), (&[7; 32][..], at(100)));
    for other in [1, 2, 9] {
        assert!(matches!(
            root.open::<TimeStatement>(&said(FIRM, 100, &[other])),
            Err(VerifyError::Threshold { role: Role::Time, .. })
        ));
    }
    let foreign = root.open::<TimeStatement>(&said(77, 100, &[3]));
    assert_eq!(foreign, Err(VerifyError::WrongFirm { root: FIRM, payload: 77 }));
}

#[test]
fn the_window_of_a_time_key_is_judged_by_the_stated_time() {
    let window = |from, to| RoleKey { key: signer(3).public_key(), not_before: from, not_after: to };
    let root = root(RoleRule { threshold: 1, keys: vec![window(Some(at(100)), Some(at(200)))] });
    for (time, accepted) in [(99, false), (100, true), (199, true), (200, false), (i64::MAX / 2_000_000, false)] {
        let opened = root.open::<TimeStatement>(&said(FIRM, time, &[3]));
        assert_eq!(opened.is_ok(), accepted, "said at {time}");
    }
}

#[test]
fn a_threshold_of_time_keys_counts_distinct_keys() {
    let keys = [3, 4, 5].map(|number| RoleKey::unlimited(signer(number).public_key())).to_vec();
    let root = root(RoleRule { threshold: 2, keys });
    for (signers, accepted) in [(&[3_u8][..], false), (&[3, 3], false), (&[3, 9], false), (&[3, 5], true)] {
        assert_eq!(root.open::<TimeStatement>(&said(FIRM, 100, signers)).is_ok(), accepted, "{signers:?}");
    }
}

#[test]
fn a_nonce_has_16_to_64_bytes_and_a_statement_one_spelling() {
    for (length, good) in [(0, false), (15, false), (16, true), (64, true), (65, false), (100_000, false)] {
        assert_eq!(TimeStatement::new(FIRM, &vec![1; length], at(1)).is_ok(), good, "{length}");
    }
    let good = cbor::encode(&TimeStatement::new(FIRM, &[1; 16], at(1)).expect("a good nonce"));
    assert!(cbor::decode::<TimeStatement>(&good).is_ok());
    for length in 0..good.len() {
        assert!(cbor::decode::<TimeStatement>(&good[..length]).is_err(), "cut to {length}");
    }
    let longer = [good.as_slice(), &[0]].concat();
    assert_eq!(cbor::decode::<TimeStatement>(&longer), Err(CborError::NotCanonical));
}
