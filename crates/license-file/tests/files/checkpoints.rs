//! Checkpoints: one small file for a container that slept for years, and no way around anything.

use std::collections::BTreeMap;

use lictor_license_file::segment::{Operation, ProductKey};
use lictor_license_file::{FileError, issue, product_item, update};
use lictor_licensing::id::{LicenseId, ProductCode};
use lictor_licensing::item::ProductItem;
use lictor_licensing::options::{DataEntries, Options};
use proptest::prelude::*;

use crate::golden::{self, Parts};
use crate::support::{Chain, add, license, scale, terms, withdraw};

fn file(segments: &[Vec<u8>]) -> Vec<u8> {
    update::build(&[], segments).expect("a small file")
}

#[test]
fn a_checkpoint_applies_from_exactly_the_heads_it_lists() {
    let Parts { vendor, container, mut chain, .. } = golden::parts();
    chain.checkpoint(&[1, 3]);
    let checkpoint = file(&chain.segments[5..]);
    for position in 0..=6_usize {
        let result = container.import(&checkpoint, &vendor.root, &chain.states[position]);
        match position {
            // The own predecessor is accepted without being listed.
            1 | 3 | 5 | 6 => assert_eq!(result.as_ref(), Ok(&chain.states[6]), "from {position}"),
            _ => assert_eq!(result, Err(FileError::Gap { have: position as u64, need: 5 }), "from {position}"),
        }
    }
}

#[test]
fn after_a_checkpoint_every_way_led_to_the_same_chain() {
    let Parts { vendor, container, mut chain, .. } = golden::parts();
    chain.checkpoint(&[0, 1, 2, 3, 4]).issue(vec![add(30, 1)]).issue(vec![withdraw(30)]);
    let all = file(&chain.segments);
    let short = file(&chain.segments[5..]);
    for position in 0..=8 {
        for bytes in [&all, &short] {
            let reached = container.import(bytes, &vendor.root, &chain.states[position]);
            assert_eq!(reached.as_ref(), Ok(chain.latest()), "from {position}");
        }
    }
    assert_eq!(chain.latest().base_counter, 6);
    assert_eq!(chain.latest().segment_hashes.len(), 2);
}

#[test]
fn an_old_file_after_a_checkpoint_is_no_news_and_no_harm() {
    let Parts { vendor, container, mut chain, .. } = golden::parts();
    chain.checkpoint(&[0]).issue(vec![add(30, 1)]);
    for old in [file(&chain.segments[..3]), file(&chain.segments[2..6]), file(&chain.segments)] {
        let reached = container.import(&old, &vendor.root, chain.latest());
        assert_eq!(reached.as_ref(), Ok(chain.latest()));
    }
}

#[test]
fn a_checkpoint_of_another_history_is_a_fork() {
    let Parts { vendor, container, chain, .. } = golden::parts();
    let mut fork = Chain::new(&vendor, &container);
    fork.issue(vec![add(50, 1)]).issue(vec![add(51, 1)]).checkpoint(&[0, 1]);
    let checkpoint = file(&fork.segments[2..]);
    assert_eq!(container.import(&checkpoint, &vendor.root, &chain.states[0]).as_ref(), Ok(fork.latest()));
    for position in 1..=5 {
        let result = container.import(&checkpoint, &vendor.root, &chain.states[position]);
        assert!(matches!(result, Err(FileError::Fork { at: 3, .. })), "from {position}: {result:?}");
    }
}

#[test]
fn a_checkpoint_carries_withdrawals_keys_and_new_operations() {
    let Parts { vendor, container, mut chain, .. } = golden::parts();
    let product = ProductCode(20_002);
    let key = ProductKey::new([9; 32]);
    chain.issue(vec![Operation::SetProductKey { product, key: key.clone() }]);
    let keys = BTreeMap::from([(product, key.clone())]);
    let heads: Vec<_> = (0..=5_usize).map(|at| (at as u64, chain.states[at].head)).collect();
    let plan = |keys: &BTreeMap<_, _>, heads: &[_]| {
        let operations = [withdraw(2), add(8, 1)];
        let profile = &container.profile;
        issue::plan_checkpoint(chain.latest(), profile, &vendor.root, &operations, heads, keys, &terms(7))
    };
    assert!(plan(&BTreeMap::new(), &heads).is_err(), "a key that the state names is missing");
    let other = BTreeMap::from([(product, ProductKey::new([8; 32]))]);
    assert!(plan(&other, &heads).is_err(), "another key than the state names");
    let future = [(7, chain.states[5].head)];
    assert!(plan(&keys, &future).is_err(), "a head after the checkpoint");
    let ambiguous = [(1, chain.states[1].head), (1, chain.states[2].head)];
    assert!(plan(&keys, &ambiguous).is_err(), "two heads for one counter");
    let plan = plan(&keys, &heads).expect("a good checkpoint");
    let segment = file(&[vendor.sign(&plan)]);
    for position in 0..=6 {
        let reached = container.import(&segment, &vendor.root, &chain.states[position]).expect("an accepted head");
        assert_eq!(reached, plan.predicted);
        assert!(!reached.entries.contains_key(&license(1)), "withdrawn long ago");
        assert!(!reached.entries.contains_key(&license(2)), "withdrawn by the checkpoint");
        assert!(reached.entries.contains_key(&license(3)) && reached.entries.contains_key(&license(8)));
        assert_eq!(reached.product_keys[&product], key.fingerprint());
    }
}

