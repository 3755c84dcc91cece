//! Imports: two passes, journal steps, and every refusal that leaves things as they were.

use lictor_license_file::apply::{self, KeyChange};
use lictor_license_file::context::{self, Reason};
use lictor_license_file::evidence::{self, Evidence};
use lictor_license_file::segment::{Operation, ProductKey, Segment};
use lictor_license_file::state::VendorState;
use lictor_license_file::verdict::VerdictCode;
use lictor_license_file::{FileError, RuntimeVersion, issue, product_item, update};
use lictor_licensing::binding::{Binding, Bindings, ContainerKind};
use lictor_licensing::id::ProductCode;
use lictor_licensing::item::{Part, ProductItem};
use lictor_licensing::options::Options;
use lictor_signing::{Envelope, LeaseCertificate};

use crate::golden;
use crate::support::{Chain, Container, FIRM, RUNTIME, Vendor, add, item, license, terms, withdraw};

fn file(segments: &[Vec<u8>]) -> Vec<u8> {
    update::build(&[], segments).expect("a small file")
}

#[test]
fn each_step_carries_what_the_journal_needs() {
    let parts = golden::parts();
    let mut import = apply::verify(
        &file(&parts.chain.segments),
        parts.container.device(),
        &parts.vendor.root,
        &parts.chain.states[2],
    )
    .expect("a good file");
    assert_eq!((import.steps_left(), import.results().len()), (3, 2));
    assert!(import.new_root().is_none());
    for number in 3..=5_usize {
        let step = import.next_step().expect("another step").expect("a good step");
        assert_eq!((step.from + 1, step.to), (step.to, number as u64));
        assert_eq!(step.state, parts.chain.states[number]);
        assert_eq!(step.state_digest, parts.chain.states[number].digest());
        assert_eq!(step.segment, parts.chain.segments[number - 1]);
        assert_eq!(step.note, format!("update {number}"));
        // What a journal writes reads back as the same state.
        assert_eq!(step.state.encode().and_then(|bytes| VendorState::decode(&bytes)), Ok(step.state));
    }
    assert!(import.next_step().is_none() && !import.has_steps());
    let verdicts: Vec<_> = import.results().iter().map(|result| (result.to, result.verdict)).collect();
    let (skipped, applied) = (VerdictCode::AlreadyApplied, VerdictCode::Applied);
    assert_eq!(verdicts, [(1, skipped), (2, skipped), (3, applied), (4, applied), (5, applied)]);
}

#[test]
fn the_same_file_a_hundred_times_is_a_success_that_writes_nothing() {
    let parts = golden::parts();
    let all = file(&parts.chain.segments);
    for _ in 0..100 {
        let import = apply::verify(&all, parts.container.device(), &parts.vendor.root, parts.chain.latest())
            .expect("a known file");
        assert!(!import.has_steps());
        assert!(import.results().iter().all(|result| result.verdict == VerdictCode::AlreadyApplied));
    }
}

#[test]
fn an_older_program_keeps_the_file_for_after_the_upgrade() {
    let parts = golden::parts();
    let mut chain = Chain::new(&parts.vendor, &parts.container);
    let mut demanding = terms(2);
    demanding.min_runtime = RuntimeVersion::new(1, 3, 0);
    chain.issue(vec![add(1, 1)]).issue_with(vec![add(2, 1)], &demanding);
    let both = file(&chain.segments);
    let refusal = parts.container.import(&both, &parts.vendor.root, &chain.states[0]);
    let expected = FileError::RuntimeTooOld { need: RuntimeVersion::new(1, 3, 0), have: RUNTIME };
    assert_eq!(refusal, Err(expected));
    let mut upgraded = parts.container.clone();
    upgraded.profile.runtime = RuntimeVersion::new(1, 3, 0);
    assert_eq!(upgraded.import(&both, &parts.vendor.root, &chain.states[0]).as_ref(), Ok(chain.latest()));
    // Once applied, the demand of a segment no longer matters.
    assert_eq!(parts.container.import(&both, &parts.vendor.root, chain.latest()).as_ref(), Ok(chain.latest()));
}

