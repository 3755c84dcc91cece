//! Sealed content: what programs can read only with a seat.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lictor_licensing::error::ErrorCode;
use lictor_sdk::content::{self, ContentError, MAX_CONTENT_BYTES};
use lictor_sdk::{KeyChoice, ProgramKeys, Request, UseError};
use serde_json::json;

use super::run;
use crate::args::number;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::files;

/// Verbs for sealed content.
#[derive(Debug, Subcommand)]
pub(crate) enum ContentVerbs {
    Keys(Keys),
    Seal(Seal),
}

impl ContentVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::Keys(verb) => verb.run(environment).await,
            Self::Seal(verb) => verb.run(environment),
        }
    }
}

/// Fetch the public keys of a product, for the vendor's build
///
/// Takes a seat of the product for a moment, from a licence server that has a licence of it. The keys are the same for every
/// customer and never change: fetch them once and keep them with the sources. Nothing can be opened with them.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lictor content keys --firm-code 6000010 --product-code 201 -o product-201.keys
  lictor content keys --firm-code 6000010 --product-code 201 --selector 2 \\
    --code levels --trust example.lif -o levels.keys")]
pub(crate) struct Keys {
    /// The product
    #[arg(long, value_name = "P", value_parser = number)]
    product_code: u32,

    /// Which of the product's keys, any number
    #[arg(long, value_name = "N", default_value = "0", value_parser = number)]
    selector: u32,

    /// The program's own part, at most 64 bytes of text
    #[arg(long, value_name = "TEXT", default_value = "")]
    code: String,

    /// Number of an entry of the item's secret data that takes part
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..128))]
    secret: Option<u8>,

    /// Licence information file of the vendor [default: LICTOR_TRUST, else `trust` in client.toml]
    #[arg(long, value_name = "F.lif")]
    trust: Vec<PathBuf>,

    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,

    /// Overwrite the file
    #[arg(long)]
    force: bool,
}

impl Keys {
    async fn run(self, environment: &Environment) -> Outcome {
        files::check_target(&self.out, self.force)?;
        let client = run::client(environment, &self.trust)?;
        let request = Request::new(environment.firm_code()?, self.product_code).program("lictor content keys");
        let seat = client.acquire(request).await.map_err(run::acquire_failure)?;
        let mut choice = KeyChoice::new(self.selector).code(self.code);
        if let Some(secret) = self.secret {
            choice = choice.secret(secret);
        }
        let keys = seat.program_keys(&choice).await;
        seat.release().await;
        let keys = keys.map_err(use_failure)?;
        files::write(&self.out, &keys.to_bytes(), self.force)?;
        let object = json!({
            "firm_code": keys.firm_code(),
            "product_code": keys.product_code(),
            "file": self.out,
        });
        environment
            .out
            .one(&object, || format!("{} has the public keys of product {}", self.out.display(), keys.product_code()));
        Ok(())
    }
}

/// Seal a file, so that programs can read it only with a seat of a product
///
/// Needs neither a licence nor a server: it is for the vendor's build. Programs open it with the SDK.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  lictor content seal --keys product-201.keys levels.dat -o levels.sealed")]
pub(crate) struct Seal {
    /// The product's public keys, from `lictor content keys`
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,

    /// The file to seal, at most 256 MiB
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,

    /// Overwrite the file
    #[arg(long)]
    force: bool,
}

impl Seal {
    fn run(self, environment: &Environment) -> Outcome {
        files::check_target(&self.out, self.force)?;
        let keys = files::read(&self.keys)?;
        let keys = ProgramKeys::from_bytes(&keys).map_err(|error| {
            Failure::new(ErrorCode::FileDamaged, format!("{}: {error}", self.keys.display()), "fetch the keys again")
        })?;
        let plain = read(&self.file)?;
        let sealed = content::seal(&keys, &plain).map_err(content_failure)?;
        files::write(&self.out, &sealed, self.force)?;
        let object = json!({
            "firm_code": keys.firm_code(),
            "product_code": keys.product_code(),
            "file": self.out,
            "bytes": sealed.len(),
        });
        environment
            .out
            .one(&object, || format!("{} opens with a seat of product {}", self.out.display(), keys.product_code()));
        Ok(())
    }
}

/// A file of the vendor's own making: as large as content may be.
fn read(path: &std::path::Path) -> Outcome<Vec<u8>> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| {
        Failure::new(
            ErrorCode::NotFound,
            format!("{} cannot be read: {}", path.display(), error.kind()),
            "check its path",
        )
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_CONTENT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn content_failure(error: ContentError) -> Failure {
    let (code, next) = match &error {
        ContentError::TooLong(_) => (ErrorCode::LimitExceeded, "seal it in parts"),
        ContentError::Random(_) => (ErrorCode::Internal, "look after this machine"),
        _ => (ErrorCode::FileDamaged, "fetch the keys again"),
    };
    Failure::new(code, error.to_string(), next)
}

fn use_failure(error: UseError) -> Failure {
    match error {
        UseError::Failed(problem) => problem.into(),
        UseError::NotTrusted(_) => Failure::new(
            ErrorCode::FileForged,
            error.to_string(),
            "check that --trust names the file of this vendor, and who answers at that address",
        ),
        other => {
            Failure::new(ErrorCode::Unavailable, other.to_string(), "check that the licence server runs, and repeat")
        }
    }
}
