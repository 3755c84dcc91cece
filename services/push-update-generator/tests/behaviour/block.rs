//! Blocking: everything goes out, and nothing but withdrawals follows. And the other changes of a container.

use lictor_licensing::{error::ErrorCode, id::ProductCode};
use lictor_push_update_generator::{
    Failure,
    domain::request::{BlockRequest, Change},
    issue::Step,
};
use lictor_test_support::device::TestDevice;

use crate::{
    crash::DieAt,
    world::{add, code, license, replace, request, withdraw, worlds},
};

fn block(device: &TestDevice, reference: &str) -> BlockRequest {
    let key = request(device, "look", vec![withdraw(0)]).key;
    BlockRequest::new(reference.to_owned(), key, "lost in a train".to_owned()).expect("good form")
}

#[tokio::test]
async fn a_blocked_container_loses_everything_and_gets_withdrawals_only() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let issued = world.issue(&device, "act_1", vec![add(1), add(2)]).await;
        let receipt = device.import(&issued.file.bytes).expect("an import");
        world.take(&receipt).await;
        let blocked = world.issuer.block(&block(&device, "block_1")).await.expect("a block");
        assert_eq!(blocked.licenses, [license(1), license(2)]);
        // Blocking again, under whatever name, is no error and does nothing.
        for name in ["block_1", "block_2"] {
            let again = world.issuer.block(&block(&device, name)).await.expect("a block");
            assert_eq!((again.licenses.len(), again.chain.issued), (2, 2));
        }
        let refused = world.try_issue(&device, "act_2", vec![add(3)]).await;
        assert_eq!(code(refused.expect_err("blocked")), ErrorCode::WrongState);
        let challenge = world.issuer.challenge(crate::world::firm(crate::world::FIRM)).await.expect("a challenge").0;
        let taken = world.take(&device.fresh_context(challenge)).await;
        assert!(taken.chain.as_ref().expect("known").blocked.is_some());
        let back = world.issuer.rebase(&taken, "back".to_owned(), String::new()).await;
        assert_eq!(code(back.expect_err("no way back")), ErrorCode::WrongState);

        let pending = world.pending(&device).await.expect("the withdrawal waits for it");
        let receipt = device.import(&pending).expect("an import");
        assert!(device.state.entries.is_empty() && device.product_keys.is_empty());
        world.take(&receipt).await;
        let told = world.event_types().await.iter().filter(|kind| *kind == "container.blocked").count();
        assert_eq!(told, 1);
    })
    .await;
}

#[tokio::test]
async fn a_container_with_hundreds_of_licenses_is_emptied_by_one_segment() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        for round in 0..3_u8 {
            let changes = (0..60).map(|number| add(round * 60 + number)).collect();
            world.issue(&device, &format!("act_{round}"), changes).await;
        }
        let receipt = device.import(&world.pending(&device).await.expect("a file")).expect("an import");
        world.take(&receipt).await;
        let blocked = world.issuer.block(&block(&device, "block_1")).await.expect("a block");
        assert_eq!((blocked.licenses.len(), blocked.chain.issued), (180, 4));
        device.import(&world.pending(&device).await.expect("a file")).expect("an import");
        assert!(device.state.entries.is_empty() && device.product_keys.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_empty_container_can_be_blocked() {
    worlds(async |world| {
        let device = world.known_device(1).await;
        let blocked = world.issuer.block(&block(&device, "block_1")).await.expect("a block");
        assert!(blocked.licenses.is_empty() && blocked.chain.blocked.is_some());
        let refused = world.try_issue(&device, "act_1", vec![add(1)]).await;
        assert_eq!(code(refused.expect_err("blocked")), ErrorCode::WrongState);
    })
    .await;
}

#[tokio::test]
async fn a_block_that_is_killed_at_any_step_ends_as_one_segment_and_one_event() {
    worlds(async |world| {
        for (place, step) in Step::ALL.into_iter().enumerate() {
            let mut device = world.known_device(1 + u8::try_from(place).expect("a small number")).await;
            let issued = world.issue(&device, &format!("act_{place}"), vec![add(1)]).await;
            device.import(&issued.file.bytes).expect("an import");
            let wanted = block(&device, &format!("block_{place}"));
            let dying = world.restarted(Some(DieAt::first(step))).await;
            let died = dying.issuer.block(&wanted).await;
            assert!(matches!(died, Err(Failure::Stopped(at)) if at == step), "{step:?}");
            if step != Step::Asked {
                let refused = world.try_issue(&device, &format!("late_{place}"), vec![add(2)]).await;
                assert_eq!(code(refused.expect_err("blocked from the first step")), ErrorCode::WrongState);
            }
            let next = world.restarted(None).await;
            let blocked = next.issuer.block(&wanted).await.expect("a block");
            assert_eq!((blocked.chain.issued, blocked.licenses), (2, vec![license(1)]), "{step:?}");
            let told = world.event_types().await.iter().filter(|kind| *kind == "container.blocked").count();
            assert_eq!(told, place + 1, "{step:?}");
            device.import(&next.pending(&device).await.expect("a file")).expect("an import");
            assert!(!device.holds(license(1)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_replaced_license_keeps_its_place_and_changes_its_product_key() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        world.issue(&device, "act_1", vec![add(1), add(2)]).await;
        let issued = world.issue(&device, "change_1", vec![replace(1, 7)]).await;
        let receipt = device.import(&issued.file.bytes).expect("an import");
        assert_eq!(device.state.entries[&license(1)].quantity, 7);
        let keys: Vec<_> = device.product_keys.keys().copied().collect();
        assert_eq!(keys, [ProductCode(1_002), ProductCode(2_001)], "keys follow the replaced item");
        world.take(&receipt).await;
        for wrong in [
            replace(9, 1),
            Change::RaiseUnits { license: license(9), part: lictor_licensing::item::Part::Parent, by: 1 },
        ] {
            let refused = world.try_issue(&device, "change_2", vec![wrong]).await;
            assert!(matches!(
                code(refused.expect_err("not there")),
                ErrorCode::WrongState | ErrorCode::RequestIdReused
            ));
        }
    })
    .await;
}
