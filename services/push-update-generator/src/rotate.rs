//! Root documents from proposal to installation. A proposal is the newest document with changes; people compare its
//! fingerprint, sign it where their keys are, and it counts once both thresholds are met. Every step may be repeated.

use std::collections::BTreeSet;

use lictor_api::event::v1 as wire;
use lictor_broker::Announcement;
use lictor_clock::Timestamp;
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::{EventId, FirmCode},
};
use lictor_signing::{
    Envelope, PublicKey, Role, RoleKey, RoleRule, RootDocument, RootError, SignedPayload, TrustedRoot, cbor,
};
use sha2::{Digest as _, Sha256};

use crate::{
    DAY,
    domain::rotation::{self, Change, Tally},
    events::SOURCE,
    failure::Failure,
    issue::{Issuer, random},
    problem,
    store::{self, proposal::Proposal, vendor::Vendor},
    vendor::FirmName,
};

/// How long ahead the end of a key is told.
const NOTICE_DAYS: u32 = 30;

/// A change as it was asked for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// A change that says everything.
    Change(Change),
    /// Another key for a role, which the key store makes.
    NewKey {
        /// The role.
        role: Role,
        /// Start of its window.
        not_before: Option<Timestamp>,
        /// End of its window.
        not_after: Option<Timestamp>,
    },
}

/// A proposal with what is known about it.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The document.
    pub document: RootDocument,
    /// It, with the signatures so far.
    pub envelope: Vec<u8>,
    /// Whose they are.
    pub tally: Tally,
}

impl Waiting {
    fn new(proposal: &Proposal, before: Option<&RootDocument>) -> Result<Self, Failure> {
        let (envelope, document) = open(&proposal.envelope)?;
        let tally = Tally::of(&envelope, before, &document);
        Ok(Self { document, envelope: proposal.envelope.clone(), tally })
    }
}

/// The root documents of a firm.
#[derive(Clone, Debug)]
pub struct Roots {
    /// The newest one, if there is any.
    pub document: Option<RootDocument>,
    /// All of them, as signed.
    pub envelopes: Vec<Vec<u8>>,
    /// What is to follow.
    pub waiting: Option<Waiting>,
}

/// What people compare by eye.
#[must_use]
pub fn fingerprint(document: &RootDocument) -> String {
    lictor_license_file::Digest(Sha256::digest(cbor::encode(document)).into()).to_string()
}

impl Issuer {
    /// All root documents of a firm, and what waits.
    ///
    /// # Errors
    /// When the firm is neither made nor proposed here.
    pub async fn roots(&self, firm: FirmCode) -> Result<Roots, Failure> {
        let before = self.newest_document(firm).await?;
        let waiting = match self.proposal(firm, before.as_ref()).await? {
            Some(proposal) => Some(Waiting::new(&proposal, before.as_ref())?),
            None => None,
        };
        if before.is_none() && waiting.is_none() {
            return Err(Failure::Refused(problem::unknown_firm(firm)));
        }
        let stored = store::vendor::roots_after(&self.db, firm, 0).await?;
        Ok(Roots { document: before, envelopes: stored.into_iter().map(|root| root.envelope).collect(), waiting })
    }

