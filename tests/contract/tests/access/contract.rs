//! The RPCs as `proto/` states them.

use std::path::{Path, PathBuf};

/// In the order of the matrix.
const PACKAGES: [&str; 7] = ["types", "event", "central", "activation", "update", "notification", "server"];
/// Field numbers in the paths of source locations.
const SERVICES_OF_A_FILE: i32 = 6;
const METHODS_OF_A_SERVICE: i32 = 2;

/// One RPC.
#[derive(Clone, Debug)]
pub(crate) struct Rpc {
    /// `/package.Service/Method`.
    pub(crate) path: String,
    /// Its package, such as `lictor.central.v1`.
    pub(crate) package: String,
    /// Whether it answers with a stream.
    pub(crate) streams: bool,
    /// The comment above it.
    pub(crate) comment: String,
}

/// Every RPC of every file, in the order of the files.
pub(crate) fn rpcs() -> Vec<Rpc> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let known = std::fs::read_dir(folder.join("lictor")).expect("a folder").count();
    assert_eq!(known, PACKAGES.len(), "a package of proto/ is not in this list");
    let files: Vec<PathBuf> = PACKAGES.iter().flat_map(|package| files_of(&folder, package)).collect();
    let compiled = protox::compile(files, [folder]).expect("proto files that compile");
    let mut rpcs = Vec::new();
    for file in compiled.file.iter().filter(|file| file.package().starts_with("lictor.")) {
        for (place, service) in file.service.iter().enumerate() {
            for (number, method) in service.method.iter().enumerate() {
                let at = [SERVICES_OF_A_FILE, index(place), METHODS_OF_A_SERVICE, index(number)];
                let location = file.source_code_info.iter().flat_map(|info| &info.location).find(|at_| at_.path == at);
                rpcs.push(Rpc {
                    path: format!("/{}.{}/{}", file.package(), service.name(), method.name()),
                    package: file.package().to_owned(),
                    streams: method.server_streaming(),
                    comment: location.map(|found| found.leading_comments().to_owned()).unwrap_or_default(),
                });
            }
        }
    }
    assert!(rpcs.len() > 40, "only {} RPCs were found", rpcs.len());
    rpcs
}

/// All files of a package: what no other file imports has to be seen too.
fn files_of(folder: &Path, package: &str) -> Vec<PathBuf> {
    let within = Path::new("lictor").join(package).join("v1");
    let entries = std::fs::read_dir(folder.join(&within)).expect("a folder of a package");
    let mut files: Vec<PathBuf> = entries.map(|entry| within.join(entry.expect("a file").file_name())).collect();
    files.sort();
    files
}

fn index(place: usize) -> i32 {
    i32::try_from(place).expect("a small number")
}
