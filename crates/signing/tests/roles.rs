//! Every role is verified alike: none is looked at less closely because another one has given it its power.

use std::collections::BTreeMap;
use std::path::Path;

use lictor_clock::Timestamp;
use lictor_key_store::MemorySigner;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};
use lictor_signing::{
    Envelope, PayloadType, Role, RoleKey, RoleRule, RootDocument, SignedPayload, Signer, TrustedRoot, VerifyError,
};

const FIRM: u32 = 1_001;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// Key `number` of a role.
fn key(role: Role, number: u8) -> MemorySigner {
    let role = u8::try_from(role.number()).expect("few roles");
    MemorySigner::from_seed(&[role * 16 + number + 1; 32])
}

/// Two of three keys for each role but those left out, all of them good from 100 to 200.
fn root(without: Option<Role>) -> TrustedRoot {
    let rule = |role| {
        let keys = (0..3).map(|number| RoleKey {
            key: key(role, number).public_key(),
            not_before: Some(at(100)),
            not_after: Some(at(200)),
        });
        (role, RoleRule { threshold: 2, keys: keys.collect() })
    };
    let roles: BTreeMap<_, _> =
        Role::ALL.into_iter().filter(|role| Some(*role) != without || *role == Role::Root).map(rule).collect();
    let document =
        RootDocument { firm_code: FIRM, name: "Example Software".to_owned(), version: 1, issued_at: at(1), roles };
    let signers: [&dyn Signer; 2] = [&key(Role::Root, 0), &key(Role::Root, 1)];
    TrustedRoot::trust(&Envelope::seal(&document, &signers).expect("signed").to_bytes()).expect("a sound root")
}

/// Something that a role says for a firm at a time.
#[derive(Clone, Copy, Debug)]
struct Said {
    firm: u32,
    at: i64,
}

/// A payload of one role, with nothing of its own.
macro_rules! payloads {
    ($($name:ident = $role:ident;)*) => {
        $(
            struct $name(Said);

            impl From<Said> for $name {
                fn from(said: Said) -> Self {
                    Self(said)
                }
            }

            impl SignedPayload for $name {
                const PAYLOAD_TYPE: PayloadType = PayloadType::new(concat!("application/test.", stringify!($name)));
                const ROLE: Option<Role> = Some(Role::$role);

                fn firm_code(&self) -> u32 {
                    self.0.firm
                }

                fn signed_at(&self) -> Option<Timestamp> {
                    Some(at(self.0.at))
                }
            }

            impl Canonical for $name {
                fn write(&self, writer: &mut Writer) {
                    writer.array(2);
                    writer.uint(u64::from(self.0.firm));
                    writer.time(at(self.0.at));
                }

                fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
                    if reader.array(2)? != 2 {
                        return Err(CborError::Value("two parts"));
                    }
                    let firm = reader.u32()?;
                    let time = reader.time()?;
                    Ok(Self(Said { firm, at: time.as_micros() / 1_000_000 }))
                }
            }
        )*

        /// What each role answers to every case, in the order of the roles.
        fn answers() -> Vec<Vec<(&'static str, &'static str)>> {
            vec![$(cases::<$name>()),*]
        }
    };
}

payloads! {
    ByRoot = Root;
    ByIssue = Issue;
    ByPolicy = Policy;
    ByTime = Time;
    BySupport = Support;
    ByLeaseCertifier = LeaseCertifier;
}

fn told<T>(result: Result<T, VerifyError>) -> &'static str {
    match result {
        Ok(_) => "good",
        Err(VerifyError::WrongType { .. }) => "wrong type",
        Err(VerifyError::Threshold { valid: 0, needed: 2, .. }) => "none of two",
        Err(VerifyError::Threshold { valid: 1, needed: 2, .. }) => "one of two",
        Err(VerifyError::Threshold { .. }) => "another count",
        Err(VerifyError::NoSuchRole(_)) => "no such role",
        Err(VerifyError::OutsideWindow(_)) => "outside of the window",
        Err(VerifyError::BadSignature) => "bad signature",
        Err(VerifyError::WrongFirm { .. }) => "wrong firm",
        Err(VerifyError::Malformed(_)) => "malformed",
    }
}