#[test]
fn a_full_pending_list_folds_into_one_small_file() {
    let Parts { vendor, container, .. } = golden::parts();
    let mut chain = Chain::new(&vendor, &container);
    for number in 0..100_u8 {
        chain.issue(vec![add(number, 1)]);
        if number > 2 {
            chain.issue(vec![withdraw(number)]);
        }
    }
    let all: Vec<u64> = (0..chain.latest().counter).collect();
    chain.checkpoint(&all);
    let last = chain.segments.last().cloned().expect("the checkpoint");
    let small = file(&[last]);
    assert!(small.len() < 16 * 1024, "{} bytes", small.len());
    for position in [0, 1, 50, 196] {
        let reached = container.import(&small, &vendor.root, &chain.states[position]);
        assert_eq!(reached.as_ref(), Ok(chain.latest()), "from {position}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20 * u32::try_from(scale()).unwrap_or(1)))]

    #[test]
    fn random_chains_lead_everywhere_to_the_predicted_state(
        steps in proptest::collection::vec((0..6_u8, any::<bool>()), 1..14),
        position in any::<proptest::sample::Index>(),
        start in any::<proptest::sample::Index>(),
    ) {
        let Parts { vendor, container, .. } = golden::parts();
        let mut chain = Chain::new(&vendor, &container);
        for (number, fold) in steps {
            if fold && number < 2 {
                let heads: Vec<u64> = (0..chain.latest().counter).collect();
                chain.checkpoint(&heads);
            } else if chain.latest().entries.contains_key(&license(number)) {
                chain.issue(vec![withdraw(number)]);
            } else {
                chain.issue(vec![add(number, 1)]);
            }
        }
        let count = chain.segments.len();
        let start = start.index(count);
        let position = position.index(count + 1);
        let file = file(&chain.segments[start..]);
        match container.import(&file, &vendor.root, &chain.states[position]) {
            Ok(reached) => prop_assert_eq!(&reached, chain.latest()),
            Err(error) => {
                let gap = FileError::Gap { have: position as u64, need: start as u64 };
                prop_assert_eq!(error, gap);
                prop_assert!(position < start);
            }
        }
    }
}

#[test]
fn a_container_holds_4096_entries_of_a_firm_and_not_one_more() {
    let Parts { vendor, container, .. } = golden::parts();
    let entry = |number: u128| Operation::AddEntry {
        license: LicenseId::from_u128(number),
        item: product_item::encode(&crate::support::item(1, 1)).expect("a small item"),
        quantity: 1,
    };
    let mut chain = Chain::new(&vendor, &container);
    for batch in 0..16_u128 {
        chain.issue((0..256).map(|place| entry(batch * 256 + place)).collect());
    }
    assert_eq!(chain.latest().entries.len(), 4096);
    let plan = issue::plan(chain.latest(), &container.profile, &vendor.root, vec![entry(5_000)], &terms(17));
    assert!(matches!(plan, Err(FileError::TooLarge { .. })));
    chain.checkpoint(&[0]);
    let reached = container.import(&file(&chain.segments[16..]), &vendor.root, &chain.states[0]);
    assert_eq!(reached.as_ref(), Ok(chain.latest()));
}

#[test]
fn a_state_that_would_outgrow_its_limit_is_refused_when_planned() {
    let Parts { vendor, container, .. } = golden::parts();
    let mut text = DataEntries::default();
    for number in 0..128 {
        text.set(number, [number; 256]).expect("a full entry");
    }
    let options = Options { product_code: Some(ProductCode(1)), user_data: Some(text), ..Options::default() };
    let large = ProductItem::new(options, Vec::new()).expect("a large item");
    let large = product_item::encode(&large).expect("below 48 KiB");
    assert!(large.len() > 32 * 1024);
    let mut chain = Chain::new(&vendor, &container);
    let mut refused = None;
    for number in 0..80_u128 {
        let license = LicenseId::from_u128(number);
        let operation = Operation::AddEntry { license, item: large.clone(), quantity: 0 };
        let terms = terms(chain.latest().counter + 1);
        let operations = vec![operation];
        match issue::plan(chain.latest(), &container.profile, &vendor.root, operations.clone(), &terms) {
            Ok(_) => {
                chain.issue(operations);
            }
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    assert!(matches!(refused, Some(FileError::TooLarge { .. })), "{refused:?}");
    // The largest state that can be planned still fits into one checkpoint.
    chain.checkpoint(&[0]);
    let last = chain.segments.last().cloned().expect("the checkpoint");
    assert!(last.len() > 1_900_000, "{} bytes", last.len());
    let reached = container.import(&file(&[last]), &vendor.root, &chain.states[0]);
    assert_eq!(reached.as_ref(), Ok(chain.latest()));
}
