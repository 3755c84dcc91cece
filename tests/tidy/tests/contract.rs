//! Rules of the contract in `proto/`.

use lictor_tests_tidy::sources;

#[test]
fn every_rpc_says_who_may_call_it_and_whether_it_may_be_repeated() {
    let mut rpcs = 0;
    let mut wrong = Vec::new();
    for source in sources(&[".proto"]) {
        let mut comment = String::new();
        for line in source.text.lines() {
            let line = line.trim();
            if let Some(text) = line.strip_prefix("//") {
                comment.push_str(text);
                comment.push('\n');
                continue;
            }
            if line.starts_with("rpc ") {
                rpcs += 1;
                if !comment.contains(" Caller:") || !comment.contains(" Retry:") {
                    wrong.push(format!("{}: {line}", source.path));
                }
            }
            comment.clear();
        }
    }
    assert!(rpcs > 20, "only {rpcs} RPCs found: is the search broken?");
    assert!(wrong.is_empty(), "without `Caller:` or `Retry:`: {wrong:#?}");
}

#[test]
fn a_package_is_named_like_its_folder() {
    for source in sources(&[".proto"]) {
        let folder =
            source.path.strip_prefix("proto/").and_then(|path| path.rsplit_once('/')).expect("lies in proto/").0;
        let package = format!("package {};", folder.replace('/', "."));
        assert!(source.text.contains(&package), "{} should say `{package}`", source.path);
    }
}
