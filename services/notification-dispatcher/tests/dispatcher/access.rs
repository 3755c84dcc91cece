//! Who may call what, and what a request must look like.

use lictor_api::{
    error::problem,
    event::v1::{ListEventsRequest, event_feed_service_client::EventFeedServiceClient},
    notification::v1::{
        AddDestinationRequest, CancelReplayRequest, DeleteDestinationRequest, DestinationOptions,
        DisableDestinationRequest, EnableDestinationRequest, GetDeliveryRequest, GetDestinationRequest,
        ListDeliveriesRequest, ListDestinationsRequest, ListReplaysRequest, ReadEventsRequest, RotateSecretRequest,
        StartReplayRequest, TestDestinationRequest, UpdateDestinationRequest,
        delivery_service_client::DeliveryServiceClient, destination_service_client::DestinationServiceClient,
        event_service_client::EventServiceClient, replay_service_client::ReplayServiceClient,
    },
};
use lictor_auth::Role;
use lictor_licensing::error::ErrorCode;
use tonic::{Code, Status};

use crate::{
    receiver::{Answer, Receiver},
    world::{Dispatcher, World, webhook},
};

fn of_types(types: &[&str]) -> DestinationOptions {
    DestinationOptions { types: types.iter().map(|kind| (*kind).to_owned()).collect(), ..Default::default() }
}

/// The gRPC code that each RPC answers a caller of this role with.
async fn codes(world: &World, dispatcher: &Dispatcher, role: Option<Role>) -> [Code; 16] {
    let channel = world.channel(&dispatcher.running, role);
    let code = |outcome: Result<(), Status>| outcome.err().map_or(Code::Ok, |status| status.code());
    let mut destinations = DestinationServiceClient::new(channel.clone());
    [
        code(destinations.add_destination(AddDestinationRequest::default()).await.map(drop)),
        code(destinations.list_destinations(ListDestinationsRequest {}).await.map(drop)),
        code(destinations.disable_destination(DisableDestinationRequest::default()).await.map(drop)),
        code(destinations.enable_destination(EnableDestinationRequest::default()).await.map(drop)),
        code(
            DeliveryServiceClient::new(channel.clone())
                .list_deliveries(ListDeliveriesRequest::default())
                .await
                .map(drop),
        ),
        code(EventFeedServiceClient::new(channel.clone()).list_events(ListEventsRequest::default()).await.map(drop)),
        code(destinations.get_destination(GetDestinationRequest::default()).await.map(drop)),
        code(destinations.update_destination(UpdateDestinationRequest::default()).await.map(drop)),
        code(destinations.delete_destination(DeleteDestinationRequest::default()).await.map(drop)),
        code(destinations.rotate_secret(RotateSecretRequest::default()).await.map(drop)),
        code(destinations.test_destination(TestDestinationRequest::default()).await.map(drop)),
        code(DeliveryServiceClient::new(channel.clone()).get_delivery(GetDeliveryRequest::default()).await.map(drop)),
        code(ReplayServiceClient::new(channel.clone()).start_replay(StartReplayRequest::default()).await.map(drop)),
        code(ReplayServiceClient::new(channel.clone()).list_replays(ListReplaysRequest::default()).await.map(drop)),
        code(ReplayServiceClient::new(channel.clone()).cancel_replay(CancelReplayRequest::default()).await.map(drop)),
        code(EventServiceClient::new(channel).read_events(ReadEventsRequest::default()).await.map(drop)),
    ]
}

