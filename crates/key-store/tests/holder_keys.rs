//! Key files of people: sealed, never opened by anything but their passphrase, never believed when changed.

use lictor_key_store::holder::{public_text, read_public};
use lictor_key_store::{HolderError, HolderKey};
use lictor_signing::Signer as _;

fn opened(text: &str, passphrase: Option<&str>) -> Result<[u8; 32], HolderError> {
    HolderKey::open(text, passphrase).map(|key| *key.signer().public_key().as_bytes())
}

#[test]
fn a_sealed_key_opens_with_its_passphrase_only() {
    let key = HolderKey::generate().expect("a key");
    let public = *key.signer().public_key().as_bytes();
    let text = key.to_text(Some("correct horse")).expect("a file");
    assert_eq!(HolderKey::is_sealed(&text), Ok(true));
    assert_eq!(opened(&text, Some("correct horse")), Ok(public));
    assert_eq!(opened(&text, None), Err(HolderError::NeedsPassphrase));
    assert_eq!(opened(&text, Some("")), Err(HolderError::WrongPassphrase));
    assert_eq!(opened(&text, Some("correct horse ")), Err(HolderError::WrongPassphrase));
    let plain = key.to_text(None).expect("a file");
    assert_eq!(HolderKey::is_sealed(&plain), Ok(false));
    assert_eq!(opened(&plain, None), Ok(public));
    assert!(!text.contains(plain.lines().nth(1).expect("digits")), "the secret is not in the sealed file");
}

#[test]
fn a_changed_or_greedy_key_file_is_refused() {
    let key = HolderKey::generate().expect("a key");
    let text = key.to_text(Some("p")).expect("a file");
    for length in 0..text.len() {
        assert_eq!(opened(&text[..length], Some("p")), Err(HolderError::Damaged), "{length} bytes");
    }
    // Every line counts: the public half, the salt, the nonce, and the sealed bytes.
    for start in ["public ", "argon2id 65536 3 ", "nonce ", "sealed "] {
        let at = text.find(start).expect("a line") + start.len();
        let other = if text.as_bytes()[at] == b'0' { '1' } else { '0' };
        let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        assert_eq!(opened(&changed, Some("p")), Err(HolderError::WrongPassphrase), "{start}");
    }
    for greedy in ["argon2id 4294967295 3 ", "argon2id 65536 4000000 ", "argon2id 8 1 "] {
        let changed = text.replace("argon2id 65536 3 ", greedy);
        assert_eq!(opened(&changed, Some("p")), Err(HolderError::Damaged), "{greedy}");
    }
}

#[test]
fn a_public_key_file_holds_a_good_key_or_is_refused() {
    let public = HolderKey::generate().expect("a key").signer().public_key();
    assert_eq!(read_public(&public_text(&public)), Ok(public));
    let small_order = format!("lictor-public-key-v1\n01{}\n", "00".repeat(31));
    for bad in [small_order.as_str(), "", "lictor-public-key-v1\n", "lictor-key-v1\n00\n"] {
        assert_eq!(read_public(bad), Err(HolderError::NotPublic), "{bad:?}");
    }
}
