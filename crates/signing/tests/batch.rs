//! One signature for many payloads: each opens at its own place, and nothing else does.

use lictor_clock::Timestamp;
use lictor_key_store::MemorySigner;
use lictor_signing::cbor::{self, CborError};
use lictor_signing::{
    BatchProof, Envelope, GrantStatement, MAX_BATCH, Signer as _, TimeStatement, VerifyError, sign_batch,
};

fn signer() -> MemorySigner {
    MemorySigner::from_seed(&[3; 32])
}

fn statement(number: u32) -> Vec<u8> {
    let nonce = [number.to_be_bytes(); 8].concat();
    cbor::encode(
        &TimeStatement::new(6_000_001, &nonce, Timestamp::from_micros(1_700_000_000_000_000)).expect("a statement"),
    )
}

fn statements(size: usize) -> Vec<Vec<u8>> {
    (0..u32::try_from(size).expect("small")).map(statement).collect()
}

#[test]
fn every_payload_of_every_size_opens_at_its_place_and_nowhere_else() {
    let key = signer().public_key();
    for size in (1..=33).chain([64, 100, 255, 256]) {
        let payloads = statements(size);
        let proofs = sign_batch::<TimeStatement>(&payloads, &signer()).expect("signed");
        for (at, proof) in proofs.iter().enumerate() {
            assert!(proof.open::<TimeStatement>(&payloads[at], &key).is_ok(), "{at} of {size}");
            let other = &payloads[(at + 1) % size];
            assert_eq!(proof.open::<TimeStatement>(other, &key).is_ok(), size == 1, "{at} of {size}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_proof_is_refused() {
    let key = signer().public_key();
    for size in [1, 2, 5, 7, 8] {
        let payloads = statements(size);
        for (at, proof) in sign_batch::<TimeStatement>(&payloads, &signer()).expect("signed").iter().enumerate() {
            let bytes = cbor::encode(proof);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let Ok(proof) = cbor::decode::<BatchProof>(&flipped) else { continue };
                assert_eq!(
                    proof.open::<TimeStatement>(&payloads[at], &key),
                    Err(VerifyError::BadSignature),
                    "bit {bit} of proof {at} of {size}"
                );
            }
        }
    }
}

#[test]
fn another_type_another_key_and_an_envelope_are_refused() {
    let payloads = statements(3);
    let proofs = sign_batch::<TimeStatement>(&payloads, &signer()).expect("signed");
    let other = MemorySigner::from_seed(&[4; 32]).public_key();
    assert_eq!(proofs[0].open::<TimeStatement>(&payloads[0], &other), Err(VerifyError::BadSignature));
    assert_eq!(proofs[0].open::<GrantStatement>(&payloads[0], &signer().public_key()), Err(VerifyError::BadSignature));
    // The same key's signature over the payload itself proves nothing here, even for a batch of one.
    let sealed = Envelope::sign(
        <TimeStatement as lictor_signing::SignedPayload>::PAYLOAD_TYPE,
        payloads[0].clone(),
        &[&signer()],
    )
    .expect("signed");
    let signature = sealed.signatures()[0].1;
    let one = sign_batch::<TimeStatement>(&payloads[..1], &signer()).expect("signed");
    let mut bytes = cbor::encode(&one[0]);
    let at = bytes.len() - 64;
    bytes[at..].copy_from_slice(signature.as_bytes());
    let forged: BatchProof = cbor::decode(&bytes).expect("well formed");
    assert_eq!(forged.open::<TimeStatement>(&payloads[0], &signer().public_key()), Err(VerifyError::BadSignature));
}

#[test]
fn batches_of_none_and_of_too_many_are_refused() {
    assert!(sign_batch::<TimeStatement>(&[], &signer()).is_err());
    assert!(sign_batch::<TimeStatement>(&statements(MAX_BATCH + 1), &signer()).is_err());
    assert_eq!(sign_batch::<TimeStatement>(&statements(MAX_BATCH), &signer()).expect("signed").len(), MAX_BATCH);
}

#[test]
fn any_truncation_is_refused_and_long_paths_are_not_followed() {
    let bytes = cbor::encode(&sign_batch::<TimeStatement>(&statements(9), &signer()).expect("signed")[4]);
    assert!((0..bytes.len()).all(|length| cbor::decode::<BatchProof>(&bytes[..length]).is_err()));
    let mut long = vec![0xa4, 0x00, 0x00, 0x01, 0x01, 0x02, 0x98, 0x40];
    long.extend([0x58, 0x20].into_iter().chain([0; 32]).cycle().take(64 * 34));
    assert!(matches!(cbor::decode::<BatchProof>(&long), Err(CborError::Limit(_) | CborError::NotCanonical)));
}
