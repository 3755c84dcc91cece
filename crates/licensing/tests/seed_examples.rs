//! The stories that nested items were made for, as people tell them.

mod world;

use lictor_clock::duration;
use lictor_licensing::split::{SplitError, split};
use lictor_licensing::{AccessMode, Part, Source};
use world::{World, item};

use AccessMode::{StationShare, UserLimit};

const WORDS: u32 = 1001;
const SHEETS: u32 = 1002;
const ADDRESSES: u32 = 1003;

const DEMO_PACKAGE: &str = "
product_code: 1000
text: Demo package
usage_period: 30d
modules:
  - { product_code: 1001, text: Word processor }
  - { product_code: 1002, text: Spreadsheet }
  - { product_code: 1003, text: Addresses }
";

#[test]
fn demo_package_of_three_applications_runs_30_days_from_first_use_of_any() {
    let mut world = World::new("2026-03-01T09:00:00Z").with("130-1", DEMO_PACKAGE);
    world.pass(duration::days(200));
    let spreadsheet = world.request(SHEETS, 1, "desk");
    let (_, choice) = world.ask(&spreadsheet).expect("the first start begins the period");
    assert_eq!(choice.starts_usage, Some(Part::Parent), "the start lives where the period is set");
    let end = world.now.saturating_add(duration::days(30));
    assert_eq!(choice.ends_at, Some(end));

    world.pass(duration::days(29));
    let words = world.request(WORDS, 2, "desk");
    let (_, choice) = world.ask(&words).expect("another module runs inside the same period");
    assert_eq!(choice.starts_usage, None);
    assert_eq!(choice.ends_at, Some(end), "and does not get 30 days of its own");

    world.now = end;
    for product in [1000, WORDS, SHEETS, ADDRESSES] {
        assert_eq!(world.take(product, 3, "desk", UserLimit), Err(71), "product {product} after the period");
    }
}

#[test]
fn module_with_its_own_usage_period_has_its_own_start() {
    let mut world = World::new("2026-03-01T09:00:00Z").with(
        "130-1",
        "{product_code: 1000, usage_period: 30d, modules: [{product_code: 1001}, {product_code: 1002, usage_period: 10d}]}",
    );
    world.take(WORDS, 1, "desk", UserLimit).expect("starts the parent's period");
    world.pass(duration::days(25));
    world.take(SHEETS, 1, "desk", UserLimit).expect("starts its own");
    world.pass(duration::days(6));
    assert_eq!(world.take(WORDS, 1, "desk", UserLimit), Err(71));
    world.take(SHEETS, 1, "desk", UserLimit).expect("its own period goes on");
}

fn single_seat() -> World {
    World::new("2026-03-01T09:00:00Z").with(
        "130-1",
        "
product_code: 1000
license_quantity: { count: 1, allow: [user-limit, station-share] }
modules: [{ product_code: 1001 }, { product_code: 1002 }, { product_code: 1003 }]
",
    )
}

#[test]
fn single_seat_with_user_limit_runs_one_application_at_a_time() {
    let mut world = single_seat();
    let words = world.take(WORDS, 1, "desk", UserLimit).expect("the only seat");
    assert_eq!(world.take(SHEETS, 2, "desk", UserLimit), Err(212), "same machine, another program");
    assert_eq!(world.take(WORDS, 3, "other", UserLimit), Err(212));
    assert!(world.release(words));
    world.take(SHEETS, 2, "desk", UserLimit).expect("the seat is free again");
}

#[test]
fn single_seat_with_station_share_runs_all_applications_of_one_machine() {
    let mut world = single_seat();
    let all: Vec<_> = [(WORDS, 1), (SHEETS, 2), (ADDRESSES, 3)]
        .into_iter()
        .map(|(product, client)| world.take(product, client, "desk", StationShare).expect("shares the seat"))
        .collect();
    assert_eq!(world.take(WORDS, 4, "other", StationShare), Err(212), "another machine needs another seat");
    for access in &all[..2] {
        world.release(*access);
        assert_eq!(world.take(WORDS, 4, "other", StationShare), Err(212), "one program still shares it");
    }
    world.release(all[2]);
    world.take(WORDS, 4, "other", StationShare).expect("the last one left");
}

#[test]
fn module_with_its_own_quantity_has_its_own_pool() {
    let mut world = World::new("2026-03-01T09:00:00Z").with(
        "130-1",
        "
product_code: 1000
license_quantity: { count: 1 }
modules: [{ product_code: 1001 }, { product_code: 1002, license_quantity: { count: 2 } }]
",
    );
    world.take(1000, 1, "desk", UserLimit).expect("the parent's seat");
    assert_eq!(world.take(WORDS, 2, "desk", UserLimit), Err(212), "inherits the pool");
    world.take(SHEETS, 2, "desk", UserLimit).expect("has seats of its own");
    world.take(SHEETS, 3, "desk", UserLimit).expect("two of them");
    assert_eq!(world.take(SHEETS, 4, "desk", UserLimit), Err(212));
    world.take(WORDS, 1, "desk", UserLimit).expect("who holds the parent takes no second seat of its pool");
    assert_eq!(world.take(SHEETS, 1, "desk", UserLimit), Err(212), "but one of another pool");
    let totals: Vec<_> = world.stored[0].seats.pools().map(|pool| pool.report().total).collect();
    assert_eq!(totals, [Some(1), Some(2)]);
}

