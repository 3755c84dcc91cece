//! `lictor vendor root`: the vendor's keys, from a proposal to its installation.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lictor_api::update::v1::root_change::{AddKey, Change, LimitKey, RetireKey, SetThreshold};
use lictor_api::update::v1::vendor_service_client::VendorServiceClient;
use lictor_api::update::v1::{
    GetRootRequest, InstallRootRequest, ProposeRootRequest, RootChange, RootProposal, SignRootRequest,
};
use lictor_clock::Timestamp;
use lictor_key_store::holder::read_public;
use lictor_licensing::error::ErrorCode;
use serde_json::{Value, json};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::document;
use crate::args::{moment, wire_time};
use crate::connect::{Caller, Link};
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::files;

type Client = VendorServiceClient<InterceptedService<Channel, Caller>>;

#[derive(Debug, Subcommand)]
pub(crate) enum RootVerbs {
    /// Show the newest root document, what is proposed, and keys that end soon
    #[command(after_help = "\
Examples:
  lictor vendor root show
  lictor vendor root show -o proposal.root

With -o the waiting proposal is written for its holders to sign; without one,
the newest document.")]
    Show(Show),
    /// Propose the next root document: other keys, other thresholds
    #[command(after_help = "\
Examples:
  lictor vendor root propose --add-key root=carol.pub --retire 5f1c2a90 \\
    -o proposal.root
  lictor vendor root propose --threshold root=3 -o proposal.root
  lictor vendor root propose --add-key issue=new --limit 5f1c2a90=2027-01-31 \\
    -o proposal.root

Nothing counts before it is signed and installed. The same proposal again is
answered with the waiting one. A root key in the key store signs no proposals:
such a vendor changes its keys with lictor vendor root rotate.")]
    Propose(Propose),
    /// Hand in a proposal that holders signed
    #[command(after_help = "Example:\n  lictor vendor root sign proposal.root")]
    Sign(Sign),
    /// Make the proposal count, once enough holders signed it
    #[command(after_help = "\
Examples:
  lictor vendor root install proposal.root
  lictor vendor root install --fingerprint 3b2f...")]
    Install(Install),
    /// Give a role a new key, made in the key store
    ///
    /// The old key signs nothing from now on; what it signed counts. With --stolen the old key counts no more at all:
    /// what waits for its container is signed again, and a container that knows the new root refuses the rest. Where
    /// the key store holds enough root keys the new root is installed at once, else it is written for its holders.
    #[command(after_help = "\
Examples:
  lictor vendor root rotate --role issue
  lictor vendor root rotate --role issue --stolen -o proposal.root")]
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// File to write
    #[arg(short, long, value_name = "F.root")]
    output: Option<PathBuf>,