#[test]
fn a_license_that_may_not_live_here_is_refused_before_it_is_issued_and_when_applied() {
    let vendor = Vendor::new(FIRM);
    let machine = Container::new(1);
    let mut folder = machine.clone();
    folder.profile.kind = ContainerKind::Folder;
    let mut virtual_machine = machine.clone();
    virtual_machine.profile.virtual_machine = true;
    let mut chain = Chain::new(&vendor, &machine);
    chain.issue(vec![Operation::Nop]).issue(vec![add(1, 1)]).issue(vec![add(2, 1)]);
    let all = file(&chain.segments);
    for container in [&folder, &virtual_machine] {
        let plan = issue::plan(&chain.states[1], &container.profile, &vendor.root, vec![add(1, 1)], &terms(2));
        assert!(matches!(plan, Err(FileError::BindingNotAllowed { .. })));
        let mut import =
            apply::verify(&all, container.device(), &vendor.root, &chain.states[0]).expect("signed and in order");
        assert!(import.next_step().is_some_and(|step| step.is_ok()), "the segment before it applies");
        let refusal = import.next_step().expect("a refusal").expect_err("a forbidden license");
        assert!(matches!(refusal, FileError::BindingNotAllowed { .. }));
        assert!(import.next_step().is_none(), "nothing follows a refused segment");
        assert_eq!(import.state(), &chain.states[1]);
        assert_eq!(import.results().last().map(|result| result.verdict), Some(VerdictCode::BindingNotAllowed));
    }
    let options = Options {
        product_code: Some(ProductCode(1)),
        bindings: Some(Bindings::of(&[Binding::Folder])),
        ..Options::default()
    };
    let allowed = ProductItem::new(options, Vec::new()).expect("an item");
    let operation = Operation::AddEntry {
        license: license(1),
        item: product_item::encode(&allowed).expect("a small item"),
        quantity: 0,
    };
    let mut chain = Chain::new(&vendor, &folder);
    chain.issue(vec![operation]);
    let reached = folder.import(&file(&chain.segments), &vendor.root, &chain.states[0]);
    assert_eq!(reached.as_ref(), Ok(chain.latest()));
}

#[test]
fn operations_that_do_not_fit_are_refused_before_they_are_issued() {
    let parts = golden::parts();
    let state = &parts.chain.states[2];
    let raise = |part, by| Operation::RaiseUnits { license: license(2), part, by };
    let other = Container::new(2);
    for (what, operations) in [
        ("a license twice", vec![add(1, 5)]),
        ("a license twice in one segment", vec![add(7, 1), add(7, 1)]),
        ("a withdrawal of nothing", vec![withdraw(9)]),
        ("units for nothing", vec![Operation::RaiseUnits { license: license(9), part: Part::Parent, by: 1 }]),
        ("units for a module that is not there", vec![raise(Part::Module(1), 1)]),
        ("more units than can be counted", vec![raise(Part::Parent, u64::MAX)]),
        (
            "more units than can be counted in two steps",
            vec![raise(Part::Parent, u64::MAX - 1_000), raise(Part::Parent, 1)],
        ),
        ("a key dropped that is not there", vec![Operation::DropProductKey { product: ProductCode(1) }]),
        ("an item that is none", vec![Operation::AddEntry { license: license(7), item: vec![0xA0], quantity: 1 }]),
        (
            "seats for an uncounted license or none for a counted one",
            vec![Operation::AddEntry {
                license: license(7),
                item: product_item::encode(&item(1, 5)).expect("a small item"),
                quantity: 0,
            }],
        ),
        (
            "a certificate for another container",
            vec![Operation::CertifyLeaseKey { certificate: parts.vendor.certificate(&other.profile.keys) }],
        ),
        (
            "a certificate of another vendor",
            vec![Operation::CertifyLeaseKey {
                certificate: Vendor::new(2002).certificate(&parts.container.profile.keys),
            }],
        ),
        ("a replacement of nothing", vec![Operation::ReplaceEntry { license: license(9), item: vec![], quantity: 1 }]),
    ] {
        let plan = issue::plan(state, &parts.container.profile, &parts.vendor.root, operations, &terms(3));
        assert!(plan.is_err(), "{what}");
    }
}

