//! What a container fetches by itself: pending updates with a fresh context, challenges, the time; all counted by address.

use std::time::Duration;

use lictor_activation::{
    domain::limit::{Limit, Limits},
    settings::LIMITS,
};
use lictor_api::{
    activation::v1::{SignTimeRequest, SubmitContextRequest},
    error::problem,
    types::v1::LicenseState,
};
use lictor_licensing::error::ErrorCode;
use tonic::Request;

use crate::world::{FIRM, on_each_engine};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_pulls_everything_that_waits_for_it_as_one_file() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.ticket().await, world.device());
        let answer = front.activate("one", &ticket.ticket, device.context()).await.expect("activated");
        front.import(&mut device, &answer.update).await;
        let mut licenses = vec![ticket.licenses[0].license_id.clone()];
        for number in 0..3 {
            let next = world.ticket().await;
            front.push(&format!("push-{number}"), &device, &next.ticket, &[]).await.expect("pushed");
            licenses.push(next.licenses[0].license_id.clone());
        }
        let context = front.fresh(&mut device).await;
        let pulled = front.pull(context).await.expect("pulled");
        assert_eq!((pulled.segments, pulled.from, pulled.to, pulled.verdict.as_str()), (3, 1, 4, "ok"));
        front.import(&mut device, &pulled.update).await;
        for license in &licenses {
            assert_eq!(world.vendor.state(license).await, LicenseState::Confirmed);
        }
        let context = front.fresh(&mut device).await;
        let nothing = front.pull(context).await.expect("pulled");
        assert!(nothing.update.is_empty());
        assert_eq!(nothing.confirmed, 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_context_fetches_nothing() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.ticket().await, world.device());
        front.activate("one", &ticket.ticket, device.context()).await.expect("activated");
        let refused = problem(&front.pull(device.context()).await.expect_err("not fresh"));
        assert!(refused.message.contains("not fresh"), "{refused}");
        let context = front.fresh(&mut device).await;
        world.vendor.clock.advance(Duration::from_hours(8 * 24));
        let refused = problem(&front.pull(context).await.expect_err("a week old"));
        assert!(refused.message.contains("not fresh"), "{refused}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_is_signed_for_a_nonce_of_the_asker() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let sign = async |nonce: Vec<u8>| front.public().sign_time(SignTimeRequest { firm_code: FIRM, nonce }).await;
        let one = sign(vec![1; 32]).await.expect("signed").into_inner().statement;
        let other = sign(vec![2; 32]).await.expect("signed").into_inner().statement;
        assert_ne!(one, other);
        for wrong in [0, 15, 65] {
            let refused = problem(&sign(vec![1; wrong]).await.expect_err("no nonce"));
            assert_eq!(refused.code, ErrorCode::InvalidArgument);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_asks_too_much_waits_and_others_do_not() {
    on_each_engine(async |world| {
        let limits = Limits {
            calls: Limit { burst: 3, refill: Duration::from_secs(60) },
            kibibytes: Limit { burst: 4_096, refill: Duration::from_secs(1) },
            ..LIMITS
        };
        let front = world.watched_front(None, limits).await;
        let mut device = world.device();
        for _ in 0..3 {
            front.submit(device.context()).await.expect("within the burst");
        }
        let refused = problem(&front.submit(device.context()).await.expect_err("too often"));
        assert_eq!(refused.code, ErrorCode::TooManyRequests);
        let refused = front.public().sign_time(SignTimeRequest { firm_code: FIRM, nonce: vec![1; 32] }).await;
        assert_eq!(problem(&refused.expect_err("too often")).code, ErrorCode::TooManyRequests);
        // Nobody gets another address by saying so: only a trusted proxy is believed, and this connection is none.
        let mut request = Request::new(SubmitContextRequest { context: device.context() });
        request.metadata_mut().insert("x-forwarded-for", "198.51.100.7".parse().expect("an address"));
        let refused = front.public().submit_context(request).await.expect_err("still the same address");
        assert_eq!(problem(&refused).code, ErrorCode::TooManyRequests);

        world.vendor.clock.advance(Duration::from_secs(60));
        front.submit(device.context()).await.expect("after a while");
        world.vendor.clock.advance(Duration::from_secs(600));
        front.submit(vec![0; 4 << 20]).await.expect_err("no context, but its bytes count");
        let refused = problem(&front.submit(device.context()).await.expect_err("too much"));
        assert_eq!(refused.code, ErrorCode::TooManyRequests);
    })
    .await;
}
