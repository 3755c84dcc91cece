//! Our own program as child processes: verbs that end, and those that go on.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};

use super::narrator::{Broken, Narrator, Story};
use super::world::FIRM_CODE;

/// Longest time of one verb.
const VERB_TIME: Duration = Duration::from_secs(30);
/// Longest time until something started is there.
const START_TIME: Duration = Duration::from_secs(30);
/// Pause between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// The program, seen from one machine of the story: its verbs use that machine's `client.toml`.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    program: PathBuf,
    config: PathBuf,
}

/// What a verb answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<Value>,
    pub(crate) stderr: String,
}

impl Answer {
    /// The one object of the answer.
    pub(crate) fn one(&self) -> &Value {
        self.lines.first().unwrap_or(&Value::Null)
    }
}

impl Machine {
    pub(crate) fn new(program: &Path, config: PathBuf) -> Self {
        Self { program: program.to_owned(), config }
    }

    /// Runs a verb to its end, with `--json`.
    pub(crate) async fn run(&self, narrator: &Narrator, words: &[&str]) -> Story<Answer> {
        let shown = words.join(" ");
        narrator.detail(&format!("$ lictor {shown}"));
        let mut command = self.command();
        command.args(words).arg("--json").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = timeout(VERB_TIME, command.output())
            .await
            .map_err(|_| Broken::new(format!("lictor {shown} did not end within {} s", VERB_TIME.as_secs())))?
            .map_err(|error| Broken::new(format!("lictor {shown} cannot be started: {error}")))?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        narrator.detail(&stdout);
        narrator.detail(&stderr);
        let lines: Result<Vec<Value>, _> = stdout.lines().map(serde_json::from_str).collect();
        let lines =
            lines.map_err(|_| Broken::new(format!("lictor {shown} --json printed something else: {stdout}")))?;
        Ok(Answer { code: output.status.code(), lines, stderr })
    }

    /// Runs a verb that must succeed; gives its lines.
    pub(crate) async fn lines(&self, narrator: &Narrator, words: &[&str]) -> Story<Vec<Value>> {
        let answer = self.run(narrator, words).await?;
        if answer.code != Some(0) {
            return Err(Broken::new(format!(
                "lictor {} ended with {:?} instead of 0\n  {}",
                words.join(" "),
                answer.code,
                answer.stderr.trim()
            )));
        }
        Ok(answer.lines)
    }

    /// Runs a verb that must succeed and answers with one object.
    pub(crate) async fn ok(&self, narrator: &Narrator, words: &[&str]) -> Story<Value> {
        let mut lines = self.lines(narrator, words).await?;
        if lines.len() != 1 {
            return Err(Broken::new(format!("lictor {} answered {} lines instead of 1", words.join(" "), lines.len())));
        }
        Ok(lines.remove(0))
    }

    /// Starts the program and lets it run.
    pub(crate) fn start(&self, words: &[&str], environment: &[(&str, &str)]) -> Story<Background> {
        Self::start_command(self.command(), words, environment)
    }

    /// As [`Self::start`], for the verb that writes the configuration.
    pub(crate) fn start_without_config(&self, words: &[&str], environment: &[(&str, &str)]) -> Story<Background> {
        let mut command = self.command();
        command.env_remove("LICTOR_CONFIG");
        Self::start_command(command, words, environment)
    }

    fn start_command(mut command: Command, words: &[&str], environment: &[(&str, &str)]) -> Story<Background> {
        command
            .args(words)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Background::start(command, words)
    }

    /// The program with an environment that holds nothing of ours: what the demo shows must not hang on the caller's.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let foreign = name.to_str().is_none_or(|name| {
                ["LICTOR_", "CODEMETER_", "DATABASE_", "AMQP_", "REDIS_", "TLS_", "AUTH_", "SERVICE_", "GRPC_", "HTTP_"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
            });
            if foreign {
                command.env_remove(name);
            }
        }
        command.env("LICTOR_CONFIG", &self.config).env("LICTOR_FIRM_CODE", FIRM_CODE).kill_on_drop(true);
        command
    }
}

/// A child that goes on until it is told to stop. Dropped, it is killed; when the demo itself dies, its stdin ends, and
/// that ends it too.
#[derive(Debug)]
pub(crate) struct Background {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    errors: tokio::task::JoinHandle<String>,
    words: String,
}

impl Background {
    fn start(mut command: Command, words: &[&str]) -> Story<Self> {
        let words = words.join(" ");
        let cannot = |why: &str| Broken::new(format!("lictor {words} cannot be started: {why}"));
        let mut child = command.spawn().map_err(|error| cannot(&error.to_string()))?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().ok_or_else(|| cannot("it has no stdout"))?).lines();
        let stderr = child.stderr.take().ok_or_else(|| cannot("it has no stderr"))?;
        // Read all the time, else a chatty child would wait for a reader.
        let errors = tokio::spawn(async move {
            let mut text = Vec::new();
            let mut limited = stderr.take(1024 * 1024);
            let _ = limited.read_to_end(&mut text).await;
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Self { child, stdin, stdout, errors, words })
    }

    /// Waits for the next line of stdout, which must be JSON.
    pub(crate) async fn line(&mut self) -> Story<Value> {
        let line = timeout(START_TIME, self.stdout.next_line()).await;
        match line {
            Ok(Ok(Some(line))) => serde_json::from_str(&line)
                .map_err(|_| Broken::new(format!("lictor {} --json printed something else: {line}", self.words))),
            Ok(_) => {
                let (status, stderr) = self.ended().await?;
                Err(Broken::new(format!("lictor {} ended too early ({status})\n  {}", self.words, stderr.trim())))
            }
            Err(_) => {
                Err(Broken::new(format!("lictor {} was not there within {} s", self.words, START_TIME.as_secs())))
            }
        }
    }

    /// Kills it as a power cut would: no warning, no last word.
    pub(crate) async fn kill(mut self) -> Story {
        self.child.kill().await.map_err(|error| Broken::new(format!("lictor {} cannot be killed: {error}", self.words)))
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) -> Story {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        let sent = pid.is_some_and(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok());
        if sent { Ok(()) } else { Err(Broken::new(format!("lictor {} is gone already", self.words))) }
    }

    /// Ends its stdin: the worker behind `run` takes that as the end of its work.
    pub(crate) fn end_of_work(&mut self) {
        self.stdin = None;
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the end; gives how it ended and what it said on stderr.
    pub(crate) async fn ended(&mut self) -> Story<(ExitStatus, String)> {
        let status = timeout(VERB_TIME, self.child.wait())
            .await
            .map_err(|_| Broken::new(format!("lictor {} did not end within {} s", self.words, VERB_TIME.as_secs())))?
            .map_err(|error| Broken::new(format!("lictor {} cannot be waited for: {error}", self.words)))?;
        let stderr = (&mut self.errors).await.unwrap_or_default();
        Ok((status, stderr))
    }
}

/// Looks again and again until `condition` gives something, for at most `patience`.
pub(crate) async fn until<T, F, Fut>(what: &str, patience: Duration, mut condition: F) -> Story<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Story<Option<T>>>,
{
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = condition().await? {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(Broken::new(format!("waited {} s in vain for: {what}", patience.as_secs())));
        }
        sleep(LOOK).await;
    }
}