#[test]
fn holders_keep_their_seats_when_an_update_changes_the_item() {
    use lictor_licensing::{EffectiveEntry, ItemSeats};
    let mut world = single_seat();
    let words = world.take(WORDS, 1, "desk", StationShare).expect("free");
    world.take(SHEETS, 2, "desk", StationShare).expect("shares");
    // The vendor drops the spreadsheet, moves the word processor to another place and sells it a pool of its own.
    let changed = item(
        "{product_code: 1000, license_quantity: {count: 1}, modules: [{product_code: 1003}, {product_code: 1001, license_quantity: {count: 5}}]}",
    );
    let entries = EffectiveEntry::all_of(&changed);
    let moved = |part| if part == Part::Module(0) { Some(Part::Module(1)) } else { None };
    let seats: ItemSeats = world.stored[0].seats.reshaped(&entries, moved);
    assert_eq!(seats.pool(Part::Module(1)).report().used, 1);
    assert!(seats.pool(Part::Module(1)).access(words).is_some());
    assert_eq!(seats.pool(Part::Parent).report().used, 0);
}

const TRUCK: u32 = 2000;
const TRAM: u32 = 3000;
const MULTI_MONITOR: u32 = 9000;

#[test]
fn multi_monitor_sold_for_the_truck_does_not_open_it_for_the_tram() {
    let mut world = World::new("2026-03-01T09:00:00Z")
        .with("130-1", "{product_code: 2000, text: Truck, modules: [{product_code: 9000, requires_parent: true}]}")
        .with("130-1", "{product_code: 3000, text: Tram}");
    let (truck, tram) = (1, 2);

    assert_eq!(world.take(MULTI_MONITOR, truck, "desk", UserLimit), Err(231), "the truck does not run yet");
    let running = world.take(TRUCK, truck, "desk", UserLimit).expect("the truck starts");
    world.take(TRAM, tram, "desk", UserLimit).expect("so does the tram");
    world.take(MULTI_MONITOR, truck, "desk", UserLimit).expect("the truck uses two monitors");

    let asked = world.request(MULTI_MONITOR, tram, "desk");
    let refusal = world.ask(&asked).expect_err("the tram keeps to one monitor");
    let line = &refusal.lines()[0];
    assert_eq!(line.reason.code(), 231);
    assert_eq!(line.instead.as_deref(), Some("take a seat of product 2000 first, in the same program"));

    world.release(running);
    assert_eq!(world.take(MULTI_MONITOR, truck, "desk", UserLimit), Err(231), "the truck has ended");
}

#[test]
fn parent_held_in_one_container_does_not_open_the_module_of_another() {
    let yaml =
        "{product_code: 2000, license_quantity: {count: 1}, modules: [{product_code: 9000, requires_parent: true}]}";
    let mut world = World::new("2026-03-01T09:00:00Z").with("130-1", yaml).with("130-2", yaml);
    world.take(TRUCK, 1, "desk", UserLimit).expect("the seat of the first container");
    world.take(TRUCK, 2, "desk", UserLimit).expect("the seat of the second");
    for (client, serial) in [(1, "130-1"), (2, "130-2")] {
        let request = world.request(MULTI_MONITOR, client, "desk");
        assert_eq!(world.ask(&request).expect("beside its own parent").0, serial);
    }
}

#[test]
fn split_divides_the_parents_quantity_and_takes_every_module_along_unchanged() {
    let whole = item(
        "
product_code: 1000
license_quantity: { count: 10, allow: [user-limit, station-share] }
transfer: { may_move: true, splittable: true, depth: 1 }
expiration_time: 2027-01-01T00:00:00Z
modules:
  - { product_code: 1001, license_quantity: { count: 4 } }
  - { product_code: 1002, requires_parent: true, feature_map: 3 }
",
    );
    let (stays, goes) = split(&whole, 3).expect("the vendor allows it");
    assert_eq!(stays.options().license_quantity.map(|quantity| quantity.count()), Some(7));
    assert_eq!(goes.options().license_quantity.map(|quantity| quantity.count()), Some(3));
    for part in [&stays, &goes] {
        assert_eq!(part.modules(), whole.modules());
        assert_eq!(part.options().expiration_time, whole.options().expiration_time);
        assert_eq!(
            part.options().license_quantity.map(|quantity| quantity.allowed()),
            whole.options().license_quantity.map(|quantity| quantity.allowed())
        );
    }
    assert_eq!(split(&whole, 0), Err(SplitError::Nothing));
    assert_eq!(split(&whole, 10), Err(SplitError::Everything(10)));
    assert_eq!(split(&whole, u32::MAX), Err(SplitError::Everything(10)));
    let fixed = item("{product_code: 1000, license_quantity: {count: 10}, transfer: {may_move: true}}");
    assert_eq!(split(&fixed, 1), Err(SplitError::Forbidden));
    assert_eq!(split(&item("{product_code: 1}"), 1), Err(SplitError::Forbidden));
}

#[test]
fn entry_reports_native_effective_and_source() {
    use lictor_licensing::{EffectiveEntry, OptionKind, OptionKinds};
    let item = item(
        "{product_code: 1000, usage_period: 30d, feature_map: 1, modules: [{product_code: 1001, feature_map: [0, 2]}]}",
    );
    let module = EffectiveEntry::of(&item, Part::Module(0)).expect("the module");
    assert_eq!(module.native(), OptionKinds::of(&[OptionKind::ProductCode, OptionKind::FeatureMap]));
    assert_eq!(module.effective(), module.native().with(OptionKind::UsagePeriod));
    assert_eq!(module.source(OptionKind::FeatureMap), Some(Source::Own));
    assert_eq!(module.source(OptionKind::UsagePeriod), Some(Source::Parent));
    assert_eq!(module.source(OptionKind::Text), None);
    assert_eq!(module.feature_map().bits(), 5);
    assert_eq!(EffectiveEntry::of(&item, Part::Module(1)), None);
}
