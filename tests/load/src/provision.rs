//! A licence server with one container and one product of many seats, made the way a vendor does it.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use hyper_util::rt::TokioIo;
use lictor_api::server::v1::{
    CreateContainerRequest, CreateContextRequest, ImportUpdateRequest, container_service_client::ContainerServiceClient,
};
use lictor_clock::Timestamp;
use lictor_key_store::MemorySigner;
use lictor_license_file::{
    RuntimeVersion, context,
    issue::{Terms, plan, sign_payload},
    lif::{self, LicenseInformation},
    product_item,
    segment::Operation,
    state::VendorState,
    update,
};
use lictor_licensing::{
    binding::{Binding, Bindings},
    id::{FirmCode, LicenseId, ProductCode},
    item::ProductItem,
    options::{Options, Quantity},
};
use lictor_signing::{Envelope, LeaseCertificate, LeaseLimits, Role, RoleRule, RootDocument, Signer as _, TrustedRoot};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// The vendor.
pub const FIRM: u32 = 6_000_001;
/// The product that seats are taken of.
pub const PRODUCT: u32 = 201;
/// Its seats: more than any scenario takes.
pub const SEATS: u32 = 45_000;

/// Creates the container of the server behind `socket` and puts the product into it. The lease key's certificate has
/// limits of its own, so they are left open. Gives the vendor's licence information file, by which programs trust it.
///
/// # Errors
/// The server refuses a step.
pub async fn provision(socket: &Path, now: Timestamp) -> anyhow::Result<Vec<u8>> {
    let signer = |role: u8| MemorySigner::from_seed(&[role; 32]);
    let (root, issue, certifier) = (signer(1), signer(2), signer(3));
    let document = RootDocument {
        firm_code: FIRM,
        name: "Bench vendor".to_owned(),
        version: 1,
        issued_at: now,
        roles: BTreeMap::from([
            (Role::Root, RoleRule::single(root.public_key())),
            (Role::Issue, RoleRule::single(issue.public_key())),
            (Role::LeaseCertifier, RoleRule::single(certifier.public_key())),
        ]),
    };
    let root_document = Envelope::seal(&document, &[&root])?.to_bytes();
    let firm_code = FirmCode::new(FIRM)?;
    let information = LicenseInformation {
        firm_code,
        bindings: Bindings::of(&[Binding::Folder]),
        activation_address: String::new(),
        issued_at: now,
    };
    let lif = lif::build(&information, std::slice::from_ref(&root_document), &[&issue])?;

    let mut containers = ContainerServiceClient::new(unix_channel(socket).await?);
    containers.create_container(CreateContainerRequest { lif: lif.clone(), kind: 0 }).await?;
    let request = CreateContextRequest { firm_code: FIRM, serial: String::new(), challenge: Vec::new() };
    let file = containers.create_context(request).await?.into_inner().context;
    let context = context::read(&file)?.context;

    let certificate = LeaseCertificate {
        firm_code: FIRM,
        container_id: context.container_id().0,
        lease_key: context.keys.lease,
        not_before: now,
        not_after: None,
        limits: LeaseLimits::default(),
    };
    let certificate = Envelope::seal(&certificate, &[&certifier])?.to_bytes();
    let item = product_item(SEATS)?;
    let operations = vec![
        Operation::CertifyLeaseKey { certificate },
        Operation::AddEntry { license: LicenseId::from_u128(1), item, quantity: SEATS },
    ];
    let terms = Terms {
        issued_at: now,
        min_runtime: RuntimeVersion::new(0, 1, 0),
        note: "bench".to_owned(),
        seal_seed: [7; 32],
    };
    let state = VendorState::genesis(&context.keys.signing, firm_code);
    let planned = plan(&state, &context.profile(), &TrustedRoot::trust(&root_document)?, operations, &terms)?;
    let segment = sign_payload(&planned.payload, &[&issue])?;
    let file = update::build(&[], &[segment])?;
    containers.import_update(ImportUpdateRequest { update: file }).await?;
    Ok(lif)
}

/// The product with this many seats, encoded.
///
/// # Errors
/// No seats.
pub fn product_item(seats: u32) -> anyhow::Result<Vec<u8>> {
    let options = Options {
        product_code: Some(ProductCode(PRODUCT)),
        license_quantity: Some(Quantity::new(seats)?),
        bindings: Some(Bindings::of(&[Binding::Folder])),
        ..Options::default()
    };
    Ok(product_item::encode(&ProductItem::new(options, Vec::new())?)?)
}

/// A channel to the licence server behind this socket.
///
/// # Errors
/// It does not answer.
pub async fn unix_channel(path: &Path) -> anyhow::Result<Channel> {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://license-server")
        .connect_with_connector(connector)
        .await
        .context("the licence server's socket does not answer")
}
