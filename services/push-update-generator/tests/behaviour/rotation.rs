//! Root documents that follow each other: whose signatures they need, what containers accept afterwards, and when a key
//! signs at all.

use std::time::Duration;

use lictor_key_store::MemorySigner;
use lictor_license_file::{FileError, update::UpdateFile};
use lictor_licensing::error::ErrorCode;
use lictor_push_update_generator::{
    domain::rotation::Change,
    rotate::{Asked, Waiting, fingerprint},
    store::{self, vendor::Vendor},
    vendor::FirmName,
};
use lictor_signing::{Envelope, LeaseCertificate, PublicKey, Role, RoleKey, Signer as _, TrustedRoot};
use lictor_test_support::device::TestDevice;

use crate::world::{FIRM, World, add, code, firm, withdraw, worlds};

fn holder(number: u8) -> MemorySigner {
    MemorySigner::from_seed(&[number; 32])
}

fn new_key(role: Role) -> Asked {
    Asked::NewKey { role, not_before: None, not_after: None }
}

fn retire(key: &PublicKey) -> Asked {
    Asked::Change(Change::Retire { id: key.id().to_string() })
}

/// The only key of a role in the newest document.
async fn key_of(world: &World, role: Role) -> PublicKey {
    let roots = world.issuer.roots(firm(FIRM)).await.expect("roots");
    roots.document.expect("a document").roles[&role].keys.last().expect("a key").key
}

async fn propose(world: &World, asked: Vec<Asked>, request: u8) -> Waiting {
    world.issuer.propose(firm(FIRM), asked, [request; 32], false).await.expect("a proposal")
}

/// Proposes, signs with the root key that the key store holds, and installs.
async fn rotate(world: &World, asked: Vec<Asked>, request: u8) -> Vendor {
    propose(world, asked, request).await;
    let (waiting, added) = world.issuer.sign_root(firm(FIRM), None, true).await.expect("signatures");
    assert!(added >= 1 && waiting.tally.is_complete());
    install(world, &waiting).await
}

async fn install(world: &World, waiting: &Waiting) -> Vendor {
    let wanted = fingerprint(&waiting.document);
    let (vendor, installed) = world.issuer.install_root(firm(FIRM), &wanted).await.expect("an installed root");
    assert!(installed);
    let (again, installed) = world.issuer.install_root(firm(FIRM), &wanted).await.expect("the same");
    assert_eq!((again, installed), (vendor.clone(), false), "asking again changes nothing");
    vendor
}

/// What a holder hands in: a copy of the proposal with signatures of these keys.
fn signed(waiting: &Waiting, holders: &[&MemorySigner]) -> Envelope {
    let mut envelope = Envelope::from_bytes(&waiting.envelope).expect("an envelope");
    for holder in holders {
        envelope.add_signature(*holder).expect("a signature");
    }
    envelope
}

#[tokio::test]
async fn containers_that_lag_three_roots_behind_get_all_of_them_in_one_file() {
    worlds(async |world| {
        let mut lagging = world.known_device(1).await;
        let mut following = world.known_device(2).await;
        for round in 0..3 {
            let old = key_of(&world, Role::Issue).await;
            for device in [&lagging, &following] {
                world.issue(device, &format!("act_{}_{round}", device.serial), vec![add(round + 1)]).await;
            }
            let limit = Change::Limit { id: old.id().to_string(), not_after: world.issuer_now() };
            rotate(&world, vec![new_key(Role::Issue), Asked::Change(limit)], round + 1).await;
            assert_ne!(key_of(&world, Role::Issue).await, old);
            world.clock.advance(Duration::from_secs(60));
            let file = world.pending(&following).await.expect("pending");
            let receipt = following.import(&file).expect("an import");
            world.take(&receipt).await;
            assert_eq!(following.root.version(), u64::from(round) + 2);
        }
        world.issue(&lagging, "act_last", vec![add(9)]).await;
        let file = world.pending(&lagging).await.expect("pending");
        let receipt = lagging.import(&file).expect("an import");
        assert_eq!((lagging.root.version(), lagging.state.counter), (4, 4));
        world.take(&receipt).await;
        assert!(world.pending(&lagging).await.is_none());
        let rotations = world.event_types().await.into_iter().filter(|kind| kind == "root.rotated").count();
        assert_eq!(rotations, 3);
    })
    .await;
}

