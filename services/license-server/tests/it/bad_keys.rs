//! Good files at the wrong place: of another container, vendor or epoch, under another key or role, after a key's end,
//! under an old root.

use std::time::Duration;

use lictor_license_file::device::DeviceCounters;
use lictor_license_file::segment::{RebasePayload, SegmentPayload};
use lictor_license_file::update::{self, UpdateFile};
use lictor_license_server::store::memory_disk::MemoryDisk;
use lictor_signing::{Envelope, Role, SignedPayload as _, Signer as _};

use crate::stage::doors::{Door, Stage};
use crate::stage::vendor::{FIRM, Vendor, add, start_of_tests};

/// The same update under another signature.
fn signed_again(update: &[u8], key: &lictor_key_store::MemorySigner, rebase: bool) -> Vec<u8> {
    let read = UpdateFile::read(update).expect("an update");
    let bytes = read.segments[0].to_bytes();
    let payload = Envelope::from_bytes(&bytes).expect("an envelope").unverified_payload().to_vec();
    let kind = if rebase { RebasePayload::PAYLOAD_TYPE } else { SegmentPayload::PAYLOAD_TYPE };
    let segment = Envelope::sign(kind, payload, &[key]).expect("signed").to_bytes();
    update::build(&[], &[segment]).expect("a small file")
}

async fn refused(stage: &Stage, what: &str, file: Vec<u8>, code: &str, said: &str) {
    let problem = stage.refuses(Door::Import, what, file).await;
    assert_eq!(problem.code.name(), code, "{what}: {problem:?}");
    let expected = if code == "not_found" { 4 } else { 7 };
    assert_eq!(problem.code.exit_code(), expected, "{what}: {problem:?}");
    assert!(problem.message.contains(said), "{what}: {problem:?}");
}

#[tokio::test]
async fn files_for_another_container_vendor_or_epoch_are_refused_and_say_so() {
    let mut vendor = Vendor::new(FIRM, 1);
    let stage = Stage::filled(&mut vendor, vec![add(1, 201, 2)]).await;
    let asking = stage.context(Some([1; 32])).await;
    // The same vendor's file for another container.
    let other = Stage::filled(&mut vendor, vec![add(1, 201, 2)]).await;
    let theirs = vendor.update(&other.context(None).await, vec![add(2, 202, 1)]);
    refused(&stage, "another container", theirs, "file_for_other", "container").await;
    // Another vendor, who is not in this container, and the same one once it is.
    let mut neighbour = Vendor::new(77, 2);
    let foreign = neighbour.update(&asking, vec![add(2, 202, 1)]);
    refused(&stage, "another vendor", foreign.clone(), "not_found", "77").await;
    // Somebody else under the firm code of the vendor.
    let imposter = Vendor::new(FIRM, 9).update(&asking, vec![add(2, 202, 1)]);
    refused(&stage, "an imposter", imposter, "file_forged", "").await;
    // Epochs: a rebase of the other container; and after the own rebase whatever is left of the old chain.
    let states = vendor.states_of();
    let left_over = vendor.update(&asking, vec![add(3, 203, 1)]);
    vendor.restore(states.clone());
    let rebase = vendor.rebase(&asking, &[], &DeviceCounters::default());
    let next = vendor.update(&asking, vec![add(4, 204, 1)]);
    refused(&stage, "the next epoch before its rebase", next.clone(), "file_for_other", "epoch").await;
    let theirs = vendor.rebase(&other.context(Some([1; 32])).await, &[], &DeviceCounters::default());
    refused(&stage, "another container's rebase", theirs, "file_for_other", "container").await;
    vendor.restore(states);
    let unasked = vendor.rebase(&stage.copied().await.context(Some([2; 32])).await, &[], &DeviceCounters::default());
    refused(&stage, "a rebase that nobody asked for", unasked, "file_for_other", "question").await;
    stage.knock(Door::Import, rebase).await.expect("the rebase");
    refused(&stage, "the epoch before", left_over, "file_for_other", "epoch").await;
    stage.knock(Door::Import, next).await.expect("the next epoch");
}

