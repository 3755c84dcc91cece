//! Every arrangement of segments around a rebase, good ones and spoiled ones, on every position of a container, against a
//! model that knows epochs and histories by name.

use std::collections::HashSet;
use std::mem::discriminant;

use lictor_license_file::segment::{Question, RebasePayload, Segment};
use lictor_license_file::state::VendorState;
use lictor_license_file::{FileError, update};
use lictor_signing::{Envelope, SignedPayload as _};

use crate::support::{Chain, Container, FIRM, QUESTION, Rebase, Vendor, add, finish, scale, story, terms};

/// Whether a segment is what it seems, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Make {
    Good,
    Foreign,
    /// A rebase under the signature of the issue role.
    ByIssueKey,
    /// A rebase that answers another question than the one that is remembered.
    Stale,
}

#[derive(Clone, Debug)]
struct Named {
    make: Make,
    epoch: u32,
    history: Vec<&'static str>,
    bytes: Vec<u8>,
}

impl Named {
    fn is_rebase(&self) -> bool {
        self.epoch > 0 && self.history.len() == 1
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Applied,
    AlreadyApplied,
    Gap,
    Fork,
    WrongContainer,
    WrongEpoch,
    Forged,
    BadSequence,
    NotAnAnswer,
    TooMany,
}

/// What a container is known by.
struct Position {
    epoch: u32,
    history: Vec<&'static str>,
    asked: bool,
    state: VendorState,
}

fn model(device: &Position, file: &[&Named]) -> Expected {
    if file.iter().filter(|segment| segment.is_rebase()).count() > 1 {
        return Expected::TooMany;
    }
    let applied = |segment: &Named| {
        // What was applied is known by what was signed, not by who signed it.
        segment.epoch == device.epoch && device.history.starts_with(&segment.history)
    };
    let rebase = file.first().filter(|first| first.is_rebase() && first.epoch > device.epoch);
    let epoch = rebase.map_or(device.epoch, |rebase| rebase.epoch);
    for segment in file.iter().filter(|segment| !applied(segment)) {
        match segment.make {
            Make::ByIssueKey => return Expected::Forged,
            Make::Foreign => return Expected::WrongContainer,
            Make::Good | Make::Stale if segment.epoch != epoch => return Expected::WrongEpoch,
            Make::Good | Make::Stale => {}
        }
    }
    let linked = file
        .windows(2)
        .all(|pair| pair[0].epoch == pair[1].epoch && pair[0].history == pair[1].history[..pair[1].history.len() - 1]);
    if !linked {
        return Expected::BadSequence;
    }
    if let Some(rebase) = rebase {
        let answered = device.asked && rebase.make == Make::Good;
        return if answered { Expected::Applied } else { Expected::NotAnAnswer };
    }
    let position = device.history.len();
    if file.iter().any(|segment| segment.history.len() <= position && !applied(segment)) {
        return Expected::Fork;
    }
    match file.iter().find(|segment| segment.history.len() > position) {
        None => Expected::AlreadyApplied,
        Some(first) if first.history.len() > position + 1 => Expected::Gap,
        Some(first) if first.history[..position] != device.history[..] => Expected::Fork,
        Some(_) => Expected::Applied,
    }
}

struct World {
    vendor: Vendor,
    container: Container,
    segments: Vec<Named>,
    positions: Vec<Position>,
    /// All states that an honest vendor leads to.
    states: Vec<VendorState>,
}

fn world() -> World {
    let vendor = Vendor::new(FIRM);
    let container = Container::new(1);
    let main = story(&vendor, &container);
    let mut next = main.rebased(&Rebase::default());
    next.issue(vec![add(30, 1)]).issue(vec![add(31, 1)]);
    let second = next.rebased(&Rebase::default());
    let stale = main.rebased(&Rebase { answers: Question { device_nonce: [1; 16], ..QUESTION }, ..Rebase::default() });
    let foreign = story(&vendor, &Container::new(2)).rebased(&Rebase::default());
    let mut fork = Chain::new(&vendor, &container);
    fork.issue_with(vec![add(12, 1)], &terms(12));

    let payload = Segment::read(&next.segments[0]).expect("a segment").envelope().unverified_payload().to_vec();
    let forged = Envelope::sign(RebasePayload::PAYLOAD_TYPE, payload, &[&vendor.issue]).expect("signed").to_bytes();

    let (old, new) = (["s1", "s2", "s3", "s4", "s5"], ["r1", "t2", "t3"]);
    let named = |make, epoch, history: &[&'static str], bytes: &Vec<u8>| Named {
        make,
        epoch,
        history: history.to_vec(),
        bytes: bytes.clone(),
    };
    let segments = vec![
        named(Make::Good, 0, &old[..4], &main.segments[3]),
        named(Make::Good, 0, &old, &main.segments[4]),
        named(Make::Good, 1, &new[..1], &next.segments[0]),
        named(Make::Good, 1, &new[..2], &next.segments[1]),
        named(Make::Good, 1, &new, &next.segments[2]),
        named(Make::Good, 2, &["u1"], &second.segments[0]),
        named(Make::Stale, 1, &["stale"], &stale.segments[0]),
        named(Make::Foreign, 1, &["foreign"], &foreign.segments[0]),
        named(Make::ByIssueKey, 1, &new[..1], &forged),
    ];
    let mut positions = Vec::new();
    let mut stand = |epoch, history: &[&'static str], state: &VendorState| {
        for asked in [true, false] {
            positions.push(Position { epoch, history: history.to_vec(), asked, state: state.clone() });
        }
    };
    for place in [0, 2, 3, 4, 5] {
        stand(0, &old[..place], &main.states[place]);
    }
    stand(0, &["f1"], fork.latest());
    for place in 1..=3 {
        stand(1, &new[..place], &next.states[place]);
    }
    stand(1, &["stale"], stale.latest());
    stand(2, &["u1"], second.latest());
    let states = [main, next, second].into_iter().flat_map(|chain| chain.states).collect();
    World { vendor, container, segments, positions, states }
}

/// All ordered selections of one to `longest` segments, the same one twice included.
fn arrangements(count: usize, longest: usize) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = Vec::new();
    let mut frontier: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..longest {
        frontier = frontier
            .iter()
            .flat_map(|arrangement| (0..count).map(|place| [arrangement.as_slice(), &[place]].concat()))
            .collect();
        all.extend(frontier.iter().cloned());
    }
    all
}