    /// The keys among those of a document that the key store holds; none when it does not answer.
    pub async fn held(&self, document: &RootDocument) -> Vec<PublicKey> {
        let wanted: Vec<_> = document.roles.values().flat_map(|rule| &rule.keys).map(|entry| entry.key).collect();
        let keys = self.keys.clone();
        match tokio::task::spawn_blocking(move || keys.held(&wanted)).await {
            Ok(Ok(held)) => held,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the key store does not say which keys it holds");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    /// Sentences about keys that end soon or are not here.
    #[must_use]
    pub fn warnings(&self, document: &RootDocument, held: &[PublicKey]) -> Vec<String> {
        let now = self.clock.now();
        let soon = now.saturating_add(DAY * NOTICE_DAYS);
        let mut warnings = Vec::new();
        for (role, rule) in document.roles.iter().filter(|(role, _)| **role != Role::Root) {
            let needed = rule.threshold as usize;
            let valid = |at| rule.keys.iter().filter(move |entry| entry.valid_at(at));
            if valid(now).count() < needed {
                warnings.push(format!("no {role} key is valid: add one with: lictor vendor root rotate --role {role}"));
            } else if valid(soon).count() < needed {
                warnings.push(format!(
                    "the {role} key ends within {NOTICE_DAYS} days: add one with: lictor vendor root rotate --role {role}"
                ));
            } else if valid(now).filter(|entry| held.contains(&entry.key)).count() < needed {
                warnings.push(format!("the key store does not hold the {role} key, so nothing of that role is signed"));
            }
        }
        warnings
    }

    /// Proposes version 1 of a firm whose root keys people hold. The keys of the other roles are made here.
    ///
    /// # Errors
    /// When the firm is there already, or the keys cannot be its root keys.
    pub async fn propose_first(
        &self,
        firm: FirmCode,
        name: &FirmName,
        root: Vec<PublicKey>,
        threshold: u32,
    ) -> Result<Waiting, Failure> {
        self.not_archived(firm).await?;
        let now = self.clock.now();
        let present = self.proposal(firm, None).await?;
        if let Some(present) = &present {
            let (_, document) = open(&present.envelope)?;
            let rule = document.roles.get(&Role::Root);
            let keys = rule.into_iter().flat_map(|rule| &rule.keys).map(|entry| entry.key);
            if document.name == name.as_str()
                && rule.is_some_and(|rule| rule.threshold == threshold)
                && keys.eq(root.iter().copied())
            {
                return Waiting::new(present, None);
            }
        }
        let keys = self.keys.clone();
        let made = tokio::task::spawn_blocking(move || {
            keys.make_roles(firm, &[Role::Issue, Role::Time, Role::Support, Role::LeaseCertifier])
        })
        .await
        .map_err(|error| Failure::Refused(problem::internal("the making of keys", &error)))?
        .map_err(crate::keys::unavailable)?;
        let mut document = RootDocument {
            firm_code: firm.get(),
            name: name.as_str().to_owned(),
            version: 1,
            issued_at: now,
            roles: made.into_iter().map(|(role, key)| (role, RoleRule::single(key))).collect(),
        };
        let keys = root.into_iter().map(RoleKey::unlimited).collect();
        document.roles.insert(Role::Root, RoleRule { threshold, keys });
        document.check().map_err(|error| invalid(&error.to_string()))?;
        self.refuse_foreign(&document).await?;
        self.keep_proposal(firm, document, [0; 32], present.as_ref(), None).await
    }

    /// Proposes the document that follows the newest. `request` is a hash over what was asked for.
    ///
    /// # Errors
    /// When another proposal waits and `replace` is false, or the changes do not lead to a root document.
    pub async fn propose(
        &self,
        firm: FirmCode,
        asked: Vec<Asked>,
        request: [u8; 32],
        replace: bool,
    ) -> Result<Waiting, Failure> {
        let before = self.newest_document(firm).await?.ok_or_else(|| Failure::Refused(problem::unknown_firm(firm)))?;
        let present = self.proposal(firm, Some(&before)).await?;
        if let Some(present) = &present {
            if present.request == request {
                return Waiting::new(present, Some(&before));
            }
            if !replace {
                return Err(Failure::Refused(Problem::new(
                    ErrorCode::Conflict,
                    format!("another proposal for version {} waits for its signatures", present.version),
                    "install it, or give --replace to drop it with its signatures",
                )));
            }
        }
        let changes = self.resolve(firm, asked).await?;
        let document = rotation::next(&before, &changes, self.clock.now()).map_err(Failure::Refused)?;
        for role in [Role::Issue, Role::LeaseCertifier] {
            if document.roles.get(&role).is_none_or(|rule| rule.keys.is_empty()) {
                return Err(invalid(&format!("without a {role} key the firm could issue nothing")));
            }
        }
        self.refuse_foreign(&document).await?;
        // A row of a version that is past lies in the way like a waiting one.
        let stale = store::proposal::find(&self.db, firm).await?;
        self.keep_proposal(firm, document, request, stale.as_ref(), Some(&before)).await
    }

    /// Adds signatures to the waiting proposal and tells how many were new.
    ///
    /// # Errors
    /// When none waits, the envelope is about another document, or the key store does not answer.
    pub async fn sign_root(
        &self,
        firm: FirmCode,
        signed: Option<Envelope>,
        held: bool,
    ) -> Result<(Waiting, u32), Failure> {
        let before = self.newest_document(firm).await?;
        loop {
            let present = self.proposal(firm, before.as_ref()).await?.ok_or_else(|| nothing_waits(firm))?;
            let (envelope, document) = open(&present.envelope)?;
            let keys = rotation::root_keys(before.as_ref(), &document);
            let (mut merged, mut added) = match &signed {
                Some(signed) => rotation::merge(&envelope, signed, &keys).map_err(Failure::Refused)?,
                None => (envelope, 0),
            };
            if held {
                let ours = self.sign_with_held(&merged, keys.clone()).await?;
                let (with_ours, more) = rotation::merge(&merged, &ours, &keys).map_err(Failure::Refused)?;
                (merged, added) = (with_ours, added + more);
            }
            let next = Proposal { envelope: merged.to_bytes(), ..present.clone() };
            // Two holders may bring their signatures at the same time.
            if next == present || store::proposal::put(&self.db, &next, Some(&present), self.clock.now()).await? {
                return Ok((Waiting::new(&next, before.as_ref())?, added));
            }
        }
    }

    async fn sign_with_held(&self, envelope: &Envelope, keys: Vec<PublicKey>) -> Result<Envelope, Failure> {
        let (store, mut envelope) = (self.keys.clone(), envelope.clone());
        tokio::task::spawn_blocking(move || {
            let payload = envelope.unverified_payload().to_vec();
            let mut signers = Vec::new();
            for key in keys {
                signers.extend(store.find(&key).map_err(crate::keys::unavailable)?);
            }
            let signers: Vec<_> = signers.iter().map(|signer| &**signer).collect();
            envelope = Envelope::sign(RootDocument::PAYLOAD_TYPE, payload, &signers)?;
            Ok(envelope)
        })
        .await
        .map_err(|error| Failure::Refused(problem::internal("the signing of a root document", &error)))?
    }

    /// Makes the proposal with this fingerprint the newest root document; false when it was before.
    ///
    /// # Errors
    /// When signatures are missing, or another document waits.
    pub async fn install_root(&self, firm: FirmCode, wanted: &str) -> Result<(Vendor, bool), Failure> {
        let now = self.clock.now();
        for stored in store::vendor::roots_after(&self.db, firm, 0).await? {
            if fingerprint(&open(&stored.envelope)?.1) == wanted {
                return Ok((self.vendor(firm).await?, false));
            }
        }
        let before = match store::vendor::find(&self.db, firm).await? {
            Some(_) => Some(self.newest_root(firm).await?),
            None => None,
        };
        let present = self.proposal(firm, before.as_ref().map(|root| root.document())).await?;
        let present = present.ok_or_else(|| nothing_waits(firm))?;
        let installed = match &before {
            None => TrustedRoot::trust(&present.envelope),
            Some(root) => root.update(&present.envelope),
        };
        let (_, document) = open(&present.envelope)?;
        if fingerprint(&document) != wanted {
            return Err(Failure::Refused(Problem::new(
                ErrorCode::Conflict,
                "the proposal that waits has another fingerprint",
                "compare it with: lictor vendor root show",
            )));
        }
        installed.map_err(|error| Failure::Refused(unmet(&error)))?;
        let vendor = Vendor {
            firm,
            name: document.name.clone(),
            root_version: document.version,
            root_digest: wanted.to_owned(),
        };
        let announcement = self.rotated(&vendor, now)?;
        if store::proposal::install(&self.db, &vendor, &present.envelope, &announcement, now).await? {
            tracing::info!(%firm, version = vendor.root_version, fingerprint = wanted, "root document installed");
            self.load_root(firm).await?;
            return Ok((vendor, true));
        }
        // Somebody else was faster with this document or another.
        let newest = self.vendor(firm).await?;
        if newest.root_digest == wanted { Ok((newest, false)) } else { Err(nothing_waits(firm)) }
    }

    fn rotated(&self, vendor: &Vendor, now: Timestamp) -> Result<Announcement, Failure> {
        let data = wire::RootRotated { version: vendor.root_version, fingerprint: vendor.root_digest.clone() };
        Ok(Announcement {
            id: EventId::new(now, random()?).to_string(),
            source: SOURCE,
            subject: vendor.firm.to_string(),
            aggregate_sequence: vendor.root_version,
            firm_code: vendor.firm.get(),
            time: now,
            data: wire::event::Data::RootRotated(data),
        })
    }

    async fn newest_document(&self, firm: FirmCode) -> Result<Option<RootDocument>, Failure> {
        Ok(match store::vendor::find(&self.db, firm).await? {
            Some(_) => Some(self.newest_root(firm).await?.document().clone()),
            None => None,
        })
    }

    /// The proposal that follows `before`; one that was overtaken does not count.
    async fn proposal(&self, firm: FirmCode, before: Option<&RootDocument>) -> Result<Option<Proposal>, Failure> {
        let version = before.map_or(0, |document| document.version) + 1;
        Ok(store::proposal::find(&self.db, firm).await?.filter(|proposal| proposal.version == version))
    }

    async fn keep_proposal(
        &self,
        firm: FirmCode,
        document: RootDocument,
        request: [u8; 32],
        present: Option<&Proposal>,
        before: Option<&RootDocument>,
    ) -> Result<Waiting, Failure> {
        let envelope = Envelope::from_parts(RootDocument::PAYLOAD_TYPE, cbor::encode(&document), Vec::new());
        let proposal = Proposal { firm, version: document.version, envelope: envelope.to_bytes(), request };
        if store::proposal::put(&self.db, &proposal, present, self.clock.now()).await? {
            return Waiting::new(&proposal, before);
        }
        Err(Failure::Refused(Problem::new(
            ErrorCode::Conflict,
            "somebody else proposed a root document in this moment",
            "look at it with: lictor vendor root show",
        )))
    }

    /// Lets the key store make the keys that were asked for. Keys left over from a proposal that came to nothing are
    /// taken first.
    async fn resolve(&self, firm: FirmCode, asked: Vec<Asked>) -> Result<Vec<Change>, Failure> {
        let mut named = BTreeSet::new();
        for stored in store::vendor::roots_after(&self.db, firm, 0).await? {
            let (_, document) = open(&stored.envelope)?;
            named.extend(document.roles.values().flat_map(|rule| &rule.keys).map(|entry| *entry.key.as_bytes()));
        }
        let keys = self.keys.clone();
        tokio::task::spawn_blocking(move || {
            let mut changes = Vec::with_capacity(asked.len());
            for asked in asked {
                changes.push(match asked {
                    Asked::Change(change) => change,
                    Asked::NewKey { role, not_before, not_after } => {
                        let key = keys.make_next(firm, role, &named).map_err(crate::keys::unavailable)?;
                        named.insert(*key.as_bytes());
                        Change::Add { role, entry: RoleKey { key, not_before, not_after } }
                    }
                });
            }
            Ok(changes)
        })
        .await
        .map_err(|error| Failure::Refused(problem::internal("the making of keys", &error)))?
    }

    /// A key speaks for one firm only: one that another firm's document names is not taken into this one.
    async fn refuse_foreign(&self, document: &RootDocument) -> Result<(), Failure> {
        let ours: BTreeSet<_> =
            document.roles.values().flat_map(|rule| &rule.keys).map(|entry| *entry.key.as_bytes()).collect();
        for firm in store::vendor::list(&self.db).await?.into_iter().filter(|firm| firm.get() != document.firm_code) {
            let root = self.root(firm).await?;
            let mut theirs = root.document().roles.values().flat_map(|rule| &rule.keys);
            if let Some(entry) = theirs.find(|entry| ours.contains(entry.key.as_bytes())) {
                return Err(invalid(&format!("the key {} belongs to firm {firm}", entry.key.id())));
            }
        }
        Ok(())
    }
}

fn open(envelope: &[u8]) -> Result<(Envelope, RootDocument), Failure> {
    let broken = |error| Failure::Refused(problem::internal("a stored root document", &error));
    let envelope = Envelope::from_bytes(envelope).map_err(broken)?;
    let document = cbor::decode(envelope.unverified_payload()).map_err(broken)?;
    Ok((envelope, document))
}

fn nothing_waits(firm: FirmCode) -> Failure {
    Failure::Refused(Problem::new(
        ErrorCode::NotFound,
        format!("no root document of firm {firm} waits for signatures"),
        "propose one with: lictor vendor root propose",
    ))
}

fn unmet(error: &RootError) -> Problem {
    Problem::new(
        ErrorCode::Conflict,
        error.to_string(),
        "let more holders sign it: lictor key sign, then lictor vendor root sign",
    )
}

fn invalid(text: &str) -> Failure {
    Failure::Refused(Problem::new(ErrorCode::InvalidArgument, text, "correct the keys that you name"))
}
