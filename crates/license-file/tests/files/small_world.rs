//! Every subset and order of five segments, with every way to spoil one of them, on every position of a container,
//! against a model that knows histories by name and has never heard of hashes.

use lictor_license_file::apply;
use lictor_license_file::state::VendorState;
use lictor_license_file::{FileError, update};
use proptest::prelude::*;

use crate::support::{Chain, Container, FIRM, Vendor, add, finish, license, scale, story, terms};

/// A segment as the model sees it: whose it is, and the names of all segments up to and including it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    ours: bool,
    history: Vec<&'static str>,
}

impl Named {
    fn to(&self) -> usize {
        self.history.len()
    }

    fn before(&self) -> &[&'static str] {
        &self.history[..self.history.len() - 1]
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Empty,
    Applied { to: usize },
    AlreadyApplied,
    Gap { have: usize, need: usize },
    Fork { at: usize },
    WrongContainer,
    BadSequence,
}

/// What must happen when a container with this history imports this file.
fn model(device: &[&'static str], file: &[Named]) -> Expected {
    if file.is_empty() {
        return Expected::Empty;
    }
    let applied = |segment: &Named| segment.ours && device.starts_with(&segment.history);
    if file.iter().any(|segment| !applied(segment) && !segment.ours) {
        return Expected::WrongContainer;
    }
    if file.windows(2).any(|pair| pair[0].history != pair[1].before()) {
        return Expected::BadSequence;
    }
    let position = device.len();
    if let Some(other) = file.iter().find(|segment| segment.to() <= position && !applied(segment)) {
        return Expected::Fork { at: other.to() };
    }
    match file.iter().find(|segment| segment.to() > position) {
        None => Expected::AlreadyApplied,
        Some(first) if first.to() > position + 1 => Expected::Gap { have: position, need: first.to() - 1 },
        Some(first) if first.before() != device => Expected::Fork { at: first.to() },
        Some(_) => Expected::Applied { to: file[file.len() - 1].to() },
    }
}

struct World {
    container: Container,
    vendor: Vendor,
    /// Our five segments, the same five for another container, and five of a forked history that shares the first one.
    ours: Vec<(Named, Vec<u8>)>,
    foreign: Vec<(Named, Vec<u8>)>,
    forked: Vec<(Named, Vec<u8>)>,
    /// Positions of the container: history and state.
    devices: Vec<(Vec<&'static str>, VendorState)>,
}

fn world() -> World {
    let vendor = Vendor::new(FIRM);
    let container = Container::new(1);
    let main = story(&vendor, &container);
    let other = story(&vendor, &Container::new(2));
    let mut fork = Chain::new(&vendor, &container);
    fork.segments.push(main.segments[0].clone());
    fork.states.push(main.states[1].clone());
    for number in 12..16 {
        fork.issue_with(vec![add(number, 1)], &terms(u64::from(number)));
    }
    let names = ["s1", "s2", "s3", "s4", "s5"];
    let fork_names = ["s1", "f2", "f3", "f4", "f5"];
    let named = |ours: bool, names: &[&'static str; 5], chain: &Chain| -> Vec<(Named, Vec<u8>)> {
        (0..5).map(|place| (Named { ours, history: names[..=place].to_vec() }, chain.segments[place].clone())).collect()
    };
    let mut devices: Vec<_> =
        (0..=5).map(|position| (names[..position].to_vec(), main.states[position].clone())).collect();
    devices.extend((2..=5).map(|position| (fork_names[..position].to_vec(), fork.states[position].clone())));
    World {
        ours: named(true, &names, &main),
        foreign: named(false, &names, &other),
        forked: named(true, &fork_names, &fork),
        devices,
        container,
        vendor,
    }
}

/// All ordered selections of up to five different places.
fn arrangements() -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    let mut frontier = vec![Vec::new()];
    for _ in 0..5 {
        let mut longer: Vec<Vec<usize>> = Vec::new();
        for arrangement in &frontier {
            longer.extend((0..5).filter(|place| !arrangement.contains(place)).map(|place| {
                let mut next: Vec<usize> = arrangement.clone();
                next.push(place);
                next
            }));
        }
        all.extend(longer.iter().cloned());
        frontier = longer;
    }
    all
}

type File<'w> = Vec<&'w (Named, Vec<u8>)>;

/// The arrangement as it is, and every way to spoil one of its segments.
fn variants<'w>(world: &'w World, arrangement: &[usize]) -> Vec<File<'w>> {
    let plain: File<'_> = arrangement.iter().map(|place| &world.ours[*place]).collect();
    let mut files = vec![plain.clone()];
    for (place, segment) in arrangement.iter().enumerate() {
        let mut doubled = plain.clone();
        doubled.insert(place, plain[place]);
        files.push(doubled);
        let mut repeated = plain.clone();
        repeated.push(plain[place]);
        files.push(repeated);
        for spoiled in [&world.foreign, &world.forked] {
            let mut file = plain.clone();
            file[place] = &spoiled[*segment];
            files.push(file);
        }
        // From here on the other history.
        let mut file = plain.clone();
        for (target, segment) in file[place..].iter_mut().zip(&arrangement[place..]) {
            *target = &world.forked[*segment];
        }
        files.push(file);
    }
    files
}

