//! Orders: one ticket, one license per line, once per request.

use lictor_license_central::{
    domain::page::Page,
    store::{LicenseFilter, MadeOrder},
};
use lictor_licensing::{TicketCode, error::ErrorCode, id::OrderId};

use crate::world::{code, firm, on_each_engine};

#[tokio::test]
async fn an_order_makes_one_ticket_with_one_license_per_line() {
    on_each_engine(async |world| {
        let order = world.order(&[("truck", 3), ("tram", 0), ("truck", 0)]).await;
        let [ticket] = order.tickets.as_slice() else { panic!("{} tickets", order.tickets.len()) };
        let sold: Vec<(&str, u32, u32)> =
            ticket.licenses.iter().map(|license| (license.item.as_str(), license.quantity, license.line)).collect();
        assert_eq!(sold, [("truck", 3, 1), ("tram", 0, 2), ("truck", 5, 3)], "0 means the item's own quantity");
    })
    .await;
}

#[tokio::test]
async fn the_whole_ticket_is_stored_nowhere_and_can_be_made_again() {
    on_each_engine(async |world| {
        let order = world.order(&[("truck", 1)]).await;
        let ticket = &order.tickets[0];
        let whole = world.key.code(ticket.id).reveal();
        assert!(ticket.masked.ends_with("*****") && whole.starts_with(&ticket.masked[..5]));
        let typed: TicketCode = whole.to_lowercase().replace('-', " ").parse().expect("a ticket as typed");
        let (found, _) = world.store.order_of_ticket(typed.hash()).await.expect("a store").expect("found by its hash");
        assert_eq!(found.id, order.id);
        for event in world.events().await {
            assert!(!format!("{event:?}").contains(&whole), "an event carries the whole ticket");
        }
    })
    .await;
}

#[tokio::test]
async fn the_same_request_makes_one_order() {
    on_each_engine(async |world| {
        let first = world.try_order("once", &[("truck", 1)]).await.expect("an order");
        let MadeOrder::Now(id) = first else { panic!("the first is made now") };
        let again = world.try_order("once", &[("truck", 1)]).await.expect("the same order");
        assert_eq!(again, MadeOrder::Before(id));
        assert_eq!(code(world.try_order("once", &[("truck", 2)]).await), ErrorCode::RequestIdReused);
        let page = Page { size: 10, below: None };
        assert_eq!(world.store.orders(firm(), None, &page).await.expect("orders").0.len(), 1);
        assert_eq!(world.events().await.len(), 3, "order, ticket, license");
    })
    .await;
}

#[tokio::test]
async fn parallel_copies_of_a_request_make_one_order() {
    on_each_engine(async |world| {
        let world = std::sync::Arc::new(world);
        let copies: Vec<_> = (0..8)
            .map(|_| {
                let world = std::sync::Arc::clone(&world);
                tokio::spawn(async move { world.try_order("parallel", &[("truck", 1), ("tram", 0)]).await })
            })
            .collect();
        let mut now = 0;
        for copy in copies {
            now += u32::from(matches!(copy.await.expect("joined").expect("answered"), MadeOrder::Now(_)));
        }
        assert_eq!(now, 1);
        assert_eq!(world.events().await.len(), 4);
    })
    .await;
}

#[tokio::test]
async fn a_refused_order_leaves_nothing_behind() {
    on_each_engine(async |world| {
        assert_eq!(code(world.try_order("r1", &[("truck", 1), ("no-such-item", 1)]).await), ErrorCode::NotFound);
        assert_eq!(code(world.try_order("r2", &[("tram", 3)]).await), ErrorCode::InvalidArgument);
        assert_eq!(code(world.try_order("r3", &[("truck", u32::MAX)]).await), ErrorCode::LimitExceeded);
        assert_eq!(code(world.try_order("r4", &[]).await), ErrorCode::InvalidArgument);
        assert_eq!(code(world.try_order("r5", &vec![("truck", 1); 101]).await), ErrorCode::LimitExceeded);
        let page = Page { size: 10, below: None };
        assert!(world.store.customers(firm(), &page).await.expect("customers").is_empty());
        assert!(world.events().await.is_empty());
        world.try_order("r1", &[("truck", 1)]).await.expect("a refused request id is free again");
    })
    .await;
}

#[tokio::test]
async fn events_of_an_order_are_numbered_per_aggregate() {
    on_each_engine(async |world| {
        let order = world.order(&[("truck", 1), ("tram", 0)]).await;
        let story = world.story(&order.id.to_string()).await;
        assert_eq!(story, [(1, "lictor.order.created.v1".to_owned()), (2, "lictor.ticket.created.v1".to_owned())]);
        for license in &order.tickets[0].licenses {
            assert_eq!(world.story(&license.id.to_string()).await, [(1, "created".to_owned())]);
        }
        let sequences: Vec<u64> = world.events().await.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, [1, 2, 3, 4]);
    })
    .await;
}

#[tokio::test]
async fn listings_are_paged_without_loss_or_repetition() {
    on_each_engine(async |world| {
        let mut made = Vec::new();
        for _ in 0..7 {
            world.clock.advance(std::time::Duration::from_millis(2));
            made.push(world.order(&[("truck", 1)]).await.id);
        }
        made.reverse();
        let mut seen: Vec<OrderId> = Vec::new();
        let mut below = None;
        loop {
            let (rows, next) =
                world.store.orders(firm(), Some("Example Ltd"), &Page { size: 3, below }).await.expect("a page");
            seen.extend(rows.iter().map(|row| row.id));
            match next {
                Some(last) => below = Some(last),
                None => break,
            }
        }
        assert_eq!(seen, made, "newest first, each once");
        let nobody = world.store.orders(firm(), Some("Nobody"), &Page { size: 3, below: None }).await.expect("a page");
        assert!(nobody.0.is_empty() && nobody.1.is_none());
        let customer = world.store.customer(firm(), "Example Ltd").await.expect("a store").expect("the customer");
        assert_eq!(customer.orders, 7);
        let by_id = world.store.customer(firm(), &customer.id).await.expect("a store").expect("by id");
        assert_eq!(by_id, customer);
    })
    .await;
}

#[tokio::test]
async fn licenses_are_found_by_ticket_serial_and_state() {
    on_each_engine(async |world| {
        let (here, there) = (world.license().await, world.license().await);
        world.put_in(&here, true).await;
        let page = Page { size: 10, below: None };
        let list = async |filter: LicenseFilter| {
            let found = world.store.licenses(firm(), &filter, &page).await.expect("a page");
            found.into_iter().map(|license| license.id).collect::<Vec<_>>()
        };
        let by_ticket = LicenseFilter { ticket: Some(there.ticket), ..LicenseFilter::default() };
        assert_eq!(list(by_ticket).await, [there.id]);
        let by_serial = LicenseFilter { serial: Some(crate::world::machine('a').serial), ..LicenseFilter::default() };
        assert_eq!(list(by_serial).await, [here.id]);
        let state = Some(lictor_license_central::domain::license::LicenseState::Available);
        assert_eq!(list(LicenseFilter { state, ..LicenseFilter::default() }).await, [there.id]);
        assert_eq!(list(LicenseFilter::default()).await.len(), 2);
    })
    .await;
}