    /// Replace the file if it exists and differs
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Propose {
    /// Another key of a role: a public key file, or `new` for one that the key store makes
    #[arg(long, value_name = "ROLE=F.pub|new")]
    add_key: Vec<String>,

    /// Key that counts no more: its id, at least 8 digits
    #[arg(long, value_name = "KEY")]
    retire: Vec<String>,

    /// Key that signs nothing from a time on
    #[arg(long, value_name = "KEY=TIME")]
    limit: Vec<String>,

    /// How many keys of a role must agree
    #[arg(long, value_name = "ROLE=N")]
    threshold: Vec<String>,

    /// End of the added keys; root keys have none
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,

    /// Drop a proposal that waits, with its signatures
    #[arg(long)]
    replace: bool,

    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Target {
    /// File to write, for the holders of root keys to sign
    #[arg(short, long, value_name = "F.root")]
    output: Option<PathBuf>,

    /// Replace the file if it exists and differs
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The signed proposal; several when holders signed copies
    #[arg(value_name = "F.root", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// The proposal
    #[arg(value_name = "F.root", required_unless_present = "fingerprint", conflicts_with = "fingerprint")]
    file: Option<PathBuf>,

    /// Its fingerprint, as people compared it
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Role that gets a new key
    #[arg(long, value_name = "ROLE", value_parser = ["issue", "time", "support", "lease-certifier"])]
    role: String,

    /// The old key is in wrong hands: it counts no more
    #[arg(long)]
    stolen: bool,

    /// Drop a proposal that waits, with its signatures
    #[arg(long)]
    replace: bool,

    #[command(flatten)]
    target: Target,
}

impl RootVerbs {
    pub(super) async fn run(
        self,
        firm_code: u32,
        mut client: Client,
        link: &Link,
        environment: &Environment,
    ) -> Outcome {
        let client = &mut client;
        match self {
            Self::Show(verb) => show(firm_code, verb, client, link, environment).await,
            Self::Propose(verb) => {
                let changes = verb.changes()?;
                let proposal = propose(firm_code, changes, verb.replace, client, link).await?;
                tell(&proposal, &verb.target, environment)
            }
            Self::Sign(verb) => {
                let mut last = None;
                let mut added = 0;
                for file in &verb.files {
                    let envelope = files::read(file)?;
                    let request = SignRootRequest { firm_code, envelope, use_held_keys: false };
                    let answer = client.sign_root(request).await.map_err(|status| link.failed(status))?.into_inner();
                    added += answer.added;
                    last = answer.proposal;
                }
                let proposal = last.ok_or_else(|| link.incomplete())?;
                let mut object = progress(&proposal);
                object["added"] = added.into();
                environment.out.one(&object, || format!("{added} new signatures\n{}", progress_text(&proposal)));
                Ok(())
            }
            Self::Install(verb) => {
                let wanted = match (&verb.file, &verb.fingerprint) {
                    (Some(path), _) => document::fingerprint(&document::read(path)?.1),
                    (None, fingerprint) => fingerprint.clone().unwrap_or_default().replace([' ', ':'], ""),
                };
                install(firm_code, wanted, client, link, environment).await
            }
            Self::Rotate(verb) => rotate(firm_code, verb, client, link, environment).await,
        }
    }
}

impl Propose {
    fn changes(&self) -> Outcome<Vec<RootChange>> {
        let mut changes = Vec::new();
        for text in &self.add_key {
            let (role, file) = pair(text, "--add-key ROLE=F.pub")?;
            let public_key = if file == "new" { Vec::new() } else { public_key(&PathBuf::from(file))? };
            let not_after = self.until.map(wire_time);
            changes.push(Change::Add(AddKey { role: role.to_owned(), public_key, not_before: None, not_after }));
        }
        for text in &self.limit {
            let (key, time) = pair(text, "--limit KEY=TIME")?;
            let time = moment(time).map_err(|error| Failure::usage(error, "write --limit KEY=2027-01-31"))?;
            changes.push(Change::Limit(LimitKey { key_id: key_id(key), not_after: Some(wire_time(time)) }));
        }
        changes.extend(self.retire.iter().map(|key| Change::Retire(RetireKey { key_id: key_id(key) })));
        for text in &self.threshold {
            let (role, count) = pair(text, "--threshold ROLE=N")?;
            let count = count.parse().map_err(|_| Failure::usage("a threshold is a number", "write root=2"))?;
            changes.push(Change::Threshold(SetThreshold { role: role.to_owned(), count }));
        }
        if changes.is_empty() {
            return Err(Failure::usage("nothing is to change", "see: lictor vendor root propose --help"));
        }
        Ok(changes.into_iter().map(|change| RootChange { change: Some(change) }).collect())
    }
}

/// Reads the file of a public key.
pub(super) fn public_key(path: &std::path::Path) -> Outcome<Vec<u8>> {
    let text = String::from_utf8(files::read(path)?).unwrap_or_default();
    let key = read_public(&text).map_err(|error| {
        Failure::new(
            ErrorCode::FileDamaged,
            format!("{}: {error}", path.display()),
            "give the .pub file that lictor key create wrote",
        )
    })?;
    Ok(key.as_bytes().to_vec())
}

fn key_id(text: &str) -> String {
    text.replace(' ', "").to_ascii_lowercase()
}

fn pair<'t>(text: &'t str, form: &str) -> Outcome<(&'t str, &'t str)> {
    text.split_once('=').ok_or_else(|| Failure::usage(format!("{text} has no `=`"), format!("write {form}")))
}

async fn propose(
    firm_code: u32,
    changes: Vec<RootChange>,
    replace: bool,
    client: &mut Client,
    link: &Link,
) -> Outcome<RootProposal> {
    let request = ProposeRootRequest { firm_code, changes, replace };
    let answer = client.propose_root(request).await.map_err(|status| link.failed(status))?.into_inner();
    answer.proposal.ok_or_else(|| link.incomplete())
}

async fn rotate(firm_code: u32, verb: Rotate, client: &mut Client, link: &Link, environment: &Environment) -> Outcome {
    let answer =
        client.get_root(GetRootRequest { firm_code }).await.map_err(|status| link.failed(status))?.into_inner();
    let before = answer.document.ok_or_else(|| link.incomplete())?;
    let add = AddKey { role: verb.role.clone(), ..AddKey::default() };
    let mut changes = vec![RootChange { change: Some(Change::Add(add)) }];
    let now = environment.clock.now();
    let open = |key: &lictor_api::update::v1::RoleKey| {
        let end = key.not_after.as_ref().and_then(lictor_api::convert::from_timestamp);
        verb.stolen || end.is_none_or(|end| end > now)
    };
    for key in
        before.roles.iter().filter(|rule| rule.role == verb.role).flat_map(|rule| &rule.keys).filter(|key| open(key))
    {
        let key_id = key.key_id.clone();
        let change = if verb.stolen {
            Change::Retire(RetireKey { key_id })
        } else {
            Change::Limit(LimitKey { key_id, not_after: Some(wire_time(now)) })
        };
        changes.push(RootChange { change: Some(change) });
    }
    propose(firm_code, changes, verb.replace, client, link).await?;
    let request = SignRootRequest { firm_code, envelope: Vec::new(), use_held_keys: true };
    let answer = client.sign_root(request).await.map_err(|status| link.failed(status))?.into_inner();
    let proposal = answer.proposal.ok_or_else(|| link.incomplete())?;
    if !proposal.installable {
        return tell(&proposal, &verb.target, environment);
    }
    let fingerprint = proposal.document.map(|document| document.fingerprint).unwrap_or_default();
    install(firm_code, fingerprint, client, link, environment).await
}

async fn install(
    firm_code: u32,
    fingerprint: String,
    client: &mut Client,
    link: &Link,
    environment: &Environment,
) -> Outcome {
    let request = InstallRootRequest { firm_code, fingerprint };
    let answer = client.install_root(request).await.map_err(|status| link.failed(status))?.into_inner();
    let vendor = answer.vendor.ok_or_else(|| link.incomplete())?;
    let mut object = super::vendor_object(&vendor);
    object["installed"] = answer.installed.into();
    environment.out.one(&object, || super::vendor_sheet(&vendor));
    Ok(())
}

async fn show(firm_code: u32, verb: Show, client: &mut Client, link: &Link, environment: &Environment) -> Outcome {
    let answer =
        client.get_root(GetRootRequest { firm_code }).await.map_err(|status| link.failed(status))?.into_inner();
    let newest = answer.envelopes.last().cloned().unwrap_or_default();
    if let Some(path) = &verb.output {
        let file = answer.proposal.as_ref().map_or(&newest, |proposal| &proposal.envelope);
        files::write(path, file, verb.force)?;
    }
    let described = |bytes: &[u8]| document::parse(bytes);
    let mut object = json!({ "firm_code": firm_code, "warnings": answer.warnings, "document": null, "proposal": null });
    let mut parts = Vec::new();
    if let Some((envelope, document)) = described(&newest) {
        object["document"] = document::object(&envelope, &document);
        parts.push(document::text(&envelope, &document));
    }
    if let Some(proposal) = &answer.proposal
        && let Some((envelope, document)) = described(&proposal.envelope)
    {
        object["proposal"] = document::object(&envelope, &document);
        object["proposal"]["progress"] = progress(proposal);
        parts.push(format!("proposed:\n{}\n\n{}", document::text(&envelope, &document), progress_text(proposal)));
    }
    parts.extend(answer.warnings.iter().map(|warning| format!("warning: {warning}")));
    environment.out.one(&object, || parts.join("\n\n"));
    Ok(())
}

/// Writes a proposal for its holders and says what is missing.
pub(super) fn tell(proposal: &RootProposal, target: &Target, environment: &Environment) -> Outcome {
    if let Some(path) = &target.output {
        files::write(path, &proposal.envelope, target.force)?;
    }
    let mut object = progress(proposal);
    object["file"] = json!(target.output);
    environment.out.one(&object, || {
        let text = match document::parse(&proposal.envelope) {
            Some((envelope, document)) => document::text(&envelope, &document),
            None => String::new(),
        };
        let next = match &target.output {
            Some(path) => format!("next: each holder runs: lictor key sign {} --key F.key", path.display()),
            None => "next: fetch it for its holders with: lictor vendor root show -o F.root".to_owned(),
        };
        format!("{text}\n\n{}\n{next}", progress_text(proposal))
    });
    Ok(())
}

fn progress(proposal: &RootProposal) -> Value {
    let document = proposal.document.clone().unwrap_or_default();
    json!({
        "firm_code": document.firm_code,
        "root_version": document.version,
        "root_fingerprint": document.fingerprint,
        "signed_by": proposal.signed_by,
        "old": { "signatures": proposal.old_signatures, "needed": proposal.old_threshold },
        "new": { "signatures": proposal.new_signatures, "needed": proposal.new_threshold },
        "installable": proposal.installable,
    })
}

fn progress_text(proposal: &RootProposal) -> String {
    let mut text = String::new();
    if proposal.old_threshold > 0 {
        text =
            format!("present root keys: {} of {} needed signatures\n", proposal.old_signatures, proposal.old_threshold);
    }
    text += &format!("its own root keys: {} of {} needed signatures", proposal.new_signatures, proposal.new_threshold);
    if proposal.installable {
        text += "\nready: lictor vendor root install";
    }
    text
}
