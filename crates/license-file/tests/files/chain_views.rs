//! The vendor's side: plans that repeat byte for byte, and contexts judged against the known chain.

use lictor_license_file::Digest;
use lictor_license_file::context::{self, Context, Reason, VerifiedContext};
use lictor_license_file::evidence::Evidence;
use lictor_license_file::issue::{self, ChainLink, ChainView, ContextVerdict};
use lictor_license_file::modified_context::ModifiedContext;

use crate::golden::{self, Parts};
use crate::support::{Chain, Container, FIRM, add, at, terms};

fn sent(container: &Container, context: &Context) -> VerifiedContext {
    let file = context.to_file(&container.signer).expect("a small file");
    context::read_any(&file).expect("a good context")
}

fn view(chain: &Chain, confirmed: u64, last: Option<(u64, Digest)>) -> ChainView {
    let links = chain.states.iter().map(|state| ChainLink {
        counter: state.counter,
        head: state.head,
        state_digest: state.digest(),
    });
    ChainView {
        container_id: chain.states[0].container_id,
        epoch: 0,
        confirmed,
        links: links.collect(),
        last_context: last,
        open_nonce: None,
    }
}

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
fn a_hundred_old_contexts_change_nothing() {
    let Parts { container, chain, .. } = golden::parts();
    let newest = sent(&container, &container.context(&chain.states[3], 200, Reason::Request));
    let view = view(&chain, 3, Some((200, newest.hash)));
    let modified =
        ModifiedContext { confirmed: None, pending: chain.segments[3..].to_vec(), predicted: chain.latest().clone() };
    let update = modified.pending_update(&[]).expect("a small file");
    for sequence in 1..=100_u64 {
        let position = usize::try_from(sequence % 4).expect("small");
        let old = sent(&container, &container.context(&chain.states[position], sequence, Reason::Request));
        assert_eq!(view.classify(&old), ContextVerdict::Old, "sequence {sequence}");
        assert_eq!(modified.pending_update(&[]).as_ref(), Ok(&update));
    }
    assert_eq!(view.classify(&newest), ContextVerdict::Confirms { counter: 3 }, "the same file once more");
}

#[test]
fn a_first_context_must_stand_at_the_start() {
    let Parts { container, chain, .. } = golden::parts();
    let new = sent(&container, &container.context(&chain.states[0], 1, Reason::Request));
    assert!(ChainView::is_genesis(&new));
    assert_eq!(ChainView::first(&new).classify(&new), ContextVerdict::Confirms { counter: 0 });
    let later = sent(&container, &container.context(&chain.states[2], 1, Reason::Request));
    assert_eq!(ChainView::first(&later).classify(&later), ContextVerdict::AheadUnknown { counter: 2 });
    let mut invented = container.context(&chain.states[0], 1, Reason::Request);
    invented.head = Digest([1; 32]);
    let invented = sent(&container, &invented);
    assert_eq!(ChainView::first(&invented).classify(&invented), ContextVerdict::ForkReported { counter: 0 });
}

#[test]
fn the_verdict_table() {
    let Parts { vendor, container, chain, .. } = golden::parts();
    let last = sent(&container, &container.context(&chain.states[3], 10, Reason::Request));
    let known = view(&chain, 3, Some((10, last.hash)));
    let verdict = |context: &Context| known.classify(&sent(&container, context));
    let at_position = |position: usize, sequence| container.context(&chain.states[position], sequence, Reason::Request);
    let rollback = |counter| ContextVerdict::RollbackSuspected { counter, confirmed: 3 };

    assert_eq!(verdict(&at_position(3, 11)), ContextVerdict::Confirms { counter: 3 });
    assert_eq!(verdict(&at_position(5, 11)), ContextVerdict::Confirms { counter: 5 });
    assert_eq!(verdict(&at_position(3, 9)), ContextVerdict::Old);
    assert_eq!(verdict(&at_position(2, 9)), ContextVerdict::Old);
    // Written after the proof, and yet behind it.
    assert_eq!(verdict(&at_position(2, 11)), rollback(2));
    // One number for two contexts.
    assert_eq!(verdict(&at_position(2, 10)), rollback(2));
    assert_eq!(verdict(&at_position(4, 10)), rollback(4));
    // Ahead of the proof with a number from before it.
    assert_eq!(verdict(&at_position(5, 9)), rollback(5));

    let mut forked = Chain::new(&vendor, &container);
    forked.issue(vec![add(60, 1)]);
    let elsewhere = container.context(forked.latest(), 11, Reason::Request);
    assert_eq!(verdict(&elsewhere), ContextVerdict::ForkReported { counter: 1 });
    let mut witness = at_position(3, 11);
    witness.evidence = vec![Evidence::Fork { at: 2, known: None, other_hash: Digest([0; 32]), other: Vec::new() }];
    assert_eq!(verdict(&witness), ContextVerdict::ForkReported { counter: 2 });
    let mut ahead = chain.clone();
    ahead.issue(vec![add(61, 1)]);
    let unknown = container.context(ahead.latest(), 11, Reason::Request);
    assert_eq!(verdict(&unknown), ContextVerdict::AheadUnknown { counter: 6 });
    let mut broken = at_position(4, 11);
    broken.state_digest = Digest([7; 32]);
    assert_eq!(verdict(&broken), ContextVerdict::StateDiffers { counter: 4 });
    let mut epoch = at_position(3, 11);
    epoch.epoch = 1;
    assert_eq!(verdict(&epoch), ContextVerdict::UnknownContainer);
    let stranger = Container::new(2);
    let foreign = sent(&stranger, &stranger.context(&stranger.genesis(FIRM), 11, Reason::Request));
    assert_eq!(known.classify(&foreign), ContextVerdict::UnknownContainer);
}

#[test]
fn a_fresh_nonce_turns_an_old_position_into_proof_of_a_rollback() {
    let Parts { container, chain, .. } = golden::parts();
    let last = sent(&container, &container.context(&chain.states[3], 10, Reason::Request));
    let mut known = view(&chain, 3, Some((10, last.hash)));
    known.open_nonce = Some([5; 32]);
    let mut context = container.context(&chain.states[1], 4, Reason::Request);
    assert_eq!(known.classify(&sent(&container, &context)), ContextVerdict::Old);
    context.vendor_nonce = Some([6; 32]);
    assert_eq!(known.classify(&sent(&container, &context)), ContextVerdict::Old, "a nonce of somebody else");
    context.vendor_nonce = Some([5; 32]);
    let expected = ContextVerdict::RollbackSuspected { counter: 1, confirmed: 3 };
    assert_eq!(known.classify(&sent(&container, &context)), expected);
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
