//! Which license is tried first: tables, and the same through real decisions.

mod world;

use lictor_licensing::access::{AccessId, BestMatch, ClientInstance, LocationOrder};
use lictor_licensing::candidate::{Facts, Rank, rank};
use lictor_licensing::options::{Edition, Release, ReleaseVersion};
use lictor_licensing::{AccessMode, FeatureMap, FirmCode, Location, ProductCode, Reason, Request, Station};
use world::{World, item, time};

use Edition::{Progress, Steady};
use Location::{Cloud, Lan, Local};

fn request() -> Request {
    Request::new(
        FirmCode::new(world::FIRM).expect("not zero"),
        ProductCode(1),
        AccessId(1),
        ClientInstance(1),
        Station::new("desk").expect("a valid name"),
    )
}

const PLAIN: Facts =
    Facts { location: Local, feature_map: FeatureMap(0b11), release: None, already_held: false, ends_at: None };

fn place(request: &Request, facts: Facts) -> Rank {
    rank(request, &facts).expect("a candidate")
}

/// Each row lists candidates from the first tried to the last.
#[test]
fn order_of_candidates() {
    let soon = Some(time("2026-01-01T00:00:00Z"));
    let late = Some(time("2027-01-01T00:00:00Z"));
    let wide = FeatureMap(0b111);
    let tables: &[(&str, &[Facts])] = &[
        ("location order", &[PLAIN, Facts { location: Lan, ..PLAIN }, Facts { location: Cloud, ..PLAIN }]),
        (
            "location before features, seats and expiry",
            &[
                Facts { feature_map: FeatureMap(u32::MAX), ..PLAIN },
                Facts { location: Lan, already_held: true, ends_at: soon, ..PLAIN },
            ],
        ),
        (
            "the fewest additional features",
            &[PLAIN, Facts { feature_map: wide, ..PLAIN }, Facts { feature_map: FeatureMap(u32::MAX), ..PLAIN }],
        ),
        ("features before a seat that is held", &[PLAIN, Facts { feature_map: wide, already_held: true, ..PLAIN }]),
        (
            "a seat that is held before expiry",
            &[Facts { already_held: true, ..PLAIN }, Facts { ends_at: soon, ..PLAIN }],
        ),
        (
            "the earliest expiry, without one last",
            &[Facts { ends_at: soon, ..PLAIN }, Facts { ends_at: late, ..PLAIN }, PLAIN],
        ),
    ];
    let request = Request { feature_map: FeatureMap(0b11), ..request() };
    for (rule, facts) in tables {
        let ranks: Vec<_> = facts.iter().map(|facts| place(&request, *facts)).collect();
        assert!(ranks.is_sorted_by(|left, right| left < right), "{rule}: {ranks:?}");
    }
}

#[test]
fn caller_chooses_the_order_of_locations_and_leaves_some_out() {
    let request = Request { locations: LocationOrder::new(&[Cloud, Local]), ..request() };
    assert!(place(&request, Facts { location: Cloud, ..PLAIN }) < place(&request, PLAIN));
    let left_out = rank(&request, &Facts { location: Lan, ..PLAIN });
    assert_eq!(left_out, Err(Reason::LocationNotWanted { location: Lan }));
}

#[test]
fn candidate_without_all_features_is_none() {
    let request = Request { feature_map: FeatureMap(0b1110), ..request() };
    assert_eq!(rank(&request, &PLAIN), Err(Reason::FeaturesMissing { missing: FeatureMap(0b1100) }));
}

const fn version(major: u16, minor: u16) -> ReleaseVersion {
    ReleaseVersion { major, minor }
}

fn licensed(edition: Edition, version: ReleaseVersion, modules: u32) -> Facts {
    Facts { release: Some(Release { edition, version }), feature_map: FeatureMap(modules), ..PLAIN }
}

