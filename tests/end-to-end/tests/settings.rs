//! `docs/settings.md` says what the programs of this build say. `LICTOR_REGENERATE=1` writes it anew.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use lictor_test_support::fleet::Service;
use lictor_test_support::programs::{self, Answer};

#[test]
fn the_page_of_settings_is_fresh() -> anyhow::Result<()> {
    let mut page = String::from(
        "# Settings\n\nMade from the programs; `LICTOR_REGENERATE=1 cargo test -p lictor-tests-end-to-end --test settings` writes it \
         anew.\nEvery service reads one TOML file (`--config FILE`) and the environment, which wins; it reports all mistakes at \
         once and then does not start. `--check-config` only checks. A secret may also be given as the path of a file, in \
         `NAME_FILE`.\n",
    );
    for service in Service::ALL {
        let answer = Answer::of(Command::new(programs::path(service.program())?).arg("--settings-doc"))?;
        ensure!(answer.code == 0, "{answer:?}");
        write!(page, "\n## {}\n\n{}\n", service.program(), answer.output.trim())?;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    if std::env::var_os("LICTOR_REGENERATE").is_some() {
        fs::write(&path, &page)?;
    }
    ensure!(fs::read_to_string(&path).unwrap_or_default() == page, "docs/settings.md is stale: see its first line");
    Ok(())
}
