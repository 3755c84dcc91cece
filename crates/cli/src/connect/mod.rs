//! Ways to the services.

mod back_office;
mod server;

pub(crate) use back_office::{Link, Service};
pub(crate) use server::ServerLink;

use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Longest wait for a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Largest answer that is read: an update file of 4 MiB and what surrounds it.
pub(crate) const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Adds the caller's token and the trace to every request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    authorization: Option<MetadataValue<Ascii>>,
}

impl Caller {
    /// `None` when the token cannot stand in a header.
    pub(crate) fn new(token: Option<&str>) -> Option<Self> {
        let authorization = match token {
            None => None,
            Some(token) => {
                let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Some(Self { authorization })
    }
}

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.authorization {
            request.metadata_mut().insert("authorization", value.clone());
        }
        lictor_telemetry::inject_metadata(request.metadata_mut());
        Ok(request)
    }
}

/// True for a status that the connection made, not the service: nobody there, or gone in the middle.
fn is_transport(status: &Status) -> bool {
    use std::error::Error as _;
    status.details().is_empty()
        && (status.code() == tonic::Code::Unavailable
            || status.source().is_some_and(|source| source.is::<tonic::transport::Error>()))
}