/// Best match for a Steady program of version 24.11 that wants the modules 0b11.
#[test]
fn best_match_goes_from_exact_to_more_modules_to_newer_to_progress() {
    let wanted = BestMatch { edition: Steady, version: version(24, 11) };
    let request = Request { feature_map: FeatureMap(0b11), best_match: Some(wanted), ..request() };
    let order = [
        licensed(Steady, version(24, 11), 0b11),
        licensed(Steady, version(24, 11), 0b111),
        licensed(Steady, version(25, 5), 0b11),
        licensed(Steady, version(25, 5), 0b111),
        licensed(Progress, version(24, 11), 0b11),
        licensed(Progress, version(25, 5), 0b111),
    ];
    let ranks: Vec<_> = order.iter().map(|facts| place(&request, *facts)).collect();
    assert!(ranks.is_sorted_by(|left, right| left < right), "{ranks:?}");

    for older in [licensed(Steady, version(24, 10), 0b11), licensed(Progress, version(24, 5), 0b11), PLAIN] {
        assert_eq!(rank(&request, &older), Err(Reason::ReleaseMismatch), "{older:?}");
    }
    assert!(matches!(rank(&request, &licensed(Steady, version(24, 11), 0b1)), Err(Reason::FeaturesMissing { .. })));
}

#[test]
fn progress_serves_steady_from_version_24_11_on_and_never_the_other_way_round() {
    for (edition, of, offered, fits) in [
        (Steady, version(24, 11), Progress, true),
        (Steady, version(25, 5), Progress, true),
        (Steady, version(24, 10), Progress, false),
        (Steady, version(22, 11), Progress, false),
        (Progress, version(24, 11), Steady, false),
        (Progress, version(24, 11), Progress, true),
    ] {
        let request = Request { best_match: Some(BestMatch { edition, version: of }), ..request() };
        let facts = licensed(offered, version(25, 11), 0b11);
        assert_eq!(rank(&request, &facts).is_ok(), fits, "{edition} {of} from {offered}");
    }
}

#[test]
fn candidates_that_are_full_or_expired_are_passed_over() {
    let mut world = World::new("2026-06-01T00:00:00Z")
        .with("130-1", "{product_code: 1, expiration_time: 2026-01-01T00:00:00Z}")
        .with("130-2", "{product_code: 1, license_quantity: {count: 1}, expiration_time: 2026-07-01T00:00:00Z}")
        .with("130-3", "{product_code: 1, license_quantity: {count: 1}, expiration_time: 2026-08-01T00:00:00Z}");
    world.add("130-4", Cloud, &item("{product_code: 1, license_quantity: {count: 1}}"));
    for (client, serial) in [(1, "130-2"), (2, "130-3"), (3, "130-4")] {
        let request = world.request(1, client, &format!("station-{client}"));
        assert_eq!(world.ask(&request).expect("somebody has a seat").0, serial);
    }
    let request = world.request(1, 4, "late");
    assert_eq!(world.ask(&request).expect_err("all are taken").code(), 212);
}

#[test]
fn station_stays_with_the_license_whose_seat_it_shares() {
    let yaml = "{product_code: 1, license_quantity: {count: 5, allow: [station-share]}}";
    let mut world = World::new("2026-06-01T00:00:00Z").with("130-1", yaml).with("130-2", yaml);
    let first = Request { mode: AccessMode::StationShare, ..world.request(1, 1, "desk") };
    world.stored[0].container_disabled = true;
    assert_eq!(world.ask(&first).expect("the second serves").0, "130-2");
    world.stored[0].container_disabled = false;
    let second = Request { mode: AccessMode::StationShare, ..world.request(1, 2, "desk") };
    let (serial, choice) = world.ask(&second).expect("shares");
    assert_eq!((serial.as_str(), choice.granted.new_seats), ("130-2", 0));
}

#[test]
fn equal_candidates_are_tried_by_serial_whatever_the_order_they_came_in() {
    for serials in [["130-1", "130-2"], ["130-2", "130-1"]] {
        let mut world = World::new("2026-06-01T00:00:00Z");
        for serial in serials {
            world = world.with(serial, "{product_code: 1}");
        }
        let request = world.request(1, 1, "desk");
        assert_eq!(world.ask(&request).expect("both would do").0, "130-1");
    }
}

#[test]
fn module_and_item_of_one_product_are_the_same_to_a_program() {
    for yaml in [
        "{product_code: 1, expiration_time: 2027-01-01T00:00:00Z}",
        "{product_code: 9, expiration_time: 2027-01-01T00:00:00Z, modules: [{product_code: 1}]}",
    ] {
        let mut world = World::new("2026-06-01T00:00:00Z").with("130-1", yaml);
        let request = world.request(1, 1, "desk");
        let (_, choice) = world.ask(&request).expect("it opens the product");
        assert_eq!(choice.ends_at, Some(time("2027-01-01T00:00:00Z")));
    }
}
