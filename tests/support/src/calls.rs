//! Calls to the services of a fleet without the `lictor` program: for tests that make thousands.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lictor_auth::{LocalIssuer, Role, ServiceTokens};
use lictor_clock::SystemClock;
use lictor_license_file::lif;
use lictor_runtime::client::{self, ServiceChannel, TokenSource};
use lictor_signing::TrustedRoot;
use tonic::{Code, Status};

use crate::fleet::{Fleet, SERVICES_SEED, Service};
use crate::wait;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A customer, with nothing but a ticket or a file.
    Public,
    /// The operator.
    Admin,
    /// Another service.
    Service,
}

impl Fleet {
    /// A channel to a service.
    ///
    /// # Errors
    /// No token can be made.
    pub fn channel(&self, service: Service, caller: Caller) -> anyhow::Result<ServiceChannel> {
        let token: Option<TokenSource> = match caller {
            Caller::Public => None,
            Caller::Admin => {
                let people = LocalIssuer::from_seed("fleet", &[7; 32])?;
                let token = people.mint(
                    "tests",
                    &[Role::Admin],
                    "lictor",
                    Duration::from_secs(86_400),
                    lictor_clock::Clock::now(&SystemClock),
                )?;
                Some(Arc::new(move || Ok(token.clone())))
            }
            Caller::Service => {
                let services = LocalIssuer::from_seed("lictor-services", &SERVICES_SEED)?;
                Some(ServiceTokens::new(services, "activation", "lictor", SystemClock::shared()).source())
            }
        };
        Ok(client::channel(&self.url(service), None, token)?)
    }

    /// What containers of the fleet's vendor trust; [`Fleet::set_up`] made it.
    ///
    /// # Errors
    /// There is no licence information file yet.
    pub fn root(&self) -> anyhow::Result<TrustedRoot> {
        let file = fs::read(self.path("vendor.lif")).context("set_up writes it")?;
        Ok(lif::read(&file).map_err(|error| anyhow::anyhow!("{error}"))?.root)
    }
}

/// Repeats a call until it is answered, whatever is killed meanwhile: the caller gives the same request each time.
///
/// # Errors
/// A refusal, or no answer in [`wait::PATIENCE`].
pub async fn insist<T>(what: &str, call: impl AsyncFn() -> Result<T, Status>) -> anyhow::Result<T> {
    let attempts = async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            match call().await {
                Ok(answer) => return Ok(answer),
                // What a process that dies in the middle leaves behind; everything else is an answer.
                Err(status) if may_pass(&status) => {}
                Err(status) => return Err(status),
            }
        }
    };
    tokio::time::timeout(wait::PATIENCE, attempts)
        .await
        .with_context(|| format!("{what} had no answer within {:?}", wait::PATIENCE))?
        .with_context(|| what.to_owned())
}

fn may_pass(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Internal | Code::Cancelled | Code::DeadlineExceeded | Code::Aborted | Code::Unknown
    )
}
