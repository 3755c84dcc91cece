//! Keys in files: private, durable, never replaced, refused in production.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use lictor_key_store::{FileKeyStore, KeyStoreError, MemorySigner, Mode};
use lictor_signing::{Role, Signer};

fn store() -> (tempfile::TempDir, FileKeyStore) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = FileKeyStore::open(folder.path().join("keys"), Mode::Development).expect("a new store");
    (folder, store)
}

#[test]
fn production_refuses_keys_in_files_unless_forced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let keys = folder.path().join("keys");
    assert!(matches!(FileKeyStore::open(&keys, Mode::Production), Err(KeyStoreError::Production)));
    assert!(!keys.exists(), "a refused store makes nothing");
    assert!(FileKeyStore::open(&keys, Mode::ProductionForced).is_ok());
}

#[test]
fn a_key_survives_reopening_and_signs_the_same() {
    let (folder, store) = store();
    let name = FileKeyStore::role_key_name(1001, Role::LeaseCertifier, 1);
    assert_eq!(name, "firm-1001-lease-certifier-1");
    let made = store.create(&name, &[7; 32]).expect("a new key");
    let again = FileKeyStore::open(folder.path().join("keys"), Mode::Development)
        .and_then(|store| store.load(&name))
        .expect("the key");
    assert_eq!(made.public_key(), MemorySigner::from_seed(&[7; 32]).public_key());
    assert_eq!(made.sign(b"text").expect("a signature"), again.sign(b"text").expect("a signature"));
    assert!(made.public_key().verifies(b"text", &again.sign(b"text").expect("a signature")));
    assert_eq!(store.names().expect("names"), [name]);
}

#[test]
fn a_key_is_never_replaced() {
    let (_folder, store) = store();
    let first = store.create("issue", &[1; 32]).expect("a new key");
    assert!(matches!(store.create("issue", &[2; 32]), Err(KeyStoreError::Exists(_))));
    assert_eq!(store.load("issue").expect("the key").public_key(), first.public_key());
    assert_eq!(store.load_or_generate("issue").expect("the key").public_key(), first.public_key());
    assert_eq!(store.names().expect("names").len(), 1, "no temporary file stays behind");
}

#[test]
fn racing_starts_agree_on_one_key() {
    let (_folder, store) = store();
    let keys: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| store.load_or_generate("race").expect("the key").public_key())).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn files_and_folder_are_private_and_stay_so() {
    let (folder, store) = store();
    store.create("issue", &[1; 32]).expect("a new key");
    let keys = folder.path().join("keys");
    let file = keys.join("issue.key");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!((mode(&keys), mode(&file)), (0o700, 0o600));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("chmod");
    assert!(matches!(store.load("issue"), Err(KeyStoreError::Permissions { .. })));
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o750)).expect("chmod");
    assert!(matches!(FileKeyStore::open(&keys, Mode::Development), Err(KeyStoreError::Permissions { .. })));
}

#[test]
fn damaged_linked_and_strangely_named_keys_are_refused() {
    let (folder, store) = store();
    store.create("issue", &[1; 32]).expect("a new key");
    let keys = folder.path().join("keys");
    symlink(keys.join("issue.key"), keys.join("link.key")).expect("a link");
    assert!(matches!(store.load("link"), Err(KeyStoreError::NotPlain(_))));
    for name in ["", "../issue", "a/b", "Issue", "a.b", &"a".repeat(97)] {
        assert!(matches!(store.load(name), Err(KeyStoreError::Name)), "{name:?}");
    }
    assert!(matches!(store.load("none"), Err(KeyStoreError::Missing(_))));
    let whole = fs::read(keys.join("issue.key")).expect("content");
    for length in 0..whole.len() {
        fs::write(keys.join("issue.key"), &whole[..length]).expect("a shorter file");
        assert!(matches!(store.load("issue"), Err(KeyStoreError::Damaged(_))), "{length} bytes");
    }
    fs::write(keys.join("issue.key"), vec![b'a'; 1 << 20]).expect("a long file");
    assert!(matches!(store.load("issue"), Err(KeyStoreError::Damaged(_))));
    fs::write(keys.join("issue.key"), [0xFF; 90]).expect("not text");
    assert!(matches!(store.load("issue"), Err(KeyStoreError::Damaged(_))));
}

#[test]
fn a_signer_never_shows_its_secret() {
    let signer = MemorySigner::from_seed(&[0xAB; 32]);
    assert!(!format!("{signer:?}").contains("abababab"));
}