#[tokio::test]
async fn every_rpc_names_the_roles_that_may_call_it() {
    use Code::{InvalidArgument as Bad, Ok, PermissionDenied as No, Unauthenticated as Who};
    let world = World::new().await;
    let dispatcher = world.start().await;
    for (role, expected) in [
        (None, [Who; 16]),
        (Some(Role::Admin), [Bad, Ok, Bad, Bad, Ok, Ok, Bad, Bad, Bad, Bad, Bad, Bad, Bad, Ok, Bad, Ok]),
        (Some(Role::Auditor), [No, Ok, No, No, Ok, Ok, Bad, No, No, No, No, Bad, No, Ok, No, Ok]),
        (Some(Role::Service), [No, No, No, No, No, Ok, No, No, No, No, No, No, No, No, No, No]),
        (Some(Role::BackOffice), [No, No, No, No, No, No, No, No, No, No, No, No, No, No, No, Ok]),
        (Some(Role::ProductManager), [No; 16]),
        (Some(Role::Support), [No; 16]),
    ] {
        assert_eq!(codes(&world, &dispatcher, role).await, expected, "{role:?}");
    }
    dispatcher.stop().await;
}

#[tokio::test]
async fn repeated_request_gets_the_same_secret_and_a_changed_one_is_refused() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    let request = AddDestinationRequest {
        request_id: "once".to_owned(),
        transmission: Some(webhook(&receiver.url())),
        options: Some(of_types(&["lictor.license.*"])),
        signing: 0,
    };
    let first = dispatcher.destinations().add_destination(request.clone()).await.expect("added").into_inner();
    let again = dispatcher.destinations().add_destination(request.clone()).await.expect("answered").into_inner();
    assert_eq!(first, again);
    assert!(first.secret.starts_with("whsec_"));
    let changed = AddDestinationRequest { options: None, ..request };
    let refused = dispatcher.destinations().add_destination(changed).await.expect_err("another body");
    assert_eq!(problem(&refused).code, ErrorCode::RequestIdReused);
    let listed = dispatcher.destinations().list_destinations(ListDestinationsRequest {}).await.expect("a list");
    let listed = listed.into_inner().destinations;
    assert_eq!(listed.len(), 1);
    assert!(!format!("{listed:?}").contains(&first.secret[6..]), "the secret is shown once");
    dispatcher.stop().await;
}

#[tokio::test]
async fn slips_in_a_destination_are_refused_with_a_way_out() {
    let world = World::new().await;
    let dispatcher = world.start().await;
    let good = AddDestinationRequest {
        request_id: "r".to_owned(),
        transmission: Some(webhook("https://hooks.example.com/in")),
        options: None,
        signing: 0,
    };
    for bad in [
        AddDestinationRequest { request_id: String::new(), ..good.clone() },
        AddDestinationRequest { request_id: "with space".to_owned(), ..good.clone() },
        AddDestinationRequest { transmission: Some(webhook("http://hooks.example.com/in")), ..good.clone() },
        AddDestinationRequest { transmission: Some(webhook("https://10.0.0.1/in")), ..good.clone() },
        AddDestinationRequest { transmission: Some(webhook("https://[::ffff:169.254.169.254]/")), ..good.clone() },
        AddDestinationRequest {
            transmission: Some(webhook(&format!("https://hooks.example.com/{}", "a".repeat(3_000)))),
            ..good.clone()
        },
        AddDestinationRequest { transmission: None, ..good.clone() },
        AddDestinationRequest { signing: 7, ..good.clone() },
        AddDestinationRequest {
            options: Some(DestinationOptions { template: "{".to_owned(), ..Default::default() }),
            ..good.clone()
        },
        AddDestinationRequest { options: Some(of_types(&["order.created"])), ..good.clone() },
        AddDestinationRequest { options: Some(of_types(&["lictor.*"; 100])), ..good.clone() },
    ] {
        let refused = dispatcher.destinations().add_destination(bad.clone()).await.expect_err("a slip");
        let problem = problem(&refused);
        assert_eq!(problem.code, ErrorCode::InvalidArgument, "{bad:?}");
        assert!(!problem.next.is_empty());
    }
    let unknown = EnableDestinationRequest { destination_id: format!("dst_{}", "0".repeat(26)) };
    let refused = dispatcher.destinations().enable_destination(unknown).await.expect_err("nothing there");
    assert_eq!(problem(&refused).code, ErrorCode::NotFound);
    dispatcher.stop().await;
}