#[tokio::test]
async fn a_stolen_issue_key_is_refused_where_the_new_root_is_known_and_what_it_signed_before_stays() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let first = world.issue(&device, "act_1", vec![add(1)]).await;
        device.import(&first.file.bytes).expect("an import");
        // Signed by the old key; the thief could have made it as well.
        let second = world.issue(&device, "act_2", vec![add(2)]).await;
        let thief = UpdateFile::read(&second.file.bytes).expect("a file").segments.pop().expect("a segment");
        let stolen = key_of(&world, Role::Issue).await;
        rotate(&world, vec![new_key(Role::Issue), retire(&stolen)], 1).await;

        // The way forward: what waits was signed again, and is the same chain.
        let pending = world.pending(&device).await.expect("pending");
        assert_eq!(world.pending(&device).await.expect("pending"), pending);
        let again = UpdateFile::read(&pending).expect("a file").segments.pop().expect("a segment");
        assert_eq!(again.envelope().unverified_payload(), thief.envelope().unverified_payload());
        assert_ne!(again.envelope().signatures(), thief.envelope().signatures());

        let mut informed = device.clone();
        informed.root = world.newest_root().await;
        let before = informed.state.clone();
        let refused = informed.import(&second.file.bytes).expect_err("the stolen key");
        assert!(matches!(refused, FileError::Forged(_)), "{refused}");
        assert_eq!(informed.state, before);
        let receipt = device.import(&pending).expect("the new key");
        assert_eq!((device.root.version(), device.state.counter), (2, 2));
        assert!(informed.import(&pending).is_ok(), "the segment before stays good");
        world.take(&receipt).await;
        // The answer of before stays what it was, byte for byte.
        let answered = world.issue(&device, "act_2", vec![add(2)]).await;
        assert_eq!(answered.file.bytes, second.file.bytes);
        let third = world.issue(&device, "act_3", vec![withdraw(1)]).await;
        device.import(&third.file.bytes).expect("an import");
    })
    .await;
}

#[tokio::test]
async fn another_process_notices_a_rotation_without_a_restart() {
    worlds(async |world| {
        let other = world.restarted(None).await;
        let mut device = world.known_device(1).await;
        other.issue(&device, "act_1", vec![add(1)]).await;
        let stolen = key_of(&world, Role::Issue).await;
        rotate(&world, vec![new_key(Role::Issue), retire(&stolen)], 1).await;
        let issued = other.issue(&device, "act_2", vec![add(2)]).await;
        device.root = world.newest_root().await;
        device.import(&issued.file.bytes).expect("both segments by the new key");
        assert_eq!(device.state.counter, 2);
    })
    .await;
}

#[tokio::test]
async fn an_issue_key_outside_its_window_signs_nothing_and_orders_wait() {
    worlds(async |world| {
        let device = world.known_device(1).await;
        let old = key_of(&world, Role::Issue).await;
        let end = world.issuer_now().saturating_add(Duration::from_secs(40 * 24 * 3_600));
        let limit = Change::Limit { id: old.id().to_string(), not_after: end };
        rotate(&world, vec![Asked::Change(limit)], 1).await;
        let warnings = async || {
            let document = world.issuer.roots(firm(FIRM)).await.expect("roots").document.expect("a document");
            let held = world.issuer.held(&document).await;
            world.issuer.warnings(&document, &held)
        };
        assert!(warnings().await.is_empty());
        world.clock.advance(Duration::from_secs(15 * 24 * 3_600));
        let told = warnings().await;
        assert!(told.len() == 1 && told[0].contains("issue key ends within 30 days"), "{told:?}");
        world.clock.advance(Duration::from_secs(26 * 24 * 3_600));
        assert!(warnings().await[0].contains("no issue key is valid"));
        let refused = world.try_issue(&device, "act_1", vec![add(1)]).await.expect_err("no key");
        assert_eq!(code(refused), ErrorCode::Unavailable);
        assert!(world.pending(&device).await.is_none(), "nothing left the house");
        assert!(world.issuer.can_issue().await.expect_err("not ready").contains("issue key"));
        rotate(&world, vec![new_key(Role::Issue)], 2).await;
        world.issuer.can_issue().await.expect("ready again");
        let issued = world.issue(&device, "act_1", vec![add(1)]).await;
        let mut device = device;
        device.import(&issued.file.bytes).expect("an import");
    })
    .await;
}

