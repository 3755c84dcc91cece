//! Rebases: the way back from everywhere, for the one container that asked, once.

use std::collections::BTreeMap;

use lictor_license_file::context::{self, Reason};
use lictor_license_file::device::PartCounters;
use lictor_license_file::frame::{self, FileType, SectionType};
use lictor_license_file::segment::{
    Operation, ProductKey, Question, RebasePayload, Segment, SegmentHeader, SegmentKind, SegmentPayload,
};
use lictor_license_file::state::VendorState;
use lictor_license_file::verdict::VerdictCode;
use lictor_license_file::{FileError, issue, update};
use lictor_licensing::error::ErrorCode;
use lictor_licensing::id::ProductCode;
use lictor_licensing::item::Part;
use lictor_signing::{Envelope, Role, RoleKey, RoleRule, SignedPayload as _, Signer, TrustedRoot, cbor};

use crate::golden::{self, Parts};
use crate::support::{
    Chain, Container, FIRM, QUESTION, Rebase, Vendor, add, at, finish, license, rebased, terms, withdraw,
};

fn file(segments: &[Vec<u8>]) -> Vec<u8> {
    update::build(&[], segments).expect("a small file")
}

/// A history that shares only its first segment with the story.
fn forked(parts: &Parts) -> Chain {
    let mut fork = Chain::new(&parts.vendor, &parts.container);
    fork.segments.push(parts.chain.segments[0].clone());
    fork.states.push(parts.chain.states[1].clone());
    for number in 12..16 {
        fork.issue_with(vec![add(number, 1)], &terms(u64::from(number)));
    }
    fork
}

#[test]
fn a_rebase_leads_from_every_position_to_what_the_vendor_says() {
    let parts = golden::parts();
    let Parts { vendor, container, chain, .. } = &parts;
    let next = rebased(chain);
    let fork = forked(&parts);
    // Restored from a backup, up to date, on another history, and with everything lost.
    for state in chain.states.iter().chain(&fork.states) {
        let reached = container.import(&file(&next.segments), &vendor.root, state).expect("it was asked for");
        assert_eq!(&reached, next.latest());
        assert_eq!((reached.epoch, reached.counter, reached.base_counter), (1, 2, 1));
        assert!(!reached.entries.contains_key(&license(3)), "withdrawn by the rebase");
        assert_eq!(VendorState::decode(&reached.encode().expect("a small state")), Ok(reached));
    }
}

#[test]
fn a_rebase_is_taken_once_and_is_no_news_afterwards() {
    let Parts { vendor, mut container, chain, .. } = golden::parts();
    let mut next = rebased(&chain);
    // What the server does: the question is spent.
    container.questions.clear();
    for position in 1..next.states.len() {
        let state = &next.states[position];
        let mut import = container.verify(&file(&next.segments[..1]), &vendor.root, state).expect("no news");
        assert!(!import.has_steps());
        finish(&mut import).expect("nothing to do");
        assert_eq!(import.results()[0].verdict, VerdictCode::AlreadyApplied);
    }
    // Also behind a checkpoint, where its hash is not known any more.
    next.checkpoint(&[1, 2]).issue(vec![add(40, 1)]);
    let import = container.verify(&file(&next.segments), &vendor.root, next.latest()).expect("no news");
    assert!(!import.has_steps());
    assert_eq!(container.import(&file(&next.segments), &vendor.root, &next.states[1]).as_ref(), Ok(next.latest()));
    // The epoch before is over, and its files with it.
    let refusal = container.import(&file(&chain.segments), &vendor.root, next.latest());
    assert_eq!(refusal, Err(FileError::WrongEpoch { have: 1, found: 0 }));
}

#[test]
fn a_rebase_that_was_not_asked_for_is_refused() {
    let Parts { vendor, container, chain, .. } = golden::parts();
    let stale = FileError::NotAnAnswer;
    assert_eq!((stale.code(), stale.verdict()), (ErrorCode::FileForOther, VerdictCode::StaleAnswer));
    let other_nonce = Question { device_nonce: [1; 16], ..QUESTION };
    let other_challenge = Question { challenge: [1; 32], ..QUESTION };
    for answers in [other_nonce, other_challenge] {
        let next = chain.rebased(&Rebase { answers, ..Rebase::default() });
        for state in &chain.states {
            assert_eq!(container.import(&file(&next.segments), &vendor.root, state), Err(stale.clone()));
        }
    }
    // A container that never asked, and the plain way in, take none at all.
    let silent = Container { questions: Vec::new(), ..container.clone() };
    let good = file(&rebased(&chain).segments);
    assert_eq!(silent.import(&good, &vendor.root, chain.latest()), Err(stale.clone()));
    let plain = lictor_license_file::apply::verify(&good, container.device(), &vendor.root, chain.latest());
    assert_eq!(plain.err(), Some(stale));
}

