//! Firms.

use lictor_api::update::v1 as wire;
use lictor_license_file::limits::MAX_ADDRESS_BYTES;
use lictor_licensing::binding::ContainerKind;
use tonic::{Request, Response, Status};

use super::parse;
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
}

#[tonic::async_trait]
impl wire::vendor_service_server::VendorService for Vendors {
    async fn init_vendor(
        &self,
        request: Request<wire::InitVendorRequest>,
    ) -> Result<Response<wire::InitVendorResponse>, Status> {
        let wire::InitVendorRequest { firm_code, name } = request.into_inner();
        let firm = parse::firm(firm_code)?;
        let name = FirmName::new(&name).map_err(problem::status)?;
        let (vendor, created) = self.issuer.make_vendor(firm, &name).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::InitVendorResponse { vendor: Some(present(vendor)), created }))
    }

    async fn get_vendor(
        &self,
        request: Request<wire::GetVendorRequest>,
    ) -> Result<Response<wire::GetVendorResponse>, Status> {
        let firm = parse::firm(request.into_inner().firm_code)?;
        let vendor = self.issuer.vendor(firm).await.map_err(|failure| failure.status())?;
        Ok(Response::new(wire::GetVendorResponse { vendor: Some(present(vendor)) }))
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