#[tokio::test]
async fn two_of_three_holders_make_a_firm_and_replace_the_one_who_lost_his_key() {
    worlds(async |world| {
        let (alice, bob, carol, dave) = (holder(101), holder(102), holder(103), holder(104));
        let people = [&alice, &bob, &carol].map(|holder| holder.public_key());
        let (code_, name) = (firm(77), FirmName::new("People").expect("a name"));
        let first = world.issuer.propose_first(code_, &name, people.to_vec(), 2).await.expect("a proposal");
        let again = world.issuer.propose_first(code_, &name, people.to_vec(), 2).await.expect("the same");
        assert_eq!(again.envelope, first.envelope);
        let wanted = fingerprint(&first.document);
        let unsigned = world.issuer.install_root(code_, &wanted).await.expect_err("no signature");
        assert_eq!(code(unsigned), ErrorCode::Conflict);
        // The same holder twice, and a stranger, are one.
        let (_, added) =
            world.issuer.sign_root(code_, Some(signed(&first, &[&alice, &alice, &dave])), true).await.expect("one");
        assert_eq!(added, 1);
        let (waiting, added) =
            world.issuer.sign_root(code_, Some(signed(&first, &[&alice])), false).await.expect("same");
        assert_eq!((added, waiting.tally.new), (0, (1, 2)));
        assert!(world.issuer.install_root(code_, &wanted).await.is_err());
        assert!(world.issuer.vendor(code_).await.is_err(), "the firm does not exist yet");
        world.issuer.sign_root(code_, Some(signed(&first, &[&bob])), false).await.expect("two");
        let (vendor, installed) = world.issuer.install_root(code_, &wanted).await.expect("a firm");
        assert!(installed && vendor.root_version == 1);

        // Carol lost her key: Dave takes her place. The present two of three and the new two of three must sign.
        let add = Change::Add { role: Role::Root, entry: RoleKey::unlimited(dave.public_key()) };
        let asked = vec![Asked::Change(add), retire(&carol.public_key())];
        let next = world.issuer.propose(code_, asked, [1; 32], false).await.expect("a proposal");
        let other = world.issuer.propose(code_, vec![new_key(Role::Time)], [2; 32], false).await;
        assert_eq!(code(other.expect_err("one waits")), ErrorCode::Conflict);
        let stale = world.issuer.sign_root(code_, Some(signed(&first, &[&bob])), false).await;
        assert_eq!(code(stale.expect_err("another document")), ErrorCode::Conflict);
        let wanted = fingerprint(&next.document);
        for (signers, complete) in [(vec![&dave, &alice], false), (vec![&carol], true), (vec![&bob], true)] {
            let (waiting, _) =
                world.issuer.sign_root(code_, Some(signed(&next, &signers)), false).await.expect("signed");
            assert_eq!(waiting.tally.is_complete(), complete, "{:?}", waiting.tally);
        }
        let (vendor, _) = world.issuer.install_root(code_, &wanted).await.expect("version 2");
        assert_eq!(vendor.root_version, 2);
        let roots = world.issuer.roots(code_).await.expect("roots");
        let followed = TrustedRoot::trust(&roots.envelopes[0]).and_then(|root| root.update(&roots.envelopes[1]));
        assert_eq!(followed.expect("a container follows").version(), 2);
        let asked = vec![new_key(Role::Issue)];
        let third = world.issuer.propose(code_, asked, [3; 32], false).await.expect("a proposal");
        let (waiting, added) =
            world.issuer.sign_root(code_, Some(signed(&third, &[&carol, &alice])), false).await.expect("one counts");
        assert_eq!((added, waiting.tally.old), (1, (1, 2)), "a replaced holder signs nothing any more");
    })
    .await;
}

