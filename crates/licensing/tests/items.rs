//! Items as the vendor writes them: what is accepted, what is refused, and in which words.

mod world;

use lictor_clock::duration;
use lictor_licensing::binding::may_live;
use lictor_licensing::options::{DataEntries, DataError, MaintenancePeriod, UsagePeriod};
use lictor_licensing::{
    AccessMode, AccessModes, Binding, Bindings, ContainerKind, ItemError, ModuleItem, OptionKinds, Options, Part,
    ProductCode, ProductItem, Quantity,
};
use proptest::prelude::*;
use world::{item, item_error, time};

const EVERYTHING: &str = r#"
product_code: 1000
feature_map: [0, 4]
text: Everything at once
license_quantity: { count: 30000, allow: [user-limit, exclusive], allow_wan: true }
activation_time: 2026-01-01T00:00:00Z
expiration_time: 2027-01-01T00:00:00Z
usage_period: 30d
maintenance_period: { start: 2026-01-01T00:00:00Z, end: 2028-01-01T00:00:00Z, required: true }
unit_counter: 500
linger_time: 90s
minimum_version: 1.2.3
borrow: { max_duration: 7d, max_ahead: 42d, max_seats: 3 }
transfer: { may_move: true, may_return: true, depth: 2 }
user_data: { 0: hello, 127: { hex: 00ff } }
customer_info: { 1: room 12 }
protected_data: { 1: { hex: "" } }
hidden_data: { access_code: open sesame, entries: { 0: treasure } }
secret_data: { 5: { hex: 000102 } }
named_users: { max_users: 5 }
subscription: { display_name: Office, days: 365 }
bindings: [folder, volume]
status: enabled
release: { edition: steady, version: "24.11" }
modules:
  - { product_code: 1001, text: Word processor, usage_period: 1d12h, requires_parent: true }
  - { feature_map: 0x10, status: disabled }
"#;

#[test]
fn every_option_survives_its_document() {
    let item = item(EVERYTHING);
    assert_eq!(item.options().kinds(), OptionKinds::ALL, "the example must use every option");
    let yaml = serde_norway::to_string(&item).expect("serialises");
    assert_eq!(serde_norway::from_str::<ProductItem>(&yaml).expect("reads"), item, "{yaml}");
    let json = serde_json::to_string(&item).expect("serialises");
    assert_eq!(serde_json::from_str::<ProductItem>(&json).expect("reads"), item, "{json}");
    assert_eq!(item.modules().len(), 2);
    assert!(item.modules()[0].requires_parent);
    assert_eq!(item.options().usage_period.map(UsagePeriod::get), Some(duration::days(30)));
    assert_eq!(item.options().user_data.as_ref().and_then(|data| data.get(127)), Some(&[0, 0xff][..]));
}

#[test]
fn counted_license_allows_user_limit_only_unless_the_vendor_allows_more() {
    let plain = item("{product_code: 1, license_quantity: {count: 5}}").options().license_quantity.expect("set");
    assert_eq!(plain.allowed(), AccessModes::of(&[AccessMode::UserLimit]));
    assert!(plain.denied().contains(AccessMode::NoUserLimit));
    assert!(!plain.is_local_only());
    assert!(!plain.allows_wan());
}

#[test]
fn module_in_a_module_is_refused_in_words() {
    for nested in ["[]", "[{product_code: 3}]", "~", "[{product_code: 3, modules: [{product_code: 4}]}]"] {
        let error = item_error(&format!("{{product_code: 1, modules: [{{product_code: 2, modules: {nested}}}]}}"));
        assert!(
            error.contains("a module item cannot have modules of its own: only a product item has modules"),
            "{error}"
        );
    }
}

