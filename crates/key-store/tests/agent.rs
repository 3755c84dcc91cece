//! Keys in a real PKCS#11 token (SoftHSM) behind the real agent: what is pulled, killed or refused heals or says why.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use lictor_key_store::agent::wire::{self, Fault, Reply, Request};
use lictor_key_store::{AgentKeyStore, KeyStore, KeyStoreError, MemorySigner};
use lictor_signing::{Signature, Signer as _, SignerError};
use lictor_test_support::{softhsm::SoftHsm, wait};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(10);

fn store(hsm: &SoftHsm) -> AgentKeyStore {
    AgentKeyStore::new(hsm.socket(), PATIENCE)
}

#[test]
fn a_key_made_in_the_token_signs_and_never_comes_out() {
    let hsm = SoftHsm::with_agent().expect("a token");
    let store = store(&hsm);
    assert_eq!(store.keys().expect("an empty token"), []);
    assert!(matches!(store.load("firm-1-issue-1"), Err(KeyStoreError::Missing(_))));
    let key = store.generate("firm-1-issue-1").expect("a key");
    assert!(matches!(store.generate("firm-1-issue-1"), Err(KeyStoreError::Exists(_))));
    let again = store.load("firm-1-issue-1").expect("the key");
    assert_eq!(again.public_key(), key.public_key());
    for length in [0, 1, 1_000, 2 * 1024 * 1024] {
        let message = vec![7; length];
        let signature = key.sign(&message).expect("a signature");
        assert!(key.public_key().verifies(&message, &signature), "{length} bytes");
        assert_eq!(again.sign(&message), Ok(signature), "the same message gets the same signature");
    }
    assert!(matches!(store.generate("../key"), Err(KeyStoreError::Refused(_))));
    let mode = std::fs::metadata(hsm.socket()).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn many_threads_sign_at_once_and_agree_on_new_keys() {
    let hsm = SoftHsm::with_agent().expect("a token");
    let store = KeyStore::from(store(&hsm));
    let keys: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u8)
            .map(|number| {
                let store = &store;
                scope.spawn(move || {
                    let key = store.load_or_generate("race").expect("a key");
                    let message = [number; 64];
                    let signature = key.sign(&message).expect("a signature");
                    assert!(key.public_key().verifies(&message, &signature));
                    key.public_key()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(store.keys().expect("keys").len(), 1);
}

#[test]
fn a_pulled_token_is_unavailable_and_signs_the_same_when_it_is_back() {
    let hsm = SoftHsm::with_agent().expect("a token");
    let key = store(&hsm).generate("issue").expect("a key");
    let before = key.sign(b"text").expect("a signature");
    hsm.pull().expect("the token is out");
    for _ in 0..3 {
        let refused = key.sign(b"text").expect_err("no token");
        assert!(matches!(refused, SignerError::Unavailable(_)), "{refused}");
    }
    assert!(matches!(store(&hsm).keys(), Err(KeyStoreError::Unavailable(_))));
    hsm.put_back().expect("the token is back");
    let after = wait::until("the token signs again", || Ok(key.sign(b"text").ok())).expect("a signature");
    assert_eq!(after, before);
}

#[test]
fn a_killed_worker_and_a_killed_agent_are_replaced_without_the_caller_noticing_more_than_a_pause() {
    let mut hsm = SoftHsm::with_agent().expect("a token");
    let key = store(&hsm).generate("issue").expect("a key");
    let before = key.sign(b"text").expect("a signature");
    for worker in hsm.workers() {
        let pid = Pid::from_raw(worker.cast_signed()).expect("a process id");
        kill_process(pid, Signal::KILL).expect("a killed worker");
    }
    // The connection that was kept is dead; the request goes over a new one and waits for the next worker.
    assert_eq!(key.sign(b"text"), Ok(before));
    hsm.kill_agent().expect("a killed agent");
    assert!(matches!(key.sign(b"text"), Err(SignerError::Unavailable(_))));
    hsm.start_agent().expect("the agent is back");
    assert_eq!(key.sign(b"text"), Ok(before));
}

#[test]
fn a_refused_pin_ends_the_agent_instead_of_locking_the_token() {
    let mut hsm = SoftHsm::new().expect("a token");
    hsm.write_pin("0000-0000").expect("a wrong PIN");
    hsm.start_agent().expect("it listens before it logs in");
    let refused = store(&hsm).keys().expect_err("a wrong PIN");
    assert!(matches!(&refused, KeyStoreError::Unavailable(text) if text.contains("PIN")), "{refused}");
    let code = wait::until("the agent gives up", || hsm.agent_ended()).expect("an end");
    assert_eq!(code, 77, "{}", hsm.log());
    let command = format!("{:?}", hsm.command().expect("the command"));
    assert!(!command.contains("0000-0000"), "the PIN is no argument");
}

#[test]
fn the_agent_survives_what_is_not_its_language() {
    let hsm = SoftHsm::with_agent().expect("a token");
    let key = store(&hsm).generate("issue").expect("a key");
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xFF; 64], &[0, 0, 0, 2, 0x81, 0x07], &[0, 0, 0, 9, 1]] {
        let mut stream = UnixStream::connect(hsm.socket()).expect("a connection");
        stream.write_all(noise).expect("noise");
        stream.shutdown(std::net::Shutdown::Write).expect("an end");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "noise gets no answer");
    }
    assert!(key.sign(b"text").is_ok());
    let stranger = Request::Sign { key: MemorySigner::from_seed(&[1; 32]).public_key(), message: vec![1] };
    let mut stream = UnixStream::connect(hsm.socket()).expect("a connection");
    wire::send(&mut stream, &stranger).expect("a request");
    let reply: Option<Reply> = wire::receive(&mut stream, wire::MAX_REPLY_BYTES).expect("a reply");
    assert!(matches!(reply, Some(Reply::Fault(Fault::Missing, _))), "{reply:?}");
    assert!(key.sign(b"text").is_ok(), "the worker is the same");
}

#[test]
fn an_agent_that_lies_or_sleeps_is_not_believed_and_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).expect("a listener");
    let public = MemorySigner::from_seed(&[1; 32]).public_key();
    let liar = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let _: Option<Request> = wire::receive(&mut stream, wire::MAX_REQUEST_BYTES).expect("a request");
        wire::send(&mut stream, &Reply::Keys(vec![("issue".to_owned(), public)])).expect("a reply");
        let _: Option<Request> = wire::receive(&mut stream, wire::MAX_REQUEST_BYTES).expect("a request");
        wire::send(&mut stream, &Reply::Signature(Signature::from_bytes([7; 64]))).expect("a reply");
        // Then it says nothing any more, but holds the connection open.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    let store = AgentKeyStore::new(&socket, Duration::from_millis(300));
    let key = store.load("issue").expect("a key");
    let lie = key.sign(b"text").expect_err("a false signature");
    assert!(lie.to_string().contains("does not verify"), "{lie}");
    let begun = Instant::now();
    let silent = key.sign(b"text").expect_err("no answer");
    assert!(silent.to_string().contains("no answer in time"), "{silent}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop((key, store));
    liar.join().expect("no panic");
}
