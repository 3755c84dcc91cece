//! Issuing without crashes: what goes out, what is refused, what many at once get.

use std::collections::BTreeMap;

use lictor_license_file::{FileError, limits::MAX_PENDING, modified_context::ModifiedContext, update::UpdateFile};
use lictor_licensing::{
    Bindings,
    binding::{Binding, ContainerKind},
    error::ErrorCode,
    id::ProductCode,
};
use lictor_push_update_generator::{domain::request::Change, store};
use lictor_test_support::device::TestDevice;

use crate::world::{FOLDER, World, add, add_bound, code, license, request, withdraw, worlds};

#[tokio::test]
async fn a_license_goes_in_and_is_confirmed_by_the_receipt() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let issued = world.issue(&device, "act_1", vec![add(1)]).await;
        assert_eq!((issued.from, issued.to, issued.file.from, issued.file.segments), (0, 1, 0, 1));
        let receipt = device.import(&issued.file.bytes).expect("an import");
        assert!(device.holds(license(1)));
        assert!(device.product_keys.contains_key(&ProductCode(1_001)));
        assert!(device.state.lease_certificate.is_some(), "the first segment certifies the lease key");
        let taken = world.take(&receipt).await;
        assert_eq!((taken.verdict.name(), taken.chain.expect("known").confirmed), ("ok", 1));
        assert_eq!(world.pending(&device).await, None);
        assert_eq!(world.event_types().await, ["container.registered", "update.issued", "update.confirmed"]);
        let events = world.events().await;
        let numbers: Vec<_> = events.iter().map(|event| (event.sequence, event.aggregate_sequence)).collect();
        assert_eq!(numbers, [(1, 1), (2, 2), (3, 3)]);
        let Some(lictor_api::event::v1::event::Data::UpdateConfirmed(confirmed)) = &events[2].data else {
            panic!("a confirmation")
        };
        assert_eq!((confirmed.counter, confirmed.references.as_slice()), (1, &["act_1".to_owned()][..]));
    })
    .await;
}

#[tokio::test]
async fn the_same_reference_gets_the_same_bytes_for_ever() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let first = world.issue(&device, "act_1", vec![add(1)]).await;
        let second = world.issue(&device, "act_2", vec![add(2)]).await;
        assert_eq!(world.issue(&device, "act_1", vec![add(1)]).await, first);
        let receipt = device.import(&second.file.bytes).expect("an import");
        world.take(&receipt).await;
        // Also after everything was proven.
        assert_eq!(world.issue(&device, "act_1", vec![add(1)]).await, first);
        assert_eq!(world.issue(&device, "act_2", vec![add(2)]).await, second);
        assert_eq!(world.chain(&device).await.issued, 2);

        let other = world.try_issue(&device, "act_1", vec![add(3)]).await;
        assert_eq!(code(other.expect_err("other operations")), ErrorCode::RequestIdReused);
        let neighbour = world.known_device(2).await;
        let elsewhere = world.try_issue(&neighbour, "act_1", vec![add(1)]).await;
        assert_eq!(code(elsewhere.expect_err("another container")), ErrorCode::RequestIdReused);
    })
    .await;
}

#[tokio::test]
async fn a_lost_update_is_carried_along_by_the_next() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        world.issue(&device, "act_lost", vec![add(1)]).await;
        let next = world.issue(&device, "act_next", vec![add(2)]).await;
        assert_eq!((next.from, next.to, next.file.from, next.file.segments), (1, 2, 0, 2));
        device.import(&next.file.bytes).expect("an import");
        assert!(device.holds(license(1)) && device.holds(license(2)));
    })
    .await;
}

#[tokio::test]
async fn a_withdrawal_rides_along_until_it_is_confirmed() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let issued = world.issue(&device, "act_1", vec![add(1)]).await;
        let receipt = device.import(&issued.file.bytes).expect("an import");
        world.take(&receipt).await;
        world.issue(&device, "wd_1", vec![withdraw(1)]).await;
        for number in 2..6 {
            let next = world.issue(&device, &format!("act_{number}"), vec![add(number)]).await;
            let file = UpdateFile::read(&next.file.bytes).expect("an update file");
            assert_eq!(file.segments[0].header().from, 1, "every file begins with the withdrawal");
            // Without it nothing later goes in.
            let tail = file.segments.last().expect("a segment").to_bytes();
            let cut = lictor_license_file::update::build(&[], &[tail]).expect("a file");
            assert!(matches!(device.clone().import(&cut), Err(FileError::Gap { have: 1, .. })));
        }
        let pending = world.pending(&device).await.expect("a file");
        let receipt = device.import(&pending).expect("an import");
        assert!(!device.holds(license(1)) && device.holds(license(5)));
        assert!(!device.product_keys.contains_key(&ProductCode(1_001)), "its product key went with it");
        world.take(&receipt).await;
        assert_eq!(world.pending(&device).await, None);
    })
    .await;
}