#[tokio::test]
async fn a_key_of_one_firm_is_never_taken_into_the_root_of_another() {
    worlds(async |world| {
        let ours = key_of(&world, Role::Issue).await;
        let name = FirmName::new("Neighbour").expect("a name");
        world.issuer.make_vendor(firm(5), &name).await.expect("a firm");
        let add = Change::Add { role: Role::Issue, entry: RoleKey::unlimited(ours) };
        let refused = world.issuer.propose(firm(5), vec![Asked::Change(add)], [1; 32], false).await;
        assert_eq!(code(refused.expect_err("a foreign key")), ErrorCode::InvalidArgument);
        let refused = world.issuer.propose_first(firm(6), &name, vec![ours], 1).await;
        assert_eq!(code(refused.expect_err("a foreign key")), ErrorCode::InvalidArgument);
        // The signatures of our root key are none for theirs, and our document never follows theirs.
        let waiting = propose(&world, vec![new_key(Role::Time)], 1).await;
        let theirs =
            world.issuer.propose(firm(5), vec![new_key(Role::Time)], [2; 32], false).await.expect("a proposal");
        let mixed = world.issuer.sign_root(firm(5), Envelope::from_bytes(&waiting.envelope).ok(), false).await;
        assert_eq!(code(mixed.expect_err("another firm's")), ErrorCode::Conflict);
        assert!(world.issuer.install_root(firm(5), &fingerprint(&waiting.document)).await.is_err());
        let (theirs, _) =
            world.issuer.sign_root(firm(5), Envelope::from_bytes(&theirs.envelope).ok(), true).await.expect("signed");
        let stored = store::vendor::roots_after(&world.db, firm(FIRM), 0).await.expect("roots");
        let root = TrustedRoot::trust(&stored[0].envelope).expect("our root");
        assert!(root.update(&theirs.envelope).is_err(), "a container refuses it as well");
    })
    .await;
}

#[tokio::test]
async fn changes_that_lead_to_no_root_document_are_refused_with_words() {
    worlds(async |world| {
        let issue = key_of(&world, Role::Issue).await;
        let root = key_of(&world, Role::Root).await;
        let soon = world.issuer_now();
        let entry = RoleKey { not_after: Some(soon), ..RoleKey::unlimited(holder(9).public_key()) };
        for asked in [
            vec![retire(&issue)],
            vec![retire(&root)],
            vec![Asked::Change(Change::Threshold { role: Role::Root, count: 2 })],
            vec![Asked::Change(Change::Threshold { role: Role::Issue, count: 0 })],
            vec![Asked::Change(Change::Add { role: Role::Root, entry })],
            vec![Asked::Change(Change::Add { role: Role::Time, entry: RoleKey::unlimited(issue) })],
            vec![Asked::Change(Change::Limit { id: root.id().to_string(), not_after: soon })],
            vec![Asked::Change(Change::Retire { id: "abc".to_owned() })],
        ] {
            let text = format!("{asked:?}");
            let refused = world.issuer.propose(firm(FIRM), asked, [1; 32], false).await.expect_err(&text);
            assert!(!refused.problem().next.is_empty(), "{text}");
        }
        assert!(world.issuer.roots(firm(FIRM)).await.expect("roots").waiting.is_none());
        // A key made for a proposal that was dropped is used by the next one.
        let made = |waiting: &Waiting| waiting.document.roles[&Role::Time].keys[1].key;
        let dropped = propose(&world, vec![new_key(Role::Time)], 1).await;
        let asked = vec![new_key(Role::Time), Asked::Change(Change::Threshold { role: Role::Time, count: 2 })];
        let taken = world.issuer.propose(firm(FIRM), asked, [2; 32], true).await.expect("a proposal");
        assert_eq!(made(&taken), made(&dropped));
    })
    .await;
}

/// Whether programs that know the newest root document accept what the container's server would show them.
async fn certified(world: &World, device: &TestDevice) -> bool {
    let certificate = device.state.lease_certificate.as_ref().expect("a certificate");
    let envelope = Envelope::from_bytes(certificate).expect("an envelope");
    let opened = world.newest_root().await.open::<LeaseCertificate>(&envelope);
    opened.is_ok_and(|certificate| certificate.lease_key == device.profile.keys.lease)
}

