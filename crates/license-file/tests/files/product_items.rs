//! Product items: every option survives, one spelling each, and none is too large.

use std::collections::BTreeMap;
use std::time::Duration;

use lictor_license_file::{FileError, product_item};
use lictor_licensing::access::{AccessMode, AccessModes};
use lictor_licensing::binding::{Binding, Bindings};
use lictor_licensing::feature::FeatureMap;
use lictor_licensing::id::ProductCode;
use lictor_licensing::item::{ModuleItem, Part, ProductItem};
use lictor_licensing::options::{
    AccessCode, BorrowRule, DataEntries, Edition, HiddenData, LingerTime, MaintenancePeriod, MinimumVersion,
    NamedUsers, Options, Quantity, Release, ReleaseVersion, SecretData, Status, Subscription, TransferRule,
    UnitCounter, UsagePeriod,
};
use lictor_licensing::text::Text;
use proptest::prelude::*;

use crate::support::{at, scale};

fn text(content: &str) -> Text {
    Text::new(content).expect("a short text")
}

fn data(entries: &[(u8, &[u8])]) -> DataEntries {
    let mut data = DataEntries::default();
    for (number, bytes) in entries {
        data.set(*number, *bytes).expect("a small entry");
    }
    data
}

fn every_option() -> Options {
    Options {
        product_code: Some(ProductCode(201_000)),
        feature_map: Some(FeatureMap(0x8000_0005)),
        text: Some(text("Simulator, große Ausgabe")),
        license_quantity: Some(
            Quantity::new(10_000_000)
                .and_then(|quantity| {
                    quantity.allowing(AccessModes::of(&[AccessMode::StationShare, AccessMode::Exclusive]))
                })
                .expect("a good quantity")
                .with_wan(),
        ),
        activation_time: Some(at(-1_000_000_000)),
        expiration_time: Some(at(1_000_000_000)),
        usage_period: Some(UsagePeriod::new(Duration::from_secs(30 * 86_400)).expect("a month")),
        maintenance_period: Some(MaintenancePeriod::new(at(0), at(1), true).expect("a period")),
        unit_counter: Some(UnitCounter(u64::MAX)),
        linger_time: Some(LingerTime::new(Duration::from_micros(1_000_001)).expect("a second and a bit")),
        minimum_version: Some(MinimumVersion("1.2.3-rc.1+build.5".parse().expect("a version"))),
        borrow: Some(
            BorrowRule::new(Duration::from_secs(86_400), Duration::from_secs(7 * 86_400), Some(3)).expect("a rule"),
        ),
        transfer: Some(TransferRule { may_move: true, may_return: true, splittable: false, depth: 255 }),
        user_data: Some(data(&[(0, b"first"), (127, &[0; 256])])),
        customer_info: Some(data(&[(5, b"")])),
        protected_data: Some(data(&[(1, &[0xFF, 0x00])])),
        hidden_data: Some(HiddenData {
            access_code: AccessCode::new("open sesame").expect("a code"),
            entries: data(&[(2, b"hidden")]),
        }),
        secret_data: Some(SecretData(data(&[(3, &[0x77; 32])]))),
        named_users: Some(NamedUsers::new(7, 2).expect("users")),
        subscription: Some(Subscription::new(text("Simulator"), 365).expect("a year")),
        bindings: Some(Bindings::of(&[Binding::Folder, Binding::Vm, Binding::Machine])),
        status: Some(Status::Disabled),
        release: Some(Release { edition: Edition::Progress, version: ReleaseVersion { major: 24, minor: 11 } }),
    }
}

/// An item with every option there is, on itself and on a module.
pub(crate) fn with_every_option() -> ProductItem {
    let empty = ModuleItem::default();
    let full = ModuleItem { options: every_option(), requires_parent: true };
    ProductItem::new(every_option(), vec![full, empty]).expect("options that fit each other")
}