#[tokio::test]
async fn files_under_the_key_of_another_role_are_refused() {
    let mut vendor = Vendor::new(FIRM, 1);
    let stage = Stage::filled(&mut vendor, vec![add(1, 201, 2)]).await;
    let asking = stage.context(Some([1; 32])).await;
    let states = vendor.states_of();
    let update = vendor.update(&asking, vec![add(2, 202, 1)]);
    vendor.restore(states);
    let rebase = vendor.rebase(&asking, &[], &DeviceCounters::default());
    for role in [Role::Root, Role::Issue, Role::Time, Role::Support, Role::LeaseCertifier] {
        let key = vendor.key(role);
        if role != Role::Issue {
            let what = format!("an update of the {role} role");
            refused(&stage, &what, signed_again(&update, key, false), "file_forged", "").await;
        }
        if role != Role::Support {
            let what = format!("a rebase of the {role} role");
            refused(&stage, &what, signed_again(&rebase, key, true), "file_forged", "").await;
        }
        if role != Role::Time {
            let nonce = stage.nonce().await;
            let said = lictor_signing::TimeStatement::new(FIRM, &nonce, start_of_tests()).expect("a good nonce");
            let said = Envelope::seal(&said, &[key]).expect("signed").to_bytes();
            let problem = stage.refuses(Door::Time, "a time of another role", said).await;
            assert_eq!((problem.code.name(), problem.code.exit_code()), ("file_forged", 7), "{role}: {problem:?}");
        }
        if role != Role::Issue {
            let information = lictor_license_file::lif::LicenseInformation {
                firm_code: vendor.firm,
                bindings: lictor_licensing::binding::Bindings::of(&[lictor_licensing::binding::Binding::Folder]),
                activation_address: String::new(),
                issued_at: start_of_tests(),
            };
            let roots = std::slice::from_ref(&vendor.root_document);
            let lif = lictor_license_file::lif::build(&information, roots, &[key]).expect("a lif");
            let empty = Stage::on(MemoryDisk::new());
            let problem = empty.refuses(Door::Create, "a licence information file of another role", lif).await;
            assert_eq!((problem.code.name(), problem.code.exit_code()), ("file_forged", 7), "{role}: {problem:?}");
        }
    }
    // Signed anew by its own role, each is as good as the first copy: the chain does not depend on the signature.
    let copy = stage.copied().await;
    copy.knock(Door::Import, signed_again(&update, vendor.key(Role::Issue), false)).await.expect("an update");
    stage.knock(Door::Import, signed_again(&rebase, vendor.key(Role::Support), true)).await.expect("a rebase");
}

#[tokio::test]
async fn an_update_from_after_the_end_of_its_key_is_refused_and_one_from_before_is_not() {
    let end = start_of_tests().saturating_add(Duration::from_secs(3_600));
    let mut vendor = Vendor::until(FIRM, 1, Some(end));
    let stage = Stage::filled(&mut vendor, vec![add(1, 201, 2)]).await;
    let context = stage.context(None).await;
    let states = vendor.states_of();
    for late in [end, end.saturating_add(Duration::from_secs(365 * 24 * 3_600))] {
        vendor.issues_at = late;
        let update = vendor.update(&context, vec![add(2, 202, 1)]);
        vendor.restore(states.clone());
        refused(&stage, "after the end of the key", update, "file_forged", "").await;
    }
    vendor.issues_at = end.saturating_sub(Duration::from_micros(1));
    let update = vendor.update(&context, vec![add(2, 202, 1)]);
    stage.knock(Door::Import, update).await.expect("in its time");
}

#[tokio::test]
async fn under_an_old_root_nothing_new_comes_in_and_what_is_there_stays() {
    let mut vendor = Vendor::new(FIRM, 1);
    let stage = Stage::filled(&mut vendor, vec![add(1, 201, 2)]).await;
    let (context, old_lif, old_root) = (stage.context(None).await, vendor.lif(), vendor.root_document.clone());
    let (root, retired) = vendor.rotate();
    let states = vendor.states_of();
    let update = vendor.update(&context, vec![add(2, 202, 1)]);
    let segment = UpdateFile::read(&update).expect("an update").segments[0].to_bytes();
    // Without the new root nobody knows the new key; with it in the file the old key is retired.
    refused(&stage, "a key that is not known yet", update.clone(), "file_forged", "").await;
    let by_old = UpdateFile::read(&signed_again(&update, &retired, false)).expect("an update").segments[0].to_bytes();
    let retired_in_file = update::build(std::slice::from_ref(&root), &[by_old]).expect("a small file");
    refused(&stage, "a key that the file itself retires", retired_in_file, "file_forged", "").await;
    // A root that skips one, and a root that the new keys alone have signed.
    let mut imposter = Vendor::new(FIRM, 9);
    let (stolen, _) = imposter.rotate();
    for (what, roots) in [("another vendor's next root", vec![stolen.clone()]), ("a gap", vec![stolen, root.clone()])] {
        let file = update::build(&roots, std::slice::from_ref(&segment)).expect("a small file");
        let problem = stage.refuses(Door::Import, what, file).await;
        assert_eq!((problem.code.name(), problem.code.exit_code()), ("file_forged", 7), "{what}: {problem:?}");
    }
    let rotating = update::build(&[old_root.clone(), root], &[segment]).expect("a small file");
    stage.knock(Door::Import, rotating).await.expect("the new root and what it signs");

    // From here on the old key and the old root are worth nothing.
    vendor.restore(states);
    let late = vendor.update(&context, vec![add(3, 203, 1)]);
    refused(&stage, "the retired key", signed_again(&late, &retired, false), "file_forged", "").await;
    let back = update::build(&[old_root], &[]).expect("a small file");
    stage.refuses(Door::Import, "the old root alone", back).await;
    // So is the licence information file that the old key has signed.
    let problem = stage.refuses(Door::Create, "an old licence information file", old_lif).await;
    assert_eq!((problem.code.name(), problem.code.exit_code()), ("file_forged", 7), "{problem:?}");
    assert_eq!(vendor.key(Role::Issue).public_key(), vendor.trusted.document().roles[&Role::Issue].keys[0].key);
}
