//! Catalogue documents: what may stand in one, and what applying it does.

use lictor_license_central::domain::catalogue::{Catalogue, DOCUMENT_BYTES};
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
    assert_eq!(names, ["demo-package", "truck", "tram", "editor", "reports"]);
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
        assert_eq!(world.apply(CATALOGUE, "second").await.expect("applied"), b"(0, 0, 5)");
        let changed = CATALOGUE.replace("count: 5", "count: 6");
        assert_ne!(changed, CATALOGUE, "the example has an item with five seats");
        assert_eq!(world.apply(&changed, "third").await.expect("applied"), b"(0, 1, 4)");
        let versions: Vec<u64> =
            world.store.items(firm()).await.expect("items").iter().map(|item| item.version).collect();
        assert_eq!(versions.iter().sum::<u64>(), 6, "{versions:?}");
    })
    .await;
}

#[tokio::test]
async fn the_same_request_gets_the_first_answer_and_another_body_is_refused() {
    on_each_engine(async |world| {
        assert_eq!(world.apply(CATALOGUE, "catalogue").await.expect("repeated"), b"(5, 0, 0)");
        let other = CATALOGUE.replace("count: 5", "count: 6");
        assert_eq!(code(world.apply(&other, "catalogue").await), ErrorCode::RequestIdReused);
        assert_eq!(world.apply(CATALOGUE, "after").await.expect("unchanged"), b"(0, 0, 5)");
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
        assert_eq!(before.licenses[0].product_item, after.licenses[0].product_item);
        let newer = world.license().await;
        let newer = world.reserve(&newer, world.activation()).await.expect("reserved");
        assert_ne!(newer.licenses[0].product_item, after.licenses[0].product_item);
    })
    .await;
}
