//! Containers that are bound to where they are.

mod lies;
mod machine;
mod token;
mod volume;

use std::path::Path;

use lictor_clock::ManualClock;
use lictor_license_file::segment::Operation;
use lictor_license_server::{LicenseServer, Settings, start_server};
use lictor_licensing::binding::{Binding, Bindings, ContainerKind};

use crate::stage::client::unix_channel;
use crate::stage::host::Host;
use crate::stage::vendor::{add_item, options};

/// A licence that may live in these places.
fn licence(number: u128, product: u32, seats: u32, bindings: &[Binding]) -> Operation {
    let mut options = options(product, Some(seats));
    options.bindings = Some(Bindings::of(bindings));
    add_item(number, options, Vec::new(), seats)
}

fn settings(kind: ContainerKind, folder: &Path, host: &Host) -> Settings {
    let mut settings = Settings::loopback(folder.to_owned());
    settings.binding = kind;
    settings.host_root = host.root();
    settings.attestor_program = Some(env!("CARGO_BIN_EXE_license-server").into());
    settings
}

async fn started(settings: Settings, clock: &ManualClock) -> LicenseServer {
    start_server(settings, clock.shared()).await.expect("a server")
}

/// The sentence with which a start is refused.
async fn refused(settings: Settings, clock: &ManualClock) -> String {
    let sentence = match start_server(settings, clock.shared()).await {
        Ok(_) => panic!("it starts"),
        Err(error) => error.to_string(),
    };
    assert!(sentence.contains("; next: ") && !sentence.ends_with('.'), "{sentence}");
    sentence
}

async fn stop(server: LicenseServer) {
    server.running.shutdown();
    server.running.wait().await.expect("a clean stop");
}

type Admin = lictor_api::server::v1::container_service_client::ContainerServiceClient<tonic::transport::Channel>;

async fn admin(server: &LicenseServer) -> Admin {
    Admin::new(unix_channel(&server.socket).await)
}

/// Copies a folder as `cp -a` does: the same bytes, other files.
fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().expect("cp runs");
    assert!(done.success());
}
