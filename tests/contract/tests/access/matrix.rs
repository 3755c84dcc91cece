//! The golden matrix: who may call what, as a text that people review.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use crate::{
    contract::Rpc,
    world::{Caller, Process},
};

/// One RPC of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    process: String,
    path: String,
    open: BTreeMap<Caller, bool>,
}

impl Row {
    pub(crate) fn new(process: Process, rpc: &Rpc) -> Self {
        Self { process: process.name().to_owned(), path: rpc.path.clone(), open: BTreeMap::new() }
    }

    pub(crate) fn set(&mut self, caller: Caller, open: bool) {
        self.open.insert(caller, open);
    }

    /// Who may, of those with a token.
    pub(crate) fn roles_allowed(&self) -> Vec<Caller> {
        Caller::WITH_TOKENS.into_iter().filter(|caller| self.open.get(caller) == Some(&true)).collect()
    }

    fn name(&self) -> String {
        format!("{} {}", self.process, self.path)
    }
}

/// All rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matrix(Vec<Row>);

impl Matrix {
    pub(crate) fn push(&mut self, row: Row) {
        self.0.push(row);
    }

    pub(crate) fn rows_of(&self, rpc: &Rpc) -> impl Iterator<Item = &Row> {
        self.0.iter().filter(move |row| row.path == rpc.path)
    }

    /// Reads the golden file.
    pub(crate) fn golden() -> Self {
        let text = std::fs::read_to_string(file()).expect("the golden matrix");
        let mut columns: Vec<Caller> = Vec::new();
        let mut rows = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let words: Vec<_> = line.split_whitespace().collect();
            if words[0] == "process" {
                columns = words[2..].iter().map(|name| Caller::named(name)).collect();
                continue;
            }
            assert_eq!(words.len(), columns.len() + 2, "a row of the wrong length: {line}");
            let open = columns.iter().zip(&words[2..]).map(|(caller, mark)| match *mark {
                "yes" => (*caller, true),
                "-" => (*caller, false),
                other => panic!("{other:?} in the golden matrix: {line}"),
            });
            rows.push(Row { process: words[0].to_owned(), path: words[1].to_owned(), open: open.collect() });
        }
        Self(rows)
    }

    /// Compares with the golden file, cell by cell. A caller that could not be tried here is not compared.
    pub(crate) fn hold_against_golden(&self) {
        if std::env::var_os("LICTOR_WRITE_MATRIX").is_some() {
            std::fs::write(file(), self.with_untried_cells().text()).expect("a golden matrix that can be written");
            return;
        }
        let golden: BTreeMap<_, _> = Self::golden().0.into_iter().map(|row| (row.name(), row.open)).collect();
        let mut different = Vec::new();
        for row in &self.0 {
            match golden.get(&row.name()) {
                None => different.push(format!("{} is not in the matrix", row.name())),
                Some(wanted) => {
                    for (caller, open) in &row.open {
                        if wanted.get(caller) != Some(open) {
                            let door = if *open { "is open" } else { "is closed" };
                            different.push(format!("{} {door} to {}", row.name(), caller.name()));
                        }
                    }
                }
            }
        }
        for name in golden.keys().filter(|name| !self.0.iter().any(|row| row.name() == **name)) {
            different.push(format!("{name} is in the matrix, but no service offers it"));
        }
        assert!(different.is_empty(), "the services and tests/contract/access-matrix.txt differ:\n{different:#?}");
    }

    /// What could not be tried on this machine stays as it was read last.
    fn with_untried_cells(&self) -> Self {
        let golden = if file().exists() { Self::golden().0 } else { Vec::new() };
        let mut rows = self.0.clone();
        for row in &mut rows {
            if let Some(known) = golden.iter().find(|known| known.name() == row.name()) {
                for (caller, open) in &known.open {
                    row.open.entry(*caller).or_insert(*open);
                }
            }
        }
        Self(rows)
    }

    fn text(&self) -> String {
        let mut text = String::from(
            "# Who may call what. `yes`: the door is open; what the call then checks is its own matter.\n\
             # Written by LICTOR_WRITE_MATRIX=1 cargo test -p lictor-tests-contract; every change is read by a person.\n",
        );
        for (title, callers, of_server) in [
            ("With tokens: `none` has none, the others have one with this role.", Caller::OF_OFFICES.to_vec(), false),
            (
                "The licence server asks for no roles: who comes over loopback is local, over another address is not.",
                Caller::OF_SERVER.to_vec(),
                true,
            ),
        ] {
            let rows: Vec<_> =
                self.0.iter().filter(|row| (row.process == Process::Server.name()) == of_server).collect();
            let width = |of: fn(&Row) -> usize| rows.iter().map(|row| of(row)).max().unwrap_or(0);
            let (first, second) = (width(|row| row.process.len()), width(|row| row.path.len()));
            let _ = write!(text, "\n# {title}\n{:first$} {:second$}", "process", "rpc");
            for caller in &callers {
                let _ = write!(text, " {}", caller.name());
            }
            text.push('\n');
            for row in rows {
                let _ = write!(text, "{:first$} {:second$}", row.process, row.path);
                for caller in &callers {
                    let mark = if row.open.get(caller) == Some(&true) { "yes" } else { "-" };
                    let _ = write!(text, " {mark:width$}", width = caller.name().len());
                }
                let line = text.trim_end().len();
                text.truncate(line);
                text.push('\n');
            }
        }
        text
    }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("access-matrix.txt")
}