#[test]
fn all_operations_of_a_segment_apply_or_none() {
    let parts = golden::parts();
    let state = &parts.chain.states[2];
    let good = issue::plan(state, &parts.container.profile, &parts.vendor.root, vec![add(7, 1)], &terms(3));
    let bad = vec![add(7, 1), withdraw(9)];
    assert!(issue::plan(state, &parts.container.profile, &parts.vendor.root, bad, &terms(3)).is_err());
    let good = good.expect("a good plan");
    assert_eq!(good.predicted.entries.len(), state.entries.len() + 1);
}

#[test]
fn a_state_that_is_not_what_the_vendor_computed_is_refused() {
    let parts = golden::parts();
    let mut differs = parts.chain.states[2].clone();
    differs.entries.remove(&license(1));
    let refusal = parts.container.import(&file(&parts.chain.segments[2..4]), &parts.vendor.root, &differs);
    assert!(refusal.is_err());
    let mut quietly = parts.chain.states[3].clone();
    quietly.entries.clear();
    let refusal = parts.container.import(&file(&parts.chain.segments[3..4]), &parts.vendor.root, &quietly);
    assert_eq!(refusal, Err(FileError::DigestMismatch));
}

#[test]
fn a_replacement_keeps_granted_units_and_changes_the_rest() {
    let parts = golden::parts();
    let mut chain = parts.chain.clone();
    let larger = item(30_000, 9);
    let encoded = product_item::encode(&larger).expect("a small item");
    chain.issue(vec![Operation::ReplaceEntry { license: license(2), item: encoded, quantity: 9 }]);
    let reached = parts.container.import(&file(&chain.segments[5..]), &parts.vendor.root, &chain.states[5]);
    let reached = reached.expect("a good file");
    let here = reached.entries[&license(2)].product_item().expect("an applied entry");
    assert_eq!(here.product_code(), ProductCode(30_000));
    assert_eq!(here.modules()[0].options.unit_counter.map(|counter| counter.0), Some(35));
}

#[test]
fn product_keys_go_to_the_secret_store_and_leave_a_fingerprint() {
    let parts = golden::parts();
    let mut chain = parts.chain.clone();
    let product = ProductCode(20_002);
    let key = ProductKey::new([0xC5; 32]);
    chain.issue(vec![Operation::SetProductKey { product, key: key.clone() }]);
    chain.issue(vec![Operation::DropProductKey { product }]);
    let both = file(&chain.segments[5..]);
    assert!(!both.windows(32).any(|window| window == [0xC5; 32]), "a key in clear");
    let mut import =
        apply::verify(&both, parts.container.device(), &parts.vendor.root, &chain.states[5]).expect("a good file");
    let step = import.next_step().expect("a step").expect("a good step");
    assert_eq!(step.keys, [KeyChange::Set(product, key.clone())]);
    assert_eq!(step.state.product_keys[&product], key.fingerprint());
    let bytes = step.state.encode().expect("a small state");
    assert!(!bytes.windows(32).any(|window| window == [0xC5; 32]), "a key in the state");
    assert!(!format!("{step:?}").contains("197, 197"));
    let step = import.next_step().expect("a step").expect("a good step");
    assert_eq!(step.keys, [KeyChange::Drop(product)]);
}

