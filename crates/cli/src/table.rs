//! Tables and sheets for people. In a terminal they fit its width: a table that is too wide gets its last column wrapped,
//! and where that is not enough its rows are written one below the other, so that ids stay whole and can be copied.

use std::io::IsTerminal as _;

use comfy_table::{ContentArrangement, Table, presets};

/// Least columns that a wrapped last column may have.
const LEAST: usize = 24;

/// A table in columns without lines.
pub(crate) fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    within(terminal(), headings, rows)
}

/// Lines of `name: value`, aligned, for a single thing.
pub(crate) fn sheet(pairs: &[(&str, String)]) -> String {
    sheet_within(terminal(), pairs)
}

/// Columns of the terminal that results go to; none where they go into a file or another program.
fn terminal() -> Option<usize> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(out).ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

fn within(width: Option<usize>, headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let whole = columns(headings, &rows);
    let Some(width) = width.filter(|width| widest(&whole) > *width) else { return whole };
    // What the columns before the last one take, with the blanks between.
    let before: usize = (0..headings.len().saturating_sub(1)).map(|place| column(headings, &rows, place) + 2).sum();
    let words = rows.iter().filter_map(|row| row.last()).flat_map(|cell| cell.split_whitespace());
    let least = words.map(|word| word.chars().count()).max().unwrap_or(0).max(LEAST);
    match width.checked_sub(before) {
        Some(left) if left >= least => {
            let mut rows = rows;
            for cell in rows.iter_mut().filter_map(|row| row.last_mut()) {
                *cell = cell.lines().flat_map(|line| wrapped(line, left)).collect::<Vec<_>>().join("\n");
            }
            columns(headings, &rows)
        }
        _ => stacked(width, headings, &rows),
    }
}

/// Every row as a sheet of its own, without what it does not have.
fn stacked(width: usize, headings: &[&str], rows: &[Vec<String>]) -> String {
    let sheets = rows.iter().map(|row| {
        let pairs = headings.iter().copied().zip(row.iter().map(|cell| cell.trim().to_owned()));
        let present: Vec<_> = pairs.filter(|(_, cell)| !cell.is_empty() && cell != "-").collect();
        sheet_within(Some(width), &present)
    });
    sheets.collect::<Vec<_>>().join("\n\n")
}

fn sheet_within(width: Option<usize>, pairs: &[(&str, String)]) -> String {
    let names = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (name, value) in pairs {
        let left = width.and_then(|width| width.checked_sub(names + 2)).filter(|left| *left >= LEAST);
        let parts: Vec<String> = value.lines().flat_map(|line| wrapped(line, left.unwrap_or(usize::MAX))).collect();
        let first = parts.first().cloned().unwrap_or_default();
        lines.push(format!("{name:<names$}  {first}").trim_end().to_owned());
        lines.extend(parts.iter().skip(1).map(|part| format!("{:<names$}  {part}", "")));
    }
    lines.join("\n")
}

fn columns(headings: &[&str], rows: &[Vec<String>]) -> String {
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

fn column(headings: &[&str], rows: &[Vec<String>], place: usize) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(place)).map(|cell| widest(cell));
    cells.chain([headings[place].chars().count()]).max().unwrap_or(0)
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

/// A line broken between words. A word that is longer than a line stays whole: it may be an id.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in line.split(' ') {
        if !current.trim().is_empty() && current.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut current));
        } else if !current.is_empty() {
            current.push(' ');
        }
        current.push_str(word);
    }
    lines.push(current);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: [&str; 3] = ["license", "state", "why"];
    const ID: &str = "lic_01JD3X7Q2V0000000000000000";

    fn rows() -> Vec<Vec<String>> {
        let row = |state: &str, why: &str| vec![ID.to_owned(), state.to_owned(), why.to_owned()];
        vec![row("confirmed", "it was activated on a Monday"), row("-", "nobody knows")]
    }

    #[test]
    fn outside_of_terminals_and_in_wide_ones_a_table_stays_a_table() {
        let wide = within(None, &HEADINGS, rows());
        assert_eq!(wide.lines().next(), Some("LICENSE                         STATE      WHY"));
        assert_eq!(within(Some(80), &HEADINGS, rows()), wide);
    }

    #[test]
    fn a_long_last_column_is_wrapped_between_words() {
        let narrow = within(Some(68), &HEADINGS, rows());
        assert!(widest(&narrow) <= 68, "{narrow}");
        assert_eq!(narrow.lines().count(), 4, "{narrow}");
        assert!(narrow.lines().nth(2).expect("a line").trim_start() == "Monday", "{narrow}");
    }

    #[test]
    fn in_narrow_terminals_rows_stand_below_each_other_and_ids_stay_whole() {
        let narrow = within(Some(44), &HEADINGS, rows());
        let first = format!("license  {ID}\nstate    confirmed\nwhy      it was activated on a Monday");
        assert_eq!(narrow, format!("{first}\n\nlicense  {ID}\nwhy      nobody knows"), "nothing of what is not there");
        assert!(within(Some(10), &HEADINGS, rows()).contains(ID));
        let id_last = vec![vec!["confirmed".to_owned(), format!("adds license {ID}")]];
        let narrow = within(Some(36), &["state", "change"], id_last);
        assert!(narrow.starts_with("state   confirmed\nchange  adds license"), "{narrow}");
    }

    #[test]
    fn long_values_of_a_sheet_are_wrapped_below_themselves() {
        let pairs = [("fingerprint", "dd5e fbd8 2dd2 a6a1 879d aa6c 2fb3".to_owned()), ("n", String::new())];
        assert_eq!(sheet_within(None, &pairs).lines().count(), 2);
        let narrow = sheet_within(Some(38), &pairs);
        assert_eq!(narrow, "fingerprint  dd5e fbd8 2dd2 a6a1 879d\n             aa6c 2fb3\nn");
    }
}
