//! Questions to a person: plain lines, one after the other, so that they work over ssh, in any terminal, with a screen
//! reader, and in a log of the session. Everything goes to stderr; stdout stays for the result.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use crate::failure::{Failure, Outcome};
use crate::output::complain;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 4_096;
/// Columns in which no line of ours wraps that may be taken back.
const WIDE: u16 = 90;

/// A person at a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// Whether lines that were shown can be taken back.
    rewrites: bool,
    /// Whether more than one can, because none of them wraps.
    wide: bool,
}

impl Asker {
    /// None when nobody is there to ask.
    pub(crate) fn open() -> Option<Self> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        // Where lines are narrow they wrap, and counting them back would miss some.
        let wide = rustix::termios::tcgetwinsize(std::io::stderr()).is_ok_and(|size| size.ws_col >= WIDE);
        Some(Self { rewrites: !dumb, wide })
    }

    /// Tells something.
    pub(crate) fn say(self, text: &str) {
        complain(text);
    }

    /// One answer, without the blanks around it.
    pub(crate) async fn line(self, question: &str) -> Outcome<String> {
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "{question} ").and_then(|()| err.flush());
        drop(err);
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            let count = std::io::stdin().lock().take(MAX_ANSWER).read_line(&mut line);
            (count, line)
        });
        match read.await {
            Ok((Ok(count), line)) if count > 0 => Ok(line.trim().to_owned()),
            _ => Err(Failure::usage(
                "the input ended before all questions were answered",
                "start again; nothing is lost",
            )),
        }
    }

    /// Yes or no; Enter means what stands in capitals.
    pub(crate) async fn yes(self, question: &str, otherwise: bool) -> Outcome<bool> {
        let choice = if otherwise { "[Y/n]" } else { "[y/N]" };
        loop {
            match self.line(&format!("{question} {choice}")).await?.to_ascii_lowercase().as_str() {
                "" => return Ok(otherwise),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => self.say("answer y or n"),
            }
        }
    }

    /// One of several, by its number; Enter means the first.
    pub(crate) async fn number(self, question: &str, count: usize) -> Outcome<usize> {
        loop {
            let answer = self.line(&format!("{question} [1]:")).await?;
            match answer.parse::<usize>() {
                _ if answer.is_empty() => return Ok(0),
                Ok(number) if (1..=count).contains(&number) => return Ok(number - 1),
                _ => self.say(&format!("answer a number from 1 to {count}")),
            }
        }
    }

    /// Something that `read` understands; what it does not understand is told and asked again.
    pub(crate) async fn parsed<T>(self, question: &str, read: impl Fn(&str) -> Result<T, String>) -> Outcome<T> {
        loop {
            match read(&self.line(question).await?) {
                Ok(value) => return Ok(value),
                Err(why) => self.say(&why),
            }
        }
    }

    /// The path of a file, checked by `open`; a failure is told and the question asked again.
    pub(crate) async fn file<T>(self, question: &str, open: impl Fn(PathBuf) -> Outcome<T>) -> Outcome<T> {
        loop {
            match self.file_or_none(question, &open).await? {
                Some(value) => return Ok(value),
                None => self.say("name a file, or stop with Ctrl-C and come back when it is here"),
            }
        }
    }

    /// As [`Self::file`], but Enter alone means that there is none.
    pub(crate) async fn file_or_none<T>(
        self,
        question: &str,
        open: impl Fn(PathBuf) -> Outcome<T>,
    ) -> Outcome<Option<T>> {
        loop {
            let answer = self.line(question).await?;
            if answer.is_empty() {
                return Ok(None);
            }
            match open(PathBuf::from(unquoted(&answer))) {
                Ok(value) => return Ok(Some(value)),
                Err(failure) => self.tell(&failure),
            }
        }
    }

    /// What went wrong and what to do, as an aside of the conversation.
    pub(crate) fn tell(self, failure: &Failure) {
        self.say(&format!("{failure}"));
        if let Failure::Problem(problem) = failure
            && !problem.next.is_empty()
        {
            self.say(&format!("next: {}", problem.next));
        }
    }

    /// Takes back the last `count` lines and writes `text` in their place; in a narrow terminal the last line alone. A
    /// terminal that cannot do that gets the text below.
    pub(crate) fn replace_lines(self, count: usize, text: &str) {
        if self.rewrites {
            let count = if self.wide { count } else { 1 };
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "\x1b[{count}A\r\x1b[J").and_then(|()| err.flush());
            drop(err);
        }
        self.say(text);
    }
}

/// File managers put quotes around names that are dropped into a terminal.
fn unquoted(answer: &str) -> &str {
    for quote in ['\'', '"'] {
        if let Some(inner) = answer.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_dropped_into_the_terminal_lose_their_quotes() {
        assert_eq!(unquoted("'a b.rac'"), "a b.rac");
        assert_eq!(unquoted("\"a.rac\""), "a.rac");
        assert_eq!(unquoted("a'b.rac"), "a'b.rac");
        assert_eq!(unquoted("'"), "'");
    }
}
