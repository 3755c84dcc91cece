//! A real mail server (Debian's `python3-aiosmtpd`) on a port of its own.

use std::{path::Path, process::Stdio, time::Duration};

use lictor_notification_dispatcher::transmission::mailer::MailOptions;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct MailServer {
    port: u16,
    mode: &'static str,
    ca: String,
    mails: Lines<BufReader<ChildStdout>>,
    _folder: TempDir,
    _stdin: ChildStdin,
    _child: Child,
}

/// The interpreter that has the package. Another one may come first in the path; Debian's packages are for its own.
async fn python() -> Option<&'static str> {
    for python in ["python3", "/usr/bin/python3"] {
        let there = Command::new(python).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status().await;
        if there.is_ok_and(|status| status.success()) {
            return Some(python);
        }
    }
    None
}

impl MailServer {
    /// `mode` is tls, starttls or plain; `more` are further arguments of the script. Nothing without the package.
    pub(crate) async fn start(mode: &'static str, more: &[&str]) -> Option<Self> {
        let Some(python) = python().await else {
            eprintln!("SKIPPED: python3-aiosmtpd is not installed; run tests/scripts/install-dependencies.sh");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).expect("a file");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ways/smtp_server.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(format!("mode={mode}"))
            .arg(format!("certificate={}", certificate.display()))
            .arg(format!("key={}", key.display()))
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 starts");
        let mut mails = BufReader::new(child.stdout.take().expect("its output")).lines();
        let port = tokio::time::timeout(PATIENCE, mails.next_line()).await.expect("a port in time");
        let port = port.expect("a line").expect("a port").parse().expect("a number");
        let stdin = child.stdin.take().expect("its input");
        Some(Self { port, mode, ca: made.cert.pem(), mails, _folder: folder, _stdin: stdin, _child: child })
    }

    pub(crate) fn options(&self) -> MailOptions {
        let scheme = match self.mode {
            "tls" => "smtps",
            "starttls" => "smtp",
            _ => "smtp+plain",
        };
        MailOptions {
            server: format!("{scheme}://127.0.0.1:{}", self.port).parse().expect("a server"),
            credentials: None,
            from: "lictor@vendor.example".parse().expect("an address"),
            extra_ca: Some(self.ca.clone()),
            deadline: Duration::from_secs(20),
        }
    }

    /// The next mail that it took.
    pub(crate) async fn mail(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.mails.next_line()).await.expect("a mail in time");
        serde_json::from_str(&line.expect("a line").expect("a mail")).expect("JSON")
    }

    /// The next mail, however long it takes; nothing when the server ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let line = self.mails.next_line().await.ok().flatten()?;
        serde_json::from_str(&line).ok()
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}
