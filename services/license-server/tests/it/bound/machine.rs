//! The kind `machine`.

use lictor_api::server::v1 as wire;
use lictor_clock::ManualClock;
use lictor_license_file::context;
use lictor_licensing::binding::{Binding, Bindings, ContainerKind};

use super::{admin, copy, licence, refused, settings, started, stop};
use crate::stage::client::RawClient;
use crate::stage::host::Host;
use crate::stage::vendor::{FIRM, Vendor, start_of_tests};

const KIND: ContainerKind = ContainerKind::Machine;

fn on_disk(host: &Host, folder: &std::path::Path) {
    host.mount(folder, "/", "ext4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_known_again_after_small_changes_and_sealed_to_them_anew() {
    let (folder, host, clock) =
        (tempfile::tempdir().expect("a folder"), Host::new("one"), ManualClock::new(start_of_tests()));
    on_disk(&host, folder.path());
    stop(started(settings(KIND, folder.path(), &host), &clock).await).await;
    let sealed = std::fs::read(folder.path().join("keys")).expect("keys");
    stop(started(settings(KIND, folder.path(), &host), &clock).await).await;
    assert_eq!(std::fs::read(folder.path().join("keys")).expect("keys"), sealed, "nothing changed");
    // A new disk, and a month later a reinstalled system, and a month later a new board with a processor.
    let month = lictor_clock::duration::days(31);
    host.write("sys/dev/block/254:1/serial", "another disk");
    stop(started(settings(KIND, folder.path(), &host), &clock).await).await;
    assert_ne!(std::fs::read(folder.path().join("keys")).expect("keys"), sealed, "sealed anew");
    clock.advance(month);
    host.write("etc/machine-id", "another system");
    stop(started(settings(KIND, folder.path(), &host), &clock).await).await;
    clock.advance(month);
    host.write("sys/class/dmi/id/product_uuid", "another board");
    host.write("proc/cpuinfo", "model name\t: another processor\n");
    stop(started(settings(KIND, folder.path(), &host), &clock).await).await;
    // Nothing is left of the first machine but the network card: the seal went along step by step.
    stop(started(settings(KIND, folder.path(), &host), &clock).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_machine_is_refused_and_told_by_its_traits() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), ManualClock::new(start_of_tests()));
    let (one, other) = (Host::new("one"), Host::new("other"));
    on_disk(&one, folder.path());
    stop(started(settings(KIND, folder.path(), &one), &clock).await).await;
    let there = tempfile::tempdir().expect("a folder");
    copy(folder.path(), there.path());
    on_disk(&other, there.path());
    let sentence = refused(settings(KIND, there.path(), &other), &clock).await;
    for said in ["host 1 of 8 points (5 needed)", "product uuid", "disk serial", "machine id", "lictor replace"] {
        assert!(sentence.contains(said), "{sentence}");
    }
    // The copy on the same machine is the same machine; that two of them never run at once is the matter of clones.
    on_disk(&one, there.path());
    stop(started(settings(KIND, there.path(), &one), &clock).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_virtual_machine_needs_to_be_allowed_by_file_and_by_licence() {
    let (folder, host, clock) =
        (tempfile::tempdir().expect("a folder"), Host::new("one"), ManualClock::new(start_of_tests()));
    on_disk(&host, folder.path());
    host.write("proc/cpuinfo", "model name\t: some\nflags\t\t: fpu hypervisor\n");
    let server = started(settings(KIND, folder.path(), &host), &clock).await;
    let mut admin = admin(&server).await;
    let mut vendor = Vendor::new(FIRM, 1);
    let mut create = async |bindings: &[Binding]| {
        let lif = vendor.lif_for(Bindings::of(bindings));
        admin.create_container(wire::CreateContainerRequest { lif, kind: 0 }).await
    };
    let forbidden = create(&[Binding::Machine]).await.expect_err("no virtual ones");
    assert!(forbidden.message().contains("not in vm"), "{forbidden}");
    create(&[Binding::Machine, Binding::Vm]).await.expect("allowed");
    let request = wire::CreateContextRequest { firm_code: FIRM, serial: String::new(), challenge: Vec::new() };
    let asked = admin.create_context(request).await.expect("a context").into_inner().context;
    let profile = context::read(&asked).expect("a context").context.profile();
    assert!(profile.virtual_machine && profile.kind == KIND, "the vendor sees it: {profile:?}");
    let mut bare = profile.clone();
    bare.virtual_machine = false;
    let states = vendor.states_of();
    let update = vendor.update_believing(&asked, bare, vec![licence(1, 201, 1, &[Binding::Machine])]);
    let forbidden = admin.import_update(wire::ImportUpdateRequest { update }).await.expect_err("not in virtual ones");
    assert!(forbidden.message().contains("vm"), "{forbidden}");
    vendor.restore(states);
    let update = vendor.update(&asked, vec![licence(1, 201, 1, &[Binding::Machine, Binding::Vm])]);
    admin.import_update(wire::ImportUpdateRequest { update }).await.expect("imported");
    RawClient::connect(&server.socket, 1).await.acquire(1, 201).await.expect("a seat");
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_of_an_engine_is_no_machine() {
    let (folder, host, clock) =
        (tempfile::tempdir().expect("a folder"), Host::new("one"), ManualClock::new(start_of_tests()));
    on_disk(&host, folder.path());
    host.write(".dockerenv", "");
    let sentence = refused(settings(KIND, folder.path(), &host), &clock).await;
    assert!(sentence.contains("LICTOR_BINDING=volume"), "{sentence}");
    assert!(!folder.path().join("keys").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_little_to_be_recognised_by_is_refused_before_anything_is_made() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), ManualClock::new(start_of_tests()));
    let host = Host::new("one");
    on_disk(&host, folder.path());
    host.write("sys/class/dmi/id/product_uuid", "To be filled by O.E.M.");
    host.write("sys/dev/block/254:1/serial", "");
    let sentence = refused(settings(KIND, folder.path(), &host), &clock).await;
    assert!(sentence.contains("too little can be read of the host"), "{sentence}");
    assert!(!folder.path().join("keys").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kind_of_a_container_never_changes() {
    let (folder, host, clock) =
        (tempfile::tempdir().expect("a folder"), Host::new("one"), ManualClock::new(start_of_tests()));
    on_disk(&host, folder.path());
    stop(started(settings(ContainerKind::Folder, folder.path(), &host), &clock).await).await;
    for later in [ContainerKind::Machine, ContainerKind::Volume] {
        let sentence = refused(settings(later, folder.path(), &host), &clock).await;
        assert!(sentence.contains("never converted") && sentence.contains("LICTOR_BINDING=folder"), "{sentence}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    on_disk(&host, folder.path());
    stop(started(settings(KIND, folder.path(), &host), &clock).await).await;
    let sentence = refused(settings(ContainerKind::Folder, folder.path(), &host), &clock).await;
    assert!(
        sentence.contains("holds a container of kind machine") && sentence.contains("LICTOR_BINDING=machine"),
        "{sentence}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_systems_that_keep_nothing_or_are_shared_are_refused() {
    let (folder, host, clock) =
        (tempfile::tempdir().expect("a folder"), Host::new("one"), ManualClock::new(start_of_tests()));
    for filesystem in ["tmpfs", "nfs4", "cifs", "9p", "fuse.sshfs", "overlay"] {
        host.mount(folder.path(), "/", filesystem);
        let sentence = refused(settings(KIND, folder.path(), &host), &clock).await;
        assert!(sentence.contains(filesystem) && sentence.contains("ext4"), "{sentence}");
    }
    assert!(!folder.path().join("keys").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_were_damaged_open_nothing_and_say_so() {
    let (folder, host, clock) =
        (tempfile::tempdir().expect("a folder"), Host::new("one"), ManualClock::new(start_of_tests()));
    on_disk(&host, folder.path());
    stop(started(settings(KIND, folder.path(), &host), &clock).await).await;
    let path = folder.path().join("keys");
    let keys = std::fs::read(&path).expect("keys");
    for at in (0..keys.len()).step_by(97) {
        let mut damaged = keys.clone();
        damaged[at] ^= 0x40;
        std::fs::write(&path, &damaged).expect("written");
        // A share of one trait may be hit: then the others open it, as after a small change.
        if let Err(error) =
            lictor_license_server::start_server(settings(KIND, folder.path(), &host), clock.shared()).await
        {
            assert!(error.to_string().contains("; next: "), "{error}");
        }
    }
}
