//! Rules of single files: size, module docs, no leftovers, no vague names.

use lictor_tests_tidy::sources;

/// Files over 500 lines, with the reason. The list may only shrink.
const LONG_FILES: &[(&str, &str)] = &[];

#[test]
fn files_stay_short() {
    let mut wrong = Vec::new();
    for source in sources(&[".rs", ".proto", ".sh"]).iter().filter(|source| !source.is_generated()) {
        let lines = source.text.lines().count();
        let excused = LONG_FILES.iter().any(|(path, _)| *path == source.path);
        if lines > 500 && !excused {
            wrong.push(format!("{} has {lines} lines", source.path));
        }
        assert!(!(excused && lines <= 500), "{} is short now: take it off the list", source.path);
    }
    assert!(wrong.is_empty(), "split by subject: {wrong:#?}");
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for source in sources(&[".rs"]).iter().filter(|source| !source.is_generated()) {
        let wants = source.path.ends_with("/lib.rs")
            || source.path.contains("/domain/")
            || source.path.contains("/src/") && !source.path.ends_with("/mod.rs") && !source.path.ends_with("/main.rs")
            || source.path.contains("/tests/");
        if wants && !source.text.trim_start().starts_with("//!") {
            wrong.push(source.path.clone());
        }
    }
    assert!(wrong.is_empty(), "no module doc: {wrong:#?}");
}

#[test]
fn a_main_is_thin() {
    for source in sources(&["/src/main.rs"]).iter().filter(|source| source.path.starts_with("services/")) {
        let lines = source.text.lines().count();
        assert!(lines <= 40, "{} has {lines} lines, at most 40", source.path);
    }
}

#[test]
fn nothing_is_left_undone_or_silenced() {
    // Put together here, so that this file does not find itself.
    let marks = ["todo!", "unimplemented!", "dbg!"].map(|name| format!("{name}("));
    let notes = ["FIX", "TO"].iter().zip(["ME", "DO"]).map(|(a, b)| format!("{a}{b}")).collect::<Vec<_>>();
    let mut wrong = Vec::new();
    for source in sources(&[".rs"]).iter().filter(|source| !source.is_generated()) {
        for (number, line) in source.text.lines().enumerate() {
            let silenced = line.trim_start().starts_with("#[allow") || line.trim_start().starts_with("#![allow");
            let silenced = silenced && source.path != "crates/api/src/lib.rs";
            let ignored = line.trim_start().starts_with("#[ignore");
            if silenced || ignored || marks.iter().chain(&notes).any(|mark| line.contains(mark.as_str())) {
                wrong.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn names_say_something() {
    for source in sources(&[".rs"]) {
        for part in source.path.split(['/', '.']) {
            assert!(
                !["common", "util", "utils", "helper", "helpers", "manager", "misc"].contains(&part),
                "{}: `{part}` says nothing about what is inside",
                source.path
            );
        }
    }
}

#[test]
fn migrations_exist_for_both_engines() {
    let paths: Vec<String> = sources(&[".sql"]).into_iter().map(|source| source.path).collect();
    assert!(!paths.is_empty(), "no migration found");
    for path in &paths {
        let other = if path.contains("/postgres/") {
            path.replace("/postgres/", "/sqlite/")
        } else {
            path.replace("/sqlite/", "/postgres/")
        };
        assert!(paths.contains(&other), "{path} has no twin {other}");
    }
}
