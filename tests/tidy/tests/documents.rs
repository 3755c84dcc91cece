//! Documents hold what they say: links lead somewhere, named tests exist.

use std::path::Path;

use lictor_tests_tidy::{root, sources};

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for source in sources(&[".md"]) {
        let folder = Path::new(&source.path).parent().unwrap_or(Path::new(""));
        let text = without_code(&source.text);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.contains(' ') || target.starts_with('<') {
                continue;
            }
            if !root().join(folder).join(target).exists() {
                wrong.push(format!("{} -> {target}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "dead links: {wrong:#?}");
}

/// The text without what stands between backticks on one line: a link in there is an example of one.
fn without_code(text: &str) -> String {
    let prose = |line: &str| line.split('`').step_by(2).collect::<Vec<_>>().concat();
    text.lines()
        .map(|line| if line.starts_with("```") { String::new() } else { prose(line) })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_threat_names_a_test_that_exists() {
    let tests = sources(&[".rs", ".sh"]);
    let threats = std::fs::read_to_string(root().join("docs/threats.md")).expect("docs/threats.md is there");
    let mut rows = 0;
    let mut wrong = Vec::new();
    for row in
        threats.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #") && !line.starts_with("|-"))
    {
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).filter(|name| name.contains('_')).collect();
        rows += 1;
        if named.is_empty() {
            wrong.push(format!("no test named: {row}"));
        }
        for name in named {
            let wanted = format!("fn {name}(");
            if !tests.iter().any(|source| source.text.contains(&wanted)) {
                wrong.push(format!("no such test: {name}"));
            }
        }
    }
    assert!(rows > 0, "no row found: is the search broken?");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
