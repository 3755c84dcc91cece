//! Firms: making one with its keys and root document, and the license information files of its customers.

use lictor_license_file::lif::{self, LicenseInformation};
use lictor_licensing::{
    binding::{Binding, Bindings, ContainerKind},
    error::{ErrorCode, Problem},
    id::FirmCode,
};
use lictor_signing::{Envelope, Role, RoleKey, RoleRule, RootDocument, SignerError, TrustedRoot};

use crate::{
    failure::Failure,
    issue::Issuer,
    keys::unavailable,
    problem,
    store::{self, vendor::Vendor},
};

/// The first version of every root document.
const FIRST: u64 = 1;
/// Longest name of a firm in bytes.
const MAX_NAME_BYTES: usize = 128;

/// The name of a firm as people gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmName(String);

impl FirmName {
    /// Takes a name.
    ///
    /// # Errors
    /// When it is empty, too long, or not one plain line.
    pub fn new(name: &str) -> Result<Self, Problem> {
        let name = name.trim();
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            return Err(Problem::new(
                ErrorCode::InvalidArgument,
                format!("the name of a firm is one line of 1 to {MAX_NAME_BYTES} bytes"),
                "give the firm a name",
            ));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Issuer {
    /// Makes a firm: keys, then its root document, then its row. A crash in between leaves keys that the next try uses,
    /// so repeating is always safe. True when the firm was not there before.
    ///
    /// # Errors
    /// When the firm is there under another name, or keys or tables cannot be written.
    pub async fn make_vendor(&self, firm: FirmCode, name: &FirmName) -> Result<(Vendor, bool), Failure> {
        if let Some(vendor) = self.find_vendor(firm, name).await? {
            return Ok((vendor, false));
        }
        if store::proposal::find(&self.db, firm).await?.is_some() {
            return Err(Failure::Refused(Problem::new(
                ErrorCode::Conflict,
                format!("firm {firm} waits for the signatures of its root keys' holders"),
                "go on with: lictor vendor root show",
            )));
        }
        self.not_archived(firm).await?;
        let (keys, document_name, now) = (self.keys.clone(), name.0.clone(), self.clock.now());
        let signed = tokio::task::spawn_blocking(move || {
            let public = keys.make(firm).map_err(|error| SignerError::Unavailable(error.to_string()))?;
            let roles = public.into_iter().map(|(role, key)| {
                // Root keys have no window, so that a device without trusted time can follow every rotation.
                let not_before = (role == Role::Issue).then(|| now.saturating_sub(crate::DAY));
                (role, RoleRule { threshold: 1, keys: vec![RoleKey { not_before, ..RoleKey::unlimited(key) }] })
            });
            let document = RootDocument {
                firm_code: firm.get(),
                name: document_name,
                version: FIRST,
                issued_at: now,
                roles: roles.collect(),
            };
            let trusted = document.roles.get(&Role::Root).and_then(|rule| rule.keys.first());
            let signer = trusted.map(|entry| keys.find(&entry.key)).transpose().map_err(unavailable)?.flatten();
            let signer = signer.ok_or_else(|| SignerError::Unavailable("the new root key is gone".to_owned()))?;
            Envelope::seal(&document, &[&*signer])
        })
        .await
        .map_err(|error| Failure::Refused(problem::internal("the making of a firm", &error)))??
        .to_bytes();
        let root = TrustedRoot::trust(&signed)
            .map_err(|error| Failure::Refused(problem::internal("a new root document", &error)))?;
        let vendor = Vendor {
            firm,
            name: name.0.clone(),
            root_version: root.version(),
            root_digest: lictor_license_file::Digest(*root.digest()).to_string(),
        };
        if store::vendor::insert(&self.db, &vendor, &signed, now).await? {
            // Into the archive before anybody hears of it, so that a restored database knows that it lacks a firm.
            self.load_root(firm).await?;
            tracing::info!(%firm, fingerprint = %vendor.root_digest, "firm made");
            return Ok((vendor, true));
        }
        // Somebody else was faster; the document in the table is the one that counts.
        same_name(self.vendor(firm).await?, name).map(|vendor| (vendor, false))
    }

    /// Refuses to make a firm that the archive knows already: the tables were emptied, or restored from a backup of the
    /// time before it, and new keys or another document would lock its customers out.
    pub(crate) async fn not_archived(&self, firm: FirmCode) -> Result<(), Failure> {
        let Some(archive) = &self.archive else { return Ok(()) };
        if !archive.roots().await?.iter().any(|root| root.firm == firm) {
            return Ok(());
        }
        // A firm is archived after its row was written, so one that was made in this very moment is in the tables.
        match store::vendor::find(&self.db, firm).await? {
            Some(_) => Ok(()),
            None => Err(archive.found_behind()),
        }
    }

    /// The firm, if it was made.
    ///
    /// # Errors
    /// When it has another name.
    pub async fn find_vendor(&self, firm: FirmCode, name: &FirmName) -> Result<Option<Vendor>, Failure> {
        store::vendor::find(&self.db, firm).await?.map(|vendor| same_name(vendor, name)).transpose()
    }

    /// A firm.
    ///
    /// # Errors
    /// When it was never made here.
    pub async fn vendor(&self, firm: FirmCode) -> Result<Vendor, Failure> {
        store::vendor::find(&self.db, firm).await?.ok_or_else(|| Failure::Refused(problem::unknown_firm(firm)))
    }

    /// A license information file: what a customer's license server needs before the first license.
    ///
    /// # Errors
    /// When the firm was never made here, or the key store does not sign.
    pub async fn license_information(
        &self,
        firm: FirmCode,
        kinds: &[ContainerKind],
        activation_address: String,
    ) -> Result<Vec<u8>, Failure> {
        let information = LicenseInformation {
            firm_code: firm,
            bindings: bindings(kinds),
            activation_address,
            issued_at: self.clock.now(),
        };
        let roots: Vec<_> =
            store::vendor::roots_after(&self.db, firm, 0).await?.into_iter().map(|root| root.envelope).collect();
        if roots.is_empty() {
            return Err(Failure::Refused(problem::unknown_firm(firm)));
        }
        let signers = self.signers(firm, Role::Issue, information.issued_at).await?;
        let file =
            tokio::task::spawn_blocking(move || lif::build(&information, &roots, &signers.refs())).await.map_err(
                |error| Failure::Refused(problem::internal("the writing of a license information file", &error)),
            )?;
        file.map_err(|error| match error {
            lictor_license_file::context::WriteError::Signer(error) => Failure::Signer(error),
            lictor_license_file::context::WriteError::File(error) => error.into(),
        })
    }
}

/// Where containers may be made. A virtual machine is left to each license: the file only says which kinds there are.
fn bindings(kinds: &[ContainerKind]) -> Bindings {
    let kinds =
        if kinds.is_empty() { &[ContainerKind::Machine, ContainerKind::Token, ContainerKind::Cloud] } else { kinds };
    kinds.iter().fold(Bindings::NONE, |bindings, kind| {
        let bindings = bindings.with(kind.binding());
        if *kind == ContainerKind::Machine { bindings.with(Binding::Vm) } else { bindings }
    })
}

fn same_name(vendor: Vendor, name: &FirmName) -> Result<Vendor, Failure> {
    if vendor.name == name.0 {
        return Ok(vendor);
    }
    Err(Failure::Refused(Problem::new(
        ErrorCode::AlreadyExists,
        format!("firm {} is there already, under another name", vendor.firm),
        "take the name that it was made with, or another firm code",
    )))
}