#[test]
fn the_lease_certificate_arrives_and_verifies() {
    let parts = golden::parts();
    let bytes = parts.chain.latest().lease_certificate.clone().expect("a certificate");
    let envelope = Envelope::from_bytes(&bytes).expect("an envelope");
    let certificate: LeaseCertificate = parts.vendor.root.open(&envelope).expect("a good certificate");
    assert_eq!(certificate.lease_key, parts.container.profile.keys.lease);
}

#[test]
fn a_container_with_other_keys_cannot_take_the_file() {
    let parts = golden::parts();
    let mut resealed = parts.container.clone();
    resealed.sealing = Container::new(3).sealing;
    resealed.profile.keys.sealing = resealed.sealing.public();
    let refusal = resealed.import(&file(&parts.chain.segments), &parts.vendor.root, &parts.chain.states[0]);
    assert_eq!(refusal, Err(FileError::WrongContainer));
    // Even a program that lies about its keys cannot open the bodies.
    let mut lying = parts.container.clone();
    lying.sealing = Container::new(3).sealing;
    let refusal = lying.import(&file(&parts.chain.segments), &parts.vendor.root, &parts.chain.states[0]);
    assert_eq!(refusal, Err(FileError::Unreadable));
}

#[test]
fn a_fork_leaves_both_segments_as_evidence_in_the_next_context() {
    let parts = golden::parts();
    let mut fork = Chain::new(&parts.vendor, &parts.container);
    fork.issue(vec![add(50, 1)]);
    let refusal = parts
        .container
        .import(&file(&fork.segments), &parts.vendor.root, &parts.chain.states[3])
        .expect_err("another history");
    let known = Segment::read(&parts.chain.segments[0]).expect("a segment").hash();
    assert_eq!(refusal, FileError::Fork { at: 1, known: Some(known), other: fork.segments[0].clone() });
    let mut kept = Vec::new();
    for _ in 0..3 {
        evidence::keep(&mut kept, Evidence::from_refusal(&refusal).expect("evidence"));
    }
    assert_eq!(kept.len(), 1, "the same file many times is one piece of evidence");
    let mut context = parts.container.context(&parts.chain.states[3], 4, Reason::Request);
    context.evidence = kept;
    let sent = context.to_file(&parts.container.signer).expect("a small file");
    let received = context::read(&sent).expect("a good context").context;
    let Evidence::Fork { other, .. } = &received.evidence[0] else { panic!("another kind of evidence") };
    let proof = Segment::read(other).expect("the whole segment");
    assert_eq!(proof.verify(&parts.vendor.root), Ok(()), "the vendor's own signature is the proof");
}

#[test]
fn kept_evidence_is_bounded() {
    let mut kept = Vec::new();
    for number in 0..100_u64 {
        let piece = Evidence::Rollback { local: number, witness: number + 1, at: crate::support::at(0) };
        evidence::keep(&mut kept, piece);
    }
    assert_eq!(kept.len(), 64);
    for number in 0..100_u64 {
        let other = vec![0; 60 * 1024];
        let other_hash = lictor_license_file::Digest([u8::try_from(number).expect("small"); 32]);
        evidence::keep(&mut kept, Evidence::Fork { at: number, known: None, other_hash, other });
    }
    assert!(kept.len() <= 4);
    assert!(matches!(kept.last(), Some(Evidence::Fork { at: 99, .. })));
}

#[test]
fn combining_files_is_concatenation_without_new_signatures() {
    let parts = golden::parts();
    let single: Vec<_> = parts.chain.segments.iter().map(|segment| file(std::slice::from_ref(segment))).collect();
    let single: Vec<&[u8]> = single.iter().map(Vec::as_slice).collect();
    let combined = update::combine(&single).expect("a small file");
    assert_eq!(combined, file(&parts.chain.segments));
    let overlapping = [file(&parts.chain.segments[..3]), file(&parts.chain.segments[1..])];
    let overlapping: Vec<&[u8]> = overlapping.iter().map(Vec::as_slice).collect();
    assert_eq!(update::combine(&overlapping).as_ref(), Ok(&combined));
}
