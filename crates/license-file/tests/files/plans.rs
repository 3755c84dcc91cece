//! The vendor's side: plans that repeat byte for byte, contexts that nobody else can make, modified contexts.

use lictor_license_file::context::{self, Reason};
use lictor_license_file::issue;
use lictor_license_file::modified_context::ModifiedContext;

use crate::golden::{self, Parts};
use crate::support::{Container, FIRM, add, at, terms};

#[test]
fn a_plan_made_again_after_a_crash_has_the_same_bytes() {
    let Parts { vendor, container, chain, .. } = golden::parts();
    let plan = || {
        issue::plan(chain.latest(), &container.profile, &vendor.root, vec![add(9, 1)], &terms(6)).expect("a good plan")
    };
    let (first, second) = (plan(), plan());
    assert_eq!(first, second);
    assert_eq!(vendor.sign(&first), vendor.sign(&second));
    // Another text under the same seed shares no key with it: the encapsulated keys differ.
    let other = issue::plan(chain.latest(), &container.profile, &vendor.root, vec![add(10, 1)], &terms(6))
        .expect("a good plan");
    assert_ne!(first.payload, other.payload);
    assert_eq!((first.from, first.to, first.previous_head), (5, 6, chain.latest().head));
    assert_eq!(first.head, first.predicted.head);
}

#[test]
fn a_context_edited_by_anybody_is_refused() {
    let Parts { container, chain, .. } = golden::parts();
    let context = container.context(&chain.states[3], 10, Reason::Request);
    let thief = Container::new(2);
    let stolen = context.to_file(&thief.signer).expect("a small file");
    assert!(context::read(&stolen).is_err(), "signed with another key");
    // A thief's own key makes it another container.
    let mut renamed = context.clone();
    renamed.keys.signing = thief.profile.keys.signing;
    let renamed = context::read(&renamed.to_file(&thief.signer).expect("a small file")).expect("a good context");
    assert_ne!(renamed.context.container_id(), context.container_id());
}

#[test]
fn a_modified_context_is_the_vendors_own_and_whole() {
    let Parts { vendor, rotated, container, chain, .. } = golden::parts();
    let confirmed =
        container.context(&chain.states[2], 3, Reason::Request).to_file(&container.signer).expect("a small file");
    let good = ModifiedContext {
        confirmed: Some(confirmed),
        pending: chain.segments[2..].to_vec(),
        predicted: chain.latest().clone(),
    };
    let read = |modified: &ModifiedContext| {
        let file = modified.to_file(at(1), &[&vendor.issue]).expect("a small file");
        ModifiedContext::read(&file, &vendor.root)
    };
    assert_eq!(read(&good).as_ref(), Ok(&good));
    let by_stranger = good.to_file(at(1), &[&container.signer]).expect("a small file");
    assert!(ModifiedContext::read(&by_stranger, &vendor.root).is_err());
    let by_new = good.to_file(at(1), &[&rotated.issue]).expect("a small file");
    assert!(ModifiedContext::read(&by_new, &vendor.root).is_err());
    let shuffled =
        ModifiedContext { pending: vec![chain.segments[3].clone(), chain.segments[2].clone()], ..good.clone() };
    assert!(read(&shuffled).is_err());
    let short = ModifiedContext { pending: chain.segments[2..4].to_vec(), ..good.clone() };
    assert!(read(&short).is_err(), "the pending segments end before the prediction");
    let foreign = Container::new(2);
    let foreign_context =
        foreign.context(&foreign.genesis(FIRM), 1, Reason::Request).to_file(&foreign.signer).expect("a small file");
    let mixed = ModifiedContext { confirmed: Some(foreign_context), ..good.clone() };
    assert!(read(&mixed).is_err());
    assert!(!good.needs_checkpoint());
    let full = ModifiedContext { pending: vec![chain.segments[0].clone(); 64], ..good };
    assert!(full.needs_checkpoint());
}
