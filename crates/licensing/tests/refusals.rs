//! Refusals: which number for which cause, what is told beside it, and what would work instead.

mod world;

use lictor_clock::duration;
use lictor_licensing::access::{BestMatch, LocationOrder, Origin};
use lictor_licensing::options::Edition;
use lictor_licensing::{AccessMode, FeatureMap, Location, Part, Reason, Refusal, Request, Seats};
use world::{Stored, World, time};

const NOW: &str = "2026-06-01T00:00:00Z";

fn refusal(yaml: &str, prepare: impl Fn(&mut Stored), change: impl Fn(&mut Request)) -> Refusal {
    let mut world = World::new(NOW).with("130-1", yaml);
    prepare(&mut world.stored[0]);
    let mut request = world.request(1, 1, "desk");
    change(&mut request);
    world.ask(&request).expect_err(yaml)
}

/// Every cause that a decision itself can find, with its number.
#[test]
fn each_cause_has_its_number() {
    type Prepare = fn(&mut Stored);
    type Change = fn(&mut Request);
    let (as_is, plain): (Prepare, Change) = (|_| {}, |_| {});
    let table: &[(u16, &str, Prepare, Change)] = &[
        (31, "{product_code: 1}", as_is, |request| request.take_units = Some(1)),
        (32, "{product_code: 1, unit_counter: 0}", as_is, plain),
        (32, "{product_code: 1, unit_counter: 0}", as_is, |request| request.take_units = Some(1)),
        (33, "{product_code: 1, unit_counter: 9}", as_is, |request| request.take_units = Some(10)),
        (35, "{product_code: 1, expiration_time: 2026-06-01T00:00:00Z}", as_is, plain),
        (37, "{product_code: 1, activation_time: 2026-06-01T00:00:00.000001Z}", as_is, plain),
        (52, "{product_code: 1}", |stored| stored.container_disabled = true, plain),
        (53, "{product_code: 1}", |stored| stored.firm_disabled = true, plain),
        (54, "{product_code: 1, status: disabled}", as_is, plain),
        (54, "{product_code: 1}", |stored| stored.state.set_disabled(Part::Parent, true), plain),
        (54, "{product_code: 2, modules: [{product_code: 1, status: disabled}]}", as_is, plain),
        (
            54,
            "{product_code: 2, modules: [{product_code: 1}]}",
            |stored| stored.state.set_disabled(Part::Parent, true),
            plain,
        ),
        (71, "{product_code: 1, usage_period: 1d}", |stored| start(stored, "2026-05-31T00:00:00Z"), plain),
        (72, "{product_code: 1, usage_period: 1d}", |stored| start(stored, "2026-06-01T00:00:01Z"), plain),
        (76, "{product_code: 1}", as_is, |request| request.require_maintenance = true),
        (77, MAINTENANCE, as_is, |request| request.release_date = Some(time("2025-12-31T23:59:59Z"))),
        (78, MAINTENANCE, as_is, |request| request.release_date = Some(time("2027-01-01T00:00:00Z"))),
        (79, MAINTENANCE, as_is, |request| request.require_maintenance = true),
        (79, MAINTENANCE_REQUIRED, as_is, plain),
        (125, "{product_code: 1, minimum_version: 1.0.1}", as_is, plain),
        (200, "{product_code: 2}", as_is, plain),
        (200, "{product_code: 1, feature_map: 1}", as_is, |request| request.feature_map = FeatureMap(2)),
        (
            200,
            "{product_code: 1}",
            |stored| stored.location = Location::Cloud,
            |request| {
                request.locations = LocationOrder::new(&[Location::Local, Location::Lan]);
            },
        ),
        (200, "{product_code: 1}", as_is, |request| {
            let version = "24.11".parse().expect("a version");
            request.best_match = Some(BestMatch { edition: Edition::Steady, version });
        }),
        (212, "{product_code: 1, license_quantity: {count: 2}}", as_is, |request| {
            request.seats = Seats::new(3).expect("in range")
        }),
        (223, "{product_code: 1, license_quantity: {count: 2}}", as_is, |request| {
            request.mode = AccessMode::NoUserLimit
        }),
        (231, "{product_code: 1}", |stored| stored.veto = Some(Reason::AccessDenied), plain),
        (231, "{product_code: 2, modules: [{product_code: 1, requires_parent: true}]}", as_is, plain),
        (236, "{product_code: 1, license_quantity: {count: 2}}", as_is, |request| request.origin = Origin::Wan),
        (239, "{product_code: 1}", as_is, |request| request.origin = Origin::Network),
        (239, "{product_code: 1, license_quantity: {count: 2, local_only: true}}", as_is, |request| {
            request.origin = Origin::Network
        }),
        (239, "{product_code: 1}", as_is, |request| request.origin = Origin::Wan),
    ];
    for (code, yaml, prepare, change) in table {
        let refusal = refusal(yaml, prepare, change);
        assert_eq!(refusal.lines().len(), 1, "{yaml}");
        assert_eq!(refusal.code(), *code, "{yaml}: {refusal}");
        assert_eq!(refusal.lines()[0].serial.is_none(), yaml.starts_with("{product_code: 2}"), "{yaml}");
    }
}

