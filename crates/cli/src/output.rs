//! What people and scripts get to see. Stdout carries results and nothing else, stderr carries errors and notes.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::request::Request;
use crate::show;
pub(crate) use crate::table::table;

/// How results are written.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    json: bool,
    /// The request that is under way or answered.
    request: Arc<Mutex<Option<Request>>>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, request: Arc::default() }
    }

    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Remembers what is asked from now on: its name stands in every result, and a failure says how to repeat it.
    pub(crate) fn asks(&self, request: Request) {
        *self.request.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
    }

    /// What was asked last, if it has a name.
    pub(crate) fn asked(&self) -> Option<Request> {
        self.request.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The object with the name of the request that it answers.
    fn named(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if let Some(request) = self.asked() {
            object["request_id"] = request.id.into();
        }
        object
    }

    /// One result: an object on one line for scripts, text for people.
    pub(crate) fn one(&self, object: &Value, people: impl FnOnce() -> String) {
        if self.json {
            line(&self.named(object).to_string());
        } else {
            line(people().trim_end());
        }
    }

    /// A listing: one object per line for scripts, one table for people (or `nothing` when it is empty).
    pub(crate) fn many(&self, objects: &[Value], headings: &[&str], rows: Vec<Vec<String>>, nothing: &str) {
        if self.json {
            for object in objects {
                line(&self.named(object).to_string());
            }
        } else if rows.is_empty() {
            line(nothing);
        } else {
            line(&table(headings, rows));
        }
    }

    /// A remark for people that is no result; scripts never see it.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            complain(text);
        }
    }

    /// Tells of a failure: the sentence and the next step on stderr, and the object on stdout for scripts.
    pub(crate) fn failure(&self, failure: &Failure) {
        match failure {
            Failure::Told(_) => {}
            Failure::Problem(problem) => {
                if self.json {
                    let mut object = error_object(problem.code.name(), &problem.message, &problem.next);
                    object["error"] = self.named(&object["error"]);
                    line(&object.to_string());
                }
                complain(&format!("error: {}", problem.message));
                if !problem.next.is_empty() {
                    complain(&format!("next: {}", problem.next));
                }
            }
            Failure::Refused(refusal) => {
                if self.json {
                    line(&self.named(&show::refusal_object(refusal)).to_string());
                }
                complain("refused by the license:");
                for text in show::refusal_lines(refusal) {
                    complain(&format!("  {text}"));
                }
            }
        }
        if let Some(request) = self.asked()
            && !matches!(failure, Failure::Told(_))
        {
            complain(&request.after(failure));
        }
    }
}

/// The object that stands for any error.
pub(crate) fn error_object(code: &str, message: &str, next: &str) -> Value {
    json!({ "error": { "code": code, "message": message, "next": next } })
}

/// Writes one line to stdout. A reader that went away (`| head`) is no fault of the verb.
fn line(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes one line to stderr.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes text to stdout as it is.
pub(crate) fn raw(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}
