//! Hostile bytes.

use lictor_binding::{Profile, Seal, Sealed};
use lictor_signing::cbor;
use proptest::prelude::*;

use crate::surroundings::{SECRET, all, sealed};

#[test]
fn every_flipped_bit_is_refused_or_only_costs_points() {
    let here = all(Profile::Machine);
    let bytes = cbor::encode(&sealed(Profile::Machine, &here));
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        let Ok(seal) = cbor::decode::<Seal>(&flipped) else { continue };
        assert!(matches!(seal.open(&here), Err(Sealed::Damaged | Sealed::Elsewhere(_))), "bit {at} opened");
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = cbor::encode(&sealed(Profile::Volume, &all(Profile::Volume)));
    assert!((0..bytes.len()).all(|length| cbor::decode::<Seal>(&bytes[..length]).is_err()));
}

#[test]
fn a_seal_without_one_of_its_groups_is_refused() {
    // A machine's seal that calls itself a volume's, and the other way round.
    for profile in [Profile::Machine, Profile::Volume] {
        let mut bytes = cbor::encode(&sealed(profile, &all(profile)));
        // map(3), key 0, map(4), key 0, then the profile's code.
        assert_eq!(bytes[..4], [0xa3, 0x00, 0xa4, 0x00]);
        bytes[4] = 3 - bytes[4];
        assert!(cbor::decode::<Seal>(&bytes).is_err());
    }
}

#[test]
fn the_same_arguments_give_the_same_bytes_and_another_seed_others() {
    let here = all(Profile::Volume);
    let one = cbor::encode(&sealed(Profile::Volume, &here));
    assert_eq!(one, cbor::encode(&sealed(Profile::Volume, &here)));
    let other = Seal::close(Profile::Volume, &here, SECRET, [8; 32]).expect("sealed");
    assert_ne!(one, cbor::encode(&other));
    assert!(one.len() < 2048, "{} bytes", one.len());
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = cbor::decode::<Seal>(&bytes);
    }

    #[test]
    fn any_secret_comes_back_as_it_was(secret in prop::collection::vec(any::<u8>(), 1..600), seed in any::<[u8; 32]>()) {
        let here = all(Profile::Volume);
        let seal = Seal::close(Profile::Volume, &here, &secret, seed).expect("sealed");
        let read: Seal = cbor::decode(&cbor::encode(&seal)).expect("read again");
        let opened = read.open(&here).expect("opened");
        prop_assert_eq!(opened.secret.as_slice(), secret.as_slice());
    }
}