#[test]
fn a_question_is_the_nonces_of_a_context_with_a_challenge() {
    let Parts { container, chain, .. } = golden::parts();
    let mut asking = container.context(&chain.states[2], 4, Reason::Request);
    assert_eq!(asking.question(), None, "no challenge, no question");
    asking.vendor_nonce = Some([0xCA; 32]);
    let file = asking.to_file(&container.signer).expect("a small file");
    let read = context::read(&file).expect("a good context").context;
    assert_eq!(read.question(), Some(Question { device_nonce: asking.device_nonce, challenge: [0xCA; 32] }));
}

#[test]
fn a_rebase_for_another_container_vendor_or_device_key_is_refused() {
    let Parts { vendor, container, chain, .. } = golden::parts();
    let good = file(&rebased(&chain).segments);
    let other = Container::new(2);
    let refusal = other.import(&good, &vendor.root, &other.genesis(FIRM));
    assert_eq!(refusal, Err(FileError::WrongContainer));
    let stranger = Vendor::new(2002);
    let theirs = rebased(&crate::support::story(&stranger, &container));
    let refusal = container.import(&file(&theirs.segments), &vendor.root, chain.latest());
    assert!(matches!(refusal, Err(FileError::WrongVendor { found: 2002, .. })), "{refusal:?}");
    let mut resealed = container.clone();
    resealed.profile.keys.sealing = other.profile.keys.sealing;
    assert_eq!(resealed.import(&good, &vendor.root, chain.latest()), Err(FileError::WrongContainer));
}

/// Signs a rebase whose header was changed by hand, as a thief of the support key could.
fn tampered(chain: &Chain, change: impl FnOnce(&mut SegmentHeader)) -> Vec<u8> {
    let plan = chain.plan_rebase(&Rebase::default());
    let payload: SegmentPayload = cbor::decode(&plan.payload).expect("a plan");
    let mut header = payload.header().clone();
    change(&mut header);
    // The payload is a record of header, encapsulated key and sealed body.
    let mut writer = cbor::Writer::new();
    let mut reader = cbor::Reader::new(&plan.payload);
    let mut fields = reader.fields().expect("a record");
    fields.required(0, |r| r.bytes(usize::MAX).map(drop)).expect("a header");
    let encapsulated = fields.required(1, |r| r.bytes(32).map(<[u8]>::to_vec)).expect("a key");
    let sealed = fields.required(2, |r| r.bytes(usize::MAX).map(<[u8]>::to_vec)).expect("a body");
    writer.record(|fields| {
        fields.field(0, |w| w.bytes(&cbor::encode(&header)));
        fields.field(1, |w| w.bytes(&encapsulated));
        fields.field(2, |w| w.bytes(&sealed));
    });
    let support = Vendor::role_key(FIRM, Role::Support, 0);
    Envelope::sign(RebasePayload::PAYLOAD_TYPE, writer.into_bytes(), &[&support]).expect("signed").to_bytes()
}

#[test]
fn neither_counter_nor_epoch_can_be_pushed_to_its_end() {
    let Parts { vendor, container, chain, .. } = golden::parts();
    let import = |segment: Vec<u8>| container.import(&file(&[segment]), &vendor.root, chain.latest());
    for epoch in [18, 1_000, u32::MAX - 1, u32::MAX] {
        let far = tampered(&chain, |header| header.epoch = epoch);
        let expected = FileError::WrongEpoch { have: 0, found: epoch };
        assert_eq!(import(far), Err(expected), "epoch {epoch}");
    }
    let backwards = tampered(&chain, |header| header.epoch = 0);
    assert!(matches!(import(backwards), Err(FileError::Malformed(_))));
    for (from, to) in [(5, 6), (u64::MAX - 1, u64::MAX), (0, u64::MAX), (0, 0), (1, 2)] {
        let pushed = tampered(&chain, |header| (header.from, header.to) = (from, to));
        assert!(matches!(import(pushed), Err(FileError::Malformed(_))), "{from} to {to}");
    }
    // A near epoch that its head does not fit, and a head of nothing.
    let near = tampered(&chain, |header| header.epoch = 2);
    assert_eq!(import(near), Err(FileError::BadSequence));
    let elsewhere = tampered(&chain, |header| header.previous_head = chain.states[3].head);
    assert_eq!(import(elsewhere), Err(FileError::BadSequence));
    let other_end = tampered(&chain, |header| {
        header.kind = SegmentKind::Rebase { closes: chain.states[3].head, answers: QUESTION };
    });
    assert_eq!(import(other_end), Err(FileError::BadSequence));
    // An ordinary segment moves neither: its counter is bound to the chain, and it has no say about epochs.
    let mut last = chain.latest().clone();
    last.epoch = u32::MAX;
    let ended = issue::plan_rebase(
        &last,
        &container.profile,
        &vendor.root,
        &[],
        QUESTION,
        &BTreeMap::new(),
        &<_>::default(),
        &terms(9),
    );
    assert!(matches!(ended, Err(FileError::Operation(_))), "the vendor notices the end too");
}

