//! A page as a list of steps: commands, and what they print.

use std::fmt::Write;
use std::ops::Range;

/// Commands and, if the page shows it, what they print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Line of the first command, counted from 1.
    pub line: usize,
    /// The commands, as they stand there.
    pub commands: String,
    /// What is shown below them.
    pub shown: Option<Shown>,
}

/// A block of output on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its text.
    pub text: String,
    /// Its lines on the page, counted from 0, without the fences.
    pub lines: Range<usize>,
}

/// What can be run of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Targets of the links behind `Before:`: pages that are run first.
    pub before: Vec<String>,
    /// What to run, in order.
    pub steps: Vec<Step>,
}

/// Reads a page. A block fenced as `sh` is run; one fenced as `text` is the output of the `sh` block above it when
/// nothing but empty lines stands between them. All other blocks are for reading only.
#[must_use]
pub fn read(text: &str) -> Page {
    let mut page = Page::default();
    let mut may_show = false;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else {
            may_show &= line.trim().is_empty();
            if line.starts_with("Before:") {
                page.before.extend(links(line));
            }
            continue;
        };
        let start = number + 1;
        let mut body = String::new();
        let mut end = start;
        for (number, line) in lines.by_ref() {
            end = number;
            if line.starts_with("```") {
                break;
            }
            let _ = writeln!(body, "{line}");
        }
        match kind.trim() {
            "sh" => {
                page.steps.push(Step { line: start + 1, commands: body, shown: None });
                may_show = true;
            }
            "text" if may_show => {
                if let Some(step) = page.steps.last_mut() {
                    step.shown = Some(Shown { text: body, lines: start..end });
                }
                may_show = false;
            }
            _ => may_show = false,
        }
    }
    page
}

/// The page with other output in place of what it showed: pairs of lines and text, in the order of the page.
#[must_use]
pub fn with_output(text: &str, outputs: &[(Range<usize>, String)]) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    for (range, output) in outputs.iter().rev() {
        lines.splice(range.clone(), output.trim_matches('\n').lines().map(str::trim_end));
    }
    lines.join("\n") + "\n"
}

fn links(line: &str) -> impl Iterator<Item = String> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Title\n\nBefore: [first](first.md).\n\n```sh\none\ntwo\n```\n\n```text\nsaid\n```\n\n```yaml\na: b\n```\n\n```sh\nthree\n```\n\nWords.\n\n```text\nnot of three\n```\n";

    #[test]
    fn output_belongs_to_the_commands_right_above() {
        let page = read(PAGE);
        assert_eq!(page.before, ["first.md"]);
        assert_eq!(page.steps.len(), 2);
        assert_eq!((page.steps[0].line, page.steps[0].commands.as_str()), (6, "one\ntwo\n"));
        assert_eq!(page.steps[0].shown, Some(Shown { text: "said\n".to_owned(), lines: 10..11 }));
        assert_eq!(page.steps[1].shown, None);
    }

    #[test]
    fn new_output_takes_the_place_of_the_old() {
        let shown = read(PAGE).steps.remove(0).shown.expect("it shows something");
        let written = with_output(PAGE, &[(shown.lines, "more\nlines  \n".to_owned())]);
        assert_eq!(written, PAGE.replace("said\n", "more\nlines\n"));
    }
}