fn observed(world: &World, file: &[u8], state: &VendorState) -> Expected {
    let before = state.clone();
    let result = apply::verify(file, world.container.device(), &world.vendor.root, state);
    assert_eq!(*state, before);
    let place = |number: u64| usize::try_from(number).expect("a small number");
    match result {
        Ok(mut import) if import.has_steps() => {
            finish(&mut import).expect("verified segments of an honest vendor apply");
            let reached = import.state();
            let truth = world.devices.iter().find(|(_, known)| known.head == reached.head);
            assert_eq!(truth.map(|(_, known)| known), Some(reached), "a state outside of both histories");
            Expected::Applied { to: place(reached.counter) }
        }
        Ok(import) => {
            assert_eq!(import.state(), state);
            Expected::AlreadyApplied
        }
        Err(FileError::Gap { have, need }) => Expected::Gap { have: place(have), need: place(need) },
        Err(FileError::Fork { at, other, .. }) => {
            assert!(!other.is_empty(), "a fork keeps its evidence");
            Expected::Fork { at: place(at) }
        }
        Err(FileError::WrongContainer) => Expected::WrongContainer,
        Err(FileError::BadSequence) => Expected::BadSequence,
        Err(FileError::Damaged(_)) if file_is_empty(file) => Expected::Empty,
        Err(other) => panic!("unexpected refusal: {other}"),
    }
}

fn file_is_empty(file: &[u8]) -> bool {
    update::build(&[], &[]).is_ok_and(|empty| empty == file)
}

fn bytes(file: &File<'_>) -> Vec<u8> {
    let segments: Vec<_> = file.iter().map(|(_, bytes)| bytes.clone()).collect();
    update::build(&[], &segments).expect("a small file")
}

#[test]
fn every_subset_order_and_spoiled_segment_gets_the_expected_verdict_on_every_position() {
    let world = world();
    let mut cases = 0_usize;
    let mut seen = std::collections::HashSet::new();
    for (number, arrangement) in arrangements().iter().enumerate() {
        // Orders of four and five segments are mostly one verdict; the daily run takes a part of them.
        if arrangement.len() >= 4 && number % 8 != 0 && scale() < 10 && !arrangement.is_sorted() {
            continue;
        }
        for file in variants(&world, arrangement) {
            let names: Vec<_> = file.iter().map(|(named, _)| named.clone()).collect();
            let bytes = bytes(&file);
            for (history, state) in &world.devices {
                let expected = model(history, &names);
                assert_eq!(observed(&world, &bytes, state), expected, "container at {history:?}, file {names:?}");
                seen.insert(std::mem::discriminant(&expected));
                cases += 1;
            }
        }
    }
    assert!(cases > 10_000, "only {cases} cases");
    assert_eq!(seen.len(), 7, "a verdict never came up");
}

#[test]
fn a_file_cut_anywhere_is_truncated_for_every_arrangement_in_order() {
    let world = world();
    for arrangement in arrangements().iter().filter(|arrangement| arrangement.is_sorted() && !arrangement.is_empty()) {
        let file: File<'_> = arrangement.iter().map(|place| &world.ours[*place]).collect();
        let whole = bytes(&file);
        for length in (0..whole.len()).step_by(if scale() < 10 { 61 } else { 1 }).chain([whole.len() - 1]) {
            for (_, state) in &world.devices {
                let refusal = apply::verify(&whole[..length], world.container.device(), &world.vendor.root, state)
                    .expect_err("a cut file");
                let expected = if length == 0 { FileError::NotAFile } else { FileError::Truncated };
                assert_eq!(refusal, expected, "{length} of {} bytes", whole.len());
            }
        }
    }
}

#[test]
fn a_combined_file_reaches_the_same_state_from_every_position_it_covers() {
    let world = world();
    for from in 0..5 {
        let file: File<'_> = world.ours[from..].iter().collect();
        let bytes = bytes(&file);
        let goal = &world.devices[5].1;
        for position in from..=5 {
            let state = &world.devices[position].1;
            let reached = world.container.import(&bytes, &world.vendor.root, state).expect("a covered position");
            assert_eq!(reached, *goal, "from {position}");
            assert_eq!(reached.digest(), goal.digest());
        }
    }
}

fn withdrawal_was_dodged(state: &VendorState) -> bool {
    // Segment 4 grants license 3, segment 3 before it withdraws license 1.
    state.entries.contains_key(&license(3)) && state.entries.contains_key(&license(1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40 * u32::try_from(scale()).unwrap_or(1)))]

    #[test]
    fn no_sequence_of_imports_dodges_a_withdrawal(
        files in proptest::collection::vec(proptest::collection::vec((0..3_usize, 0..5_usize), 1..5), 1..12),
    ) {
        let world = world();
        let mut state = world.devices[0].1.clone();
        for parts in files {
            let file: File<'_> = parts
                .into_iter()
                .map(|(chain, place)| &[&world.ours, &world.foreign, &world.forked][chain][place])
                .collect();
            if let Ok(next) = world.container.import(&bytes(&file), &world.vendor.root, &state) {
                prop_assert!(next.counter >= state.counter);
                state = next;
            }
            prop_assert!(!withdrawal_was_dodged(&state));
        }
    }
}