#[tokio::test]
async fn what_the_container_would_refuse_is_refused_before_anything_is_reserved() {
    worlds(async |world| {
        let device = world.known_device(1).await;
        world.issue(&device, "act_1", vec![add(1)]).await;
        let before = world.chain(&device).await;
        let only_cloud = Bindings::of(&[Binding::Cloud]);
        let cases: Vec<(Vec<Change>, ErrorCode)> = vec![
            (vec![add_bound(2, only_cloud)], ErrorCode::BindingForbidden),
            (vec![add(1)], ErrorCode::AlreadyExists),
            (vec![withdraw(9)], ErrorCode::WrongState),
            (vec![add(2), withdraw(9)], ErrorCode::WrongState),
            (vec![Change::Add { license: license(2), item: vec![0xFF; 20], quantity: 1 }], ErrorCode::FileDamaged),
        ];
        for (place, (changes, expected)) in cases.into_iter().enumerate() {
            let refused = world.try_issue(&device, &format!("bad_{place}"), changes).await;
            assert_eq!(code(refused.expect_err("a refusal")), expected, "case {place}");
        }
        assert_eq!(world.chain(&device).await, before);
        let stranger = world.device(9);
        let unknown = world.try_issue(&stranger, "act_9", vec![add(1)]).await;
        assert_eq!(code(unknown.expect_err("a stranger")), ErrorCode::NotFound);
    })
    .await;
}

#[tokio::test]
async fn bindings_decide_about_folders_and_virtual_machines() {
    worlds(async |world| {
        let mut folder = TestDevice::new(3, ContainerKind::Folder, &world.root);
        world.take(&folder.context()).await;
        let plain = world.try_issue(&folder, "act_1", vec![add(1)]).await;
        assert_eq!(code(plain.expect_err("no folder")), ErrorCode::BindingForbidden);
        world.issue(&folder, "act_2", vec![add_bound(2, FOLDER)]).await;

        let mut machine = world.device(4);
        machine.profile.virtual_machine = true;
        world.take(&machine.context()).await;
        let plain = world.try_issue(&machine, "act_3", vec![add(1)]).await;
        assert_eq!(code(plain.expect_err("no virtual machine")), ErrorCode::BindingForbidden);
        let allowed = Bindings::of(&[Binding::Machine, Binding::Vm]);
        world.issue(&machine, "act_4", vec![add_bound(1, allowed)]).await;
    })
    .await;
}

#[tokio::test]
async fn many_who_issue_for_one_container_make_one_chain_without_gaps() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let mut tasks = tokio::task::JoinSet::new();
        // Every reference is asked for twice at the same time.
        for number in (0..32).chain(0..32) {
            let issuer = world.issuer.clone();
            let request = request(&device, &format!("act_{number}"), vec![add(number)]);
            tasks.spawn(async move { (number, issuer.issue(&request).await.expect("an issued segment")) });
        }
        let mut answers = BTreeMap::new();
        for (number, issued) in tasks.join_all().await {
            let known = answers.entry(number).or_insert_with(|| issued.clone());
            assert_eq!(*known, issued, "one reference, one answer");
        }
        let mut steps: Vec<_> = answers.values().map(|issued| (issued.from, issued.to)).collect();
        steps.sort_unstable();
        assert_eq!(steps, (0..32).map(|from| (from, from + 1)).collect::<Vec<_>>());
        device.import(&world.pending(&device).await.expect("a file")).expect("an import");
        assert!((0..32).all(|number| device.holds(license(number))));
        let issued = world.event_types().await.iter().filter(|kind| *kind == "update.issued").count();
        assert_eq!(issued, 32);
        let events = world.events().await;
        let numbers: Vec<_> = events.iter().map(|event| event.aggregate_sequence).collect();
        assert_eq!(numbers, (1..=33).collect::<Vec<_>>(), "events of a chain come in its order");
    })
    .await;
}

