//! From the wire to the domain's types.

use lictor_api::types::v1 as types;
use lictor_license_file::{ContainerId, limits::MAX_SERIAL_BYTES};
use lictor_licensing::{
    binding::ContainerKind,
    error::{ErrorCode, Problem},
    id::FirmCode,
};
use tonic::Status;

use crate::problem;

/// How a container is named by people: by its id, or by the serial on its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContainerName {
    Id(ContainerId),
    Serial(String),
}

pub(crate) fn firm(code: u32) -> Result<FirmCode, Status> {
    FirmCode::new(code).map_err(|error| invalid(&error.to_string(), "give the firm code of the vendor"))
}

pub(crate) fn container(name: &str) -> Result<ContainerName, Status> {
    if let Some(id) = ContainerId::from_hex(name) {
        return Ok(ContainerName::Id(id));
    }
    if name.is_empty() || name.len() > MAX_SERIAL_BYTES || name.chars().any(char::is_control) {
        return Err(invalid("this is neither a serial nor a container id", "give the serial of the container"));
    }
    Ok(ContainerName::Serial(name.to_owned()))
}

pub(crate) fn kind(number: i32) -> Result<ContainerKind, Status> {
    types::ContainerKind::try_from(number).ok().and_then(types::ContainerKind::known).ok_or_else(|| {
        invalid("this is not a kind of container", "choose among folder, machine, volume, kubernetes, token and cloud")
    })
}

/// The size of a page and the place after which it starts.
pub(crate) fn page(page: Option<types::PageRequest>) -> Result<(u32, Option<ContainerId>), Status> {
    let page = page.unwrap_or_default();
    let size = match page.size {
        0 => 100,
        1..=1_000 => page.size,
        _ => return Err(problem::status(problem::limit("a page", 1_000))),
    };
    let after = match page.token.as_str() {
        "" => None,
        token => Some(
            ContainerId::from_hex(token)
                .ok_or_else(|| invalid("the page token is not one that was given out", "start with the first page"))?,
        ),
    };
    Ok((size, after))
}

pub(crate) fn invalid(message: &str, next: &str) -> Status {
    problem::status(Problem::new(ErrorCode::InvalidArgument, message, next))
}
