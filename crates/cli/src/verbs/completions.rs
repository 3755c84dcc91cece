//! `lictor completions`: the shell finishes words.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Outcome;
use crate::output;

/// Print the completion script of a shell
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lictor completions bash > /etc/bash_completion.d/lictor
  lictor completions zsh > \"${fpath[1]}/_lictor\"
  lictor completions fish > ~/.config/fish/completions/lictor.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, mut command: Command) -> Outcome {
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        output::raw(&script);
        Ok(())
    }
}
