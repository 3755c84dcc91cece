//! Tokens of one service for calling others: short-lived, made here, kept until shortly before their end.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lictor_clock::{SharedClock, Timestamp};
use lictor_runtime::client::TokenSource;
use tonic::Status;

use crate::{AuthError, LocalIssuer, Role};

/// How long a service's token is good.
const LIFETIME: Duration = Duration::from_secs(300);
/// A new one is made this long before the end, so that no call starts with a token about to end.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// Makes and keeps the token of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServiceTokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    issuer: LocalIssuer,
    subject: String,
    audience: String,
    clock: SharedClock,
    current: Mutex<Option<(String, Timestamp)>>,
}

impl ServiceTokens {
    /// Tokens that say `subject` is a service.
    pub fn new(
        issuer: LocalIssuer,
        subject: impl Into<String>,
        audience: impl Into<String>,
        clock: SharedClock,
    ) -> Self {
        Self(Arc::new(Inner {
            issuer,
            subject: subject.into(),
            audience: audience.into(),
            clock,
            current: Mutex::new(None),
        }))
    }

    /// A token that is good for at least a minute.
    pub fn token(&self) -> Result<String, AuthError> {
        let now = self.0.clock.now();
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, made)) = &*current {
            let age = now.since(*made);
            if *made <= now && age < LIFETIME - RENEW_BEFORE {
                return Ok(token.clone());
            }
        }
        let token = self.0.issuer.mint(&self.0.subject, &[Role::Service], &self.0.audience, LIFETIME, now)?;
        *current = Some((token.clone(), now));
        Ok(token)
    }

    /// For [`lictor_runtime::client::channel`].
    pub fn source(&self) -> TokenSource {
        let tokens = self.clone();
        Arc::new(move || {
            tokens.token().map_err(|error| {
                tracing::error!(%error, "no service token can be made");
                Status::internal("no service token can be made")
            })
        })
    }
}
