//! Making firms.

use std::sync::Arc;

use lictor_license_file::{lif, segment::Segment, update::UpdateFile};
use lictor_licensing::{
    binding::{Binding, ContainerKind},
    error::ErrorCode,
};
use lictor_push_update_generator::{store, vendor::FirmName};
use lictor_signing::{Role, TrustedRoot};
use lictor_test_support::device::TestDevice;

use crate::world::{FIRM, add, code, firm, worlds};

#[tokio::test]
async fn making_a_firm_again_changes_nothing() {
    worlds(async |world| {
        let name = FirmName::new(" Example Instruments ").expect("a name");
        let before = world.issuer.vendor(firm(FIRM)).await.expect("the firm");
        let (again, created) = world.issuer.make_vendor(firm(FIRM), &name).await.expect("the same firm");
        assert!(!created);
        assert_eq!(again, before);
        let other = FirmName::new("Somebody Else").expect("a name");
        let refused = world.issuer.make_vendor(firm(FIRM), &other).await.expect_err("another name");
        assert_eq!(code(refused), ErrorCode::AlreadyExists);
        assert_eq!(before.root_digest.len(), 64);
        for bad in ["", "   ", "two\nlines", &"x".repeat(129)] {
            assert!(FirmName::new(bad).is_err());
        }
    })
    .await;
}

#[tokio::test]
async fn keys_that_a_crashed_try_left_are_used_by_the_next() {
    worlds(async |world| {
        let left = {
            let folder = world.folder.path().join("keys");
            let store = lictor_key_store::FileKeyStore::open(folder, lictor_key_store::Mode::Development);
            lictor_push_update_generator::keys::Keys::new(store.expect("a store")).make(firm(9)).expect("keys")
        };
        let name = FirmName::new("Crashed").expect("a name");
        let (_, created) = world.issuer.make_vendor(firm(9), &name).await.expect("a firm");
        assert!(created);
        let stored = store::vendor::roots_after(&world.db, firm(9), 0).await.expect("roots");
        let root = TrustedRoot::trust(&stored[0].envelope).expect("a root document");
        assert_eq!((root.version(), root.firm_code()), (1, 9));
        for (role, key) in left {
            assert_eq!(root.document().roles[&role].keys[0].key, key, "{role}");
        }
        assert!(!root.document().roles.contains_key(&Role::Policy));
    })
    .await;
}

#[tokio::test]
async fn many_who_make_one_firm_at_once_get_one() {
    worlds(async |world| {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let issuer = world.issuer.clone();
            tasks.spawn(async move {
                let name = FirmName::new("Race").expect("a name");
                issuer.make_vendor(firm(77), &name).await.expect("a firm")
            });
        }
        let made = tasks.join_all().await;
        assert_eq!(made.iter().filter(|(_, created)| *created).count(), 1);
        assert!(made.iter().all(|(vendor, _)| vendor.root_digest == made[0].0.root_digest));
    })
    .await;
}

#[tokio::test]
async fn the_keys_of_one_firm_never_speak_for_another() {
    worlds(async |world| {
        let name = FirmName::new("Neighbour").expect("a name");
        world.issuer.make_vendor(firm(5), &name).await.expect("a firm");
        let stored = store::vendor::roots_after(&world.db, firm(5), 0).await.expect("roots");
        let neighbour = Arc::new(TrustedRoot::trust(&stored[0].envelope).expect("a root document"));
        let mut ours = world.known_device(1).await;
        // The same container also holds a chain of the neighbour: chains of two firms never meet.
        let mut theirs = TestDevice::new(1, ContainerKind::Machine, &neighbour);
        world.take(&theirs.context()).await;
        let for_us = world.issue(&ours, "act_us", vec![add(1)]).await;
        let for_them = world.issue(&theirs, "act_them", vec![add(1)]).await;
        assert_eq!((for_us.to, for_them.to), (1, 1));
        let file = UpdateFile::read(&for_them.file.bytes).expect("an update file");
        let segment: &Segment = &file.segments[0];
        assert!(segment.verify(&world.root).is_err());
        assert!(segment.verify(&neighbour).is_ok());
        assert!(ours.import(&for_them.file.bytes).is_err());
        assert!(theirs.import(&for_them.file.bytes).is_ok());
        assert!(ours.import(&for_us.file.bytes).is_ok());
        // Equal product codes of two firms have different keys.
        assert_ne!(ours.product_keys, theirs.product_keys);
    })
    .await;
}

#[tokio::test]
async fn a_license_information_file_leads_to_the_firms_root() {
    worlds(async |world| {
        let address = "https://activation.example.com".to_owned();
        let kinds = [ContainerKind::Folder, ContainerKind::Machine];
        let file = world.issuer.license_information(firm(FIRM), &kinds, address.clone()).await.expect("a file");
        let opened = lif::read(&file).expect("a good file");
        assert_eq!(opened.root.digest(), world.root.digest());
        assert_eq!(opened.information.activation_address, address);
        for binding in [Binding::Folder, Binding::Machine, Binding::Vm] {
            assert!(opened.information.bindings.contains(binding));
        }
        assert!(!opened.information.bindings.contains(Binding::Cloud));
        let usual = world.issuer.license_information(firm(FIRM), &[], String::new()).await.expect("a file");
        let usual = lif::read(&usual).expect("a good file").information.bindings;
        assert!(usual.contains(Binding::Token) && !usual.contains(Binding::Folder));
        let unknown = world.issuer.license_information(firm(8), &[], String::new()).await;
        assert_eq!(code(unknown.expect_err("no such firm")), ErrorCode::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_firm_that_the_archive_knows_is_not_made_again_in_an_emptied_database() {
    worlds(async |world| {
        // Nothing was ever issued for it: its root document alone has to be enough.
        let name = FirmName::new("Quiet").expect("a name");
        let made = world.issuer.make_vendor(firm(12), &name).await.expect("a firm").0;
        let emptied = crate::backup::nothing(&world.db).await;
        let restored = world.elsewhere(emptied.db.clone(), world.archive_db.clone());
        let refused = restored.issuer.make_vendor(firm(12), &name).await.expect_err("the archive knows it");
        assert_eq!(refused.problem().code, ErrorCode::ReplayNeeded);
        assert!(refused.problem().next.contains("lictor vendor replay"));
        let people = [lictor_key_store::MemorySigner::from_seed(&[7; 32])];
        let people = people.iter().map(lictor_signing::Signer::public_key).collect();
        let proposed = restored.issuer.propose_first(firm(12), &name, people, 1).await.expect_err("the same");
        assert_eq!(code(proposed), ErrorCode::ReplayNeeded);
        restored.issuer.replay(0).await.expect("a replay");
        let (back, created) = restored.issuer.make_vendor(firm(12), &name).await.expect("the firm");
        assert_eq!((back, created), (made, false));
        let (_, created) = restored.issuer.make_vendor(firm(13), &name).await.expect("a new firm");
        assert!(created);
    })
    .await;
}
