//! `docs/cli.md` says what the program offers today. `LICTOR_REGENERATE=1 cargo test -p lictor --test reference` writes it
//! anew.

use std::fs;
use std::path::Path;

#[test]
fn the_reference_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let fresh = lictor_cli::reference(&lictor_program::program().command());
    if std::env::var_os("LICTOR_REGENERATE").is_some() {
        fs::write(&path, &fresh).expect("docs/cli.md is written");
    }
    let present = fs::read_to_string(&path).unwrap_or_default();
    if let Some((line, (is, should))) =
        present.lines().zip(fresh.lines()).enumerate().find(|(_, (present, fresh))| present != fresh)
    {
        panic!(
            "docs/cli.md, line {}:\n  is     {is}\n  should {should}\nrun this test with LICTOR_REGENERATE=1",
            line + 1
        );
    }
    assert_eq!(present.len(), fresh.len(), "docs/cli.md has another length; run this test with LICTOR_REGENERATE=1");
}

#[test]
fn the_whole_command_line_is_sound() {
    lictor_program::program().command().debug_assert();
}

#[test]
fn every_verb_that_is_offered_stands_in_the_reference_with_an_example() {
    fn walk(command: &clap::Command, path: &str, reference: &str) {
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let path = format!("{path} {}", verb.get_name());
            if verb.has_subcommands() {
                walk(verb, &path, reference);
            } else {
                assert!(reference.contains(&format!("\n### {path}\n")), "{path} is missing");
                let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{path} has no example");
            }
        }
    }
    let command = lictor_program::program().command();
    walk(&command, "lictor", &lictor_cli::reference(&command));
}