const MAINTENANCE: &str =
    "{product_code: 1, maintenance_period: {start: 2026-01-01T00:00:00Z, end: 2027-01-01T00:00:00Z}}";
const MAINTENANCE_REQUIRED: &str =
    "{product_code: 1, maintenance_period: {start: 2026-01-01T00:00:00Z, end: 2027-01-01T00:00:00Z, required: true}}";

fn start(stored: &mut Stored, at: &str) {
    stored.state.start_usage(Part::Parent, time(at));
}

/// The same borders from the inside: one microsecond or one unit less, and it works.
#[test]
fn borders_belong_to_the_valid_side() {
    type Change = fn(&mut Request);
    let table: &[(&str, Change)] = &[
        ("{product_code: 1, expiration_time: 2026-06-01T00:00:00.000001Z}", |_| {}),
        ("{product_code: 1, activation_time: 2026-06-01T00:00:00Z}", |_| {}),
        ("{product_code: 1, unit_counter: 9}", |request| request.take_units = Some(9)),
        ("{product_code: 1, minimum_version: 1.0.0}", |_| {}),
        (MAINTENANCE, |_| {}),
        (MAINTENANCE, |request| request.release_date = Some(time("2026-01-01T00:00:00Z"))),
        (MAINTENANCE_REQUIRED, |request| request.release_date = Some(time("2026-12-31T23:59:59.999999Z"))),
        ("{product_code: 1, license_quantity: {count: 2}}", |request| request.origin = Origin::Network),
        ("{product_code: 1, license_quantity: {count: 2, allow_wan: true}}", |request| request.origin = Origin::Wan),
        ("{product_code: 1}", |request| request.mode = AccessMode::NoUserLimit),
        ("{product_code: 2, status: disabled, modules: [{product_code: 1, status: enabled}]}", |_| {}),
    ];
    for (yaml, change) in table {
        let mut world = World::new(NOW).with("130-1", yaml);
        let mut request = world.request(1, 1, "desk");
        change(&mut request);
        assert!(world.ask(&request).is_ok(), "{yaml}");
    }
}

#[test]
fn full_pool_names_its_holders_and_when_a_seat_comes_free() {
    let mut world = World::new(NOW).with(
        "130-1",
        "{product_code: 1, linger_time: 60s, license_quantity: {count: 2, allow: [user-limit, station-share]}}",
    );
    let first = world.take(1, 1, "alpha", AccessMode::UserLimit).expect("free");
    world.pass(duration::minutes(1));
    world.take(1, 2, "beta", AccessMode::StationShare).expect("free");
    let request = world.request(1, 3, "gamma");
    let refusal = world.ask(&request).expect_err("full");
    let line = &refusal.lines()[0];
    assert_eq!(line.reason, Reason::NoMoreSeats { needed: 1, free: 0, total: 2 });
    let names: Vec<_> = line.holders.iter().map(|holder| (holder.station.as_str(), holder.since.to_string())).collect();
    assert_eq!(names, [("alpha", NOW.to_owned()), ("beta", "2026-06-01T00:01:00Z".to_owned())]);
    assert_eq!((line.free_at, line.instead.as_deref()), (None, None));
    assert!(refusal.clone().without_holders().lines()[0].holders.is_empty());

    world.release(first);
    let refusal = world.ask(&request).expect_err("the seat lingers");
    assert_eq!(refusal.lines()[0].free_at, Some(time("2026-06-01T00:02:00Z")));

    let beside = world.request(1, 4, "beta");
    let refusal = world.ask(&beside).expect_err("user limit wants a seat of its own");
    assert_eq!(refusal.lines()[0].instead.as_deref(), Some("ask in mode station-share"), "beta shares already");
}

#[test]
fn refusal_tells_what_would_work() {
    let five = "{product_code: 1, license_quantity: {count: 5}}";
    let seats = Seats::new(9).expect("in range");
    for (yaml, change, instead) in [
        (five, &(|request: &mut Request| request.seats = seats) as &dyn Fn(&mut Request), "ask for 5 seats"),
        (five, &|request| request.mode = AccessMode::StationShare, "ask in mode user-limit"),
        ("{product_code: 1, expiration_time: 2026-01-01T00:00:00Z}", &|_| {}, "renew the license"),
        ("{product_code: 1, activation_time: 2026-06-03T02:00:05Z}", &|_| {}, "wait for 2d2h"),
        ("{product_code: 1, minimum_version: 2.0.0}", &|_| {}, "update the licence server to 2.0.0"),
        ("{product_code: 2}", &|_| {}, "activate a license for product 1 in a container of this licence server"),
    ] {
        let refusal = refusal(yaml, |_| {}, change);
        assert_eq!(refusal.lines()[0].instead.as_deref(), Some(instead), "{yaml}");
    }
}

