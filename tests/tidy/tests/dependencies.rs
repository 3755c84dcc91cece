//! What comes from others: under licences that our own programs may be given away with, and from one registry.
//!
//! Known vulnerabilities are another question. It needs the advisory database of the day, so it belongs to whoever releases:
//! `cargo audit`, or `cargo deny check advisories`, over the three lock files.

use std::process::Command;

use lictor_tests_tidy::{root, sources};

/// Licences that ask for a notice and nothing else.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "BlueOak-1.0.0",
    "CC0-1.0",
    // Of the list of public root certificates: data, not code.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether an expression such as `(MIT OR Apache-2.0) AND ISC` can be fulfilled with [`ALLOWED`].
fn fulfilled(expression: &str) -> bool {
    // Some old packages write a slash for "or".
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest) && rest.is_empty()
}

fn either(words: &mut &[&str]) -> bool {
    let mut any = both(words);
    while let Some((&"OR", rest)) = words.split_first() {
        *words = rest;
        any |= both(words);
    }
    any
}

fn both(words: &mut &[&str]) -> bool {
    let mut all = one(words);
    while let Some((&"AND", rest)) = words.split_first() {
        *words = rest;
        all &= one(words);
    }
    all
}

fn one(words: &mut &[&str]) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    *words = rest;
    if *first == "(" {
        let inner = either(words);
        *words = words.split_first().map_or(&[][..], |(_, rest)| rest);
        return inner;
    }
    // An exception only adds to what is allowed.
    if let [with, _, rest @ ..] = *words
        && *with == "WITH"
    {
        *words = rest;
    }
    ALLOWED.contains(first)
}

#[test]
fn expressions_of_licenses_are_understood() {
    for good in ["MIT", "GPL-3.0-only OR MIT", "(MIT OR Apache-2.0) AND ISC", "Apache-2.0 WITH LLVM-exception", "MIT/X"]
    {
        assert!(fulfilled(good), "{good}");
    }
    for bad in ["", "GPL-3.0-only", "MIT AND GPL-3.0-only", "(MIT OR ISC) AND AGPL-3.0-only", "MIT ISC"] {
        assert!(!fulfilled(bad), "{bad}");
    }
}

#[test]
fn every_dependency_has_a_license_that_we_may_ship_with() {
    for folder in ["", "key-agent"] {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--workspace", "--offline", "--locked", "--target", "all", "--prefix", "none"])
            .args(["--format", "{p}|{l}"])
            .current_dir(root().join(folder))
            .output()
            .expect("cargo runs");
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout).expect("names are text");
        let mut wrong: Vec<&str> = tree
            .lines()
            .filter(|line| !line.is_empty())
            .filter(|line| {
                let license = line.split_once('|').map_or("", |(_, license)| license);
                !fulfilled(license.trim_end_matches(" (*)"))
            })
            .collect();
        wrong.sort_unstable();
        wrong.dedup();
        assert!(wrong.is_empty(), "not to be shipped, or without a licence: {wrong:#?}");
    }
}

#[test]
fn every_dependency_comes_from_the_one_registry() {
    const REGISTRY: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let locks = sources(&["Cargo.lock"]);
    assert!(locks.len() >= 2, "the lock files are under version control");
    for lock in locks {
        let strange: Vec<&str> =
            lock.text.lines().filter(|line| line.starts_with("source = ") && *line != REGISTRY).collect();
        assert!(strange.is_empty(), "{}: {strange:?}", lock.path);
    }
}
