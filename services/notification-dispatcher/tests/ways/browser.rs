//! Debian's Chromium without a window, driven over its pipe: one JSON message per NUL-terminated record.

use std::{path::Path, process::Stdio, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe::{OpenOptions, Receiver, Sender},
    process::{Child, Command},
};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Browser {
    to: Sender,
    from: Receiver,
    read: Vec<u8>,
    session: String,
    number: u64,
    loads: u64,
    complaints: Vec<String>,
    _folder: TempDir,
    _child: Child,
}

impl Browser {
    /// Nothing when it is not installed.
    pub(crate) async fn start() -> Option<Self> {
        if !Command::new("chromium")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await
            .is_ok_and(|it| it.success())
        {
            eprintln!("SKIPPED: chromium is not installed; run tests/scripts/install-dependencies.sh");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (to, from) = (folder.path().join("to"), folder.path().join("from"));
        for pipe in [&to, &from] {
            let made = Command::new("mkfifo").arg(pipe).status().await.expect("mkfifo runs");
            assert!(made.success());
        }
        // Opened for both directions, so that neither side waits for the other.
        let to = OpenOptions::new().read_write(true).open_sender(&to).expect("a pipe");
        let from = OpenOptions::new().read_write(true).open_receiver(&from).expect("a pipe");
        let child = Command::new("sh")
            .arg("-c")
            .arg(
                "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
                  --disable-extensions --hide-scrollbars --user-data-dir=\"$1/profile\" --remote-debugging-pipe \
                  about:blank 3<\"$1/to\" 4>\"$1/from\"",
            )
            .arg("browser")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .expect("a browser");
        let mut browser = Self {
            to,
            from,
            read: Vec::new(),
            session: String::new(),
            number: 0,
            loads: 0,
            complaints: Vec::new(),
            _folder: folder,
            _child: child,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attached = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attached).await;
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Log", "Runtime"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        Some(browser)
    }

    /// What the browser did not like: errors of scripts, refusals of the content security policy.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.clone()
    }

    /// Light or dark, and how wide the window is.
    pub(crate) async fn look(&mut self, dark: bool, width: u32) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features).await;
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Opens a page and waits until it is loaded.
    pub(crate) async fn open(&mut self, url: &str) {
        let before = self.loads;
        self.call("Page.navigate", json!({ "url": url })).await;
        self.loaded(before).await;
    }

    /// Runs a script that leads to another page, and waits until that is loaded.
    pub(crate) async fn go(&mut self, script: &str) {
        let before = self.loads;
        self.ask(script).await;
        self.loaded(before).await;
    }

    async fn loaded(&mut self, before: u64) {
        while self.loads == before {
            let message = self.receive().await;
            self.note(&message);
        }
    }

    /// What a script comes to.
    pub(crate) async fn ask(&mut self, script: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({ "expression": script, "returnByValue": true })).await;
        assert!(answer.get("exceptionDetails").is_none(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Asks until a script comes to true.
    pub(crate) async fn until(&mut self, script: &str) {
        let begun = tokio::time::Instant::now();
        while self.ask(script).await != true {
            assert!(
                begun.elapsed() < PATIENCE,
                "{script} did not become true: {}",
                self.ask("document.body.innerText").await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Keeps a picture of the whole page under `target/pictures`.
    pub(crate) async fn picture(&mut self, name: &str) {
        let options = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.call("Page.captureScreenshot", options).await;
        let bytes = STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.png")), bytes).expect("a file");
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).await.expect("the browser listens");
        loop {
            let message = self.receive().await;
            if message["id"] == self.number {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        match message["method"].as_str().unwrap_or_default() {
            "Page.loadEventFired" => self.loads += 1,
            "Log.entryAdded" if message["params"]["entry"]["level"] == "error" => {
                self.complaints.push(message["params"]["entry"]["text"].to_string());
            }
            "Runtime.exceptionThrown" => self.complaints.push(message["params"].to_string()),
            _ => {}
        }
    }

    async fn receive(&mut self) -> Value {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == 0) {
                let message: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&message[..end]).expect("JSON");
            }
            let mut buffer = vec![0; 256 * 1024];
            let read = tokio::time::timeout(PATIENCE, self.from.read(&mut buffer)).await;
            let length = read.expect("the browser answers in time").expect("the browser answers");
            self.read.extend_from_slice(&buffer[..length]);
        }
    }
}