#[test]
fn bad_documents_are_refused_in_words() {
    let long = "x".repeat(257);
    let mut wrong = Vec::new();
    for (yaml, words) in [
        ("{}", "a product item needs a product_code"),
        ("{product_code: -1}", "expected u32"),
        ("{product_code: 4294967296}", "expected u32"),
        ("{product_code: 1, colour: red}", "unknown field `colour`"),
        ("{product_code: 1, requires_parent: true}", "unknown field `requires_parent`"),
        ("{product_code: 1, product_code: 2}", "duplicate"),
        ("{product_code: 1, modules: [{colour: red}]}", "unknown field `colour`"),
        ("{product_code: 1, expiration_time: }", "nothing is given for expiration_time"),
        ("{product_code: 1, license_quantity: }", "nothing is given for license_quantity"),
        ("{product_code: 1, modules: [{text: }]}", "nothing is given for text"),
        ("{product_code: 1, borrow: }", "nothing is given for borrow"),
        ("{product_code: 1, unit_counter: ~}", "nothing is given for unit_counter"),
        ("{product_code: 1, expiration_time: 2027-01-01}", "a time is written like"),
        ("{product_code: 1, license_quantity: {count: 0}}", "a license quantity of 0 can never be used"),
        ("{product_code: 1, license_quantity: {count: 10000001}}", "may not exceed 10000000"),
        ("{product_code: 1, license_quantity: {count: 99999999999}}", "expected u32"),
        ("{product_code: 1, license_quantity: {count: 1, allow: []}}", "at least one access mode"),
        ("{product_code: 1, license_quantity: {count: 1, allow: [user-limit, user-limit]}}", "listed twice"),
        ("{product_code: 1, license_quantity: {count: 1, allow: [UserLimit]}}", "user-limit station-share exclusive"),
        (
            "{product_code: 1, license_quantity: {count: 1, local_only: true, allow_wan: true}}",
            "cannot be local_only and allow_wan",
        ),
        ("{product_code: 1, license_quantity: {count: 1, deny: [exclusive]}}", "unknown field `deny`"),
        ("{product_code: 1, usage_period: 30}", "a span of time is written like 30d"),
        ("{product_code: 1, usage_period: 0s}", "a usage period lasts from 1s"),
        ("{product_code: 1, usage_period: 36501d}", "a usage period lasts from 1s"),
        ("{product_code: 1, linger_time: 32d}", "a linger time lasts from 1s to 31d"),
        (
            "{product_code: 1, maintenance_period: {start: 2027-01-01T00:00:00Z, end: 2027-01-01T00:00:00Z}}",
            "must end after its start",
        ),
        ("{product_code: 1, unit_counter: -1}", "expected u64"),
        ("{product_code: 1, minimum_version: one}", "unexpected character"),
        ("{product_code: 1, borrow: {max_seats: 0}}", "a borrow rule needs"),
        ("{product_code: 1, user_data: {128: x}}", "numbered 0 to 127"),
        ("{product_code: 1, user_data: {0: {hex: 0}}}", "a text, or {hex: 00ff}"),
        ("{product_code: 1, user_data: {0: {hex: \"0\"}}}", "pairs of the digits"),
        ("{product_code: 1, user_data: {0: {hex: \"+1\"}}}", "pairs of the digits"),
        ("{product_code: 1, user_data: {0: [1]}}", "a text, or {hex: 00ff}"),
        ("{product_code: 1, hidden_data: {access_code: short, entries: {}}}", "an access code has 8 to 64 bytes"),
        ("{product_code: 1, named_users: {max_users: 0}}", "named_users needs"),
        ("{product_code: 1, subscription: {display_name: A, days: 0}}", "a subscription lasts 1 to 36500 days"),
        ("{product_code: 1, bindings: [moon]}", "folder machine vm volume kubernetes token cloud"),
        ("{product_code: 1, bindings: []}", "leave no container"),
        ("{product_code: 1, bindings: [token], modules: [{bindings: [cloud]}]}", "leave no container"),
        ("{product_code: 1, status: maybe}", "enabled disabled"),
        ("{product_code: 1, release: {edition: steady, version: 24}}", "two numbers such as"),
        ("{product_code: 1, text: \"two\\nlines\"}", "control characters"),
        ("{product_code: 1, text: \"\"}", "the text is empty"),
        (&format!("{{product_code: 1, text: {long}}}"), "longer than 256 bytes"),
        (&format!("{{product_code: 1, user_data: {{0: {long}}}}}"), "at most 256 bytes"),
        (
            "{product_code: 1, activation_time: 2027-01-01T00:00:00Z, expiration_time: 2027-01-01T00:00:00Z}",
            "the product item would expire before",
        ),
        (
            "{product_code: 1, activation_time: 2027-01-01T00:00:00Z, modules: [{expiration_time: 2026-01-01T00:00:00Z}]}",
            "module 1 would expire before",
        ),
        ("{product_code: 1, transfer: {splittable: true}}", "a splittable product item needs a license_quantity"),
        (
            "{product_code: 1, license_quantity: {count: 2}, transfer: {splittable: true}, modules: [{}, {unit_counter: 9}]}",
            "module 2 has a unit_counter, which cannot be split",
        ),
    ] {
        let error = item_error(yaml);
        if !error.contains(words) {
            wrong.push(format!("{yaml}\n  says: {error}\n  not:  {words}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn item_has_at_most_256_modules() {
    let options = Options { product_code: Some(ProductCode(1)), ..Options::default() };
    let item = ProductItem::new(options.clone(), vec![ModuleItem::default(); 256]).expect("exactly the limit");
    assert_eq!(item.parts().count(), 257);
    assert_eq!(item.parts().last(), Some(Part::Module(255)));
    assert_eq!(ProductItem::new(options, vec![ModuleItem::default(); 257]), Err(ItemError::TooManyModules(257)));
    assert_eq!(Part::from_index(257), None);
    assert_eq!(Part::from_index(256).map(Part::index), Some(256));
}

#[test]
fn null_is_no_value_in_json_either() {
    let error = serde_json::from_str::<ProductItem>(r#"{"product_code": 1, "expiration_time": null}"#);
    assert!(error.expect_err("a license without an end").to_string().contains("nothing is given for expiration_time"));
}

#[test]
fn release_version_keeps_its_trailing_zero() {
    let release =
        item("{product_code: 1, release: {edition: progress, version: 24.10}}").options().release.expect("set");
    assert_eq!((release.version.major, release.version.minor), (24, 10));
    let json = r#"{"product_code": 1, "release": {"edition": "progress", "version": 24.10}}"#;
    let error = serde_json::from_str::<ProductItem>(json).expect_err("a JSON number has lost the zero already");
    assert!(error.to_string().contains("a release version in quotes"), "{error}");
}

#[test]
fn secrets_do_not_show_in_debug_text() {
    let shown = format!("{:?}", item(EVERYTHING));
    for secret in ["sesame", "treasure", "[0, 1, 2]"] {
        assert!(!shown.contains(secret), "{secret} shows");
    }
}

#[test]
fn data_entries_hold_128_times_256_bytes() {
    let mut data = DataEntries::default();
    for number in 0..128 {
        data.set(number, vec![number; 256]).expect("within the limits");
    }
    assert_eq!(data.set(128, vec![]), Err(DataError::Number));
    assert_eq!(data.set(0, vec![0; 257]), Err(DataError::TooLong));
    assert_eq!(data.get(0), Some(&[0; 256][..]), "a refused value changes nothing");
    assert_eq!(data.len(), 128);
}

#[test]
fn quantity_and_periods_check_their_ranges() {
    assert!(Quantity::new(0).is_err());
    assert!(Quantity::new(Quantity::MAX).is_ok());
    assert!(Quantity::new(Quantity::MAX + 1).is_err());
    let (start, end) = (time("2026-01-01T00:00:00Z"), time("2027-01-01T00:00:00Z"));
    assert!(MaintenancePeriod::new(end, start, false).is_err());
    assert!(UsagePeriod::new(std::time::Duration::from_millis(999)).is_err());
}

/// Who may live where: a row per binding, a column per kind of container.
#[test]
fn license_lives_only_where_its_bindings_allow() {
    use ContainerKind::{Cloud, Folder, Kubernetes, Machine, Token, Volume};
    let default = item("{product_code: 1}").bindings();
    assert_eq!(default, Bindings::DEFAULT);
    for (bindings, allowed) in [
        (default, &[Machine, Token, Cloud][..]),
        (Bindings::of(&[Binding::Folder]), &[Folder]),
        (Bindings::of(&[Binding::Volume, Binding::Kubernetes]), &[Volume, Kubernetes]),
        (Bindings::of(&[Binding::Vm]), &[]),
    ] {
        for kind in ContainerKind::ALL {
            assert_eq!(may_live(bindings, *kind, false).is_ok(), allowed.contains(kind), "{bindings} in {kind}");
        }
    }
    assert!(may_live(default, Machine, true).is_err(), "a virtual machine must be allowed by name");
    assert!(may_live(default.with(Binding::Vm), Machine, true).is_ok());
    assert!(may_live(default, Token, true).is_ok(), "a token is no less safe there");
    let refused = may_live(default, Folder, false).expect_err("a folder must be allowed by name");
    assert_eq!(refused.to_string(), "the license may live in machine, token, cloud, not in folder");
}

#[test]
fn module_narrows_where_the_whole_unit_may_live() {
    let item = item("{product_code: 1, bindings: [folder, token], modules: [{}, {bindings: [token, cloud]}]}");
    assert_eq!(item.bindings(), Bindings::of(&[Binding::Token]));
}

fn any_quantity() -> impl Strategy<Value = Quantity> {
    (1..=Quantity::MAX, 1..16_u32).prop_map(|(count, modes)| {
        let modes = AccessModes::from_bits(modes).expect("four modes");
        Quantity::new(count).and_then(|quantity| quantity.allowing(modes)).expect("in range")
    })
}

fn any_options() -> impl Strategy<Value = Options> {
    let data = prop::collection::btree_map(0..128_u8, prop::collection::vec(any::<u8>(), 0..8), 0..4);
    let period = (1..=100_000_000_u64)
        .prop_map(|seconds| UsagePeriod::new(std::time::Duration::from_secs(seconds)).expect("in range"));
    (
        prop::option::of(any_quantity()),
        prop::option::of(period),
        prop::option::of(any::<u32>()),
        prop::option::of(data),
        prop::option::of("[^\\p{Cc}]{1,20}"),
    )
        .prop_map(|(license_quantity, usage_period, features, data, text)| Options {
            license_quantity,
            usage_period,
            feature_map: features.map(Into::into),
            protected_data: data.map(|entries| {
                let mut data = DataEntries::default();
                entries.into_iter().for_each(|(number, bytes)| data.set(number, bytes).expect("in range"));
                data
            }),
            text: text.and_then(|text| lictor_licensing::Text::new(text).ok()),
            ..Options::default()
        })
}

proptest! {
    #[test]
    fn random_items_survive_their_documents(
        parent in any_options(),
        modules in prop::collection::vec((any_options(), any::<bool>()), 0..4),
    ) {
        let options = Options { product_code: Some(ProductCode(1)), ..parent };
        let modules = modules.into_iter().map(|(options, requires_parent)| ModuleItem { options, requires_parent });
        let item = ProductItem::new(options, modules.collect()).expect("nothing in it can clash");
        let yaml = serde_norway::to_string(&item).expect("serialises");
        prop_assert_eq!(&serde_norway::from_str::<ProductItem>(&yaml).expect("reads"), &item, "{}", yaml);
        let json = serde_json::to_string(&item).expect("serialises");
        prop_assert_eq!(&serde_json::from_str::<ProductItem>(&json).expect("reads"), &item);
    }

    #[test]
    fn no_document_panics(text in "\\PC{0,120}") {
        let _ = serde_norway::from_str::<ProductItem>(&text);
        let _ = serde_norway::from_str::<ProductItem>(&format!("product_code: 1\n{text}"));
    }
}
