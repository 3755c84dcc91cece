//! TLS of the listeners, and the one crypto provider of the whole process.

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::StartError;

/// Makes aws-lc-rs the process' crypto provider. Call it first in every program and test that uses TLS; more calls do
/// nothing.
pub fn install_crypto_provider() {
    // An error means that one is installed already, and no other provider is compiled in.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A server's TLS 1.3 configuration from PEM files; with `client_ca` every client must show a certificate of it.
pub fn server_config(
    certificate: &Path,
    key: &Path,
    client_ca: Option<&Path>,
) -> Result<Arc<ServerConfig>, StartError> {
    install_crypto_provider();
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, "a private key", &error))?;
    let builder = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13]);
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                roots.add(root).map_err(|error| unusable(path, "CA certificates", &error))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
                .build()
                .map_err(|error| unusable(path, "CA certificates", &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| unusable(certificate, "a certificate chain for this key", &error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| unusable(path, "certificates", &error))?.collect();
    let chain = chain.map_err(|error| unusable(path, "certificates", &error))?;
    if chain.is_empty() {
        return Err(StartError::settings(format!("{} holds no certificate; next: give a PEM file", path.display())));
    }
    Ok(chain)
}

fn unusable(path: &Path, what: &str, error: &dyn std::fmt::Display) -> StartError {
    StartError::settings(format!("{} cannot be read as {what} ({error}); next: give a PEM file", path.display()))
}