fn cases<T: SignedPayload + From<Said>>() -> Vec<(&'static str, &'static str)> {
    let role = T::ROLE.expect("a role");
    let other = if role == Role::Issue { Role::Support } else { Role::Issue };
    let (own, foreign) = ([key(role, 0), key(role, 1), key(role, 2)], [key(other, 0), key(other, 1)]);
    let (root, good) = (root(None), Said { firm: FIRM, at: 150 });
    let sealed = |said: Said, keys: &[&MemorySigner]| {
        let signers: Vec<&dyn Signer> = keys.iter().map(|key| *key as &dyn Signer).collect();
        Envelope::seal(&T::from(said), &signers).expect("signed")
    };
    let open = |said: Said, keys: &[&MemorySigner]| told(root.open::<T>(&sealed(said, keys)));
    let both = [&own[0], &own[2]];
    let signed = sealed(good, &both);
    let with_payload = |payload: Vec<u8>| Envelope::from_parts(T::PAYLOAD_TYPE, payload, signed.signatures().to_vec());
    let mut flipped = signed.unverified_payload().to_vec();
    *flipped.last_mut().expect("bytes") ^= 1;
    let longer = [signed.unverified_payload(), &[0]].concat();
    let longer: [Envelope; 1] = {
        let signers: [&dyn Signer; 2] = [&own[0], &own[1]];
        [Envelope::sign(T::PAYLOAD_TYPE, longer, &signers).expect("signed")]
    };
    let renamed = {
        let signers: [&dyn Signer; 2] = [&own[0], &own[1]];
        Envelope::sign(PayloadType::new("application/test.other"), cbor::encode(&T::from(good)), &signers)
    };
    vec![
        ("two of its keys", open(good, &both)),
        ("all of its keys", open(good, &[&own[0], &own[1], &own[2]])),
        ("one key", open(good, &[&own[1]])),
        ("one key twice", open(good, &[&own[1], &own[1]])),
        ("the keys of another role", open(good, &[&foreign[0], &foreign[1]])),
        ("one of each role", open(good, &[&own[0], &foreign[1]])),
        ("nobody", open(good, &[])),
        ("just before the window", open(Said { at: 99, ..good }, &both)),
        ("the first moment", open(Said { at: 100, ..good }, &both)),
        ("the end of the window", open(Said { at: 200, ..good }, &both)),
        ("another firm", open(Said { firm: FIRM + 1, ..good }, &both)),
        ("a changed payload", told(root.open::<T>(&with_payload(flipped)))),
        ("more than the payload", told(root.open::<T>(&longer[0]))),
        ("another type", told(root.open::<T>(&renamed.expect("signed")))),
    ]
}

#[test]
fn every_role_is_checked_as_closely_as_every_other() {
    let answers = answers();
    assert_eq!(answers.len(), Role::ALL.len());
    let expected = [
        "good",
        "good",
        "one of two",
        "one of two",
        "none of two",
        "one of two",
        "none of two",
        "outside of the window",
        "good",
        "outside of the window",
        "wrong firm",
        "none of two",
        "malformed",
        "wrong type",
    ];
    for (role, answers) in Role::ALL.into_iter().zip(answers) {
        let found: Vec<_> = answers.iter().map(|(_, answer)| *answer).collect();
        assert_eq!(found, expected, "{role}: {answers:?}");
    }
}

#[test]
fn a_role_without_keys_says_nothing() {
    let signers: [&dyn Signer; 2] = [&key(Role::Time, 0), &key(Role::Time, 1)];
    let envelope = Envelope::seal(&ByTime(Said { firm: FIRM, at: 150 }), &signers).expect("signed");
    assert_eq!(told(root(None).open::<ByTime>(&envelope)), "good");
    assert_eq!(told(root(Some(Role::Time)).open::<ByTime>(&envelope)), "no such role");
}

/// Lines of code, not of comments, that say `word` in this crate.
fn lines_with(word: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = std::fs::read_dir(folder).expect("the sources").map(|entry| entry.expect("an entry").path());
    let texts = files.map(|path| (path.clone(), std::fs::read_to_string(path).expect("a text")));
    texts
        .flat_map(|(path, text)| {
            let found = text.lines().filter(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            found.map(|line| format!("{}: {}", path.display(), line.trim())).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn there_is_one_place_that_verifies_and_one_that_counts() {
    // One more would be a place where a check can be forgotten. Two forms are signed: envelopes and batches.
    for (word, uses) in [(".verify_strict(", 1), (".verify(", 0), (".verifies(", 2), (".valid_signers(", 2)] {
        let found = lines_with(word);
        assert_eq!(found.len(), uses, "{word}: {found:#?}");
    }
}
