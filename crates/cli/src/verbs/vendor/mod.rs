//! `lictor vendor`: root document, role keys, licence information file.

pub(crate) mod document;
mod root;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lictor_api::types::v1::ContainerKind;
use lictor_api::update::v1::vendor_service_client::VendorServiceClient;
use lictor_api::update::v1::{
    CreateLifRequest, GetRootRequest, GetVendorRequest, InitVendorRequest, ReplayArchiveRequest, Vendor,
};
use lictor_licensing::ContainerKind as Kind;
use serde_json::{Value, json};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::connect::{Caller, Link, MAX_ANSWER_BYTES, Service};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::{files, show};

#[derive(Debug, Subcommand)]
pub(crate) enum VendorVerbs {
    /// Make the vendor's root document and role keys
    ///
    /// Repeating it is safe: a vendor that exists is shown as it is.
    #[command(after_help = "\
Examples:
  lictor vendor init --firm-code 6000010 --name \"Example Software\"
  lictor vendor init --name \"Example Software\" \\
    --root-key alice.pub --root-key bob.pub --threshold 2 -o proposal.root

With --root-key people hold the root keys: the vendor exists once they signed
the proposal and it is installed.")]
    Init(Init),
    /// Show the vendor and the fingerprint of its root document
    #[command(after_help = "Example:\n  lictor vendor show --firm-code 6000010")]
    Show,
    /// Root documents: which keys of the vendor count
    #[command(subcommand)]
    Root(root::RootVerbs),
    /// Bring a database that was restored from a backup up to what the archive holds
    ///
    /// Until that is done nothing is issued, because it could be issued twice. Interrupted, the same command goes on.
    #[command(after_help = "Example:\n  lictor vendor replay")]
    Replay,
    /// Write a licence information file, from which customers make an empty container
    #[command(after_help = "\
Examples:
  lictor vendor lif -o example.lif
  lictor vendor lif --binding machine,volume -o example.lif

Kinds: folder (for development only), machine, volume, kubernetes, token, cloud.")]
    Lif(Lif),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Name of the vendor as customers see it
    #[arg(long, value_name = "NAME")]
    name: String,

    /// Public key of a holder of a root key; without any the key store makes and holds the one root key
    #[arg(long, value_name = "F.pub")]
    root_key: Vec<PathBuf>,

    /// How many holders must agree
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    threshold: u32,

    #[command(flatten)]
    target: root::Target,
}

#[derive(Debug, Args)]
pub(crate) struct Lif {
    /// Kinds of container that may be made from it [default: machine,token,cloud]
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind_names())]
    binding: Vec<String>,

    /// Address of the activation service as customers reach it; without it they exchange files
    #[arg(long, value_name = "URL")]
    activation_address: Option<String>,

    /// File to write
    #[arg(short, long, value_name = "F.lif")]
    output: PathBuf,

    /// Replace the file if it exists and differs
    #[arg(long)]
    force: bool,
}

/// Reader of the words for kinds of containers.
pub(crate) fn kind_names() -> clap::builder::PossibleValuesParser {
    Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().into()
}

/// The number of a kind on the wire; unspecified for none.
pub(crate) fn kind_number(name: &str) -> i32 {
    ContainerKind::from(name.parse::<Kind>().ok()).into()
}

impl VendorVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let firm_code = environment.firm_code()?;
        let link = environment.link(Service::Update)?;
        let mut client = VendorServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
        match self {
            Self::Init(verb) => {
                let root_keys = verb.root_key.iter().map(|path| root::public_key(path)).collect::<Outcome<_>>()?;
                let request = InitVendorRequest { firm_code, name: verb.name, root_keys, threshold: verb.threshold };
                let answer = client.init_vendor(request).await.map_err(|status| link.failed(status))?.into_inner();
                if let Some(proposal) = &answer.proposal {
                    return root::tell(proposal, &verb.target, environment);
                }
                let vendor = answer.vendor.ok_or_else(|| link.incomplete())?;
                let mut object = vendor_object(&vendor);
                object["created"] = answer.created.into();
                environment.out.one(&object, || vendor_sheet(&vendor));
            }
            Self::Show => {
                let request = GetVendorRequest { firm_code };
                let answer = client.get_vendor(request).await.map_err(|status| link.failed(status))?.into_inner();
                let vendor = answer.vendor.ok_or_else(|| link.incomplete())?;
                let root = client.get_root(GetRootRequest { firm_code }).await.map_err(|status| link.failed(status))?;
                let warnings = root.into_inner().warnings;
                let mut object = vendor_object(&vendor);
                object["warnings"] = json!(warnings);
                environment.out.one(&object, || {
                    let warnings: String = warnings.iter().map(|text| format!("\nwarning: {text}")).collect();
                    format!("{}{warnings}", vendor_sheet(&vendor))
                });
            }
            Self::Root(verb) => return verb.run(firm_code, client, &link, environment).await,
            Self::Replay => return replay(&mut client, &link, environment).await,
            Self::Lif(verb) => {
                files::check_target(&verb.output, verb.force)?;
                let request = CreateLifRequest {
                    firm_code,
                    bindings: verb.binding.iter().map(|name| kind_number(name)).collect(),
                    activation_address: verb.activation_address.unwrap_or_default(),
                };
                let answer = client.create_lif(request).await.map_err(|status| link.failed(status))?.into_inner();
                files::write(&verb.output, &answer.lif, verb.force)?;
                let object = json!({ "firm_code": firm_code, "file": verb.output, "bytes": answer.lif.len() });
                environment.out.one(&object, || {
                    format!("wrote {}\nnext: lictor server create-container --lif {0}", verb.output.display())
                });
            }
        }
        Ok(())
    }
}

async fn replay(
    client: &mut VendorServiceClient<InterceptedService<Channel, Caller>>,
    link: &Link,
    environment: &Environment,
) -> Outcome {
    let (mut after, mut seen, mut segments, mut containers, mut roots) = (0, 0, 0, 0, 0);
    loop {
        let request = ReplayArchiveRequest { after };
        let answer = client.replay_archive(request).await.map_err(|status| link.failed(status))?.into_inner();
        seen += answer.segments_seen;
        segments += answer.segments;
        containers += answer.containers;
        roots += answer.root_documents;
        environment.out.note(&format!("{seen} segments compared, {segments} brought back"));
        if answer.done || answer.after == after {
            let object = json!({
                "done": answer.done,
                "segments_seen": seen,
                "segments": segments,
                "containers": containers,
                "root_documents": roots,
            });
            environment.out.one(&object, || {
                let state = if answer.done { "the database holds all that was issued" } else { "not all is back yet" };
                format!("{state}: {segments} segments, {containers} containers, {roots} root documents brought back")
            });
            return Ok(());
        }
        after = answer.after;
    }
}

fn vendor_object(vendor: &Vendor) -> Value {
    json!({
        "firm_code": vendor.firm_code,
        "name": vendor.name,
        "root_version": vendor.root_version,
        "root_fingerprint": vendor.root_fingerprint,
    })
}

fn vendor_sheet(vendor: &Vendor) -> String {
    show::sheet(&[
        ("firm code", vendor.firm_code.to_string()),
        ("name", vendor.name.clone()),
        ("root version", vendor.root_version.to_string()),
        ("root fingerprint", document::grouped(&vendor.root_fingerprint)),
    ])
}
