//! Random items, requests and times: whatever happens, no pool gives more seats than it has, no unit is given twice, and
//! a usage period starts once.

mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use lictor_clock::duration;
use lictor_licensing::access::AccessId;
use lictor_licensing::{AccessMode, Part, Request, Seats};
use proptest::prelude::*;
use world::{World, scale};

#[derive(Clone, Debug)]
enum Op {
    Ask { product: u32, client: u128, mode: usize, seats: u32, units: Option<u64>, again: bool },
    Release { nth: usize },
    Pass { hours: u64 },
}

fn any_part(code: u32) -> impl Strategy<Value = String> {
    let quantity = prop::option::of(1..4_u32);
    let units = prop::option::of(0..20_u64);
    let days = prop::option::of(1..4_u64);
    (quantity, units, days, any::<bool>(), any::<bool>()).prop_map(move |(quantity, units, days, linger, all_modes)| {
        let mut options = vec![format!("product_code: {code}")];
        let modes = if all_modes { "user-limit, station-share, exclusive, no-user-limit" } else { "user-limit" };
        options.extend(quantity.map(|count| format!("license_quantity: {{count: {count}, allow: [{modes}]}}")));
        options.extend(units.map(|units| format!("unit_counter: {units}")));
        options.extend(days.map(|days| format!("usage_period: {days}d")));
        options.extend(linger.then(|| "linger_time: 2h".to_owned()));
        options.join(", ")
    })
}

fn any_item() -> impl Strategy<Value = String> {
    (any_part(1), any_part(2), any_part(3), any::<bool>()).prop_map(|(parent, first, second, requires)| {
        format!("{{{parent}, modules: [{{{first}, requires_parent: {requires}}}, {{{second}}}]}}")
    })
}

fn any_op() -> impl Strategy<Value = Op> {
    let ask = (1..=3_u32, 0..5_u128, 0..4_usize, 1..3_u32, prop::option::of(0..5_u64), any::<bool>());
    prop_oneof![
        6 => ask.prop_map(|(product, client, mode, seats, units, again)| Op::Ask { product, client, mode, seats, units, again }),
        3 => (0..10_usize).prop_map(|nth| Op::Release { nth }),
        1 => (0..30_u64).prop_map(|hours| Op::Pass { hours }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500 * scale(), ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_given_that_is_not_there(
        items in prop::collection::vec(any_item(), 1..4),
        ops in prop::collection::vec(any_op(), 1..50),
    ) {
        let mut world = World::new("2026-01-01T00:00:00Z");
        for (number, yaml) in items.iter().enumerate() {
            world = world.with(&format!("130-{number}"), yaml);
        }
        let mut held: Vec<AccessId> = Vec::new();
        let mut starts = BTreeMap::new();
        let mut taken: BTreeMap<(String, Part), u64> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Ask { product, client, mode, seats, units, again } => {
                    let station = format!("station-{}", client % 2);
                    let request = Request {
                        mode: AccessMode::ALL[mode],
                        seats: Seats::new(seats).expect("in range"),
                        take_units: units,
                        ..world.request(product, client, &station)
                    };
                    if let Ok((serial, choice)) = world.ask(&request) {
                        held.push(request.access);
                        let entry = choice.candidate % 3;
                        let stored = world.stored.iter().find(|stored| stored.serial == serial).expect("known");
                        let entry = &stored.entries[entry];
                        prop_assert_eq!(entry.product_code().get(), product);
                        prop_assert!(entry.allowed_modes().contains(request.mode));
                        *taken.entry((serial, entry.places().units)).or_default() += units.unwrap_or(0);
                        if let Some(end) = choice.ends_at {
                            prop_assert!(end > world.now, "nobody gets what is over");
                        }
                        if again && units.is_none() {
                            let used: Vec<_> = world.stored.iter().flat_map(|stored| stored.seats.pools()).map(|pool| pool.report()).collect();
                            world.ask(&request).ok();
                            // The very same access is only the same where it is held; it may not have moved elsewhere.
                            let again: Vec<_> = world.stored.iter().flat_map(|stored| stored.seats.pools()).map(|pool| pool.report()).collect();
                            prop_assert_eq!(used, again);
                        }
                    }
                }
                Op::Release { nth } if !held.is_empty() => {
                    let access = held.swap_remove(nth % held.len());
                    prop_assert!(world.release(access));
                }
                Op::Release { .. } => {}
                Op::Pass { hours } => world.pass(Duration::from_secs(3_600 * hours)),
            }
            for stored in &world.stored {
                for entry in &stored.entries {
                    let total = stored.seats.pool(entry.places().pool).report().total;
                    prop_assert_eq!(total, entry.options().license_quantity.map(|quantity| quantity.count()));
                }
                for pool in stored.seats.pools() {
                    let report = pool.report();
                    if let Some(total) = report.total {
                        prop_assert!(report.used <= u64::from(total), "{report:?}");
                    }
                }
                for (part, state) in stored.state.parts() {
                    if let Some(start) = state.usage_start {
                        let first = *starts.entry((stored.serial.clone(), part)).or_insert(start);
                        prop_assert_eq!(first, start, "a usage period starts once");
                    }
                    let granted = stored.entries[part.index()].options().unit_counter.map_or(0, |counter| counter.0);
                    prop_assert!(state.units_used <= granted);
                    let expected = taken.get(&(stored.serial.clone(), part)).copied().unwrap_or(0);
                    prop_assert_eq!(state.units_used, expected, "no unit is lost or given twice");
                }
            }
        }
        for access in held {
            world.release(access);
        }
        for stored in &mut world.stored {
            stored.seats.advance(world.now.saturating_add(duration::days(2)));
            for pool in stored.seats.pools() {
                prop_assert_eq!(pool.report().used, 0);
            }
        }
    }
}
