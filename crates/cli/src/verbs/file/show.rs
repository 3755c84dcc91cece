//! What a file of remote programming is. Nothing in it is used, and nothing secret is shown.

use std::path::{Path, PathBuf};

use clap::Args;
use lictor_license_file::context::{self, Context};
use lictor_license_file::frame::{FileType, Frame};
use lictor_license_file::modified_context::ModifiedContext;
use lictor_license_file::update::UpdateFile;
use lictor_license_file::{FileError, lif};
use lictor_signing::TrustedRoot;
use serde_json::{Map, Value, json};

use crate::args::hex;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::{files, show};

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The file, binary or as text; - reads stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Licence information file of a vendor that is trusted [default: LICTOR_TRUST, else `trust` in client.toml]
    #[arg(long, value_name = "F.lif")]
    trust: Vec<PathBuf>,
}

/// Facts about a file, in the order in which people read them.
#[derive(Default)]
struct Facts(Vec<(&'static str, Value)>);

impl Facts {
    fn add(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.push((name, value.into()));
    }

    fn object(&self) -> Value {
        Value::Object(self.0.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Map<_, _>>())
    }

    fn sheet(&self) -> String {
        let words = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Array(all) => all.iter().map(|v| v.as_str().unwrap_or_default()).collect::<Vec<_>>().join(", "),
            Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
            other => other.to_string(),
        };
        let names: Vec<String> = self.0.iter().map(|(name, _)| name.replace('_', " ")).collect();
        let pairs: Vec<(&str, String)> =
            names.iter().map(String::as_str).zip(self.0.iter().map(|(_, value)| words(value))).collect();
        show::sheet(&pairs)
    }
}

impl Show {
    pub(super) fn run(self, environment: &Environment) -> Outcome {
        let content = files::read_license_file(&self.file)?;
        let refused = |error: FileError| Failure::Problem(error.problem());
        let frame = Frame::parse(&content).map_err(refused)?;
        let mut facts = Facts::default();
        facts.add("file", json!(self.file));
        facts.add("type", frame.file_type.name());
        facts.add("bytes", content.len());
        match frame.file_type {
            FileType::Context | FileType::Receipt => {
                let verified = context::read_any(&content).map_err(refused)?;
                of_context(&mut facts, &verified.context);
                facts.add("signature", "good: by the key of the container that it names");
            }
            FileType::Update => self.of_update(&mut facts, &content, environment)?,
            FileType::LicenseInformation => {
                let opened = lif::read(&content).map_err(refused)?;
                let information = opened.information;
                facts.add("firm_code", information.firm_code.get());
                facts.add("root_version", opened.root.version());
                facts.add("root_fingerprint", hex(opened.root.digest()));
                facts.add("activation_address", information.activation_address);
                facts.add("issued_at", information.issued_at.to_string());
                facts.add(
                    "signature",
                    "good: by the root document inside it; compare its fingerprint with the vendor's",
                );
            }
            FileType::ModifiedContext => self.of_modified(&mut facts, &content, environment)?,
        }
        environment.out.one(&facts.object(), || facts.sheet());
        Ok(())
    }

    fn of_update(&self, facts: &mut Facts, content: &[u8], environment: &Environment) -> Outcome {
        let refused = |error: FileError| Failure::Problem(error.problem());
        let update = UpdateFile::read(content).map_err(refused)?;
        facts.add("root_documents", update.roots.len());
        let Some(info) = update.info() else {
            facts.add("signature", "not checked: it carries root documents alone");
            return Ok(());
        };
        facts.add("container_id", info.container_id.to_string());
        facts.add("firm_code", info.firm_code.get());
        facts.add("epoch", update.segments.last().map_or(0, |segment| segment.header().epoch));
        facts.add("from", info.from);
        facts.add("to", info.to);
        facts.add("segments", info.segments);
        facts.add("issued_at", info.issued_at.to_string());
        match self.root(info.firm_code.get(), environment)? {
            None => facts.add("signature", untrusted(info.firm_code.get())),
            Some(mut root) => {
                // The file may bring newer root documents, which lead from the trusted one to the keys of its segments.
                for document in &update.roots {
                    if let Ok(next) = root.update(document) {
                        root = next;
                    }
                }
                for segment in &update.segments {
                    segment.verify(&root).map_err(refused)?;
                }
                facts.add("signature", format!("good: by the vendor, root document {}", root.version()));
            }
        }
        Ok(())
    }

    fn of_modified(&self, facts: &mut Facts, content: &[u8], environment: &Environment) -> Outcome {
        let mut tried = Vec::new();
        for root in self.roots(environment)? {
            match ModifiedContext::read(content, &root) {
                Ok(modified) => {
                    let state = &modified.predicted;
                    facts.add("container_id", state.container_id.to_string());
                    facts.add("firm_code", state.firm_code.get());
                    facts.add("epoch", state.epoch);
                    facts.add("pending", modified.pending.len());
                    facts.add("counter", state.counter);
                    facts.add("head", state.head.to_string());
                    facts.add("state_digest", state.digest().to_string());
                    facts.add("signature", format!("good: by the vendor, root document {}", root.version()));
                    return Ok(());
                }
                Err(error) => tried.push(error),
            }
        }
        match tried.pop() {
            Some(error) => Err(error.problem().into()),
            None => {
                facts.add("signature", "not checked: give the vendor's licence information file with --trust");
                Ok(())
            }
        }
    }

    fn root(&self, firm_code: u32, environment: &Environment) -> Outcome<Option<TrustedRoot>> {
        Ok(self.roots(environment)?.into_iter().find(|root| root.firm_code() == firm_code))
    }

    fn roots(&self, environment: &Environment) -> Outcome<Vec<TrustedRoot>> {
        let paths: &[PathBuf] = if self.trust.is_empty() { &environment.settings.trust } else { &self.trust };
        paths.iter().map(|path| trusted(path)).collect()
    }
}

fn trusted(path: &Path) -> Outcome<TrustedRoot> {
    let content = files::read_license_file(path)?;
    Ok(lif::read(&content).map_err(|error| error.problem())?.root)
}

fn untrusted(firm_code: u32) -> String {
    format!("not checked: give the licence information file of firm {firm_code} with --trust")
}

fn of_context(facts: &mut Facts, context: &Context) {
    facts.add("serial", context.serial.clone());
    facts.add("container_id", context.container_id().to_string());
    facts.add("firm_code", context.firm_code.get());
    facts.add("kind", context.kind.to_string());
    facts.add("virtual_machine", context.virtual_machine);
    facts.add("runtime", context.runtime.to_string());
    facts.add("root_version", context.root_version);
    facts.add("epoch", context.epoch);
    facts.add("counter", context.counter);
    facts.add("head", context.head.to_string());
    facts.add("sequence", context.sequence);
    facts.add("created_at", context.created_at.to_string());
    facts.add("fresh", context.vendor_nonce.is_some());
    if let context::Reason::Receipt(results) = &context.reason {
        let words = results.iter().map(|result| format!("{}: {}", result.to, result.verdict.name()));
        facts.add("results", Value::Array(words.map(Value::String).collect()));
    }
    facts.add("evidence", context.evidence.len());
}
