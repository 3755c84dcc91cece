//! One table: what was noted, day by day, and what the containers could run on which day.

use lictor_clock::duration::days;

use super::*;

const START: Timestamp = Timestamp::from_seconds(1_767_225_600);

fn day(number: u64) -> Timestamp {
    START.saturating_add(days(number))
}

/// On `day` something happened to license `license` in container `container` by activation `by`; it then holds `seats`
/// until `ends`.
struct Noted(u64, &'static str, u8, &'static str, u8, u32, Option<u64>);

fn facts(noted: &[Noted], counted: bool) -> Vec<Fact> {
    let fact = |Noted(at, what, license, container, by, seats, ends): &Noted| Fact {
        license: LicenseId::new(START, [*license; 10]),
        item: format!("item-{license}"),
        product_code: u32::from(*license),
        counted,
        at: day(*at),
        what: What::named(what),
        container: (*container).to_owned(),
        serial: (*container).to_owned(),
        quantity: *seats,
        activation: Some(ActivationId::new(START, [*by; 10])),
        counter: u64::from(*by),
        expires_at: ends.map(day),
        why: String::new(),
    };
    noted.iter().map(fact).collect()
}

/// License, container, certainty and seats of every row.
fn on(noted: &[Noted], counted: bool, at: u64) -> Vec<String> {
    let rows = usable(&facts(noted, counted), day(at));
    assert!(rows.iter().all(|row| !row.why.is_empty() && !row.why.ends_with('.')), "one sentence each: {rows:?}");
    rows.iter()
        .map(|row| format!("{}@{} {} {}", row.product_code, row.serial, row.certainty.name(), row.quantity))
        .collect()
}

fn why(noted: &[Noted], at: u64) -> String {
    usable(&facts(noted, true), day(at)).pop().expect("a row").why
}

#[test]
fn a_lost_update_is_possible_for_ever_and_a_proven_one_sure_from_its_proof() {
    let lost = [Noted(1, "planned", 1, "a", 1, 5, None), Noted(1, "issued", 1, "a", 1, 5, None)];
    assert!(on(&lost, true, 0).is_empty());
    assert_eq!(on(&lost, true, 900), ["1@a possible 5"]);
    assert!(why(&lost, 900).contains("puts it in") && why(&lost, 900).contains("never proven"));
    let arrived = [Noted(1, "issued", 1, "a", 1, 5, None), Noted(8, "proven", 1, "a", 1, 5, None)];
    assert_eq!(on(&arrived, true, 7), ["1@a possible 5"]);
    assert!(why(&arrived, 7).contains("proven only on"), "{}", why(&arrived, 7));
    assert_eq!(on(&arrived, true, 8), ["1@a proven 5"]);
}

#[test]
fn a_plan_that_was_released_means_nothing() {
    let noted = [Noted(1, "planned", 1, "a", 1, 5, None), Noted(2, "released", 1, "a", 1, 5, None)];
    assert!(on(&noted, true, 1).is_empty() && on(&noted, true, 9).is_empty());
}

#[test]
fn what_was_withdrawn_without_proof_stays_possible_until_it_ends_by_date() {
    let withdrawn = [
        Noted(1, "issued", 1, "a", 1, 5, Some(100)),
        Noted(2, "proven", 1, "a", 1, 5, Some(100)),
        Noted(10, "withdrawn", 1, "a", 2, 0, None),
        Noted(10, "leaving", 1, "a", 2, 0, None),
    ];
    assert_eq!(on(&withdrawn, true, 9), ["1@a proven 5"]);
    assert_eq!(on(&withdrawn, true, 99), ["1@a possible 5"]);
    assert!(why(&withdrawn, 99).contains("takes it out"));
    assert!(on(&withdrawn, true, 100).is_empty(), "its end counts, whether it is gone or not");
    let gone: Vec<Noted> = withdrawn.into_iter().chain([Noted(20, "gone", 1, "a", 2, 0, None)]).collect();
    assert_eq!(on(&gone, true, 19), ["1@a possible 5"]);
    assert!(on(&gone, true, 20).is_empty());
}

#[test]
fn a_withdrawal_of_what_never_arrived_is_settled_by_its_own_proof() {
    let noted = [
        Noted(1, "issued", 1, "a", 1, 0, None),
        Noted(3, "leaving", 1, "a", 2, 0, None),
        Noted(9, "gone", 1, "a", 2, 0, None),
        Noted(9, "proven", 1, "a", 1, 0, None),
    ];
    assert_eq!(on(&noted, false, 8), ["1@a possible 0"]);
    assert!(on(&noted, false, 9).is_empty(), "the late proof of the arrival brings nothing back");
}

#[test]
fn seats_that_came_later_are_possible_beside_those_that_are_sure() {
    let noted = [
        Noted(1, "issued", 1, "a", 1, 2, None),
        Noted(1, "proven", 1, "a", 1, 2, None),
        Noted(5, "issued", 1, "a", 2, 5, None),
    ];
    assert_eq!(on(&noted, true, 6), ["1@a proven 2", "1@a possible 3"]);
}

