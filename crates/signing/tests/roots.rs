//! Root documents: succession, thresholds, windows, firms, and keys that prove nothing.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;
use lictor_key_store::MemorySigner;
use lictor_signing::cbor;
use lictor_signing::{
    Envelope, KeyError, LeaseCertificate, LeaseLimits, PublicKey, Role, RoleKey, RoleRule, RootDocument, RootError,
    Signature, SignedPayload, Signer, TrustedRoot, VerifyError,
};

fn signer(number: u8) -> MemorySigner {
    MemorySigner::from_seed(&[number; 32])
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn rule(threshold: u32, numbers: &[u8]) -> RoleRule {
    let keys = numbers.iter().map(|number| RoleKey::unlimited(signer(*number).public_key())).collect();
    RoleRule { threshold, keys }
}

fn document(version: u64, root: RoleRule) -> RootDocument {
    RootDocument {
        firm_code: 1001,
        name: "Example Software".to_owned(),
        version,
        issued_at: at(1_000),
        roles: BTreeMap::from([
            (Role::Root, root),
            (Role::Issue, rule(1, &[40])),
            (Role::LeaseCertifier, rule(1, &[50])),
        ]),
    }
}

fn sealed<T: SignedPayload>(value: &T, numbers: &[u8]) -> Envelope {
    let signers: Vec<_> = numbers.iter().map(|number| signer(*number)).collect();
    let signers: Vec<&dyn Signer> = signers.iter().map(|signer| signer as &dyn Signer).collect();
    Envelope::seal(value, &signers).expect("a key in memory signs")
}

fn certificate(firm_code: u32, from: i64) -> LeaseCertificate {
    LeaseCertificate {
        firm_code,
        container_id: [9; 32],
        lease_key: signer(90).public_key(),
        not_before: at(from),
        not_after: Some(at(from + 100)),
        limits: LeaseLimits { max_seats: Some(5), max_grant_seconds: None },
    }
}

#[test]
fn only_the_very_next_version_follows() {
    let trusted = TrustedRoot::trust(&sealed(&document(5, rule(1, &[1])), &[1]).to_bytes()).expect("version 5");
    for (version, follows) in [(3, false), (4, false), (5, false), (6, true), (7, false), (u64::MAX, false)] {
        let next = sealed(&document(version, rule(1, &[1])), &[1]).to_bytes();
        let result = trusted.update(&next);
        assert_eq!(result.is_ok(), follows, "version {version}");
        if !follows {
            assert_eq!(result, Err(RootError::WrongVersion { trusted: 5, found: version }));
        }
    }
    let last = TrustedRoot::trust(&sealed(&document(u64::MAX, rule(1, &[1])), &[1]).to_bytes()).expect("last version");
    assert!(last.update(&sealed(&document(1, rule(1, &[1])), &[1]).to_bytes()).is_err());
}

#[test]
fn a_rotation_needs_both_the_old_and_the_new_threshold() {
    let old = rule(2, &[1, 2, 3]);
    let new = rule(2, &[4, 5, 6]);
    let trusted = TrustedRoot::trust(&sealed(&document(1, old), &[1, 3]).to_bytes()).expect("version 1");
    for (numbers, accepted) in [
        (&[1_u8, 2][..], false),
        (&[4, 5], false),
        (&[1, 4, 5], false),
        (&[1, 2, 4], false),
        (&[1, 1, 4, 4], false),
        (&[1, 3, 4, 6], true),
        (&[1, 2, 3, 4, 5, 6], true),
    ] {
        let next = sealed(&document(2, new.clone()), numbers).to_bytes();
        assert_eq!(trusted.update(&next).is_ok(), accepted, "{numbers:?}");
    }
    let next = trusted.update(&sealed(&document(2, new.clone()), &[1, 2, 5, 6]).to_bytes()).expect("version 2");
    let by_old = sealed(&document(3, new), &[1, 2, 3]).to_bytes();
    assert!(next.update(&by_old).is_err(), "retired keys rotate nothing any more");
}

#[test]
fn a_root_of_another_firm_never_follows() {
    let trusted = TrustedRoot::trust(&sealed(&document(1, rule(1, &[1])), &[1]).to_bytes()).expect("version 1");
    let other = RootDocument { firm_code: 1002, ..document(2, rule(1, &[1])) };
    assert_eq!(
        trusted.update(&sealed(&other, &[1]).to_bytes()),
        Err(RootError::Verify(VerifyError::WrongFirm { root: 1001, payload: 1002 }))
    );
}

#[test]
fn a_threshold_counts_keys_and_not_signatures() {
    let document = document(1, rule(2, &[1, 2]));
    let one = sealed(&document, &[1]);
    let mut twice = one.clone();
    twice.add_signature(&signer(1)).expect("a second signature");
    assert!(TrustedRoot::trust(&twice.to_bytes()).is_err(), "the same signature twice");
    // One signature under the names of two keys.
    let (_, signature) = one.signatures()[0];
    let renamed = Envelope::from_parts(
        RootDocument::PAYLOAD_TYPE,
        cbor::encode(&document),
        vec![(signer(1).public_key().id(), signature), (signer(2).public_key().id(), signature)],
    );
    assert_eq!(
        TrustedRoot::trust(&renamed.to_bytes()),
        Err(RootError::Verify(VerifyError::Threshold { role: Role::Root, valid: 1, needed: 2 }))
    );
    assert!(TrustedRoot::trust(&sealed(&document, &[1, 2]).to_bytes()).is_ok());
}

#[test]
fn a_document_that_lists_a_key_twice_is_no_document() {
    for broken in [
        document(1, rule(2, &[1, 1])),
        document(1, rule(1, &[40])),
        document(1, rule(0, &[1])),
        document(1, rule(2, &[1])),
        document(0, rule(1, &[1])),
        RootDocument { roles: BTreeMap::from([(Role::Issue, rule(1, &[1]))]), ..document(1, rule(1, &[1])) },
    ] {
        assert!(broken.check().is_err());
        assert!(TrustedRoot::trust(&sealed(&broken, &[1, 40]).to_bytes()).is_err());
    }
}

#[test]
fn keys_that_prove_nothing_cannot_be_loaded() {
    // The eight points of small order, and second spellings of them.
    let small_order = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for text in small_order {
        let bytes: Vec<u8> =
            (0..32).map(|place| u8::from_str_radix(&text[place * 2..place * 2 + 2], 16).expect("two digits")).collect();
        assert!(matches!(PublicKey::from_slice(&bytes), Err(KeyError::Weak | KeyError::NotAKey)), "{text}");
    }
    assert_eq!(PublicKey::from_slice(&[1; 31]), Err(KeyError::Length));
    // A good key in a spelling with y above the field prime must not become a second key.
    let mut refused = 0;
    for y in 0..19_u8 {
        let mut spelling = [0xFF; 32];
        spelling[0] = 0xED + y;
        spelling[31] = 0x7F;
        refused += usize::from(PublicKey::from_bytes(&spelling).is_err());
    }
    assert_eq!(refused, 19);
}

#[test]
fn a_signature_with_a_large_scalar_is_refused() {
    let key = signer(1);
    let good = key.sign(b"text").expect("a signature");
    // Adding the group order gives the same scalar in a second spelling.
    const ORDER: [u8; 32] = [
        0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut bytes = *good.as_bytes();
    let mut carry = 0_u16;
    for (byte, added) in bytes[32..].iter_mut().zip(ORDER) {
        carry += u16::from(*byte) + u16::from(added);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    assert!(key.public_key().verifies(b"text", &good));
    assert!(!key.public_key().verifies(b"text", &Signature::from_bytes(bytes)));
}

#[test]
fn each_role_signs_only_what_is_its_own() {
    let trusted = TrustedRoot::trust(&sealed(&document(1, rule(1, &[1])), &[1]).to_bytes()).expect("version 1");
    for number in [1, 40, 50, 77] {
        let opened = trusted.open::<LeaseCertificate>(&sealed(&certificate(1001, 5_000), &[number]));
        assert_eq!(opened.is_ok(), number == 50, "key {number}");
    }
    assert_eq!(
        trusted.open::<LeaseCertificate>(&sealed(&certificate(1002, 5_000), &[50])),
        Err(VerifyError::WrongFirm { root: 1001, payload: 1002 })
    );
    let root = sealed(&document(2, rule(1, &[1])), &[50]);
    assert!(matches!(trusted.open::<LeaseCertificate>(&root), Err(VerifyError::WrongType { .. })));
}

#[test]
fn a_payload_signed_as_one_type_is_never_another() {
    let payload = cbor::encode(&certificate(1001, 5_000));
    let key = signer(50);
    let as_root = Envelope::sign(RootDocument::PAYLOAD_TYPE, payload.clone(), &[&key]).expect("a signature");
    let moved = Envelope::from_parts(LeaseCertificate::PAYLOAD_TYPE, payload, as_root.signatures().to_vec());
    let trusted = TrustedRoot::trust(&sealed(&document(1, rule(1, &[1])), &[1]).to_bytes()).expect("version 1");
    assert!(matches!(trusted.open::<LeaseCertificate>(&moved), Err(VerifyError::Threshold { valid: 0, .. })));
}

#[test]
fn a_key_counts_only_inside_its_window() {
    let mut limited = document(1, rule(1, &[1]));
    let key =
        RoleKey { not_before: Some(at(100)), not_after: Some(at(200)), ..RoleKey::unlimited(signer(50).public_key()) };
    limited.roles.insert(Role::LeaseCertifier, RoleRule { threshold: 1, keys: vec![key] });
    let trusted = TrustedRoot::trust(&sealed(&limited, &[1]).to_bytes()).expect("version 1");
    for (time, accepted) in [(99, false), (100, true), (199, true), (200, false)] {
        let opened = trusted.open::<LeaseCertificate>(&sealed(&certificate(1001, time), &[50]));
        assert_eq!(opened.is_ok(), accepted, "at {time}");
        if !accepted {
            assert_eq!(opened, Err(VerifyError::OutsideWindow(Role::LeaseCertifier)));
        }
    }
}

#[test]
fn every_bit_of_a_root_document_counts() {
    let bytes = sealed(&document(1, rule(1, &[1])), &[1]).to_bytes();
    assert!(TrustedRoot::trust(&bytes).is_ok());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(TrustedRoot::trust(&flipped).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(TrustedRoot::trust(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_role_without_keys_verifies_nothing() {
    let mut bare = document(1, rule(1, &[1]));
    bare.roles.remove(&Role::LeaseCertifier);
    let trusted = TrustedRoot::trust(&sealed(&bare, &[1]).to_bytes()).expect("version 1");
    assert_eq!(
        trusted.open::<LeaseCertificate>(&sealed(&certificate(1001, 0), &[50])),
        Err(VerifyError::NoSuchRole(Role::LeaseCertifier))
    );
}