#[test]
fn a_container_restored_to_before_earlier_rebases_still_finds_back() {
    let Parts { vendor, container, chain, .. } = golden::parts();
    let mut chains = vec![chain.clone()];
    for _ in 0..17 {
        let last = chains.last().expect("a chain");
        chains.push(last.rebased(&Rebase::default()));
    }
    for (epoch, next) in chains.iter().enumerate().skip(1) {
        let reached = container.import(&file(&next.segments), &vendor.root, &chain.states[2]);
        if epoch <= 16 {
            assert_eq!(reached.as_ref(), Ok(next.latest()), "epoch {epoch}");
        } else {
            assert_eq!(reached, Err(FileError::WrongEpoch { have: 0, found: 17 }));
        }
    }
    // Never back again.
    let old = container.import(&file(&chains[1].segments), &vendor.root, chains[2].latest());
    assert_eq!(old, Err(FileError::WrongEpoch { have: 2, found: 1 }));
}

#[test]
fn a_rebase_needs_the_threshold_of_the_support_role() {
    let Parts { container, chain, .. } = golden::parts();
    let mut document = Vendor::document(FIRM, 1, 0);
    let keys: Vec<_> = (60..63).map(|number| crate::support::key(FIRM, number)).collect();
    let support = keys.iter().map(|key| RoleKey::unlimited(key.public_key())).collect();
    document.roles.insert(Role::Support, RoleRule { threshold: 2, keys: support });
    let root = TrustedRoot::trust(&Vendor::sign_root(&document, &[0])).expect("a root");
    let plan = chain.plan_rebase(&Rebase::default());
    let issue_key = Vendor::role_key(FIRM, Role::Issue, 0);
    for (signers, accepted) in [
        (vec![&keys[0]], false),
        (vec![&keys[0], &keys[0]], false),
        (vec![&keys[0], &issue_key], false),
        (vec![&keys[0], &keys[2]], true),
        (vec![&keys[0], &keys[1], &keys[2]], true),
    ] {
        let signers: Vec<&dyn Signer> = signers.into_iter().map(|key| key as &dyn Signer).collect();
        let segment = issue::sign_rebase(&plan.payload, &signers).expect("signed");
        let result = container.import(&file(&[segment]), &root, &chain.states[0]);
        assert_eq!(result.is_ok(), accepted, "{} signatures", signers.len());
        assert!(accepted || matches!(result, Err(FileError::Forged(_))));
    }
}

#[test]
fn a_support_key_out_of_its_window_rebases_nothing() {
    let Parts { container, chain, .. } = golden::parts();
    let mut document = Vendor::document(FIRM, 1, 0);
    let key = Vendor::role_key(FIRM, Role::Support, 0).public_key();
    let issued = terms(105).issued_at;
    for (not_before, not_after, accepted) in [
        (Some(issued), None, true),
        (None, Some(issued), false),
        (Some(at(106)), None, false),
        (None, Some(at(106)), true),
    ] {
        let window = RoleKey { key, not_before, not_after };
        document.roles.insert(Role::Support, RoleRule { threshold: 1, keys: vec![window] });
        let root = TrustedRoot::trust(&Vendor::sign_root(&document, &[0])).expect("a root");
        let result = container.import(&file(&rebased(&chain).segments[..1]), &root, &chain.states[0]);
        assert_eq!(result.is_ok(), accepted, "{not_before:?} to {not_after:?}");
    }
}

