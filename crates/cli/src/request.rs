//! The request that a changing verb sends: its name, and how the very same one is sent again.
//!
//! A service does a request of one name once and answers its repetitions alike. Whoever got no answer, or a refusal that
//! may pass, has to know that name: with a fresh one the change might be done twice.

use clap::Args;
use lictor_licensing::error::ErrorCode;

use crate::args::hex;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};

/// Name of a request, for scripts that repeat a verb until it worked.
#[derive(Args, Clone, Debug)]
pub(crate) struct RequestId {
    /// Name of this request: repeated with the same name it is done once and answered alike. A refusal tells the name that
    /// it was sent with, --json also a success [default: a fresh one]
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

impl RequestId {
    /// The name as given, or a fresh one. From now on the verb's output tells it.
    pub(crate) fn named(&self, environment: &Environment) -> Outcome<String> {
        let id = match &self.request_id {
            Some(id) => id.clone(),
            None => fresh()?,
        };
        environment.out.asks(Request::by_name(&id));
        Ok(id)
    }
}

/// A request id that nobody else has: 128 random bits.
pub(crate) fn fresh() -> Outcome<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|_| Failure::local("the system gives no random bytes", "check /dev/urandom"))?;
    Ok(format!("req_{}", hex(&bytes)))
}

/// What was asked under which name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Its name.
    pub(crate) id: String,
    again: Again,
}

/// How a request is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// By telling its name.
    ByName,
    /// By the same command: the verb notes its name down, or makes it of what the command line says.
    ByCommand,
}

impl Request {
    /// A request whose name has to be told for a repetition.
    pub(crate) fn by_name(id: &str) -> Self {
        Self { id: id.to_owned(), again: Again::ByName }
    }

    /// A request that the same command repeats by itself.
    pub(crate) fn by_command(id: &str) -> Self {
        Self { id: id.to_owned(), again: Again::ByCommand }
    }

    /// What people have to do to send it again.
    pub(crate) fn repetition(&self) -> String {
        match self.again {
            Again::ByName => format!("the same command with --request-id {}; it is done once", self.id),
            Again::ByCommand => format!("the same command goes on with this request, {}; it is done once", self.id),
        }
    }

    /// The line below a failure: how to repeat it where that may help, else its name alone, for support.
    pub(crate) fn after(&self, failure: &Failure) -> String {
        // A file that is in the way says nothing about the request, which was answered.
        let in_the_way = matches!(failure, Failure::Problem(problem) if problem.code == ErrorCode::AlreadyExists);
        if failure.is_final() && !in_the_way {
            format!("request: {}", self.id)
        } else {
            format!("again: {}", self.repetition())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_may_pass_says_how_to_repeat_and_a_final_one_only_what_was_asked() {
        let passing = Failure::new(ErrorCode::Unavailable, "", "");
        let last = Failure::new(ErrorCode::NotFound, "", "");
        let named = Request::by_name("req_1");
        assert_eq!(named.after(&passing), "again: the same command with --request-id req_1; it is done once");
        assert_eq!(named.after(&last), "request: req_1");
        let in_the_way = Failure::new(ErrorCode::AlreadyExists, "", "");
        assert_eq!(named.after(&in_the_way), named.after(&passing), "the answer is still to be had");
        assert!(Request::by_command("req_2").after(&passing).contains("the same command goes on"));
    }

    #[test]
    fn fresh_names_differ() {
        assert_ne!(fresh().expect("random"), fresh().expect("random"));
    }
}
