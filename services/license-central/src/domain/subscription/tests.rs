//! The rules one by one, and any sequence of them against a model that walks through time step by step.

use lictor_clock::duration::days;
use lictor_licensing::Text;
use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::from_seconds(1_767_225_600);

fn license(number: u8) -> LicenseId {
    LicenseId::new(START, [number; 10])
}

fn day(number: u64) -> Timestamp {
    START.saturating_add(days(number))
}

fn sold(days: u32) -> Subscription {
    Subscription::new(Text::new("Editor").expect("a text"), days).expect("a subscription")
}

fn item(yaml: &str) -> ProductItem {
    serde_norway::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

fn joining<'a>(number: u8, subscription: &'a Subscription, item: &ProductItem) -> Joining<'a> {
    Joining { license: license(number), subscription, features: Features::of(item), quantity: 0, remaining: None }
}

fn running(number: u8, item: &ProductItem, ends_at: Timestamp) -> Running {
    Running { license: license(number), features: Features::of(item), quantity: 0, ends_at }
}

#[test]
fn days_are_added_to_what_runs_and_the_old_one_is_merged() {
    let (subscription, item) = (sold(90), item("{product_code: 1}"));
    let joined = join(&joining(2, &subscription, &item), &[running(1, &item, day(20))], day(10)).expect("joined");
    assert_eq!(joined, Joined { ends_at: day(110), merges: Some(license(1)), leftovers: Vec::new() });
}

#[test]
fn an_expired_one_is_taken_out_and_its_gap_is_not_paid_for() {
    let (subscription, item) = (sold(30), item("{product_code: 1}"));
    let present = [running(1, &item, day(5)), running(3, &item, day(100))];
    let joined = join(&joining(2, &subscription, &item), &present, day(100)).expect("joined");
    assert_eq!(joined.ends_at, day(130), "an end at this very moment has passed");
    assert_eq!((joined.merges, joined.leftovers), (None, vec![license(1), license(3)]));
}

#[test]
fn product_codes_may_differ_but_features_modules_and_seats_may_not() {
    let subscription = sold(30);
    let base =
        item("{product_code: 1, feature_map: 5, modules: [{product_code: 9}, {product_code: 8, feature_map: 1}]}");
    for same in [
        "{product_code: 2, feature_map: 5, modules: [{product_code: 9}, {product_code: 8, feature_map: 1}]}",
        "{product_code: 1, text: new, feature_map: 5, modules: [{product_code: 8, feature_map: 1}, {product_code: 9}]}",
    ] {
        let joined = join(&joining(2, &subscription, &item(same)), &[running(1, &base, day(9))], day(1));
        assert_eq!(joined.expect(same).merges, Some(license(1)));
    }
    for other in [
        "{product_code: 1, feature_map: 4, modules: [{product_code: 9}, {product_code: 8, feature_map: 1}]}",
        "{product_code: 1, feature_map: 5, modules: [{product_code: 9}]}",
        "{product_code: 1, feature_map: 5, modules: [{product_code: 9}, {product_code: 7, feature_map: 1}]}",
        "{product_code: 1, feature_map: 5, modules: [{product_code: 9}, {product_code: 8, feature_map: 2}]}",
    ] {
        let refused = join(&joining(2, &subscription, &item(other)), &[running(1, &base, day(9))], day(1));
        let problem = refused.expect_err(other);
        assert_eq!(problem.code, ErrorCode::LicenseForbids);
        assert!(problem.message.contains("other features"), "{}", problem.message);
        let later = join(&joining(2, &subscription, &item(other)), &[running(1, &base, day(9))], day(9));
        assert!(later.is_ok(), "an expired one forbids nothing: {other}");
    }
    let seats = Joining { quantity: 5, ..joining(2, &subscription, &base) };
    let problem = join(&seats, &[running(1, &base, day(9))], day(1)).expect_err("other seats");
    assert!(problem.message.contains("0 seats, not 5"), "{}", problem.message);
}

#[test]
fn what_cannot_be_joined_is_refused() {
    let (subscription, item) = (sold(36_500), item("{product_code: 1}"));
    let new = joining(2, &subscription, &item);
    assert!(join(&new, &[running(2, &item, day(9))], day(1)).is_err(), "it lies there already");
    assert!(join(&new, &[running(1, &item, day(9)), running(3, &item, day(8))], day(1)).is_err(), "two of them run");
    let end = Timestamp::from_micros(Timestamp::MAX.as_micros() - 5);
    assert!(join(&new, &[running(1, &item, end)], day(1)).is_err(), "beyond the calendar");
    let spent = Joining { remaining: Some(Duration::ZERO), ..new };
    assert_eq!(join(&spent, &[], day(1)).expect_err("nothing left").code, ErrorCode::LicenseForbids);
}

#[test]
fn only_the_last_ticket_carries_the_days() {
    assert!(carries(license(1), None).is_ok());
    let problem = carries(license(1), Some(license(2))).expect_err("merged");
    assert!(problem.message.contains(&license(2).to_string()) && problem.next.contains("last"));
}

#[test]
fn remaining_days_pass_until_the_proof() {
    assert_eq!(remaining(day(30), day(12)), days(18));
    assert_eq!(remaining(day(30), day(30)), Duration::ZERO);
    assert_eq!(remaining(day(30), day(99)), Duration::ZERO);
}