#[test]
fn a_rebase_carries_keys_operations_and_the_floor_of_the_counters() {
    let Parts { vendor, container, mut chain, .. } = golden::parts();
    let product = ProductCode(20_002);
    let key = ProductKey::new([9; 32]);
    chain.issue(vec![Operation::SetProductKey { product, key: key.clone() }]);
    let mut floor = lictor_license_file::device::DeviceCounters::default();
    let seen = PartCounters { units_used: 40, usage_start: Some(at(7)) };
    floor.0.entry(license(2)).or_default().insert(Part::Parent, seen);
    floor.0.entry(license(1)).or_default().insert(Part::Parent, seen);
    let keys = BTreeMap::from([(product, key.clone())]);
    let rebase = Rebase { keys, floor, operations: vec![withdraw(3), add(8, 1)], ..Rebase::default() };
    let next = chain.rebased(&rebase);
    let mut import = container.verify(&file(&next.segments), &vendor.root, &chain.states[1]).expect("asked for");
    let step = import.next_step().expect("a step").expect("it fits");
    assert!(step.rebased && step.state.product_keys[&product] == key.fingerprint());
    assert!(step.state.entries.contains_key(&license(8)) && !step.state.entries.contains_key(&license(3)));
    assert_eq!(step.floor.part(license(2), Part::Parent), seen);
    assert_eq!(step.floor.0.len(), 1, "nothing about licenses that are not there");
    // Merging only raises, in whichever order.
    let mut own = step.floor.clone();
    own.0.entry(license(2)).or_default().insert(Part::Parent, PartCounters { units_used: 55, usage_start: None });
    own.merge(&step.floor);
    let merged = own.part(license(2), Part::Parent);
    assert_eq!(merged, PartCounters { units_used: 55, usage_start: Some(at(7)) });
}

#[test]
fn a_program_from_before_rebases_asks_for_an_upgrade() {
    let parts = golden::parts();
    let good = golden::read("v1-rebase.rau");
    // Its section has a number that those programs did not know, with the critical mark.
    assert_eq!(u16::from_be_bytes([good[18], good[19]]), 0x8005);
    // To this program the next number is what that one is to them.
    let mut newer = good.clone();
    newer[19] = 6;
    crate::support::close_again(&mut newer);
    let refusal = parts.container.import(&newer, &parts.vendor.root, &parts.chain.states[0]).expect_err("unknown");
    assert_eq!(refusal, FileError::UnknownCritical("section 6".to_owned()));
    assert_eq!(refusal.code(), ErrorCode::FileTooNew);
    assert!(refusal.next().starts_with("upgrade the license server"));
    // The same file works later: nothing was burned.
    assert!(parts.container.import(&good, &parts.vendor.root, &parts.chain.states[0]).is_ok());
}

#[test]
fn a_rebase_in_the_section_of_segments_is_refused_and_the_other_way_round() {
    let Parts { vendor, container, chain, .. } = golden::parts();
    let rebase = rebased(&chain).segments[0].clone();
    for (section, bytes) in [(SectionType::Segment, &rebase), (SectionType::Rebase, &chain.segments[0])] {
        let file = frame::build(FileType::Update, &[(section, bytes)]).expect("a small file");
        let refusal = container.import(&file, &vendor.root, &chain.states[0]);
        assert!(matches!(refusal, Err(FileError::Damaged(_))), "{refusal:?}");
    }
    let twice = frame::build(FileType::Update, &[(SectionType::Rebase, &rebase), (SectionType::Rebase, &rebase)]);
    let refusal = container.import(&twice.expect("a small file"), &vendor.root, &chain.states[0]);
    assert!(matches!(refusal, Err(FileError::TooLarge { .. })), "{refusal:?}");
}

#[test]
fn a_rebase_planned_again_after_a_crash_has_the_same_bytes() {
    let Parts { chain, .. } = golden::parts();
    let (first, second) = (chain.plan_rebase(&Rebase::default()), chain.plan_rebase(&Rebase::default()));
    assert_eq!(first, second);
    assert_eq!((first.from, first.to, first.predicted.epoch), (0, 1, 1));
    let segment = Segment::read(&chain.rebased(&Rebase::default()).segments[0]).expect("a segment");
    assert_eq!((segment.head(), segment.hash()), (first.head, first.hash));
    assert_ne!(first.previous_head, chain.latest().head, "the new chain begins with a genesis of its own");
}