#[test]
fn every_option_is_in_the_full_item() {
    let kinds = lictor_licensing::options::OptionKinds::ALL;
    assert_eq!(with_every_option().options().kinds(), kinds, "a new option needs a field number and a place here");
}

#[test]
fn every_option_survives() {
    let item = with_every_option();
    let bytes = product_item::encode(&item).expect("a small item");
    assert_eq!(product_item::decode(&bytes).as_ref(), Ok(&item));
    // Each option alone, so that none hides behind another.
    let full = every_option();
    for field in 0..23 {
        let mut alone = Options { product_code: Some(ProductCode(1)), ..Options::default() };
        match field {
            0 => {}
            1 => alone.feature_map = full.feature_map,
            2 => alone.text.clone_from(&full.text),
            3 => alone.license_quantity = full.license_quantity.map(Quantity::local_only),
            4 => alone.activation_time = full.activation_time,
            5 => alone.expiration_time = full.expiration_time,
            6 => alone.usage_period = full.usage_period,
            7 => alone.maintenance_period = full.maintenance_period,
            8 => alone.unit_counter = full.unit_counter,
            9 => alone.linger_time = full.linger_time,
            10 => alone.minimum_version.clone_from(&full.minimum_version),
            11 => alone.borrow = full.borrow,
            12 => alone.transfer = full.transfer,
            13 => alone.user_data.clone_from(&full.user_data),
            14 => alone.customer_info.clone_from(&full.customer_info),
            15 => alone.protected_data.clone_from(&full.protected_data),
            16 => alone.hidden_data.clone_from(&full.hidden_data),
            17 => alone.secret_data.clone_from(&full.secret_data),
            18 => alone.named_users = full.named_users,
            19 => alone.subscription.clone_from(&full.subscription),
            20 => alone.bindings = full.bindings,
            21 => alone.status = full.status,
            _ => alone.release = full.release,
        }
        let item = ProductItem::new(alone, Vec::new()).expect("one option");
        let bytes = product_item::encode(&item).expect("a small item");
        assert_eq!(product_item::decode(&bytes), Ok(item), "option {field}");
    }
}

#[test]
fn an_unknown_option_refuses_the_item() {
    // {0: {0: 1, 23: 0}}: option 23 does not exist yet, and might be a limit.
    let bytes = [0xA1, 0x00, 0xA2, 0x00, 0x01, 0x17, 0x00];
    assert_eq!(product_item::decode(&bytes), Err(FileError::UnknownCritical("field 23".to_owned())));
}

#[test]
fn an_item_over_48_kib_is_refused_on_both_sides() {
    let mut large = DataEntries::default();
    for number in 0..128 {
        large.set(number, [0xAA; 256]).expect("a full entry");
    }
    let options = Options {
        product_code: Some(ProductCode(1)),
        user_data: Some(large.clone()),
        protected_data: Some(large),
        ..Options::default()
    };
    let item = ProductItem::new(options, Vec::new()).expect("an item");
    assert!(matches!(product_item::encode(&item), Err(FileError::TooLarge { .. })));
    assert!(matches!(product_item::decode(&vec![0xA1; 48 * 1024 + 1]), Err(FileError::TooLarge { .. })));
}

#[test]
fn nesting_and_module_counts_are_limited() {
    // A module inside a module has no field to be in, whatever the depth.
    let deep: Vec<u8> = std::iter::repeat_n([0xA1, 0x01, 0x81], 10_000).flatten().collect();
    assert!(product_item::decode(&deep).is_err());
    let modules = vec![ModuleItem::default(); 256];
    let options = || Options { product_code: Some(ProductCode(1)), ..Options::default() };
    let most = ProductItem::new(options(), modules).expect("256 modules");
    let bytes = product_item::encode(&most).expect("small modules");
    assert_eq!(product_item::decode(&bytes), Ok(most));
    // {0: {0: 1}, 1: [257 x {0: {}}]}
    let mut over = vec![0xA2, 0x00, 0xA1, 0x00, 0x01, 0x01, 0x99, 0x01, 0x01];
    over.extend(std::iter::repeat_n([0xA1, 0x00, 0xA0], 257).flatten());
    assert!(matches!(product_item::decode(&over), Err(FileError::TooLarge { .. })));
}

