//! The guard against requests to places that only we can reach: each name is looked up once per connection, every
//! address that comes back is checked, and the connection goes to a checked address. A name that resolves to one good
//! and one closed address is refused as a whole.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::domain::allow::AllowList;

/// Look-ups at once; each may hold a thread for as long as the name servers keep silent.
const LOOK_UPS: usize = 128;

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// No address, or no answer from the name servers.
    #[error("the name {0} has no address")]
    NoAddress(String, #[source] Option<io::Error>),
    /// One of its addresses is on the closed list.
    #[error("the name {0} leads to an address that is not on the public internet and that the operator did not open")]
    Blocked(String),
}

/// The future of one look-up.
pub type LookUp<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Who turns names into addresses.
pub trait Names: Send + Sync + fmt::Debug {
    /// All addresses of `host`.
    fn look_up<'a>(&'a self, host: &'a str) -> LookUp<'a>;
}

/// The machine's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn look_up<'a>(&'a self, host: &'a str) -> LookUp<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// The resolver of the HTTP client.
#[derive(Debug, Clone)]
pub struct GuardedNames {
    names: Arc<dyn Names>,
    allow: Arc<AllowList>,
    places: Arc<Semaphore>,
}

impl GuardedNames {
    /// A guard over `names` that lets through what is public or in `allow`.
    pub fn new(names: Arc<dyn Names>, allow: Arc<AllowList>) -> Self {
        Self { names, allow, places: Arc::new(Semaphore::new(LOOK_UPS)) }
    }

    /// The checked addresses of `host`, with port 0.
    pub(super) async fn checked(self, host: String) -> Result<Vec<SocketAddr>, GuardError> {
        let Ok(_place) = self.places.acquire().await else {
            return Err(GuardError::NoAddress(host, None));
        };
        let found = match self.names.look_up(&host).await {
            Ok(found) => found,
            Err(error) => return Err(GuardError::NoAddress(host, Some(error))),
        };
        if found.is_empty() {
            return Err(GuardError::NoAddress(host, None));
        }
        if !found.iter().all(|address| self.allow.opens(&host, *address)) {
            return Err(GuardError::Blocked(host));
        }
        // Port 0 stands for the port of the URL.
        Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect())
    }
}

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let checked = self.clone().checked(name.as_str().to_owned());
        Box::pin(async move { Ok(Box::new(checked.await?.into_iter()) as Addrs) })
    }
}