/// What customers do, in any order.
#[derive(Clone, Debug)]
enum Deed {
    /// Activates the next ticket of these days in this container.
    Activate { container: usize, days: u32 },
    /// Lets quarters of a day pass.
    Wait { quarters: u32 },
    /// Gives back what runs in this container, with the ticket activated last.
    Return { container: usize },
    /// Activates a ticket again that was given back: the one at this place.
    Again { container: usize, place: usize },
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let length = prop_oneof![Just(30), Just(90), Just(365), 1_u32..800];
    let deed = prop_oneof![
        4 => (0_usize..3, length).prop_map(|(container, days)| Deed::Activate { container, days }),
        4 => prop_oneof![0_u32..40, 0_u32..2_000].prop_map(|quarters| Deed::Wait { quarters }),
        2 => (0_usize..3).prop_map(|container| Deed::Return { container }),
        2 => (0_usize..3, 0_usize..4).prop_map(|(container, place)| Deed::Again { container, place }),
    ];
    proptest::collection::vec(deed, 1..40)
}

/// The rules on paper: every container has a purse of quarters of a day, and each quarter that passes takes one out. It
/// knows no dates at all.
#[derive(Default)]
struct Paper {
    purse: [u64; 3],
    last: [Option<u8>; 3],
    given_back: Vec<(u8, u64)>,
}

impl Paper {
    fn pass(&mut self) {
        for (purse, last) in self.purse.iter_mut().zip(&mut self.last) {
            *purse = purse.saturating_sub(1);
            if *purse == 0 {
                *last = None;
            }
        }
    }

    fn put(&mut self, container: usize, ticket: u8, quarters: u64) {
        self.purse[container] += quarters;
        self.last[container] = Some(ticket);
    }
}

/// The code under test with what central would remember around it.
struct Central {
    now: Timestamp,
    item: ProductItem,
    present: [Vec<Running>; 3],
    sold: std::collections::HashMap<LicenseId, Subscription>,
    merged_into: std::collections::HashMap<LicenseId, LicenseId>,
    given_back: Vec<(LicenseId, Duration)>,
}

impl Central {
    fn activate(&mut self, container: usize, id: LicenseId, left: Option<Duration>) -> Result<(), Problem> {
        let subscription = &self.sold[&id];
        let features = Features::of(&self.item);
        let new = Joining { license: id, subscription, features: features.clone(), quantity: 0, remaining: left };
        let joined = join(&new, &self.present[container], self.now)?;
        let gone: Vec<LicenseId> = joined.merges.iter().chain(&joined.leftovers).copied().collect();
        self.present[container].retain(|entry| !gone.contains(&entry.license));
        self.present[container].push(Running { license: id, features, quantity: 0, ends_at: joined.ends_at });
        if let Some(old) = joined.merges {
            self.merged_into.insert(old, id);
        }
        Ok(())
    }
}

fn run(deeds: &[Deed]) -> Result<(), TestCaseError> {
    let mut paper = Paper::default();
    let mut central = Central {
        now: START,
        item: item("{product_code: 1}"),
        present: Default::default(),
        sold: Default::default(),
        merged_into: Default::default(),
        given_back: Vec::new(),
    };
    let quarter = Duration::from_hours(6);
    for (number, deed) in deeds.iter().enumerate() {
        let number = u8::try_from(number).expect("few deeds");
        match *deed {
            Deed::Wait { quarters } => {
                (0..quarters).for_each(|_| paper.pass());
                central.now = central.now.saturating_add(quarter * quarters);
            }
            Deed::Activate { container, days } => {
                paper.put(container, number, u64::from(days) * 4);
                central.sold.insert(license(number), sold(days));
                prop_assert!(central.activate(container, license(number), None).is_ok());
            }
            Deed::Return { container } => {
                if let Some(last) = paper.last[container].take() {
                    paper.given_back.push((last, std::mem::take(&mut paper.purse[container])));
                }
                let running = central.present[container].iter().position(|entry| entry.ends_at > central.now);
                if let Some(place) = running {
                    let entry = central.present[container].remove(place);
                    prop_assert!(carries(entry.license, central.merged_into.get(&entry.license).copied()).is_ok());
                    central.given_back.push((entry.license, remaining(entry.ends_at, central.now)));
                }
            }
            Deed::Again { container, place } => {
                if place < paper.given_back.len() {
                    let (ticket, quarters) = paper.given_back.remove(place);
                    paper.put(container, ticket, quarters);
                }
                if place < central.given_back.len() {
                    let (id, left) = central.given_back.remove(place);
                    prop_assert!(central.activate(container, id, Some(left)).is_ok());
                }
            }
        }
        for container in 0..3 {
            let runs: Vec<_> = central.present[container].iter().filter(|entry| entry.ends_at > central.now).collect();
            prop_assert!(runs.len() <= 1, "one per container");
            let end = runs.first().map(|entry| (entry.license, entry.ends_at));
            let expected = paper.last[container].map(|ticket| {
                let quarters = u32::try_from(paper.purse[container]).expect("not so long");
                (license(ticket), central.now.saturating_add(quarter * quarters))
            });
            prop_assert_eq!(end, expected, "container {} after {:?}", container, deed);
        }
        let carried = |id: &LicenseId| central.present.iter().flatten().any(|entry| entry.license == *id);
        prop_assert!(!central.merged_into.keys().any(carried), "a merged license lies nowhere");
    }
    Ok(())
}

#[test]
fn any_sequence_of_tickets_gives_the_ends_of_the_model_on_paper() {
    let scale = std::env::var("LICTOR_TEST_SCALE").ok().and_then(|text| text.parse::<u32>().ok()).unwrap_or(1);
    let config = ProptestConfig { cases: 300 * scale.clamp(1, 1_000), failure_persistence: None, ..Default::default() };
    proptest!(config, |(deeds in deeds())| run(&deeds)?);
}
