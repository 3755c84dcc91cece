//! Bad files through the command line, in the real program: one sentence, a next step, the exit code of its kind.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use lictor_api::server::v1::CreateContextRequest;
use lictor_api::server::v1::container_service_client::ContainerServiceClient;
use lictor_license_file::limits::MAX_FILE_BYTES;

use crate::process::{Program, fill_with};
use crate::stage::client::unix_channel;
use crate::stage::vendor::{FIRM, Vendor, add};

/// What it is, the verb, the file, the names of errors that fit, the exit code.
type Case<'a> = (&'a str, &'a [&'a str], Vec<u8>, &'a [&'a str], i32);

/// Every file of the state but the socket, with its bytes.
fn picture(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("the folder is read").map(|entry| entry.expect("an entry"));
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("read")))
        .collect()
}

/// What `license-server VERB… --json` ends with: exit code, and the JSON that it prints.
fn run(program: &Program, home: &Path, verb: &[&str]) -> (i32, serde_json::Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_license-server"))
        .args(verb)
        .arg("--json")
        .env_clear()
        .env("LICTOR_CONFIG", home.join("client.toml"))
        .env("CODEMETER_HOST", format!("unix:{}", program.socket.display()))
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .expect("it runs and ends");
    let text = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let value = serde_json::from_slice(text).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(text)));
    (output.status.code().expect("an exit code"), value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_files_end_their_verb_with_one_sentence_and_the_exit_code_of_their_kind() {
    let (state, home) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    std::fs::write(home.path().join("client.toml"), format!("firm_code = {FIRM}\n")).expect("written");
    let program = Program::start(state.path()).await;
    let mut vendor = Vendor::new(FIRM, 1);
    fill_with(&program.socket, &mut vendor, 5).await;
    let mut containers = ContainerServiceClient::new(unix_channel(&program.socket).await);
    let request = CreateContextRequest { firm_code: FIRM, serial: String::new(), challenge: Vec::new() };
    let context = containers.create_context(request).await.expect("a context").into_inner().context;
    let states = vendor.states_of();
    let update = vendor.update(&context, vec![add(2, 202, 1)]);
    let second = vendor.update(&context, vec![add(3, 203, 1)]);
    vendor.restore(states);
    let other = vendor.update(&context, vec![add(4, 204, 1)]);
    let flipped = |at: usize| {
        let mut file = update.clone();
        file[at] ^= 1;
        file
    };
    let cases: [Case; 12] = [
        ("a context", &["server", "import"], context.clone(), &["file_damaged"], 7),
        ("information", &["server", "import"], vendor.lif(), &["file_damaged"], 7),
        ("an update", &["server", "create-container", "--lif"], update.clone(), &["file_damaged"], 7),
        ("cut", &["server", "import"], update[..update.len() - 1].to_vec(), &["file_damaged"], 7),
        ("empty", &["server", "import"], Vec::new(), &["file_damaged"], 7),
        ("flipped", &["server", "import"], flipped(200), &["file_damaged"], 7),
        ("an imposter", &["server", "import"], Vendor::new(FIRM, 9).update(&context, vec![]), &["file_forged"], 7),
        ("a stranger", &["server", "import"], Vendor::new(77, 2).update(&context, vec![]), &["not_found"], 4),
        (
            "information of an imposter",
            &["server", "create-container", "--lif"],
            Vendor::new(FIRM, 9).lif(),
            &["file_forged"],
            7,
        ),
        ("too early", &["server", "import"], second.clone(), &["update_gap"], 7),
        ("too large", &["server", "import"], vec![0; MAX_FILE_BYTES + 1], &["limit_exceeded", "file_damaged"], 2),
        ("no file", &["server", "import"], Vec::new(), &["not_found", "invalid_argument"], 4),
    ];
    let before = picture(state.path());
    for (what, verb, file, names, exit) in cases {
        let path = home.path().join(format!("{what}.file"));
        if what != "no file" {
            std::fs::write(&path, file).expect("written");
        }
        let verb: Vec<&str> = verb.iter().copied().chain([path.to_str().expect("a plain name")]).collect();
        let (code, value) = run(&program, home.path(), &verb);
        let (error, name) = (&value["error"], value["error"]["code"].as_str().unwrap_or_default());
        assert!(names.contains(&name), "{what}: {value}");
        assert!(code == exit || names.len() > 1 && [2, 4, 7].contains(&code), "{what}: exit code {code}, {value}");
        let message = error["message"].as_str().expect("a sentence");
        assert!(!message.is_empty() && message.len() < 400 && !message.contains('\n'), "{what}: {message}");
        assert!(error["next"].as_str().is_some_and(|next| !next.is_empty()), "{what}: {value}");
        assert_eq!(picture(state.path()), before, "{what}: the state has changed");
    }
    // The good ones are as good as before; then the other history is a fork.
    for (what, file) in [("update", &update), ("second", &second)] {
        let path = home.path().join(what);
        std::fs::write(&path, file).expect("written");
        assert_eq!(run(&program, home.path(), &["server", "import", path.to_str().expect("a name")]).0, 0, "{what}");
    }
    let path = home.path().join("other");
    std::fs::write(&path, other).expect("written");
    let (code, value) = run(&program, home.path(), &["server", "import", path.to_str().expect("a name")]);
    assert_eq!((code, value["error"]["code"].as_str()), (7, Some("update_forked")), "{value}");
}
