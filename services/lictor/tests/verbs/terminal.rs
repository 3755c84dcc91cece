//! A real terminal: tmux with a socket of its own, keys sent and screens read as a person would.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::world::until;

pub(crate) struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Starts a shell command in a window of 100 by 40.
    pub(crate) fn start(folder: &Path, name: &str, environment: &[(&str, String)], command: &str) -> Self {
        let socket = folder.join(format!("{name}.tmux"));
        let terminal = Self { socket };
        let assignments: String = environment.iter().map(|(name, value)| format!("{name}='{value}' ")).collect();
        // The window stays when the command has ended, so that its last screen can be read, with its exit code.
        // The shell outlives Ctrl-C, which is for the command.
        let script = format!(
            "trap : INT; cd '{}'; {assignments}{command}; echo \"ended with $?\"; exec sleep 600",
            folder.display()
        );
        let started = terminal
            .tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "40", "sh", "-c", &script])
            .status()
            .expect("tmux is installed: tests/scripts/install-dependencies.sh");
        assert!(started.success());
        terminal
    }

    fn tmux(&self, words: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).args(words).env("TERM", "xterm-256color").env_remove("TMUX");
        command
    }

    /// What stands in the window now.
    pub(crate) fn screen(&self) -> String {
        let shown = self.tmux(&["capture-pane", "-p", "-S", "-200"]).output().expect("tmux");
        String::from_utf8_lossy(&shown.stdout).trim_end().to_owned()
    }

    /// Waits until the window shows a text, and gives the whole screen.
    pub(crate) fn shows(&self, wanted: &str) -> String {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(wanted, || {
                last = self.screen();
                last.contains(wanted).then(|| last.clone())
            })
        }));
        found.unwrap_or_else(|_| panic!("{wanted:?} does not come; the screen:\n{last}"))
    }

    /// Types a line and Enter.
    pub(crate) fn answer(&self, line: &str) {
        if !line.is_empty() {
            assert!(self.tmux(&["send-keys", "-l", line]).status().expect("tmux").success());
        }
        self.key("Enter");
    }

    pub(crate) fn key(&self, key: &str) {
        assert!(self.tmux(&["send-keys", key]).status().expect("tmux").success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).status();
    }
}