#[test]
fn lent_seats_are_nobody_else_s_until_proof_and_end_at_the_borrower_by_date() {
    let noted = [
        Noted(1, "issued", 1, "a", 1, 5, None),
        Noted(1, "proven", 1, "a", 1, 5, None),
        Noted(10, "lessened", 1, "a", 2, 3, None),
        Noted(12, "proven", 1, "a", 2, 3, None),
        Noted(12, "issued", 1, "b", 3, 2, Some(30)),
        Noted(13, "proven", 1, "b", 3, 2, Some(30)),
        Noted(31, "issued", 1, "a", 4, 5, None),
        Noted(33, "proven", 1, "a", 4, 5, None),
    ];
    assert_eq!(on(&noted, true, 11), ["1@a proven 3", "1@a possible 2"]);
    assert_eq!(on(&noted, true, 12), ["1@a proven 3", "1@b possible 2"]);
    assert_eq!(on(&noted, true, 29), ["1@a proven 3", "1@b proven 2"]);
    assert_eq!(on(&noted, true, 30), ["1@a proven 3"], "the borrower's entry has ended");
    assert_eq!(on(&noted, true, 32), ["1@a proven 3", "1@a possible 2"]);
    assert_eq!(on(&noted, true, 33), ["1@a proven 5"]);
}

#[test]
fn a_merged_subscription_is_either_the_old_or_the_new_one_until_proof() {
    let noted = [
        Noted(1, "issued", 1, "a", 1, 0, Some(31)),
        Noted(1, "proven", 1, "a", 1, 0, Some(31)),
        Noted(20, "leaving", 1, "a", 2, 0, None),
        Noted(20, "merged", 1, "a", 2, 0, None),
        Noted(20, "issued", 2, "a", 2, 0, Some(121)),
        Noted(40, "gone", 1, "a", 2, 0, None),
        Noted(40, "proven", 2, "a", 2, 0, Some(121)),
    ];
    assert_eq!(on(&noted, false, 25), ["1@a possible 0", "2@a possible 0"]);
    assert_eq!(on(&noted, false, 35), ["2@a possible 0"], "the old one has ended");
    assert_eq!(on(&noted, false, 40), ["2@a proven 0"]);
    assert!(on(&noted, false, 121).is_empty());
}

#[test]
fn a_renewal_without_proof_is_sure_to_the_old_end_and_possible_to_the_new_one() {
    let noted = [
        Noted(0, "issued", 1, "a", 1, 1, Some(30)),
        Noted(0, "proven", 1, "a", 1, 1, Some(30)),
        Noted(25, "renewed", 1, "a", 2, 1, Some(60)),
    ];
    let rows = usable(&facts(&noted, true), day(26));
    assert_eq!(
        rows.iter().map(|row| (row.certainty, row.expires_at)).collect::<Vec<_>>(),
        [(Certainty::Proven, Some(day(30)))]
    );
    assert_eq!(on(&noted, true, 30), ["1@a possible 1"]);
    assert!(why(&noted, 30).contains("moves its end"));
    assert!(on(&noted, true, 60).is_empty());
}

#[test]
fn a_written_off_container_may_go_on_and_is_never_sure() {
    let noted = [
        Noted(1, "issued", 1, "a", 1, 5, Some(400)),
        Noted(1, "proven", 1, "a", 1, 5, Some(400)),
        Noted(50, "written-off", 1, "a", 2, 5, Some(400)),
        Noted(50, "issued", 1, "b", 2, 5, Some(400)),
        Noted(51, "proven", 1, "b", 2, 5, Some(400)),
    ];
    assert_eq!(on(&noted, true, 49), ["1@a proven 5"]);
    assert_eq!(on(&noted, true, 60), ["1@a possible 5", "1@b proven 5"]);
    assert!(usable(&facts(&noted, true), day(60))[0].why.contains("written off"));
    assert!(on(&noted, true, 400).is_empty());
}

#[test]
fn a_license_that_comes_back_counts_from_its_new_arrival() {
    let noted = [
        Noted(1, "issued", 1, "a", 1, 5, None),
        Noted(1, "proven", 1, "a", 1, 5, None),
        Noted(5, "leaving", 1, "a", 2, 0, None),
        Noted(6, "returned", 1, "a", 2, 0, None),
        Noted(9, "issued", 1, "a", 3, 5, None),
    ];
    assert!(on(&noted, true, 7).is_empty());
    assert_eq!(on(&noted, true, 9), ["1@a possible 5"]);
}

#[test]
fn words_are_read_back() {
    for word in ["issued", "renewed", "lessened", "leaving", "proven", "gone", "returned", "written-off", "created"] {
        assert_eq!(What::named(word).name(), word);
    }
}
