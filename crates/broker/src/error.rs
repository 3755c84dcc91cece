//! What can go wrong between an outbox and a handler.

use lictor_storage::StorageError;

/// The broker cannot be used. The address is shown without its password.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address is malformed; repeating does not help.
    #[error("{0}")]
    Settings(String),
    /// The broker does not answer or broke the connection.
    #[error("the message broker cannot be reached")]
    Unreachable(#[source] Option<lapin::Error>),
    /// A consumer that is not in the topology, or that is running already.
    #[error("{0}")]
    Consumer(String),
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        Self::Unreachable(Some(error))
    }
}

/// Publishing stopped; what came before in the batch is safe with the broker.
#[derive(Debug, thiserror::Error)]
#[error("the broker confirmed {published} events of the batch, then {reason}")]
pub struct PublishError {
    /// How many of the batch, counted from its start, were confirmed.
    pub published: usize,
    /// What happened then.
    pub reason: String,
}

/// A handler did not take an event.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not now: a database that is down, another service that does not answer.
    #[error("not now: {0}")]
    Later(String),
    /// Never: the event breaks a rule. It goes to the dead-letter queue for a person to look at.
    #[error("never: {0}")]
    Poison(String),
}

impl From<StorageError> for Refused {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Inconsistent { .. } => Self::Poison(error.to_string()),
            _ => {
                // The sentence alone hides what the engine said; it is for the log only.
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                Self::Later(format!("{error}{cause}"))
            }
        }
    }
}

impl From<tonic::Status> for Refused {
    fn from(status: tonic::Status) -> Self {
        Self::Later(status.to_string())
    }
}
