//! Calls with fields that no honest caller sends: each gets one sentence with a next step, and changes nothing.

use lictor_api::{
    activation::v1::{
        ListActivationsRequest, PullUpdateRequest, ReplaceContainerRequest, RetryActivationRequest,
        ReturnLicensesRequest, TransferLicenseRequest,
    },
    convert::timestamp,
    error::problem,
    types::v1::{LicenseState, PageRequest},
};
use lictor_clock::Timestamp;
use lictor_licensing::{error::ErrorCode, id::ActivationId};
use lictor_test_support::device::TestDevice;
use tonic::Status;

use crate::{
    front::{Front, moving},
    world::{FIRM, World, on_each_engine},
};

/// Texts that are no id, no serial and no token.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "act_",
        "act_0",
        "lic_01JD3X7Q2V0000000000000000",
        "'; DROP TABLE activation; --",
        "a b",
        "\0",
        "\n",
        "ä",
        "%",
        "../..",
    ]
    .map(str::to_owned)
    .into();
    texts.push("x".repeat(65));
    texts.push("1".repeat(100_000));
    texts
}

#[track_caller]
fn refused<T: std::fmt::Debug>(what: &str, outcome: Result<T, Status>) -> ErrorCode {
    let told = problem(&outcome.expect_err(what));
    assert!(
        !matches!(told.code, ErrorCode::Internal | ErrorCode::Unavailable | ErrorCode::DeadlineExceeded),
        "{what}: {told}"
    );
    assert!(!told.message.is_empty() && !told.next.is_empty() && !told.message.contains('\n'), "{what}: {told:?}");
    assert!(told.message.len() < 500, "{what}: what came in is not told back: {}", told.message.len());
    told.code
}

