//! What customers may send, and what it gets them: one clear sentence, and nothing changed.

use std::time::Duration;

use lictor_activation::{
    domain::limit::{Limit, Limits},
    settings::LIMITS,
};
use lictor_api::{error::problem, types::v1::LicenseState};
use lictor_licensing::{ContainerKind, error::ErrorCode};
use lictor_test_support::device::TestDevice;

use crate::world::{FIRM, on_each_engine};

const UNKNOWN: &str = "00000-00000-00000-00000-00000";

#[tokio::test(flavor = "multi_thread")]
async fn bad_contexts_and_tickets_are_refused_and_change_nothing() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.ticket().await, world.device());
        let good = device.context();
        let mut damaged = good.clone();
        damaged[good.len() / 2] ^= 1;
        for (name, typed, context, code) in [
            ("an empty context", ticket.ticket.as_str(), Vec::new(), ErrorCode::InvalidArgument),
            ("a huge context", &ticket.ticket, vec![0; (4 << 20) + 1], ErrorCode::LimitExceeded),
            ("a damaged context", &ticket.ticket, damaged, ErrorCode::FileDamaged),
            ("a torn context", &ticket.ticket, good[..good.len() - 9].to_vec(), ErrorCode::FileDamaged),
            ("no context at all", &ticket.ticket, b"hello".to_vec(), ErrorCode::FileDamaged),
            ("an unknown ticket", UNKNOWN, good.clone(), ErrorCode::TicketUnknown),
            ("a typing error", "00000-00000-00000-00000-00001", good.clone(), ErrorCode::InvalidArgument),
            ("no ticket", "", good.clone(), ErrorCode::InvalidArgument),
        ] {
            let refused = problem(&front.activate("bad", typed, context).await.expect_err(name));
            assert_eq!(refused.code, code, "{name}: {refused}");
            assert!(!refused.message.contains('\n') && !refused.message.is_empty(), "{name}: {refused}");
        }
        assert_eq!(world.vendor.state(&ticket.licenses[0].license_id).await, LicenseState::Available);
        assert!(world.events().await.is_empty());
        front.activate("bad", &ticket.ticket, good).await.expect("the request id was not used up");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_ticket_is_answered_like_an_unknown_one() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let other_firm = FIRM + 1;
        let catalogue = format!("firm_code: {FIRM}\nitems:\n  - name: other\n    product_item: {{product_code: 1}}\n");
        world.vendor.firm(other_firm, &catalogue).await;
        let foreign = world.vendor.order(other_firm, &["other"]).await;
        let mut device = world.device();
        let first = problem(&front.activate("a", &foreign.ticket, device.context()).await.expect_err("foreign"));
        let second = problem(&front.activate("b", UNKNOWN, device.context()).await.expect_err("unknown"));
        assert_eq!(first, second);
        assert_eq!(world.vendor.state(&foreign.licenses[0].license_id).await, LicenseState::Available);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_the_license_does_not_allow_is_refused_before_anything_is_reserved() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let ticket = world.vendor.order(FIRM, &["truck"]).await;
        let mut volume = TestDevice::new(world.vendor.number(), ContainerKind::Volume, &world.root);
        let refused = problem(&front.activate("v", &ticket.ticket, volume.context()).await.expect_err("a volume"));
        assert_eq!(refused.code, ErrorCode::BindingForbidden);
        assert!(refused.message.contains("volume"), "{refused}");
        let mut machine = world.device();
        front.activate("m", &ticket.ticket, machine.context()).await.expect("nothing is reserved");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_under_suspicion_gets_nothing_but_withdrawals() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.ticket().await, world.device());
        let mut backup = device.clone();
        let answer = front.activate("one", &ticket.ticket, device.context()).await.expect("activated");
        front.import(&mut device, &answer.update).await;
        // The backup is put back and goes on with newer contexts.
        for _ in 0..4 {
            backup.context();
        }
        let second = world.ticket().await;
        let refused = problem(&front.activate("two", &second.ticket, backup.context()).await.expect_err("set back"));
        assert_eq!(refused.code, ErrorCode::ContainerSuspected);
        let refused = problem(&front.push("p", &device, &second.ticket, &[]).await.expect_err("suspected"));
        assert_eq!(refused.code, ErrorCode::ContainerSuspected);
        assert_eq!(world.vendor.state(&second.licenses[0].license_id).await, LicenseState::Available);
        let told = front.withdraw("w", &ticket.licenses[0].license_id).await.expect("always possible");
        assert_eq!(told.state, "returning");
        assert!(!front.pending(&device).await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tickets_cost_and_right_ones_do_not() {
    on_each_engine(async |world| {
        let limits = Limits {
            peer: Limit { burst: 3, refill: Duration::from_secs(60) },
            all: Limit { burst: 100, refill: Duration::from_secs(1) },
            ..LIMITS
        };
        let front = world.watched_front(None, limits).await;
        let ticket = world.ticket().await;
        for _ in 0..10 {
            front.inspect(&ticket.ticket).await.expect("a right one is free");
        }
        for _ in 0..3 {
            let refused = front.inspect(UNKNOWN).await.expect_err("unknown");
            assert_eq!(problem(&refused).code, ErrorCode::TicketUnknown);
        }
        let limited = problem(&front.inspect(&ticket.ticket).await.expect_err("too many"));
        assert_eq!(limited.code, ErrorCode::TooManyRequests, "a right one tells nothing either");
        world.vendor.clock.advance(Duration::from_secs(60));
        front.inspect(&ticket.ticket).await.expect("after a while");
        front.inspect("00000-00000-00000-00000-00001").await.expect_err("a typing error");
        front.inspect(&ticket.ticket).await.expect("typing errors are no guesses");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_away_is_named_and_withdrawals_go_on() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.ticket().await, world.device());
        world.vendor.update.shutdown();
        world.vendor.update.wait().await.expect("a clean end");
        let refused = problem(&front.activate("one", &ticket.ticket, device.context()).await.expect_err("away"));
        assert_eq!(refused.code, ErrorCode::Unavailable);
        assert!(refused.message.contains("push update generator"), "{refused}");
        // What no container holds needs no update.
        let told = front.withdraw("w", &ticket.licenses[0].license_id).await.expect("in no container");
        assert_eq!(told.state, "withdrawn");
        assert!(front.runner.peers().update_serves().await.is_err());
        assert!(front.runner.peers().central_serves().await.is_ok());
    })
    .await;
}
