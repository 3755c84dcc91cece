//! Containers that miss updates, a few or hundreds, and catch up with one file.

use lictor_license_file::{FileError, update};

use crate::golden::{self, Parts};
use crate::support::{Chain, Container, Vendor, add, license, withdraw};

/// `count` segments after each other, each with a license that the one after the next takes away again.
fn long_chain(vendor: &Vendor, container: &Container, count: u64) -> Chain {
    let mut chain = Chain::new(vendor, container);
    for counter in 1..=count {
        let number = u8::try_from(counter % 200).expect("below 200");
        let before = u8::try_from((counter + 198) % 200).expect("below 200");
        let mut operations = vec![add(number, 1)];
        if counter > 2 {
            operations.push(withdraw(before));
        }
        chain.issue(operations);
    }
    chain
}

#[test]
fn a_container_that_missed_2_to_9_takes_one_combined_file() {
    let Parts { vendor, container, .. } = golden::parts();
    let chain = long_chain(&vendor, &container, 10);
    let file = |range: std::ops::Range<usize>| update::build(&[], &chain.segments[range]).expect("a small file");
    // It has the first; the tenth alone is refused and stays good.
    let tenth = file(9..10);
    let gap = container.import(&tenth, &vendor.root, &chain.states[1]);
    assert_eq!(gap, Err(FileError::Gap { have: 1, need: 9 }));
    // The combined file of the vendor, and the same put together from eight files that lay in a mailbox.
    let missed: Vec<Vec<u8>> = (1..9).map(|place| file(place..place + 1)).collect();
    let missed: Vec<&[u8]> = missed.iter().map(Vec::as_slice).collect();
    let combined = update::combine(&missed).expect("a small file");
    assert_eq!(combined, file(1..9));
    let reached = container.import(&combined, &vendor.root, &chain.states[1]).expect("all that was missed");
    assert_eq!(reached, chain.states[9]);
    assert_eq!(container.import(&tenth, &vendor.root, &reached).as_ref(), Ok(chain.latest()));
    // Everything from 2 on serves whoever stands anywhere between.
    for position in 1..=10 {
        let reached = container.import(&file(1..10), &vendor.root, &chain.states[position]);
        assert_eq!(reached.as_ref(), Ok(chain.latest()), "from {position}");
    }
}

#[test]
fn a_container_that_slept_through_500_takes_one_checkpoint() {
    let Parts { vendor, container, .. } = golden::parts();
    let mut chain = long_chain(&vendor, &container, 500);
    let accepts: Vec<u64> = (0..500).collect();
    chain.checkpoint(&accepts);
    chain.issue(vec![add(201, 1)]);
    let small = update::build(&[], &chain.segments[500..]).expect("a small file");
    eprintln!("checkpoint over 500 updates and one after it: {} bytes", small.len());
    assert!(small.len() < 64 * 1024);
    for slept_since in [0, 1, 250, 436, 499, 500, 501] {
        let reached = container.import(&small, &vendor.root, &chain.states[slept_since]);
        assert_eq!(reached.as_ref(), Ok(chain.latest()), "asleep since {slept_since}");
    }
    // The withdrawals on the way happened all the same.
    assert!(!chain.latest().entries.contains_key(&license(1)));
    // Without the checkpoint all of it would not even fit into one file's limit of segments.
    assert!(matches!(update::build(&[], &chain.segments[..500]), Err(FileError::TooLarge { .. })));
}

#[test]
fn the_time_of_an_import_grows_with_its_segments_and_no_faster() {
    let Parts { vendor, container, .. } = golden::parts();
    let chain = long_chain(&vendor, &container, 256);
    for count in [1_usize, 16, 64, 256] {
        let file = update::build(&[], &chain.segments[..count]).expect("a file below the limit");
        let start = std::time::Instant::now();
        let reached = container.import(&file, &vendor.root, &chain.states[0]);
        let spent = start.elapsed();
        assert_eq!(reached.as_ref(), Ok(&chain.states[count]));
        let each = spent.as_micros() / count as u128;
        eprintln!("import of {count} segments: {} us, {each} us each, {} bytes", spent.as_micros(), file.len());
    }
}