#[tokio::test]
async fn a_container_that_slept_for_years_takes_one_checkpoint() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let mut woken = Vec::new();
        for number in 0..=MAX_PENDING {
            let number = u8::try_from(number).expect("a small number");
            let issued = world.issue(&device, &format!("act_{number}"), vec![add(number)]).await;
            if matches!(number, 0 | 7 | 63) {
                let mut awake = device.clone();
                awake.import(&issued.file.bytes).expect("an import");
                woken.push(awake);
            }
            if usize::from(number) < MAX_PENDING {
                assert_eq!(issued.file.segments, u32::from(number) + 1);
            } else {
                assert_eq!((issued.from, issued.to), (64, 65));
                assert_eq!((issued.file.from, issued.file.segments), (64, 1), "one segment holds everything");
            }
        }
        let after = world.issue(&device, "act_after", vec![withdraw(3)]).await;
        assert_eq!((after.file.from, after.file.segments), (64, 2));
        woken.push(device.clone());
        for mut awake in woken {
            let at = awake.state.counter;
            awake.import(&after.file.bytes).unwrap_or_else(|error| panic!("from {at}: {error}"));
            assert!(awake.holds(license(64)) && !awake.holds(license(3)));
            assert_eq!(awake.product_keys.len(), 64);
        }
        let receipt = device.import(&after.file.bytes).expect("an import");
        let chain = world.take(&receipt).await.chain.expect("known");
        assert_eq!((chain.confirmed, world.pending(&device).await), (66, None));
        let next = world.issue(&device, "act_next", vec![add(200)]).await;
        assert_eq!((next.file.from, next.file.segments), (66, 1));
        device.import(&next.file.bytes).expect("an import");
    })
    .await;
}

#[tokio::test]
async fn the_modified_context_is_what_the_container_will_be() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        world.issue(&device, "act_1", vec![add(1)]).await;
        let issued = world.issue(&device, "act_2", vec![add(2)]).await;
        let key = request(&device, "look", vec![withdraw(0)]).key;
        let file = world.issuer.modified_context(&key).await.expect("a file");
        let modified = ModifiedContext::read(&file, &world.root).expect("our own file");
        assert_eq!(modified.pending.len(), 2);
        assert!(modified.confirmed.is_some());
        let roots: Vec<Vec<u8>> = Vec::new();
        assert_eq!(modified.pending_update(&roots).expect("an update file"), issued.file.bytes);
        let receipt = device.import(&issued.file.bytes).expect("an import");
        assert_eq!(modified.predicted, device.state);
        world.take(&receipt).await;
        let file = world.issuer.modified_context(&key).await.expect("a file");
        let modified = ModifiedContext::read(&file, &world.root).expect("our own file");
        assert!(modified.pending.is_empty());
        let confirmed = modified.confirmed_context().expect("a context").expect("there");
        assert_eq!(confirmed.context.counter, 2);
    })
    .await;
}

#[tokio::test]
async fn a_suspected_container_gets_withdrawals_only() {
    worlds(async |world: World| {
        let mut device = world.known_device(1).await;
        let issued = world.issue(&device, "act_1", vec![add(1)]).await;
        let mut backup = device.clone();
        let receipt = device.import(&issued.file.bytes).expect("an import");
        world.take(&receipt).await;
        backup.sequence = device.sequence;
        assert_eq!(world.take(&backup.context()).await.verdict.name(), "rollback-suspected");
        let refused = world.try_issue(&device, "act_2", vec![add(2)]).await;
        assert_eq!(code(refused.expect_err("under suspicion")), ErrorCode::ContainerSuspected);
        let mixed = world.try_issue(&device, "act_3", vec![add(2), withdraw(1)]).await;
        assert_eq!(code(mixed.expect_err("under suspicion")), ErrorCode::ContainerSuspected);
        world.issue(&device, "wd_1", vec![withdraw(1)]).await;
        let chain = world.chain(&device).await;
        let lines = store::segment::newest(&world.db, &chain.identity.key, 0, 10).await.expect("segments");
        assert!(lines[1].summary.starts_with("withdraws license lic_"), "{}", lines[1].summary);
    })
    .await;
}

#[tokio::test]
async fn a_late_copy_of_a_refused_request_is_refused_too() {
    worlds(async |world: World| {
        let device = world.known_device(1).await;
        let mixed = || vec![add(2), withdraw(1)];
        let refused = world.try_issue(&device, "act_late", mixed()).await;
        assert_eq!(code(refused.expect_err("nothing to withdraw")), ErrorCode::WrongState);
        // By now the caller has given license 2 back, and the container holds what the request takes out.
        world.issue(&device, "act_1", vec![add(1)]).await;
        let late = world.restarted(None).await.try_issue(&device, "act_late", mixed()).await;
        assert_eq!(code(late.expect_err("given up before")), ErrorCode::WrongState);
        let other = world.try_issue(&device, "act_late", vec![add(3)]).await;
        assert_eq!(code(other.expect_err("another request")), ErrorCode::RequestIdReused);
        world.issue(&device, "act_new", mixed()).await;

        let early = world.try_issue(&device, "wd_1", vec![withdraw(5)]).await;
        assert_eq!(code(early.expect_err("not there yet")), ErrorCode::WrongState);
        world.issue(&device, "act_5", vec![add(5)]).await;
        world.issue(&device, "wd_1", vec![withdraw(5)]).await;
    })
    .await;
}