#[test]
fn the_effective_item_has_the_seats_and_units_of_the_container() {
    let item = crate::support::item(5, 100);
    let bytes = product_item::encode(&item).expect("a small item");
    let raised = BTreeMap::from([(Part::Parent, 7), (Part::Module(0), 5)]);
    let here = product_item::effective(&bytes, 3, &raised).expect("a good entry");
    assert_eq!(here.options().license_quantity.map(Quantity::count), Some(3));
    assert_eq!(here.options().unit_counter, Some(UnitCounter(1_007)));
    assert_eq!(here.modules()[0].options.unit_counter, Some(UnitCounter(15)));
    assert!(product_item::effective(&bytes, 0, &BTreeMap::new()).is_err(), "a counted license without seats");
    assert!(product_item::effective(&bytes, 3, &BTreeMap::from([(Part::Module(1), 1)])).is_err());
    assert!(product_item::effective(&bytes, 3, &BTreeMap::from([(Part::Parent, u64::MAX)])).is_err());
}

fn options() -> impl Strategy<Value = Options> {
    (
        any::<(u32, Option<u32>, Option<u64>, bool)>(),
        proptest::option::of("[a-zA-ZäöüÄÖÜß0-9 ]{1,40}"),
        proptest::option::of((1_u32..10_000_000, 1_u32..16, 0..3_u8)),
        proptest::option::of((1_i64..1_000_000, 1_i64..1_000_000)),
        proptest::option::of(1_u64..100_000_000),
        proptest::collection::btree_map(0_u8..128, proptest::collection::vec(any::<u8>(), 0..40), 0..6),
        proptest::option::of(any::<u8>()),
    )
        .prop_map(|((product, features, units, enabled), label, quantity, times, span, entries, depth)| {
            let entries: Vec<_> = entries.iter().map(|(number, bytes)| (*number, bytes.as_slice())).collect();
            Options {
                product_code: Some(ProductCode(product)),
                feature_map: features.map(FeatureMap),
                text: label.map(|label| text(&label)),
                license_quantity: quantity.map(|(count, modes, reach)| {
                    let modes = AccessModes::from_bits(modes).expect("four modes");
                    let quantity =
                        Quantity::new(count).and_then(|quantity| quantity.allowing(modes)).expect("a good quantity");
                    match reach {
                        0 => quantity,
                        1 => quantity.local_only(),
                        _ => quantity.with_wan(),
                    }
                }),
                activation_time: times.map(|(start, _)| at(start)),
                expiration_time: times.map(|(start, length)| at(start + length)),
                usage_period: span.and_then(|span| UsagePeriod::new(Duration::from_secs(span)).ok()),
                unit_counter: units.map(UnitCounter),
                user_data: (!entries.is_empty()).then(|| data(&entries)),
                status: Some(if enabled { Status::Enabled } else { Status::Disabled }),
                transfer: depth.map(|depth| TransferRule { may_move: enabled, depth, ..TransferRule::default() }),
                ..Options::default()
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200 * u32::try_from(scale()).unwrap_or(1)))]

    #[test]
    fn any_item_survives(own in options(), modules in proptest::collection::vec((options(), any::<bool>()), 0..4)) {
        let modules = modules
            .into_iter()
            .map(|(options, requires_parent)| ModuleItem { options, requires_parent })
            .collect();
        if let Ok(item) = ProductItem::new(own, modules) {
            let bytes = product_item::encode(&item).expect("a small item");
            prop_assert_eq!(product_item::decode(&bytes), Ok(item));
            for length in 0..bytes.len() {
                prop_assert!(product_item::decode(&bytes[..length]).is_err());
            }
        }
    }
}
