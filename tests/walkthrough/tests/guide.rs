//! Every command of the guide does what the guide says.
//!
//! `LICTOR_PAGE=lost` runs only pages with that in their name; `LICTOR_REGENERATE=1` writes what commands print onto pages.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::ensure;
use lictor_tests_walkthrough::{page, run};

/// Pages at a time: each has all services of its own.
const AT_A_TIME: usize = 4;

fn repository() -> anyhow::Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?)
}

fn pages(repository: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut pages = vec![repository.join("README.md"), repository.join("docs/key-ceremony.md")];
    for entry in fs::read_dir(repository.join("docs/guide"))? {
        pages.push(entry?.path());
    }
    let wanted = std::env::var("LICTOR_PAGE").unwrap_or_default();
    pages.retain(|path| {
        path.extension().is_some_and(|extension| extension == "md")
            && path.exists()
            && path.file_name().is_some_and(|name| name.to_string_lossy().contains(&wanted))
    });
    pages.sort();
    Ok(pages)
}

#[test]
fn every_command_of_the_guide_is_run_and_prints_what_the_page_shows() -> anyhow::Result<()> {
    let repository = repository()?;
    let rewrite = std::env::var_os("LICTOR_REGENERATE").is_some();
    let mut left = pages(&repository)?;
    ensure!(!left.is_empty(), "no page was found");
    left.reverse();
    let (left, failures) = (Mutex::new(left), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(path) = left.lock().ok().and_then(|mut left| left.pop()) {
                    if let Err(error) = walk(&repository, &path, rewrite) {
                        failures.lock().expect("nobody panicked").push(error);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner()?;
    ensure!(failures.is_empty(), "{}", run::report(&failures));
    Ok(())
}

fn walk(repository: &Path, path: &Path, rewrite: bool) -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    let walk = run::walk(repository, path, rewrite)?;
    if !walk.outputs.is_empty() {
        fs::write(path, page::with_output(&fs::read_to_string(path)?, &walk.outputs))?;
    }
    if walk.steps > 0 {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        writeln!(std::io::stdout(), "{name}: {} lines of commands in {:.1?}", walk.steps, began.elapsed())?;
    }
    Ok(())
}

#[test]
fn every_page_of_the_guide_is_in_its_index() -> anyhow::Result<()> {
    let folder = repository()?.join("docs/guide");
    let index = fs::read_to_string(folder.join("README.md"))?;
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(name == "README.md" || !name.ends_with(".md") || index.contains(&format!("]({name})")), "{name}");
    }
    Ok(())
}
