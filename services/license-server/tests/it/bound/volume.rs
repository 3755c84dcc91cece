//! The kind `volume`, beside an engine that a test can take away.

use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_clock::ManualClock;
use lictor_clock::duration::hours;
use lictor_license_file::context;
use lictor_license_server::{LicenseServer, Settings};
use lictor_licensing::binding::{Binding, Bindings, ContainerKind};
use tempfile::TempDir;

use super::{admin, copy, licence, refused, settings, started, stop};
use crate::stage::client::{RawClient, http_get};
use crate::stage::engine::TestEngine;
use crate::stage::host::Host;
use crate::stage::vendor::{FIRM, Vendor, start_of_tests};

const KIND: ContainerKind = ContainerKind::Volume;

pub(super) struct Volume {
    pub(super) folder: TempDir,
    pub(super) host: Host,
    pub(super) engine: TestEngine,
    pub(super) clock: ManualClock,
}

impl Volume {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let host = Host::new("one");
        host.write(".dockerenv", "");
        host.mount(folder.path(), "/var/lib/docker/volumes/state/_data", "ext4");
        let engine = TestEngine::beside(folder.path(), "state");
        Self { folder, host, engine, clock: ManualClock::new(start_of_tests()) }
    }

    pub(super) fn settings(&self) -> Settings {
        let mut settings = settings(KIND, self.folder.path(), &self.host);
        settings.engine_socket = Some(self.engine.socket.clone());
        settings
    }

    pub(super) async fn start(&self) -> LicenseServer {
        started(self.settings(), &self.clock).await
    }

    /// Container, and a licence of five seats.
    async fn fill(&self, server: &LicenseServer) {
        let mut admin = admin(server).await;
        let mut vendor = Vendor::new(FIRM, 1);
        let lif = vendor.lif_for(Bindings::of(&[Binding::Volume]));
        let made = admin.create_container(wire::CreateContainerRequest { lif, kind: 0 }).await.expect("created");
        assert_eq!(made.into_inner().kind(), lictor_api::types::v1::ContainerKind::Volume);
        let request = wire::CreateContextRequest { firm_code: FIRM, serial: String::new(), challenge: Vec::new() };
        let asked = admin.create_context(request).await.expect("a context").into_inner().context;
        let profile = context::read(&asked).expect("a context").context.profile();
        assert_eq!(profile.kind, KIND, "the vendor sees it");
        let states = vendor.states_of();
        let folder_only = lictor_license_file::device::DeviceProfile { kind: ContainerKind::Folder, ..profile };
        let update = vendor.update_believing(&asked, folder_only, vec![licence(1, 201, 5, &[Binding::Folder])]);
        let forbidden = admin.import_update(wire::ImportUpdateRequest { update }).await.expect_err("no volume");
        assert!(forbidden.message().contains("volume"), "{forbidden}");
        vendor.restore(states);
        let update = vendor.update(&asked, vec![licence(1, 201, 5, &[Binding::Volume])]);
        admin.import_update(wire::ImportUpdateRequest { update }).await.expect("imported");
    }
}

