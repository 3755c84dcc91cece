//! `client.toml`: what makes all other verbs work against this process.

use std::path::PathBuf;

use lictor_cli::ClientConfig;
use lictor_licensing::error::{ErrorCode, Problem};

use super::folder::{Folder, Keys};
use super::services::{Part, Started};

const NAME: &str = "client.toml";

/// Writes the file. What people added to it, such as `firm_code` or `trust`, stays.
pub(super) fn write(folder: &Folder, started: &Started, keys: &Keys) -> Result<PathBuf, Problem> {
    let mut config = present(folder)?;
    config.token = Some(keys.admin_token.clone());
    for (part, addresses) in started.parts() {
        let url = Some(format!("http://{}", addresses.grpc));
        match part {
            Part::Central => config.address.central = url,
            Part::Activation => config.address.activation = url,
            Part::Update => config.address.update = url,
            Part::Notification => config.address.notification = url,
            Part::Server => {
                config.server.address = Some(addresses.grpc.to_string());
                config.server.socket = Some(PathBuf::from("license-server/lictor.sock"));
                config.server.admin_token_file = Some(PathBuf::from("license-server/admin-token"));
                config.server.fingerprint = std::fs::read_to_string(folder.file("license-server/fingerprint"))
                    .ok()
                    .map(|text| text.trim().to_owned());
            }
        }
    }
    let text = toml::to_string(&config)
        .map_err(|error| Problem::new(ErrorCode::Internal, format!("{NAME} cannot be made: {error}"), ""))?;
    folder.replace(NAME, &format!("# Written by `lictor up` on every start; what you add stays.\n{text}"))
}

fn present(folder: &Folder) -> Result<ClientConfig, Problem> {
    let path = folder.file(NAME);
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(ClientConfig::default());
    };
    toml::from_str(&text).map_err(|error| {
        Problem::new(
            ErrorCode::InvalidArgument,
            format!("{} is no valid configuration: {}", path.display(), error.message()),
            "correct it, or move it away: it is written anew",
        )
    })
}