#[test]
fn exclusive_conflict_names_who_is_on_the_station() {
    let mut world =
        World::new(NOW).with("130-1", "{product_code: 1, license_quantity: {count: 5, allow: [exclusive]}}");
    world.take(1, 1, "other", AccessMode::Exclusive).expect("free");
    world.take(1, 2, "desk", AccessMode::Exclusive).expect("free");
    let request = Request { mode: AccessMode::Exclusive, ..world.request(1, 3, "desk") };
    let refusal = world.ask(&request).expect_err("one per station");
    let line = &refusal.lines()[0];
    assert_eq!(line.reason.code(), 213);
    assert_eq!(line.holders.len(), 1);
    assert_eq!(line.holders[0].station.as_str(), "desk");
}

#[test]
fn each_candidate_gets_a_line_and_the_nearest_gives_the_number() {
    let mut world = World::new(NOW)
        .with("130-1", "{product_code: 1, expiration_time: 2026-01-01T00:00:00Z}")
        .with("130-2", "{product_code: 1, license_quantity: {count: 1}, expiration_time: 2027-01-01T00:00:00Z}")
        .with("130-3", "{product_code: 1, status: disabled}")
        .with("130-4", "{product_code: 7}");
    world.take(1, 1, "alpha", AccessMode::UserLimit).expect("from the second");
    let request = Request { feature_map: FeatureMap::NONE, ..world.request(1, 2, "beta") };
    let refusal = world.ask(&request).expect_err("nothing left");
    let lines: Vec<_> =
        refusal.lines().iter().map(|line| (line.serial.as_deref().unwrap_or(""), line.reason.code())).collect();
    assert_eq!(lines, [("130-1", 35), ("130-2", 212), ("130-3", 54)]);
    assert_eq!(refusal.code(), 212);

    let json = serde_json::to_value(&refusal).expect("serialises");
    assert_eq!(json["refused"], true);
    for key in ["serial", "product_code", "code", "reason", "holders", "free_at", "instead"] {
        assert!(json["reasons"][1].get(key).is_some(), "scripts rely on {key}");
    }
    assert_eq!(json["reasons"][1]["code"], 212);
    assert_eq!(json["reasons"][1]["holders"][0]["station"], "alpha");
}

#[test]
fn refusal_has_a_limited_number_of_lines_and_holders() {
    let mut world = World::new(NOW);
    for number in 0..100 {
        world = world.with(&format!("130-{number}"), "{product_code: 1, license_quantity: {count: 100}}");
    }
    for client in 0..100 {
        world.take(1, client, &format!("station-{client}"), AccessMode::UserLimit).expect("free");
    }
    let request = Request { seats: Seats::new(101).expect("in range"), ..world.request(1, 999, "late") };
    let refusal = world.ask(&request).expect_err("more than any pool has");
    assert_eq!(refusal.lines().len(), lictor_licensing::refusal::MAX_LINES);
    assert!(refusal.lines().iter().all(|line| line.holders.len() <= lictor_licensing::refusal::MAX_HOLDERS));
}

/// The numbers that integrations of the field know, each with a text of one plain sentence.
#[test]
fn all_numbers_of_the_field_are_there() {
    let seats = Reason::NoMoreSeats { needed: 1, free: 0, total: 1 };
    let at = time(NOW);
    let modes = lictor_licensing::AccessModes::ALL;
    let version = semver::Version::new(1, 2, 3);
    let all = [
        (31, Reason::UnitsMissing),
        (32, Reason::UnitsZero),
        (33, Reason::UnitsUnderrun { left: 1 }),
        (35, Reason::Expired { at }),
        (37, Reason::NotYetActive { from: at }),
        (39, Reason::CertifiedTimeObsolete),
        (48, Reason::UpdateCounterWrong),
        (52, Reason::ContainerDisabled),
        (53, Reason::FirmDisabled),
        (54, Reason::EntryDisabled),
        (71, Reason::UsageOver { since: at }),
        (72, Reason::UsageUnderrun { start: at }),
        (76, Reason::MaintenanceMissing),
        (77, Reason::MaintenanceUnderrun { start: at }),
        (78, Reason::MaintenanceOverrun { end: at }),
        (79, Reason::MaintenanceInvalid),
        (88, Reason::SystemTimeObsolete),
        (101, Reason::ServerNotFound),
        (110, Reason::NoLocalServer),
        (111, Reason::NoNetworkServer),
        (125, Reason::ServerTooOld { minimum: version }),
        (129, Reason::RuntimeTooOld),
        (200, Reason::EntryNotFound),
        (201, Reason::ContainerNotFound),
        (212, seats),
        (213, Reason::ExclusiveConflict),
        (223, Reason::WrongMode { allowed: modes }),
        (226, Reason::BorrowFailed),
        (227, Reason::BorrowActive),
        (228, Reason::UpdateTooNew),
        (229, Reason::UpdateTooOld),
        (231, Reason::AccessDenied),
        (232, Reason::BorrowTimeDifference),
        (236, Reason::NoWanLicense),
        (239, Reason::RemoteDenied),
        (309, Reason::Overloaded),
    ];
    for (code, reason) in all {
        assert_eq!(reason.code(), code, "{reason}");
        let text = reason.to_string();
        assert!(text.starts_with(char::is_lowercase) || text.starts_with(char::is_numeric), "{text}");
        assert!(!text.ends_with('.'), "{text}");
    }
}
