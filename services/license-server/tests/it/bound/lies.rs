//! Engines that lie, and containers that claim to be others.

use super::volume::Volume;
use super::{refused, stop};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_cannot_show_the_folder_proves_nothing() {
    let volume = Volume::new();
    // Another container's folder under the same path: what a foreign id in /etc/hostname would lead to.
    let foreign = tempfile::tempdir().expect("a folder");
    volume.engine.says().shows = foreign.path().to_owned();
    let sentence = refused(volume.settings(), &volume.clock).await;
    assert!(sentence.contains("shows the state folder"), "{sentence}");
    assert!(!volume.folder.path().join("keys").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_the_host_is_no_volume() {
    let volume = Volume::new();
    volume.engine.says().mount = "bind";
    let sentence = refused(volume.settings(), &volume.clock).await;
    assert!(sentence.contains("mounted as bind"), "{sentence}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_names_another_volume_than_the_kernel_is_refused() {
    let volume = Volume::new();
    volume.engine.says().volume = "other".to_owned();
    let sentence = refused(volume.settings(), &volume.clock).await;
    assert!(sentence.contains("the kernel has another folder mounted"), "{sentence}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_of_an_engine_is_refused_and_the_truth_after_it_taken() {
    let volume = Volume::new();
    let nonsense: [&[u8]; 4] = [b"", b"{", b"[{\"Id\": 7}]", &[0xff; 100_000]];
    for bytes in nonsense {
        volume.engine.says().instead = Some(bytes.to_vec());
        refused(volume.settings(), &volume.clock).await;
    }
    volume.engine.says().instead = None;
    stop(volume.start().await).await;
}
