//! Containers that are assigned to customers, before and after they were seen.

use lictor_api::event::v1::event::Data;
use lictor_license_central::{
    domain::{order::CustomerName, page::Page},
    failure::Failure,
    ids,
    store::{Assignee, Assigning, AssignmentRow},
};
use lictor_licensing::{error::ErrorCode, id::CustomerId};
use lictor_storage::command::Command;

use crate::world::{World, code, firm, on_each_engine};

async fn try_assign(
    world: &World,
    request_id: &str,
    customer: Assignee,
    serials: &[&str],
    reassign: bool,
) -> Result<String, Failure> {
    let serials: Vec<String> = serials.iter().map(|serial| (*serial).to_owned()).collect();
    let assigning = Assigning { firm: firm(), customer, serials, reassign };
    let body = format!("{assigning:?}");
    let command = Command { caller: "test", method: "AssignContainers", request_id, body: body.as_bytes() };
    let moment = world.moment();
    let (fresh, events) = (ids::customer(moment.now), ids::events(assigning.serials.len(), moment.now));
    let told = |rows: &[AssignmentRow]| {
        let line = |row: &AssignmentRow| format!("{}={}@{}", row.serial, row.customer, row.assigned_at.as_seconds());
        rows.iter().map(line).collect::<Vec<_>>().join(" ").into_bytes()
    };
    let answer = world.store.assign(&assigning, fresh, &events, &command, &moment, told).await?;
    Ok(String::from_utf8(answer).expect("text"))
}

fn named(name: &str) -> Assignee {
    Assignee::Named(CustomerName::new(name).expect("a name"))
}

async fn announced(world: &World) -> Vec<(u64, String, String)> {
    let events = world.events().await.into_iter();
    let assigned = events.filter_map(|event| match event.data.expect("data") {
        Data::ContainerAssigned(assigned) => {
            assert_eq!(event.subject, format!("{}/{}", assigned.serial, firm()));
            Some((event.aggregate_sequence, assigned.serial, assigned.customer))
        }
        _ => None,
    });
    assigned.collect()
}

async fn listed(world: &World, customer: &str, size: u32) -> Vec<String> {
    let (mut serials, mut after) = (Vec::new(), None);
    loop {
        let page = Page { size, below: after.clone() };
        let mut rows = world.store.assignments(firm(), customer, &page).await.expect("a store");
        let more = rows.len() > size as usize;
        rows.truncate(size as usize);
        after = rows.last().map(|row| row.serial.clone());
        serials.extend(rows.into_iter().map(|row| format!("{}={}", row.serial, row.customer)));
        if !more {
            return serials;
        }
    }
}

#[tokio::test]
async fn containers_are_assigned_before_they_were_seen_and_the_customer_is_made() {
    on_each_engine(async |world| {
        try_assign(&world, "r1", named("New Ltd"), &["130-1", "130-2"], false).await.expect("assigned");
        let customer = world.store.customer(firm(), "New Ltd").await.expect("a store").expect("it was made");
        assert_eq!(customer.orders, 0);
        assert_eq!(listed(&world, "New Ltd", 1).await, ["130-1=New Ltd", "130-2=New Ltd"]);
        assert_eq!(listed(&world, &customer.id, 10).await.len(), 2, "also by id");
        assert!(listed(&world, "Other", 10).await.is_empty());
        let events = announced(&world).await;
        assert_eq!(events.len(), 2);
        assert!(events.contains(&(1, "130-1".to_owned(), "New Ltd".to_owned())));
    })
    .await;
}

#[tokio::test]
async fn a_repeat_gets_the_same_answer_and_what_is_so_already_changes_nothing() {
    on_each_engine(async |world| {
        let first = try_assign(&world, "r1", named("A"), &["130-1"], false).await.expect("assigned");
        world.clock.advance(lictor_clock::duration::days(1));
        assert_eq!(try_assign(&world, "r1", named("A"), &["130-1"], false).await.expect("repeated"), first);
        assert_eq!(code(try_assign(&world, "r1", named("A"), &["130-9"], false).await), ErrorCode::RequestIdReused);
        let again = try_assign(&world, "r2", named("A"), &["130-1", "130-2"], false).await.expect("assigned");
        assert!(again.starts_with(&first), "since when it belongs to A stays: {again}");
        assert_eq!(announced(&world).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_container_of_somebody_else_is_moved_only_on_purpose_and_none_with_it() {
    on_each_engine(async |world| {
        try_assign(&world, "r1", named("A"), &["130-1"], false).await.expect("assigned");
        let refused = try_assign(&world, "r2", named("B"), &["130-1", "130-2"], false).await;
        let Err(Failure::Refused(problem)) = refused else { panic!("not refused: {refused:?}") };
        assert_eq!(problem.code, ErrorCode::Conflict);
        assert!(problem.message.contains("130-1 belongs to A"), "{}", problem.message);
        assert_eq!(listed(&world, "", 10).await, ["130-1=A"], "all of them or none");
        assert!(world.store.customer(firm(), "B").await.expect("a store").is_none(), "not even the customer");

        try_assign(&world, "r3", named("B"), &["130-1", "130-2"], true).await.expect("reassigned");
        assert_eq!(listed(&world, "", 10).await, ["130-1=B", "130-2=B"]);
        let of_first = announced(&world).await.into_iter().filter(|(_, serial, _)| serial == "130-1");
        let of_first: Vec<_> = of_first.map(|(number, _, customer)| (number, customer)).collect();
        assert_eq!(of_first, [(1, "A".to_owned()), (2, "B".to_owned())]);
    })
    .await;
}

#[tokio::test]
async fn an_id_names_a_customer_that_there_must_be() {
    on_each_engine(async |world| {
        let unknown = CustomerId::new(world.moment().now, [1; 10]);
        assert_eq!(
            code(try_assign(&world, "r1", Assignee::Known(unknown), &["130-1"], false).await),
            ErrorCode::NotFound
        );
        world.license().await;
        let id = world.store.customer(firm(), "Example Ltd").await.expect("a store").expect("it").id;
        let known = Assignee::Known(id.parse().expect("an id"));
        try_assign(&world, "r2", known, &["130-1"], false).await.expect("assigned");
        assert_eq!(listed(&world, "Example Ltd", 10).await, ["130-1=Example Ltd"]);
    })
    .await;
}

#[tokio::test]
async fn two_that_assign_the_same_new_containers_at_once_come_one_after_the_other() {
    on_each_engine(async |world| {
        let serials: Vec<String> = (0..600).map(|number| format!("130-{number:04}")).collect();
        let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
        let (one, other) = tokio::join!(
            try_assign(&world, "r1", named("A"), &serials, false),
            try_assign(&world, "r2", named("B"), &serials, false),
        );
        assert!(one.is_ok() != other.is_ok(), "one of them wins");
        let all = listed(&world, "", 1_000).await;
        let winner = if one.is_ok() { "A" } else { "B" };
        assert!(all.len() == 600 && all.iter().all(|row| row.ends_with(winner)));
        assert_eq!(announced(&world).await.len(), 600);
    })
    .await;
}
