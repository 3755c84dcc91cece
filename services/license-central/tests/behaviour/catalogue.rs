//! Catalogue documents: what may stand in one, and what applying it does.

use lictor_license_central::domain::{
    catalogue::{Catalogue, DOCUMENT_BYTES},
    policy::Replacement,
};
use lictor_licensing::error::ErrorCode;

use crate::world::{CATALOGUE, FIRM, code, encoded, firm, on_each_engine};

fn refused(document: &str) -> ErrorCode {
    match Catalogue::read(document, firm()).and_then(Catalogue::encode) {
        Ok(_) => panic!("taken: {}", &document[..document.len().min(200)]),
        Err(problem) => {
            assert!(!problem.message.contains('\n') && problem.message.len() < 600, "{}", problem.message);
            assert!(!problem.next.is_empty());
            problem.code
        }
    }
}

#[test]
fn the_documented_example_is_a_good_document() {
    let items = encoded(CATALOGUE);
    let names: Vec<&str> = items.iter().map(|encoded| encoded.item.name.as_str()).collect();
    let of_dates = ["painter-30", "painter-90", "painter-365", "plotter", "planner"];
    assert_eq!(names, [&["demo-package", "truck", "tram", "editor", "reports"][..], &of_dates].concat());
    let plotter = &items[8].item.policy;
    assert!(plotter.renewal.is_some() && matches!(plotter.replacement, Replacement::OncePer(_)));
    assert_eq!(items[7].item.policy.expiry_notice_days.expect("leads").iter().collect::<Vec<_>>(), [60, 14, 3]);
    assert_eq!(items[9].item.policy.replacement, Replacement::Never);
    assert_eq!(items[0].item.product_item.modules().len(), 3);
    assert!(items[1].item.product_item.modules()[0].requires_parent);
}

#[test]
fn the_document_is_read_back_from_its_own_yaml() {
    let catalogue = Catalogue::read(CATALOGUE, firm()).expect("the example");
    let yaml = catalogue.to_yaml().expect("yaml");
    assert_eq!(Catalogue::read(&yaml, firm()).expect("own yaml"), catalogue);
}