async fn nothing_happened(world: &World, front: &Front, license: &str, device: &TestDevice, latest: u64) {
    assert_eq!(world.vendor.state(license).await, LicenseState::Confirmed);
    assert_eq!(world.vendor.container(device).await.latest, latest);
    assert!(front.open().await.is_empty(), "{:?}", front.open().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_retries_take_no_nonsense() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.floating(10).await, world.device());
        let license = front.put_in(&mut device, &ticket, 10).await;
        let done = front.list(true).await.remove(0).activation_id;
        let retry = async |activation_id: &str, to_serial: &str| {
            let request =
                RetryActivationRequest { activation_id: activation_id.to_owned(), to_serial: to_serial.to_owned() };
            front.staff().retry_activation(request).await
        };
        for text in texts() {
            assert_eq!(refused(&text, retry(&text, "").await), ErrorCode::InvalidArgument, "{text:.40}");
            let code = refused(&text, retry(&done, &text).await);
            assert_eq!(code, ErrorCode::InvalidArgument, "only arrivals are sent elsewhere: {text:.40}");
        }
        let unknown = ActivationId::from_u128(5).to_string();
        assert_eq!(refused("unknown", retry(&unknown, "").await), ErrorCode::NotFound);
        assert_eq!(refused("unknown", retry(&unknown, &device.serial).await), ErrorCode::NotFound);
        assert!(refused("empty", retry("", "").await) == ErrorCode::InvalidArgument);

        let list = async |firm_code: u32, size: u32, token: &str| {
            let page = Some(PageRequest { size, token: token.to_owned() });
            front.staff().list_activations(ListActivationsRequest { firm_code, all: true, page }).await
        };
        assert_eq!(refused("no firm", list(0, 1, "").await), ErrorCode::InvalidArgument);
        for size in [1_001, u32::MAX] {
            assert_eq!(refused("a large page", list(FIRM, size, "").await), ErrorCode::LimitExceeded);
        }
        for token in texts() {
            assert_eq!(refused(&token, list(FIRM, 1, &token).await), ErrorCode::InvalidArgument, "{token:.40}");
        }
        let beyond = list(FIRM, 1, &ActivationId::from_u128(u128::MAX).to_string()).await.expect("a page").into_inner();
        assert!(beyond.activations.is_empty() && beyond.next_page_token.is_empty());
        let others = list(u32::MAX, 1_000, "").await.expect("a page").into_inner();
        assert!(others.activations.is_empty(), "another firm sees nothing of this one");
        nothing_happened(&world, &front, &license, &device, 1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn returns_and_pulls_take_no_nonsense() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device) = (world.floating(10).await, world.device());
        let license = front.put_in(&mut device, &ticket, 10).await;
        let fresh = front.fresh(&mut device).await;
        let stale = device.context();
        let good = ReturnLicensesRequest {
            request_id: "return".to_owned(),
            ticket: ticket.ticket.clone(),
            license_ids: vec![license.clone()],
            quantities: vec![1],
            context: fresh.clone(),
        };
        let other = world.floating(3).await;
        let with = |change: &dyn Fn(&mut ReturnLicensesRequest)| {
            let mut request = good.clone();
            change(&mut request);
            request
        };
        let mut bad = vec![
            ("an old context", with(&|r| r.context.clone_from(&stale))),
            ("no context", with(&|r| r.context.clear())),
            ("a huge context", with(&|r| r.context = vec![7; (4 << 20) + 1])),
            ("half a context", with(&|r| r.context.truncate(99))),
            ("more quantities than licenses", with(&|r| r.quantities = vec![1, 1])),
            (
                "one license twice",
                with(&|r| {
                    r.license_ids.push(license.clone());
                    r.quantities = vec![1, 2];
                }),
            ),
            (
                "too many licenses",
                with(&|r| {
                    r.license_ids = vec![license.clone(); 101];
                    r.quantities.clear();
                }),
            ),
            ("more seats than there are", with(&|r| r.quantities = vec![11])),
            ("all the seats of the world", with(&|r| r.quantities = vec![u32::MAX])),
            ("a ticket whose license lies elsewhere", with(&|r| r.ticket.clone_from(&other.ticket))),
            ("no request id", with(&|r| r.request_id.clear())),
        ];
        for text in texts() {
            bad.push(("a license that is none", with(&|r| r.license_ids = vec![text.clone()])));
            bad.push(("a ticket that is none", with(&|r| r.ticket.clone_from(&text))));
        }
        for (what, request) in bad {
            refused(what, front.public().return_licenses(request).await);
        }
        for (what, context) in [
            ("nothing", Vec::new()),
            ("noise", vec![0x5a; 3_000]),
            ("too much", vec![0; (4 << 20) + 1]),
            ("an old context", stale.clone()),
            ("a torn one", fresh[..fresh.len() - 1].to_vec()),
        ] {
            refused(what, front.public().pull_update(PullUpdateRequest { context }).await);
        }
        nothing_happened(&world, &front, &license, &device, 1).await;
        let good = with(&|r| "honest".clone_into(&mut r.request_id));
        front.public().return_licenses(good).await.expect("nothing stands in the way of an honest request");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_and_replacements_take_no_nonsense() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let (ticket, mut device, mut other) = (world.floating(10).await, world.device(), world.device());
        let license = front.put_in(&mut device, &ticket, 10).await;
        front.submit(other.context()).await.expect("seen");
        let stale = device.context();
        let good = TransferLicenseRequest {
            to_serial: other.serial.clone(),
            from_serial: device.serial.clone(),
            ..moving("move", &ticket, 4, front.fresh(&mut device).await)
        };
        let time = |seconds, nanos| {
            let mut time = timestamp(Timestamp::UNIX_EPOCH);
            (time.seconds, time.nanos) = (seconds, nanos);
            Some(time)
        };
        let with = |change: &dyn Fn(&mut TransferLicenseRequest)| {
            let mut request = good.clone();
            change(&mut request);
            request
        };
        let mut bad = vec![
            ("into itself", with(&|r| r.to_serial.clone_from(&device.serial))),
            ("nowhere", with(&|r| r.to_serial.clear())),
            ("no license", with(&|r| r.license_id.clear())),
            ("more seats than there are", with(&|r| r.quantity = 11)),
            ("all the seats of the world", with(&|r| r.quantity = u32::MAX)),
            ("a loan that is over", with(&|r| r.lend_until = time(0, 0))),
            ("a loan without end", with(&|r| r.lend_until = time(i64::MAX, 0))),
            ("a date that is none", with(&|r| r.lend_until = time(2_000_000_000, -5))),
            ("a loan that nobody gave", with(&|r| r.returns_transfer_id = "trf_01JD3X7Q2V0000000000000000".to_owned())),
            ("a target that is no file", with(&|r| r.target_context = vec![1; 5_000])),
        ];
        for text in texts() {
            bad.push(("a serial that is none", with(&|r| r.to_serial.clone_from(&text))));
            bad.push(("a license that is none", with(&|r| r.license_id.clone_from(&text))));
            bad.push(("a transfer that is none", with(&|r| r.returns_transfer_id.clone_from(&text))));
        }
        for (what, request) in bad {
            refused(what, front.public().transfer_license(request.clone()).await);
            refused(what, front.staff().transfer_license(request).await);
        }
        refused("an old context", front.public().transfer_license(with(&|r| r.context.clone_from(&stale))).await);
        refused("no firm", front.staff().transfer_license(with(&|r| r.firm_code = 0)).await);

        let (own, context) = (device.context(), other.context());
        let replace = |change: &dyn Fn(&mut ReplaceContainerRequest)| {
            let mut request = ReplaceContainerRequest {
                request_id: "replace".to_owned(),
                ticket: ticket.ticket.clone(),
                lost_serial: device.serial.clone(),
                context: context.clone(),
            };
            change(&mut request);
            request
        };
        let mut bad = vec![
            ("by itself", replace(&|r| r.context.clone_from(&own))),
            ("a container that nobody knows", replace(&|r| r.lost_serial = "130-0000009999".to_owned())),
            ("no context", replace(&|r| r.context.clear())),
            ("no ticket", replace(&|r| r.ticket.clear())),
        ];
        for text in texts() {
            bad.push(("a serial that is none", replace(&|r| r.lost_serial.clone_from(&text))));
        }
        for (what, request) in bad {
            refused(what, front.public().replace_container(request.clone()).await);
            refused(what, front.staff().replace_container(request).await);
        }
        nothing_happened(&world, &front, &license, &device, 1).await;
        let good = with(&|r| "honest".clone_into(&mut r.request_id));
        front.public().transfer_license(good).await.expect("nothing stands in the way of an honest request");
    })
    .await;
}
