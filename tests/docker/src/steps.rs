//! The commands of a page's chapters, run as they stand there.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use lictor_tests_walkthrough::form::{Copied, pieces};
use lictor_tests_walkthrough::page;

use crate::System;

/// Commands that one after the other are run for a reader of a page.
#[derive(Default)]
pub struct Reader {
    /// What was exported so far: it counts for all that follows.
    exported: String,
    /// What was printed last of everything that is copied from output.
    copied: BTreeMap<Copied, String>,
}

impl Reader {
    /// Runs what a chapter shows; gives what the last of its blocks printed.
    ///
    /// # Errors
    /// There is no such chapter, or a command fails.
    pub fn follow(&mut self, system: &System, text: &str, chapter: &str) -> anyhow::Result<String> {
        let heading = format!("## {chapter}\n");
        let (_, from) = text.split_once(&heading).with_context(|| format!("there is no chapter {chapter}"))?;
        let chapter = from.split("\n## ").next().unwrap_or(from);
        let mut printed = String::new();
        let steps = page::read(chapter).steps;
        ensure!(!steps.is_empty(), "the chapter has commands");
        for step in steps {
            printed = self.run(system, &step.commands)?;
        }
        Ok(printed)
    }

    /// Runs commands.
    ///
    /// # Errors
    /// One of them fails, or a word such as `TICKET` stands for nothing yet.
    pub fn run(&mut self, system: &System, commands: &str) -> anyhow::Result<String> {
        let mut filled = String::new();
        for piece in pieces(commands) {
            match Copied::ALL.into_iter().find(|copied| copied.word() == piece) {
                Some(copied) => {
                    let value = self.copied.get(&copied);
                    filled.push_str(value.with_context(|| format!("nothing was printed yet that {piece} could be"))?);
                }
                None => filled.push_str(piece),
            }
        }
        let answer = system.shell(&format!("{}{filled}", self.exported))?;
        ensure!(answer.code == 0, "exit code {}:\n{filled}\n{}{}", answer.code, answer.output, answer.errors);
        for line in filled.lines().filter(|line| line.starts_with("export ")) {
            self.exported.push_str(line);
            self.exported.push('\n');
        }
        for piece in pieces(&answer.output) {
            if let Some(kind) = Copied::of(piece) {
                self.copied.insert(kind, piece.to_owned());
            }
        }
        Ok(answer.output)
    }
}
