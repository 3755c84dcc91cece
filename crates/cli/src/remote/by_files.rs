//! The vendor's half of a change by files: a context comes in, an update file goes out.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::environment::Environment;
use crate::failure::Outcome;
use crate::files;
use crate::request::Request;
use crate::resume::{Begun, Subject};

/// The two files of a change.
#[derive(Args, Clone, Debug)]
pub(crate) struct FilePair {
    /// Context file of the container, binary or as text: work by files
    #[arg(long, value_name = "F.rac", requires = "output")]
    context: Option<PathBuf>,

    /// Update file to write
    #[arg(short, long, value_name = "F.rau", requires = "context")]
    output: Option<PathBuf>,

    /// Replace the update file if it exists and differs
    #[arg(long, requires = "context")]
    force: bool,
}

/// A way by files, checked as far as it goes without asking anybody.
#[derive(Clone, Debug)]
pub(crate) struct FileWay {
    /// The context.
    pub(crate) context: Vec<u8>,
    /// Where the update goes.
    pub(crate) target: PathBuf,
    force: bool,
}

impl FilePair {
    /// None when the change is done online.
    pub(crate) fn way(&self) -> Outcome<Option<FileWay>> {
        let (Some(context), Some(target)) = (&self.context, &self.output) else { return Ok(None) };
        FileWay::new(context, target.clone(), self.force).map(Some)
    }
}

impl FileWay {
    /// Reads the context and makes sure that the update can be written.
    pub(crate) fn new(context: &Path, target: PathBuf, force: bool) -> Outcome<Self> {
        files::check_target(&target, force)?;
        Ok(Self { context: files::read_license_file(context)?, target, force })
    }

    /// Writes the update.
    pub(crate) fn write(&self, update: &[u8]) -> Outcome {
        files::write(&self.target, update, self.force)
    }

    /// What the next hand has to do.
    pub(crate) fn next(&self) -> String {
        format!("wrote {}\nnext: lictor server import {0} -o RECEIPT.rac, at the licence server", self.target.display())
    }
}

/// Asks with the context of the file and writes the update. The same files and choices make the same request, so that an
/// interrupted run is repeated safely.
pub(crate) async fn by_files<T>(
    way: &FileWay,
    subject: &Subject,
    environment: &Environment,
    ask: impl AsyncFn(&Begun) -> Outcome<(T, Vec<u8>)>,
) -> Outcome<T> {
    let begun = Begun { request_id: subject.request_id(&way.context), context: way.context.clone() };
    environment.out.asks(Request::by_command(&begun.request_id));
    let (answer, update) = ask(&begun).await?;
    way.write(&update)?;
    Ok(answer)
}