fn observed(world: &World, file: &[u8], position: &Position) -> Expected {
    let questions = if position.asked { vec![QUESTION] } else { Vec::new() };
    let container = Container { questions, ..world.container.clone() };
    match container.verify(file, &world.vendor.root, &position.state) {
        Ok(mut import) if import.has_steps() => {
            finish(&mut import).expect("verified segments of an honest vendor apply");
            assert!(world.states.contains(import.state()), "a state outside of all histories");
            Expected::Applied
        }
        Ok(import) => {
            assert_eq!(import.state(), &position.state);
            Expected::AlreadyApplied
        }
        Err(FileError::Gap { .. }) => Expected::Gap,
        Err(FileError::Fork { .. }) => Expected::Fork,
        Err(FileError::WrongContainer) => Expected::WrongContainer,
        Err(FileError::WrongEpoch { .. }) => Expected::WrongEpoch,
        Err(FileError::Forged(_)) => Expected::Forged,
        Err(FileError::BadSequence) => Expected::BadSequence,
        Err(FileError::NotAnAnswer) => Expected::NotAnAnswer,
        Err(FileError::TooLarge { .. }) => Expected::TooMany,
        Err(other) => panic!("unexpected refusal: {other}"),
    }
}

#[test]
fn every_arrangement_around_a_rebase_gets_the_expected_verdict_on_every_position() {
    let world = world();
    let longest = if scale() >= 10 { 4 } else { 3 };
    let (mut cases, mut seen) = (0_usize, HashSet::new());
    for arrangement in arrangements(world.segments.len(), longest) {
        let file: Vec<&Named> = arrangement.iter().map(|place| &world.segments[*place]).collect();
        let segments: Vec<_> = file.iter().map(|named| named.bytes.clone()).collect();
        let bytes = update::build(&[], &segments).expect("a small file");
        for position in &world.positions {
            let expected = model(position, &file);
            let names: Vec<_> = file.iter().map(|named| (named.make, named.history.last())).collect();
            let at = (position.epoch, &position.history, position.asked);
            assert_eq!(observed(&world, &bytes, position), expected, "container at {at:?}, file {names:?}");
            seen.insert(discriminant(&expected));
            cases += 1;
        }
    }
    assert!(cases > 15_000, "only {cases} cases");
    assert_eq!(seen.len(), 10, "a verdict never came up");
}
