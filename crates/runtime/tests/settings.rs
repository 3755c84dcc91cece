//! The settings reader: every mistake in one go, no secret in any output.

use std::time::Duration;

use lictor_runtime::{Field, ListenSettings, LogSettings, Reader};

const URL: Field = Field::required("database_url", "DATABASE_URL", "where the tables are").secret();
const SIZE: Field = Field::with_default("pool_size", "POOL_SIZE", "10", "connections, 1 to 100");
const GRACE: Field = Field::with_default("grace", "GRACE", "10s", "time to end");
const PEERS: Field = Field::optional("peers", "PEERS", "other servers");
const OPEN: Field = Field::with_default("open", "OPEN", "false", "whether it is open");

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn variable_wins_over_file_and_file_over_default() {
    let toml = "pool_size = 20\ngrace = \"1m\"\npeers = [\"a\", \"b\"]\nopen = true\ndatabase_url = \"from file\"\n";
    let mut reader = Reader::new(env(&[("POOL_SIZE", "30"), ("GRACE", "")]), Some(toml));
    assert_eq!(reader.number(&SIZE, 1..=100), 30);
    assert_eq!(reader.duration(&GRACE), Duration::from_secs(60), "an empty variable counts as not given");
    assert_eq!(reader.list(&PEERS), ["a", "b"]);
    assert!(reader.flag(&OPEN));
    assert_eq!(reader.secret(&URL).expose(), "from file");
    reader.finish().expect("no mistake");
}

#[test]
fn one_start_shows_every_mistake_and_no_secret() {
    const PIN: Field = Field::with_default("pin", "PIN", "1", "a number").secret();
    let toml = "pol_size = 3\nnested = { a = 1 }\n";
    let given =
        env(&[("POOL_SIZE", "101"), ("GRACE", "soon"), ("OPEN", "yes"), ("GRPC_LISTEN", "7010"), ("PIN", "hunter2")]);
    let mut reader = Reader::new(given, Some(toml));
    reader.secret(&URL);
    reader.number(&SIZE, 1..=100);
    reader.duration(&GRACE);
    reader.flag(&OPEN);
    reader.number(&PIN, 1..=9);
    ListenSettings::read(&mut reader, 1, 2);
    LogSettings::read(&mut reader);
    let mistakes = reader.finish().expect_err("refused");
    let text = mistakes.to_string();
    for part in [
        "database_url (DATABASE_URL) is missing",
        "pool_size",
        "grace",
        "open",
        "grpc_listen",
        "pin",
        "pol_size",
        "nested",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(mistakes.0.len(), 8, "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn broken_file_is_told_without_its_lines() {
    let reader = Reader::new([], Some("database_url = \"postgres://u:hunter2@h/d\nx"));
    let text = reader.finish().expect_err("refused").to_string();
    assert!(text.contains("no TOML") && !text.contains("hunter2"), "{text}");
}

#[test]
fn secret_comes_from_a_file_and_prints_as_stars() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("url");
    std::fs::write(&path, "postgres://u:hunter2@h/d\n").expect("write");
    let path = path.to_str().expect("a text");
    let mut reader = Reader::new(env(&[("DATABASE_URL_FILE", path)]), None);
    let secret = reader.secret(&URL);
    assert_eq!(secret.expose(), "postgres://u:hunter2@h/d");
    assert_eq!(format!("{secret:?}"), "***");
    reader.finish().expect("no mistake");

    let mut reader = Reader::new(env(&[("DATABASE_URL_FILE", "/nowhere/at/all")]), None);
    reader.secret(&URL);
    assert!(reader.finish().expect_err("refused").to_string().contains("/nowhere/at/all cannot be read"));
}

#[test]
fn half_a_tls_setting_is_a_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("write");
        path.to_str().expect("a text").to_owned()
    };
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = file("cert.pem", &key.cert.pem());
    let good_key = file("key.pem", &key.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let other_key = file("other.pem", &other.signing_key.serialize_pem());
    let empty = file("empty.pem", "");

    let read = |pairs: &[(&str, &str)]| {
        let mut reader = Reader::new(env(pairs), None);
        let listen = ListenSettings::read(&mut reader, 1, 2);
        reader.finish().map(|()| listen.tls.is_some())
    };
    assert_eq!(read(&[]), Ok(false));
    assert_eq!(read(&[("TLS_CERTIFICATE", &certificate), ("TLS_KEY", &good_key)]), Ok(true));
    for bad in [
        [("TLS_CERTIFICATE", certificate.as_str()), ("TLS_CLIENT_CA", "")],
        [("TLS_KEY", &good_key), ("TLS_CLIENT_CA", "")],
        [("TLS_CERTIFICATE", ""), ("TLS_CLIENT_CA", &certificate)],
        [("TLS_CERTIFICATE", &empty), ("TLS_KEY", &good_key)],
        [("TLS_CERTIFICATE", &certificate), ("TLS_KEY", &certificate)],
        [("TLS_CERTIFICATE", &certificate), ("TLS_KEY", &other_key)],
    ] {
        assert!(read(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn documentation_lists_each_field_once_in_order() {
    let mut reader = Reader::new([], None);
    reader.secret(&URL);
    reader.number(&SIZE, 1..=100);
    reader.number(&SIZE, 1..=100);
    let text = reader.documentation();
    let rows: Vec<&str> = text.lines().skip(2).collect();
    assert_eq!(rows.len(), 2, "{text}");
    assert!(rows[0].contains("`DATABASE_URL` (secret; or `DATABASE_URL_FILE`) | required |"), "{text}");
    assert!(rows[1].contains("| `10` | connections, 1 to 100 |"), "{text}");
}
