//! Firms.

use lictor_api::update::v1 as wire;
use lictor_license_file::limits::MAX_ADDRESS_BYTES;
use lictor_licensing::binding::ContainerKind;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status};

use super::{parse, root};
use crate::{issue::Issuer, problem, store::vendor::Vendor, vendor::FirmName};

/// Answers the calls about firms.
#[derive(Clone, Debug)]
pub(crate) struct Vendors {
    issuer: Issuer,
}

impl Vendors {
    /// Over this issuer.
    #[must_use]
    pub(crate) const fn new(issuer: Issuer) -> Self {
        Self { issuer }
    }

    async fn proposal(&self, waiting: crate::rotate::Waiting) -> wire::RootProposal {
        let held = self.issuer.held(&waiting.document).await;
        root::proposal(waiting, &held)
    }
}

#[tonic::async_trait]
impl wire::vendor_service_server::VendorService for Vendors {
    async fn init_vendor(
        &self,
        request: Request<wire::InitVendorRequest>,
    ) -> Result<Response<wire::InitVendorResponse>, Status> {
        let wire::InitVendorRequest { firm_code, name, root_keys, threshold } = request.into_inner();
        let firm = parse::firm(firm_code)?;
        let name = FirmName::new(&name).map_err(problem::status)?;
        let keys = root::root_keys(&root_keys)?;
        if !keys.is_empty() && self.issuer.find_vendor(firm, &name).await.map_err(|failure| failure.status())?.is_none()
        {
            let waiting = self.issuer.propose_first(firm, &name, keys, threshold.max(1)).await;
            let waiting = waiting.map_err(|failure| failure.status())?;
            let proposal = Some(self.proposal(waiting).await);
            return Ok(Response::new(wire::InitVendorResponse { vendor: None, created: true, proposal }));
        }
        let (vendor, created) = self.issuer.make_vendor(firm, &name).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::InitVendorResponse { vendor: Some(present(vendor)), created, proposal: None }))
    }

    async fn get_vendor(
        &self,
        request: Request<wire::GetVendorRequest>,
    ) -> Result<Response<wire::GetVendorResponse>, Status> {
        let firm = parse::firm(request.into_inner().firm_code)?;
        let vendor = self.issuer.vendor(firm).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::GetVendorResponse { vendor: Some(present(vendor)) }))
    }

    async fn get_root(
        &self,
        request: Request<wire::GetRootRequest>,
    ) -> Result<Response<wire::GetRootResponse>, Status> {
        let firm = parse::firm(request.into_inner().firm_code)?;
        let roots = self.issuer.roots(firm).await.map_err(|failure| failure.status())?;
        let (mut document, mut warnings) = (None, Vec::new());
        if let Some(newest) = &roots.document {
            let held = self.issuer.held(newest).await;
            warnings = self.issuer.warnings(newest, &held);
            document = Some(root::document(newest, &held));
        }
        let proposal = match roots.waiting {
            Some(waiting) => Some(self.proposal(waiting).await),
            None => None,
        };
        Ok(Response::new(wire::GetRootResponse { document, envelopes: roots.envelopes, proposal, warnings }))
    }

    async fn propose_root(
        &self,
        request: Request<wire::ProposeRootRequest>,
    ) -> Result<Response<wire::ProposeRootResponse>, Status> {
        let request = request.into_inner();
        let firm = parse::firm(request.firm_code)?;
        let replace = request.replace;
        let asked = wire::ProposeRootRequest { replace: false, ..request };
        let hash = Sha256::digest(asked.encode_to_vec()).into();
        let changes = root::changes(asked.changes)?;
        let waiting = self.issuer.propose(firm, changes, hash, replace).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::ProposeRootResponse { proposal: Some(self.proposal(waiting).await) }))
    }

    async fn sign_root(
        &self,
        request: Request<wire::SignRootRequest>,
    ) -> Result<Response<wire::SignRootResponse>, Status> {
        let wire::SignRootRequest { firm_code, envelope, use_held_keys } = request.into_inner();
        let firm = parse::firm(firm_code)?;
        let signed = root::envelope(&envelope)?;
        let done = self.issuer.sign_root(firm, signed, use_held_keys).await;
        let (waiting, added) = done.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::SignRootResponse { proposal: Some(self.proposal(waiting).await), added }))
    }

    async fn install_root(
        &self,
        request: Request<wire::InstallRootRequest>,
    ) -> Result<Response<wire::InstallRootResponse>, Status> {
        let wire::InstallRootRequest { firm_code, fingerprint } = request.into_inner();
        let firm = parse::firm(firm_code)?;
        let done = self.issuer.install_root(firm, &fingerprint).await;
        let (vendor, installed) = done.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::InstallRootResponse { vendor: Some(present(vendor)), installed }))
    }

    async fn create_lif(
        &self,
        request: Request<wire::CreateLifRequest>,
    ) -> Result<Response<wire::CreateLifResponse>, Status> {
        let wire::CreateLifRequest { firm_code, bindings, activation_address } = request.into_inner();
        let firm = parse::firm(firm_code)?;
        if bindings.len() > ContainerKind::ALL.len() {
            return Err(problem::status(problem::limit("a list of bindings", ContainerKind::ALL.len() as u64)));
        }
        let kinds = bindings.into_iter().map(parse::kind).collect::<Result<Vec<_>, _>>()?;
        let address = check_address(activation_address)?;
        let lif = self.issuer.license_information(firm, &kinds, address).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::CreateLifResponse { lif }))
    }

    async fn replay_archive(
        &self,
        request: Request<wire::ReplayArchiveRequest>,
    ) -> Result<Response<wire::ReplayArchiveResponse>, Status> {
        let progress = self.issuer.replay(request.into_inner().after).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::ReplayArchiveResponse {
            after: progress.position,
            done: progress.done,
            segments_seen: progress.seen,
            segments: progress.segments,
            containers: progress.containers,
            root_documents: progress.roots,
        }))
    }
}

fn check_address(address: String) -> Result<String, Status> {
    let web = address.starts_with("https://") || address.starts_with("http://");
    let plain = address.bytes().all(|byte| byte.is_ascii_graphic());
    if address.is_empty() || web && plain && address.len() <= MAX_ADDRESS_BYTES {
        return Ok(address);
    }
    Err(parse::invalid(
        "the activation address is not a web address",
        "write https://HOST:PORT, or nothing for offline activation only",
    ))
}

fn present(vendor: Vendor) -> wire::Vendor {
    wire::Vendor {
        firm_code: vendor.firm.get(),
        name: vendor.name,
        root_version: vendor.root_version,
        root_fingerprint: vendor.root_digest,
    }
}
