//! The committed protobuf code is what `proto/` generates today. `LICTOR_REGENERATE=1 cargo test -p lictor-api` writes it anew.

use std::{fs, path::Path};

#[test]
fn generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated");
    let fresh = tempfile::tempdir().expect("temporary folder");

    let protos = [
        "types/v1/types",
        "event/v1/event",
        "central/v1/allocation",
        "central/v1/central",
        "activation/v1/activation",
        "update/v1/update",
        "notification/v1/transmission",
        "notification/v1/notification",
        "notification/v1/replay",
        "notification/v1/feed",
        "notification/v1/quarantine",
        "notification/v1/transmitter",
        "notification/v1/report",
        "server/v1/server",
        "server/v1/program",
        "server/v1/block",
        "server/v1/event",
    ]
    .map(|file| format!("lictor/{file}.proto"));
    let descriptors = protox::compile(&protos, [root.join("proto")]).expect("proto files compile");
    tonic_prost_build::configure()
        // Requests are compared by their bytes when they are repeated: maps need an order.
        .btree_map(".")
        .out_dir(fresh.path())
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)
        .expect("code is generated");

    let regenerate = std::env::var_os("LICTOR_REGENERATE").is_some();
    let mut stale = Vec::new();
    for entry in fs::read_dir(fresh.path()).expect("folder is read") {
        let path = entry.expect("entry is read").path();
        let name = path.file_name().expect("file has a name").to_owned();
        if path.extension().is_none_or(|extension| extension != "rs") || name == "google.protobuf.rs" {
            continue;
        }
        let new = fs::read_to_string(&path).expect("generated file is read");
        let target = committed.join(&name);
        if fs::read_to_string(&target).unwrap_or_default() != new {
            stale.push(name.to_string_lossy().into_owned());
            if regenerate {
                fs::write(&target, new).expect("generated file is written");
            }
        }
    }
    assert!(
        stale.is_empty() || regenerate,
        "{stale:?} differ from proto/: run LICTOR_REGENERATE=1 cargo test -p lictor-api"
    );
}
