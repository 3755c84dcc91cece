//! What people and scripts get to see. Stdout carries results and nothing else, stderr carries errors and notes.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::show;

/// How results are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// One result: an object on one line for scripts, text for people.
    pub(crate) fn one(self, object: &Value, people: impl FnOnce() -> String) {
        if self.json {
            line(&object.to_string());
        } else {
            line(people().trim_end());
        }
    }

    /// A listing: one object per line for scripts, one table for people (or `nothing` when it is empty).
    pub(crate) fn many(self, objects: &[Value], headings: &[&str], rows: Vec<Vec<String>>, nothing: &str) {
        if self.json {
            for object in objects {
                line(&object.to_string());
            }
        } else if rows.is_empty() {
            line(nothing);
        } else {
            line(&table(headings, rows));
        }
    }

    /// A remark for people that is no result; scripts never see it.
    pub(crate) fn note(self, text: &str) {
        if !self.json {
            complain(text);
        }
    }

    /// Tells of a failure: the sentence and the next step on stderr, and the object on stdout for scripts.
    pub(crate) fn failure(self, failure: &Failure) {
        match failure {
            Failure::Told(_) => {}
            Failure::Problem(problem) => {
                if self.json {
                    line(&error_object(problem.code.name(), &problem.message, &problem.next).to_string());
                }
                complain(&format!("error: {}", problem.message));
                if !problem.next.is_empty() {
                    complain(&format!("next: {}", problem.next));
                }
            }
            Failure::Refused(refusal) => {
                if self.json {
                    line(&show::refusal_object(refusal).to_string());
                }
                complain("refused by the license:");
                for text in show::refusal_lines(refusal) {
                    complain(&format!("  {text}"));
                }
            }
        }
    }
}

/// The object that stands for any error.
pub(crate) fn error_object(code: &str, message: &str, next: &str) -> Value {
    json!({ "error": { "code": code, "message": message, "next": next } })
}

/// A table for people, in columns without lines.
pub(crate) fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headings.iter().map(|heading| heading.to_uppercase()).collect::<Vec<_>>());
    for row in rows {
        table.add_row(row);
    }
    // Each column brings a space on its left; the first one needs none.
    let lines: Vec<String> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n")
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
