//! Reading the tree for the rules in `tests/`: files, packages, their dependencies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("tests/tidy lies two folders down").to_owned()
}

/// A file under version control, or new and not ignored: path from the root, and text.
pub struct Source {
    /// Path from the root, with `/`.
    pub path: String,
    /// The whole file.
    pub text: String,
}

impl Source {
    /// The part before the unit tests, which are held to looser rules.
    #[must_use]
    pub fn without_tests(&self) -> &str {
        self.text.split("#[cfg(test)]").next().unwrap_or_default()
    }

    /// Written by a generator, not by hand.
    #[must_use]
    pub fn is_generated(&self) -> bool {
        self.path.contains("/generated/")
    }
}

/// All text files of the tree whose path ends in one of `endings`.
///
/// # Panics
/// When git does not answer: the rules are about the repository.
#[must_use]
pub fn sources(endings: &[&str]) -> Vec<Source> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    let listed = String::from_utf8(listed.stdout).expect("paths are text");
    assert!(!listed.is_empty(), "git lists no file");
    listed
        .lines()
        .filter(|path| endings.iter().any(|ending| path.ends_with(ending)))
        .filter_map(|path| {
            let text = fs::read_to_string(root().join(path)).ok()?;
            Some(Source { path: path.to_owned(), text })
        })
        .collect()
}

/// A package of the workspace and what it names as dependencies (not for tests).
pub struct Package {
    /// Such as `crates/licensing`.
    pub folder: String,
    /// Such as `lictor-licensing`.
    pub name: String,
    /// Direct dependencies outside of tests and build scripts.
    pub dependencies: Vec<String>,
    /// Direct dependencies of tests only.
    pub dev_dependencies: Vec<String>,
}

/// All packages of the workspace.
///
/// # Panics
/// When a manifest cannot be read.
#[must_use]
pub fn packages() -> Vec<Package> {
    sources(&["Cargo.toml"])
        .into_iter()
        .filter_map(|source| {
            let folder = source.path.strip_suffix("/Cargo.toml")?.to_owned();
            let manifest: toml::Table = source.text.parse().expect("a manifest is TOML");
            let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
            let list = |key: &str| {
                let table = manifest.get(key).and_then(toml::Value::as_table);
                table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
            };
            Some(Package {
                folder,
                name,
                dependencies: list("dependencies"),
                dev_dependencies: list("dev-dependencies"),
            })
        })
        .collect()
}
