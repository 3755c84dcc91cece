//! Histories, assignments and renewals over the wire: who may, and what hostile input is told.

use lictor_api::{
    central::v1::{
        AssignContainersRequest, CancelRenewalRequest, CommitRequest, ConfirmRequest, GetLicenseHistoryRequest,
        GetLicenseRequest, ListAssignmentsRequest, NoteBlockedRequest, OrderLine,
        allocation_service_client::AllocationServiceClient, assignment_service_client::AssignmentServiceClient,
        license_service_client::LicenseServiceClient,
    },
    convert::timestamp,
    error::problem,
};
use lictor_auth::Role;
use lictor_licensing::error::ErrorCode;

use crate::{
    service::{Service, order},
    world::{FIRM, START},
};

async fn service(folder: &tempfile::TempDir) -> Service {
    let service = Service::start(folder.path()).await;
    service.apply().await;
    service
}

/// A license of an item that renews itself.
async fn plotter(service: &Service) -> String {
    let lines = vec![OrderLine { item: "plotter".to_owned(), quantity: 0 }];
    let request = lictor_api::central::v1::CreateOrderRequest { lines, ..order("plotter") };
    let made = service.order(request).await.expect("an order").order.expect("an order");
    made.tickets[0].licenses[0].license_id.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_told_to_readers_and_hostile_questions_get_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = service(&folder).await;
    let license_id = plotter(&service).await;
    let mut readers = LicenseServiceClient::new(service.channel(&[Role::Auditor]));
    let good = GetLicenseHistoryRequest { license_id: license_id.clone(), ..Default::default() };
    let told = readers.get_license_history(good.clone()).await.expect("a history").into_inner();
    assert_eq!(told.entries.iter().map(|entry| entry.what.as_str()).collect::<Vec<_>>(), ["created"]);
    let of_container = GetLicenseHistoryRequest { serial: "130-1".to_owned(), firm_code: FIRM, ..Default::default() };
    let nothing = readers.get_license_history(of_container.clone()).await.expect("a history").into_inner();
    assert!(nothing.entries.is_empty() && nothing.left_out == 0);
    let mut far = timestamp(START);
    far.seconds = i64::MAX;
    for (request, code) in [
        (GetLicenseHistoryRequest::default(), ErrorCode::InvalidArgument),
        (GetLicenseHistoryRequest { serial: "130-1".to_owned(), ..good.clone() }, ErrorCode::InvalidArgument),
        (GetLicenseHistoryRequest { license_id: "lic_1".to_owned(), ..good.clone() }, ErrorCode::InvalidArgument),
        (GetLicenseHistoryRequest { license_id: "lic_\0".to_owned(), ..good.clone() }, ErrorCode::InvalidArgument),
        (GetLicenseHistoryRequest { at: Some(far), ..good.clone() }, ErrorCode::InvalidArgument),
        (GetLicenseHistoryRequest { firm_code: 0, ..of_container.clone() }, ErrorCode::InvalidArgument),
        (GetLicenseHistoryRequest { serial: "x".repeat(65), ..of_container.clone() }, ErrorCode::InvalidArgument),
        (GetLicenseHistoryRequest { serial: "a\nb".to_owned(), ..of_container }, ErrorCode::InvalidArgument),
    ] {
        let told = problem(&readers.get_license_history(request.clone()).await.expect_err("refused"));
        assert_eq!(told.code, code, "{request:?}: {told}");
        assert!(!told.message.is_empty() && !told.next.is_empty(), "{request:?}: {told:?}");
    }
    for role in [&[Role::ProductManager], &[Role::Service]] {
        let mut others = LicenseServiceClient::new(service.channel(role));
        let told = others.get_license_history(good.clone()).await.expect_err("not theirs");
        assert_eq!(problem(&told).code, ErrorCode::PermissionDenied, "{role:?}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_assigned_by_helpers_and_hostile_lists_change_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = service(&folder).await;
    let mut helpers = AssignmentServiceClient::new(service.channel(&[Role::Support]));
    let good = AssignContainersRequest {
        request_id: "one".to_owned(),
        firm_code: FIRM,
        customer: "Nova".to_owned(),
        serials: vec!["130-2".to_owned(), "130-1".to_owned(), "130-2".to_owned()],
        reassign: false,
    };
    for (request, code) in [
        (AssignContainersRequest { request_id: String::new(), ..good.clone() }, ErrorCode::InvalidArgument),
        (AssignContainersRequest { firm_code: 0, ..good.clone() }, ErrorCode::InvalidArgument),
        (AssignContainersRequest { serials: Vec::new(), ..good.clone() }, ErrorCode::InvalidArgument),
        (AssignContainersRequest { serials: vec![" ".to_owned()], ..good.clone() }, ErrorCode::InvalidArgument),
        (AssignContainersRequest { serials: vec!["a\tb".to_owned()], ..good.clone() }, ErrorCode::InvalidArgument),
        (AssignContainersRequest { serials: vec!["x".repeat(65)], ..good.clone() }, ErrorCode::InvalidArgument),
        (
            AssignContainersRequest { serials: vec!["130-1".to_owned(); 1_001], ..good.clone() },
            ErrorCode::LimitExceeded,
        ),
        (AssignContainersRequest { customer: "\n".to_owned(), ..good.clone() }, ErrorCode::InvalidArgument),
        (AssignContainersRequest { customer: "cus_1".to_owned(), ..good.clone() }, ErrorCode::InvalidArgument),
    ] {
        let told = problem(&helpers.assign_containers(request.clone()).await.expect_err("refused"));
        assert_eq!(told.code, code, "{request:?}: {told}");
    }
    let all = ListAssignmentsRequest { firm_code: FIRM, ..Default::default() };
    let listed = helpers.list_assignments(all.clone()).await.expect("a list").into_inner();
    assert!(listed.assignments.is_empty(), "nothing was changed");
    let assigned = helpers.assign_containers(good.clone()).await.expect("assigned").into_inner();
    let serials: Vec<_> = assigned.assignments.iter().map(|one| one.serial.as_str()).collect();
    assert_eq!(serials, ["130-1", "130-2"]);
    assert_eq!(helpers.assign_containers(good.clone()).await.expect("repeated").into_inner(), assigned);
    let other = AssignContainersRequest { customer: "Other".to_owned(), ..good.clone() };
    let told = problem(&helpers.assign_containers(other.clone()).await.expect_err("the same name of a request"));
    assert_eq!(told.code, ErrorCode::RequestIdReused);
    let other = AssignContainersRequest { request_id: "two".to_owned(), ..other };
    assert_eq!(problem(&helpers.assign_containers(other).await.expect_err("taken")).code, ErrorCode::Conflict);
    let mut auditors = AssignmentServiceClient::new(service.channel(&[Role::Auditor]));
    assert_eq!(auditors.list_assignments(all).await.expect("a list").into_inner().assignments.len(), 2);
    let told = auditors.assign_containers(good).await.expect_err("they only read");
    assert_eq!(problem(&told).code, ErrorCode::PermissionDenied);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_are_cancelled_and_resumed_by_helpers_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = service(&folder).await;
    let license_id = plotter(&service).await;
    let mut helpers = LicenseServiceClient::new(service.channel(&[Role::BackOffice]));
    let cancel = |request_id: &str, resume| CancelRenewalRequest {
        request_id: request_id.to_owned(),
        license_id: license_id.clone(),
        resume,
    };
    for (request, code) in [
        (CancelRenewalRequest { request_id: "a b".to_owned(), ..cancel("x", false) }, ErrorCode::InvalidArgument),
        (CancelRenewalRequest { license_id: String::new(), ..cancel("x", false) }, ErrorCode::InvalidArgument),
        (CancelRenewalRequest { license_id: "lic_'; --".to_owned(), ..cancel("x", true) }, ErrorCode::InvalidArgument),
        (
            CancelRenewalRequest { license_id: "lic_00000000000000000000000000".to_owned(), ..cancel("y", false) },
            ErrorCode::NotFound,
        ),
    ] {
        let told = problem(&helpers.cancel_renewal(request.clone()).await.expect_err("refused"));
        assert_eq!(told.code, code, "{request:?}: {told}");
    }
    let cancelled = helpers.cancel_renewal(cancel("c", false)).await.expect("cancelled").into_inner();
    let license = cancelled.license.clone().expect("a license");
    assert!(!license.renews && license.renewal_cancelled_at.is_some());
    assert_eq!(helpers.cancel_renewal(cancel("c", false)).await.expect("repeated").into_inner(), cancelled);
    let told = problem(&helpers.cancel_renewal(cancel("c", true)).await.expect_err("another question"));
    assert_eq!(told.code, ErrorCode::RequestIdReused);
    let resumed = helpers.cancel_renewal(cancel("r", true)).await.expect("resumed").into_inner();
    let license = resumed.license.expect("a license");
    assert!(license.renews && license.renewal_cancelled_at.is_none());
    for role in [&[Role::Auditor], &[Role::ProductManager]] {
        let mut others = LicenseServiceClient::new(service.channel(role));
        let told = others.cancel_renewal(cancel("z", false)).await.expect_err("not theirs");
        assert_eq!(problem(&told).code, ErrorCode::PermissionDenied, "{role:?}");
    }
    let request = GetLicenseRequest { license_id: license_id.clone() };
    let now = helpers.get_license(request).await.expect("shown").into_inner().license.expect("a license");
    assert!(now.renews, "nobody else changed it");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_under_a_plan_that_is_not_here_is_refused_with_the_way_to_compare() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = service(&folder).await;
    let mut allocations = AllocationServiceClient::new(service.channel(&[Role::Service]));
    let activation_id = "act_00000000000000000000000000".to_owned();
    let commit = allocations.commit(CommitRequest { activation_id: activation_id.clone(), counter: 7 }).await;
    let confirm = allocations.confirm(ConfirmRequest { activation_id }).await.map(|_| ());
    for told in [commit.map(|_| ()), confirm] {
        let told = problem(&told.expect_err("no such plan"));
        assert_eq!(told.code, ErrorCode::NotFound);
        assert!(told.message.contains("restored from a backup"), "{told}");
        assert!(told.next.contains("lictor container check"), "{told}");
    }
    let bad = NoteBlockedRequest { firm_code: FIRM, container_id: "ab".to_owned(), ..Default::default() };
    assert_eq!(problem(&allocations.note_blocked(bad).await.expect_err("no id")).code, ErrorCode::InvalidArgument);
    let mut people = AllocationServiceClient::new(service.channel(&[Role::Admin]));
    let told = people.note_blocked(NoteBlockedRequest::default()).await.expect_err("people block at the issuer");
    assert_eq!(problem(&told).code, ErrorCode::PermissionDenied);
    service.stop().await;
}