#[tokio::test]
async fn a_retired_lease_certifier_is_followed_by_a_new_certificate_in_the_next_update() {
    worlds(async |world| {
        let (mut device, mut late) = (world.known_device(1).await, world.known_device(2).await);
        world.issue(&late, "late_1", vec![add(1)]).await;
        let issued = world.issue(&device, "act_1", vec![add(1)]).await;
        device.import(&issued.file.bytes).expect("an import");
        // A closed window is no theft: what the key certified counts on, and nothing is certified again.
        let old = key_of(&world, Role::LeaseCertifier).await;
        let now = world.issuer_now();
        let limit = Asked::Change(Change::Limit { id: old.id().to_string(), not_after: now });
        let next = Asked::NewKey { role: Role::LeaseCertifier, not_before: Some(now), not_after: None };
        rotate(&world, vec![limit, next], 1).await;
        let before = device.state.lease_certificate.clone();
        let issued = world.issue(&device, "act_2", vec![add(2)]).await;
        device.import(&issued.file.bytes).expect("an import");
        assert!(device.state.lease_certificate == before && certified(&world, &device).await);
        // One that was retired speaks for nothing any more. Whatever is issued next brings a new certificate, also under a
        // key that is younger than a day, and in a withdrawal.
        rotate(&world, vec![retire(&old)], 2).await;
        assert!(!certified(&world, &device).await);
        let issued = world.issue(&device, "act_3", vec![withdraw(2)]).await;
        let receipt = device.import(&issued.file.bytes).expect("an import");
        assert!(certified(&world, &device).await);
        world.take(&receipt).await;
        let fresh = device.state.lease_certificate.clone();
        let issued = world.issue(&device, "act_4", vec![add(4)]).await;
        device.import(&issued.file.bytes).expect("an import");
        assert_eq!(device.state.lease_certificate, fresh, "once is enough");
        // A first segment that its container has not taken yet, under the retired key, is no dead end.
        let issued = world.issue(&late, "late_2", vec![add(5)]).await;
        late.import(&issued.file.bytes).expect("an import");
        assert!(certified(&world, &late).await);
    })
    .await;
}

#[tokio::test]
async fn roles_whose_threshold_is_two_sign_with_two_keys_or_not_at_all() {
    worlds(async |world| {
        let two = |role| [new_key(role), Asked::Change(Change::Threshold { role, count: 2 })];
        let asked = two(Role::Issue).into_iter().chain(two(Role::LeaseCertifier)).chain(two(Role::Support));
        rotate(&world, asked.collect(), 1).await;
        world.issuer.can_issue().await.expect("both keys are held");
        let mut device = world.known_device(1).await;
        device.root = world.newest_root().await;
        let issued = world.issue(&device, "act_1", vec![add(1)]).await;
        let receipt = device.import(&issued.file.bytes).expect("two signatures");
        assert!(certified(&world, &device).await);
        world.take(&receipt).await;
        let segment = UpdateFile::read(&issued.file.bytes).expect("a file").segments.pop().expect("a segment");
        assert_eq!(segment.envelope().signatures().len(), 2);
        // A challenge leads to a rebase that two support keys signed.
        let challenge = world.issuer.challenge(firm(FIRM)).await.expect("a challenge").0;
        let taken = world.take(&device.fresh_context(challenge)).await;
        let rebased = world.issuer.rebase(&taken, "back_1".to_owned(), String::new()).await.expect("a rebase");
        device.import(&rebased.file.bytes).expect("two signatures");
        // A second key that people hold elsewhere is no key of ours: nothing is issued with one signature alone.
        let elsewhere = RoleKey::unlimited(holder(200).public_key());
        let three = Asked::Change(Change::Threshold { role: Role::Issue, count: 3 });
        let asked = vec![Asked::Change(Change::Add { role: Role::Issue, entry: elsewhere }), three];
        rotate(&world, asked, 2).await;
        assert!(world.issuer.can_issue().await.expect_err("not ready").contains("issue key"));
        let refused = world.try_issue(&device, "act_2", vec![add(2)]).await.expect_err("too few keys");
        assert_eq!(code(refused), ErrorCode::Unavailable);
    })
    .await;
}

impl World {
    fn issuer_now(&self) -> lictor_clock::Timestamp {
        use lictor_clock::Clock as _;
        self.clock.now()
    }

    async fn newest_root(&self) -> TrustedRoot {
        let mut stored = store::vendor::roots_after(&self.db, firm(FIRM), 0).await.expect("roots").into_iter();
        let first = TrustedRoot::trust(&stored.next().expect("a root").envelope).expect("a root document");
        stored.fold(first, |root, next| root.update(&next.envelope).expect("the next root"))
    }
}
