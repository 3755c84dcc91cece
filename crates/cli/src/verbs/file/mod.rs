//! `lictor file`: files of remote programming as they are, as text, and as QR codes. Asks no service.

mod codes;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lictor_license_file::armor;
use lictor_license_file::frame::Frame;
use serde_json::json;

use crate::environment::Environment;
use crate::failure::Outcome;
use crate::{files, output};

#[derive(Debug, Subcommand)]
pub(crate) enum FileVerbs {
    /// Say what a file is: type, container, counters, and whether its signature holds
    ///
    /// A context is signed by its own container. A licence information file shows the fingerprint to compare with the
    /// vendor's. Updates and modified contexts are checked against the vendors of --trust. Nothing secret is shown.
    #[command(after_help = "\
Examples:
  lictor file show box.rac
  lictor file show box.rau --trust vendor.lif
  lictor file show - < mail.txt

Exit code 7 when the file is damaged or its signature does not hold.")]
    Show(show::Show),
    /// Write a file as text, for mail and chat
    #[command(after_help = "\
Examples:
  lictor file armor box.rac
  lictor file armor box.rac -o box.txt

Every verb that reads such a file takes the text too, with whatever mail is
around it.")]
    Armor(Armor),
    /// Write a file that came as text in its binary form
    #[command(after_help = "Examples:\n  lictor file dearmor mail.txt -o box.rau\n  lictor file dearmor - -o box.rau")]
    Dearmor(Dearmor),
    /// Show a small file as a series of QR codes, or write them as pictures
    #[command(after_help = "\
Examples:
  lictor file qr box.rac             # in the terminal, one code after the other
  lictor file qr box.rac -o codes/   # as pictures box.rac-1-of-3.png and so on
  lictor file qr box.rac -o codes/ --format svg

Scan them in any order and join the texts with lictor file from-qr. At most 64
codes; a larger file travels by stick or as text.")]
    Qr(codes::Qr),
    /// Join the texts of scanned QR codes to the file
    #[command(after_help = "\
Examples:
  lictor file from-qr scanned.txt -o box.rac
  lictor file from-qr 1.txt 2.txt 3.txt -o box.rac
  lictor file from-qr - -o box.rac

In any order, the same one twice is fine. What is missing is named by its
number.")]
    FromQr(codes::FromQr),
}

#[derive(Debug, Args)]
pub(crate) struct Armor {
    /// The file; - reads stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// File to write [default: print the text]
    #[arg(short, long, value_name = "TEXT")]
    output: Option<PathBuf>,

    /// Replace the file if it exists and differs
    #[arg(long, requires = "output")]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Dearmor {
    /// The text; - reads stdin
    #[arg(value_name = "TEXT")]
    text: PathBuf,

    /// File to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Replace the file if it exists and differs
    #[arg(long)]
    force: bool,
}

impl FileVerbs {
    pub(crate) fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::Show(verb) => verb.run(environment),
            Self::Armor(verb) => verb.run(environment),
            Self::Dearmor(verb) => verb.run(environment),
            Self::Qr(verb) => verb.run(environment),
            Self::FromQr(verb) => verb.run(environment),
        }
    }
}

impl Armor {
    fn run(self, environment: &Environment) -> Outcome {
        let content = whole(&self.file)?;
        let text = armor::wrap(&content);
        match &self.output {
            Some(target) => {
                files::check_target(target, self.force)?;
                files::write(target, text.as_bytes(), self.force)?;
                let object = json!({ "file": target, "bytes": content.len() });
                environment.out.one(&object, || format!("wrote {}", target.display()));
            }
            None if environment.out.is_json() => {
                environment.out.one(&json!({ "text": text, "bytes": content.len() }), String::new);
            }
            None => output::raw(text.as_bytes()),
        }
        Ok(())
    }
}

impl Dearmor {
    fn run(self, environment: &Environment) -> Outcome {
        files::check_target(&self.output, self.force)?;
        let content = whole(&self.text)?;
        files::write(&self.output, &content, self.force)?;
        let object = json!({ "file": self.output, "bytes": content.len() });
        environment.out.one(&object, || format!("wrote {}", self.output.display()));
        Ok(())
    }
}

/// Reads a file and makes sure that it is one of ours and whole, so that no damaged one travels on.
fn whole(path: &std::path::Path) -> Outcome<Vec<u8>> {
    let content = files::read_license_file(path)?;
    Frame::parse(&content).map_err(|error| error.problem())?;
    Ok(content)
}
