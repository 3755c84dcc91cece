//! Why a process does not start, or ends.

use std::error::Error;

/// A start that failed. `Display` is one sentence with the next step.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is wrong; repeating does not help.
    #[error("{0}")]
    Settings(String),
    /// A port, a database or another service cannot be reached or taken right now.
    #[error("{0}")]
    Unreachable(String),
    /// A failure with an exit code of its own, which the service's documentation names.
    #[error("{what}")]
    Told {
        /// What the process exits with.
        code: u8,
        /// One sentence with the next step.
        what: String,
    },
    /// Anything else.
    #[error("{what}")]
    Failed {
        /// One sentence with the next step.
        what: String,
        /// The cause, for the log.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl StartError {
    /// A wrong setting.
    pub fn settings(what: impl std::fmt::Display) -> Self {
        Self::Settings(what.to_string())
    }

    /// Something the service needs is down; give the sentence of its error.
    pub fn unreachable(what: impl std::fmt::Display) -> Self {
        Self::Unreachable(what.to_string())
    }

    /// Another failure with its cause.
    pub fn failed(what: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed { what: what.into(), source: Some(source.into()) }
    }

    /// The exit code of a process that could not start: 2 settings, 6 unreachable, its own when it has one, 1 else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) => 2,
            Self::Unreachable(_) => 6,
            Self::Told { code, .. } => *code,
            Self::Failed { .. } => 1,
        }
    }
}

/// A process that ended by itself.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{part} ended: {reason}")]
pub struct RunError {
    /// Name of the background task.
    pub part: String,
    /// What it said.
    pub reason: String,
}

/// The error and all its causes in one line, for logs.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
