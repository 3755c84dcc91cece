//! The arrows of ARCHITECTURE.md: who may depend on whom, and which library belongs to which crate.

use std::collections::BTreeSet;
use std::process::Command;

use lictor_tests_tidy::{packages, root, sources};

/// Our own crates in layers; a crate may use only crates of lower layers.
const LAYERS: &[&[&str]] = &[
    &["lictor-clock", "lictor-sys"],
    &["lictor-signing", "lictor-licensing"],
    &["lictor-license-file", "lictor-key-store", "lictor-binding"],
    // The agent is no part of the static programs, but holds keys: it may know the two crates below it and no more.
    &["lictor-api", "lictor-telemetry", "lictor-key-agent"],
    &["lictor-runtime"],
    &["lictor-storage", "lictor-auth"],
    &["lictor-broker", "lictor-sdk"],
    &["lictor-cli"],
    &[
        "lictor-license-central",
        "lictor-activation",
        "lictor-push-update-generator",
        "lictor-notification-dispatcher",
        "lictor-license-server",
    ],
    &["lictor"],
];

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

#[test]
fn dependencies_point_down_one_way() {
    let mut wrong = Vec::new();
    for package in packages().iter().filter(|package| !package.folder.starts_with("tests/") && package.folder != "fuzz")
    {
        let own = layer(&package.name).unwrap_or_else(|| panic!("{} is in no layer", package.name));
        for dependency in &package.dependencies {
            if layer(dependency).is_some_and(|other| other >= own) {
                wrong.push(format!("{} -> {dependency}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point up or sideways: {wrong:#?}");
}

#[test]
fn pure_crates_know_no_outside_world() {
    const OUTSIDE: &[&str] = &[
        "tokio",
        "tokio-stream",
        "tokio-util",
        "tonic",
        "axum",
        "hyper",
        "reqwest",
        "sqlx",
        "redis",
        "lapin",
        "rustix",
        "libc",
        "getrandom",
        "rand",
        "tracing",
    ];
    for package in packages() {
        if ["lictor-licensing", "lictor-license-file", "lictor-signing", "lictor-binding"]
            .contains(&package.name.as_str())
        {
            let found: Vec<_> = package.dependencies.iter().filter(|name| OUTSIDE.contains(&name.as_str())).collect();
            assert!(found.is_empty(), "{} must stay pure, but uses {found:?}", package.name);
        }
    }
    for source in sources(&[".rs"]) {
        let pure = ["crates/licensing/src/", "crates/license-file/src/", "crates/signing/src/", "crates/binding/src/"];
        if pure.iter().any(|folder| source.path.starts_with(folder)) {
            for word in ["std::fs", "std::net", "std::env", "std::thread", "SystemTime::", "Instant::"] {
                assert!(!source.without_tests().contains(word), "{} must stay pure, but says {word}", source.path);
            }
        }
    }
}

/// A library and the only packages that may name it outside of tests.
const HOMES: &[(&str, &[&str])] = &[
    ("lapin", &["lictor-broker"]),
    ("redis", &["lictor-activation"]),
    ("opentelemetry", &["lictor-telemetry"]),
    ("opentelemetry_sdk", &["lictor-telemetry"]),
    ("opentelemetry-otlp", &["lictor-telemetry"]),
    ("tracing-opentelemetry", &["lictor-telemetry"]),
    ("jsonwebtoken", &["lictor-auth"]),
    ("hpke", &["lictor-license-file"]),
    ("blahaj", &["lictor-binding"]),
    ("seccompiler", &["lictor-license-server"]),
    // Licences are signed and verified in the first two; the third writes keys of tokens in the form that others read, and
    // the fourth signs webhooks as Standard Webhooks says: its keys are of a receiver, never of a firm.
    ("ed25519-dalek", &["lictor-signing", "lictor-key-store", "lictor-auth", "lictor-notification-dispatcher"]),
];

#[test]
fn a_library_lives_in_its_home() {
    let mut wrong = Vec::new();
    for package in packages().iter().filter(|package| !package.folder.starts_with("tests/")) {
        for (library, homes) in HOMES {
            if package.dependencies.iter().any(|name| name == library) && !homes.contains(&package.name.as_str()) {
                wrong.push(format!("{} uses {library}, which belongs to {homes:?}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Stores of a second database, which therefore stand beside the store of the first. Each is one file that is nothing else.
const OTHER_STORES: &[&str] = &["services/push-update-generator/src/archive/rows.rs"];

#[test]
fn sql_lives_in_storage_and_in_stores() {
    let mut wrong = Vec::new();
    for path in OTHER_STORES {
        let used = sources(&[path]).iter().any(|source| source.without_tests().contains("sqlx::"));
        assert!(used, "{path} says no SQL any more: take it off the list");
    }
    for source in sources(&[".rs"]) {
        let allowed = source.path.starts_with("crates/storage/")
            || source.path.starts_with("tests/")
            || source.path.contains("/store/")
            || source.path.contains("/tests/")
            || OTHER_STORES.contains(&source.path.as_str());
        if !allowed && source.without_tests().contains("sqlx::") {
            wrong.push(source.path);
        }
    }
    assert!(wrong.is_empty(), "SQL outside of a store: {wrong:#?}");
}

#[test]
fn one_provider_of_cryptography_and_one_version_of_each_large_library() {
    // What is compiled, not what the lock file mentions: it also lists options that nobody took.
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--offline",
            "--locked",
            "--target",
            "all",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("names are text");
    let packages: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?))
        })
        .collect();
    let names: Vec<&str> = packages.iter().map(|(name, _)| *name).collect();
    assert!(names.contains(&"tonic"), "the tree is not what it should be");
    for banned in ["ring", "openssl", "openssl-sys", "native-tls", "bincode", "sharks"] {
        assert!(!names.contains(&banned), "{banned} came into the graph: `cargo tree -i {banned}` says through whom");
    }
    for single in [
        "tonic",
        "prost",
        "tokio",
        "hyper",
        "h2",
        "http",
        "axum",
        "rustls",
        "tokio-rustls",
        "reqwest",
        "aws-lc-rs",
        "opentelemetry",
        "sqlx",
        "serde",
        "ed25519-dalek",
        "minicbor",
    ] {
        let count = names.iter().filter(|name| **name == single).count();
        assert_eq!(count, 1, "{single} is in the graph {count} times: `cargo tree -d` says why");
    }
}