/// Asks for seats until the answer is of this kind; the guard looks every two seconds.
pub(super) async fn until_granted(server: &LicenseServer, number: &mut u8, wanted: bool) -> String {
    let mut client = RawClient::connect(&server.socket, 9).await;
    let begun = std::time::Instant::now();
    loop {
        *number += 1;
        let answer = client.acquire(*number, 201).await;
        match answer {
            Ok(grant) if wanted => {
                client.release(&grant.session_id).await.expect("released");
                return grant.serial;
            }
            Ok(grant) => client.release(&grant.session_id).await.expect("released"),
            Err(refusal) if !wanted => {
                assert_eq!(refusal.reasons[0].code, 52, "{refusal:?}");
                return refusal.reasons[0].instead.clone();
            }
            Err(_) => {}
        }
        assert!(begun.elapsed() < Duration::from_secs(25), "granted: {}", !wanted);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

pub(super) async fn ready(server: &LicenseServer) -> String {
    let http = server.addresses().http;
    tokio::task::spawn_blocking(move || http_get(http, "/ready")).await.expect("joined")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_goes_on_without_its_engine_for_three_days_and_then_stops_until_it_is_back() {
    let mut volume = Volume::new();
    let server = volume.start().await;
    volume.fill(&server).await;
    let mut number = 0;
    let serial = until_granted(&server, &mut number, true).await;
    volume.engine.stop();
    volume.clock.advance(hours(70));
    until_granted(&server, &mut number, true).await;
    // A restart begins no new three days, and the volume is known by what the kernel says.
    stop(server).await;
    let server = volume.start().await;
    assert_eq!(until_granted(&server, &mut number, true).await, serial);
    // The guard of the new process looks for the first time after a moment.
    let begun = std::time::Instant::now();
    let report = loop {
        let report = ready(&server).await;
        if report.contains("no seats will be given from") || begun.elapsed() > Duration::from_secs(25) {
            break report;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(report.starts_with("HTTP/1.1 200") && report.contains("no seats will be given from"), "{report}");
    volume.clock.advance(hours(3));
    let told = until_granted(&server, &mut number, false).await;
    assert!(told.contains("does not vouch for the volume"), "{told}");
    let report = ready(&server).await;
    assert!(report.starts_with("HTTP/1.1 503") && report.contains("does not vouch for the volume"), "{report}");
    // Also after another restart, from its first moment that is looked at.
    stop(server).await;
    let server = volume.start().await;
    until_granted(&server, &mut number, false).await;
    volume.engine.start();
    assert_eq!(until_granted(&server, &mut number, true).await, serial);
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_engine_only_volumes_are_refused_and_only_at_their_creation() {
    let mut volume = Volume::new();
    volume.engine.stop();
    let sentence = refused(volume.settings(), &volume.clock).await;
    assert!(sentence.contains("cannot be made without the container engine"), "{sentence}");
    assert!(!volume.folder.path().join("keys").exists(), "nothing was made");
    let other = tempfile::tempdir().expect("a folder");
    let mut folder = Settings { state_dir: other.path().to_owned(), ..volume.settings() };
    folder.binding = ContainerKind::Folder;
    stop(started(folder, &volume.clock).await).await;
    volume.engine.start();
    stop(volume.start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_inside_another_program_refuses_a_volume_and_touches_nothing() {
    let volume = Volume::new();
    let inside = Settings { attestor_program: None, confine: false, ..volume.settings() };
    let sentence = refused(inside, &volume.clock).await;
    assert!(sentence.contains("has to be a program of its own"), "{sentence}");
    assert!(!volume.folder.path().join("keys").exists(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_volume_is_refused_and_says_which_traits_failed() {
    let volume = Volume::new();
    let server = volume.start().await;
    volume.fill(&server).await;
    stop(server).await;
    let there = tempfile::tempdir().expect("a folder");
    copy(volume.folder.path(), there.path());
    for name in ["copy", "state"] {
        // Under another name, and in the place of the first one that was removed.
        volume.host.mount(there.path(), &format!("/var/lib/docker/volumes/{name}/_data"), "ext4");
        let engine = TestEngine::beside(there.path(), name);
        let mut settings = settings(KIND, there.path(), &volume.host);
        settings.engine_socket = Some(engine.socket.clone());
        let sentence = refused(settings, &volume.clock).await;
        for said in ["volume root", "key file", "of 9 (6 needed)", "lictor replace"] {
            assert!(sentence.contains(said), "{sentence}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_on_another_machine_is_refused() {
    let volume = Volume::new();
    stop(volume.start().await).await;
    // The same inodes, as after a copy of the whole disk.
    let other = Host::new("other");
    other.write(".dockerenv", "");
    other.mount(volume.folder.path(), "/var/lib/docker/volumes/state/_data", "ext4");
    volume.engine.says().id = "ENGINE:TWO".to_owned();
    let sentence = refused(Settings { host_root: other.root(), ..volume.settings() }, &volume.clock).await;
    assert!(sentence.contains("disk serial") && sentence.contains("container engine"), "{sentence}");
    // An engine that lost its id alone is the same machine.
    stop(volume.start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_volume_is_told_who_has_it() {
    let volume = Volume::new();
    let server = volume.start().await;
    let sentence = refused(volume.settings(), &volume.clock).await;
    assert!(sentence.contains("in use by the licence server with process id"), "{sentence}");
    stop(server).await;
}
