//! Small files as QR codes, and back.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::Args;
use lictor_license_file::frame::Frame;
use lictor_licensing::error::ErrorCode;
use serde_json::json;

use super::whole;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::qr::{JoinError, LEAST_VERSION, Look, MAX_CODES, QUIET, Size, half_blocks, join, png, split, svg};
use crate::{files, output};

#[derive(Debug, Args)]
pub(crate) struct Qr {
    /// The file, binary or as text; - reads stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Folder to write pictures to [default: show the codes in the terminal]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Kind of pictures
    #[arg(long, value_name = "FORMAT", default_value = "png", value_parser = ["png", "svg"], requires = "output")]
    format: String,

    /// Replace pictures that exist and differ
    #[arg(long, requires = "output")]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FromQr {
    /// Files with the texts of scanned codes, one or many in each; - reads stdin
    #[arg(value_name = "PARTS", required = true)]
    parts: Vec<PathBuf>,

    /// File to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Replace the file if it exists and differs
    #[arg(long)]
    force: bool,
}

impl Qr {
    pub(super) fn run(self, environment: &Environment) -> Outcome {
        let content = whole(&self.file)?;
        match &self.output {
            Some(folder) => self.pictures(&content, folder, environment),
            None if environment.out.is_json() => {
                let parts = cut(&content, Size::PICTURE)?;
                environment.out.one(&json!({ "file": self.file, "codes": parts.len(), "texts": parts }), String::new);
                Ok(())
            }
            None => in_terminal(&content),
        }
    }

    fn pictures(&self, content: &[u8], folder: &Path, environment: &Environment) -> Outcome {
        if !folder.is_dir() {
            return Err(Failure::new(
                ErrorCode::NotFound,
                format!("there is no folder {}", folder.display()),
                "make the folder or name another one after -o",
            ));
        }
        let parts = cut(content, Size::PICTURE)?;
        let stem = self.file.file_name().filter(|_| self.file.as_os_str() != "-").unwrap_or("file".as_ref());
        let mut written = Vec::new();
        for (place, part) in parts.iter().enumerate() {
            let code = Size::PICTURE.encode(part).map_err(|_| too_long())?;
            let picture = if self.format == "svg" { svg(&code).into_bytes() } else { png(&code) };
            let name = format!("{}-{}-of-{}.{}", stem.to_string_lossy(), place + 1, parts.len(), self.format);
            let path = folder.join(name);
            files::write(&path, &picture, self.force)?;
            written.push(path);
        }
        environment.out.one(&json!({ "codes": parts.len(), "files": written }), || {
            let names: Vec<String> = written.iter().map(|path| format!("wrote {}", path.display())).collect();
            format!("{}\nnext: scan them in any order, then lictor file from-qr SCANNED.txt -o FILE", names.join("\n"))
        });
        Ok(())
    }
}

fn cut(content: &[u8], size: Size) -> Outcome<Vec<String>> {
    split(content, size.capacity()).ok_or_else(|| {
        Failure::new(
            ErrorCode::LimitExceeded,
            format!("{} bytes are too much for {MAX_CODES} codes of this size", content.len()),
            "make the window larger, write pictures with -o DIR, or carry the file as text: lictor file armor",
        )
    })
}

fn too_long() -> Failure {
    Failure::local("a part does not fit into its code", "this is a fault of the program; carry the file as text")
}

fn in_terminal(content: &[u8]) -> Outcome {
    let terminal = std::io::stdout().is_terminal();
    let size = if terminal {
        let shown = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
        // A terminal that does not know its size gets the usual one.
        let (columns, rows) = shown.map_or((80, 40), |size| (size.ws_col, size.ws_row));
        let side = i32::from(LEAST_VERSION) * 4 + 17 + 2 * QUIET;
        Size::of_terminal(columns, rows).ok_or_else(|| {
            Failure::usage(
                format!("a window of {columns} columns and {rows} rows is too small for a code"),
                format!("make it at least {side} by {}, or write pictures with -o DIR", (side + 1) / 2 + 3),
            )
        })?
    } else {
        Size::of_terminal(80, 43).unwrap_or(Size::PICTURE)
    };
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|text| text.is_empty());
    let look = if colours { Look::Colours } else { Look::Plain };
    let parts = cut(content, size)?;
    let stepwise = terminal && std::io::stdin().is_terminal();
    for (place, part) in parts.iter().enumerate() {
        let code = size.encode(part).map_err(|_| too_long())?;
        output::raw(half_blocks(&code, look).as_bytes());
        let last = place + 1 == parts.len();
        let label = format!("code {} of {}", place + 1, parts.len());
        if stepwise && !last {
            output::raw(format!("{label}; Enter shows the next one ").as_bytes());
            let mut line = String::new();
            // The end of the input ends the series too.
            if std::io::stdin().lock().read_line(&mut line).unwrap_or(0) == 0 {
                return Ok(());
            }
        } else {
            output::raw(format!("{label}\n").as_bytes());
        }
    }
    Ok(())
}

impl FromQr {
    pub(super) fn run(self, environment: &Environment) -> Outcome {
        files::check_target(&self.output, self.force)?;
        let mut scanned = String::new();
        for path in &self.parts {
            scanned.push_str(&String::from_utf8_lossy(&files::read(path)?));
            scanned.push('\n');
        }
        let content = join(&scanned).map_err(refused)?;
        Frame::parse(&content).map_err(|error| error.problem())?;
        files::write(&self.output, &content, self.force)?;
        let object = json!({ "file": self.output, "bytes": content.len() });
        environment.out.one(&object, || format!("wrote {}\nnext: lictor file show {0}", self.output.display()));
        Ok(())
    }
}

fn refused(error: JoinError) -> Failure {
    let (message, next) = match error {
        JoinError::NoParts => (
            "there is no text of our QR codes in it".to_owned(),
            "scan the codes that lictor file qr showed; their texts begin with LICTOR:1:",
        ),
        JoinError::SeveralFiles(files) => {
            let all: Vec<_> = files.iter().map(|(id, have, of)| format!("{id} ({have} of {of})")).collect();
            (format!("the codes belong to {} files: {}", files.len(), all.join(", ")), "join each file by itself")
        }
        JoinError::Missing { missing, of, damaged } => {
            let numbers: Vec<_> = missing.iter().map(usize::to_string).collect();
            let tail = if damaged > 0 { format!("; {damaged} could not be read") } else { String::new() };
            (
                format!("of {of} codes these are missing: {}{tail}", numbers.join(", ")),
                "scan them too; what is there stays good",
            )
        }
        JoinError::WrongSum => ("the codes do not give the file that they name".to_owned(), "scan all of them again"),
    };
    Failure::new(ErrorCode::FileDamaged, message, next)
}