#[test]
fn json_is_a_document_too() {
    let json = format!(r#"{{"firm_code": {FIRM}, "items": [{{"name": "a", "product_item": {{"product_code": 1}}}}]}}"#);
    assert_eq!(encoded(&json).len(), 1);
}

#[test]
fn bad_documents_are_refused_with_one_sentence() {
    let item = |body: &str| format!("firm_code: {FIRM}\nitems:\n  - name: a\n    product_item: {body}\n");
    for document in [
        String::new(),
        "items: []".to_owned(),
        "\t- }{".to_owned(),
        item("{}"),
        item("{product_code: 1, license_quantity: {count: 0}}"),
        item("{product_code: 1, license_quantity: {count: 99999999}}"),
        item("{product_code: 1, unknown_option: 3}"),
        item("{product_code: 1, expiration_time: }"),
        // Depth 2.
        item("{product_code: 1, modules: [{product_code: 2, modules: [{product_code: 3}]}]}"),
        format!("firm_code: {FIRM}\nitems:\n  - name: a b\n    product_item: {{product_code: 1}}\n"),
        format!(
            "firm_code: {FIRM}\nitems:\n  - name: a\n    product_item: {{product_code: 1}}\n  - name: a\n    product_item: {{product_code: 1}}\n"
        ),
        format!("firm_code: {}\nitems: []\n", FIRM + 1),
        format!("{}x", "[".repeat(100_000)),
    ] {
        assert_eq!(refused(&document), ErrorCode::InvalidArgument);
    }
}

#[test]
fn rules_beside_the_product_item_are_checked_with_it() {
    let item = |item: &str, beside: &str| {
        format!("firm_code: {FIRM}\nitems:\n  - name: a\n    product_item: {item}\n    {beside}\n")
    };
    for (body, beside) in [
        ("{product_code: 1}", "renewal: {period_days: 30, lead_days: 30}"),
        ("{product_code: 1}", "renewal: {every: 30}"),
        ("{product_code: 1}", "renewal:"),
        ("{product_code: 1}", "reactivation: often"),
        ("{product_code: 1}", "expiry_notice_days: [1000]"),
        ("{product_code: 1, expiration_time: \"2030-01-01T00:00:00Z\"}", "renewal: {}"),
        ("{product_code: 1, subscription: {display_name: A, days: 30}}", "renewal: {}"),
        ("{product_code: 1, modules: [{subscription: {display_name: A, days: 30}}]}", "reactivation: never"),
        (
            "{product_code: 1, subscription: {display_name: A, days: 30}, expiration_time: \"2030-01-01T00:00:00Z\"}",
            "reactivation: never",
        ),
    ] {
        assert_eq!(refused(&item(body, beside)), ErrorCode::InvalidArgument, "{body} {beside}");
    }
    assert_eq!(
        encoded(&item("{product_code: 1}", "renewal: {}"))[0].item.policy.renewal.expect("usual").lead.as_secs(),
        604_800
    );
}

#[tokio::test]
async fn a_changed_rule_is_a_new_version_and_sold_licenses_keep_theirs() {
    on_each_engine(async |world| {
        let (_, plotter) = world.ticket_of("plotter").await;
        let changed = CATALOGUE.replace("grace_days: 3}", "grace_days: 9}");
        assert_eq!(world.apply(&changed, "again").await.expect("applied"), b"(0, 1, 9)");
        assert_eq!(world.apply(&changed, "once more").await.expect("applied"), b"(0, 0, 10)");
        let grace = |license: &lictor_license_central::domain::license::License| {
            license.policy.renewal.expect("renews").grace.as_secs() / 86_400
        };
        assert_eq!(grace(&world.look(plotter).await), 3);
        let (_, newer) = world.ticket_of("plotter").await;
        assert_eq!(grace(&world.look(newer).await), 9);
    })
    .await;
}

#[test]
fn oversized_documents_and_items_are_refused() {
    assert_eq!(refused(&" ".repeat(DOCUMENT_BYTES + 1)), ErrorCode::LimitExceeded);
    let entries: Vec<String> = (0..128).map(|number| format!("{number}: {}", "x".repeat(256))).collect();
    let data = entries.join(", ");
    let document = format!(
        "firm_code: {FIRM}\nitems:\n  - name: huge\n    product_item: {{product_code: 1, protected_data: {{{data}}}, user_data: {{{data}}}}}\n"
    );
    assert_eq!(refused(&document), ErrorCode::LimitExceeded);
}

#[test]
fn an_alias_bomb_is_refused_quickly() {
    let mut document = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (before, name) in ["a", "b", "c", "d", "e", "f", "g", "h"].iter().zip(["b", "c", "d", "e", "f", "g", "h", "i"])
    {
        document.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(", ")));
    }
    document.push_str(&format!("firm_code: {FIRM}\nitems: []\n"));
    assert_eq!(refused(&document), ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn applying_twice_changes_nothing_and_a_change_makes_a_version() {
    on_each_engine(async |world| {
        assert_eq!(world.apply(CATALOGUE, "second").await.expect("applied"), b"(0, 0, 10)");
        let changed = CATALOGUE.replace("count: 5", "count: 6");
        assert_ne!(changed, CATALOGUE, "the example has an item with five seats");
        assert_eq!(world.apply(&changed, "third").await.expect("applied"), b"(0, 1, 9)");
        let versions: Vec<u64> =
            world.store.items(firm()).await.expect("items").iter().map(|item| item.version).collect();
        assert_eq!(versions.iter().sum::<u64>(), 11, "{versions:?}");
    })
    .await;
}

#[tokio::test]
async fn the_same_request_gets_the_first_answer_and_another_body_is_refused() {
    on_each_engine(async |world| {
        assert_eq!(world.apply(CATALOGUE, "catalogue").await.expect("repeated"), b"(10, 0, 0)");
        let other = CATALOGUE.replace("count: 5", "count: 6");
        assert_eq!(code(world.apply(&other, "catalogue").await), ErrorCode::RequestIdReused);
        assert_eq!(world.apply(CATALOGUE, "after").await.expect("unchanged"), b"(0, 0, 10)");
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    on_each_engine(async |world| {
        let items = encoded(&CATALOGUE.replace("count: 5", "count: 6"));
        let fresh = lictor_license_central::ids::items(items.len(), crate::world::START);
        let told = world
            .store
            .apply_items(firm(), &items, &fresh, None, crate::world::START, |applied| vec![applied.changed.len() as u8])
            .await
            .expect("compared");
        assert_eq!(told, [1]);
        assert!(world.store.items(firm()).await.expect("items").iter().all(|item| item.version == 1));
    })
    .await;
}

#[tokio::test]
async fn a_sold_license_keeps_what_it_was_sold_with() {
    on_each_engine(async |world| {
        let license = world.license().await;
        let before = world.reserve(&license, world.activation()).await.expect("reserved");
        world
            .apply(&CATALOGUE.replace("text: Truck simulator", "text: Lorry simulator"), "renamed")
            .await
            .expect("applied");
        world.clock.advance(std::time::Duration::from_secs(3_600));
        let after = world.reserve(&license, world.activation()).await.expect("reserved again after its time");
        assert_eq!(before.changes, after.changes);
        let newer = world.license().await;
        let newer = world.reserve(&newer, world.activation()).await.expect("reserved");
        assert_ne!(newer.changes[0].change, after.changes[0].change);
    })
    .await;
}
