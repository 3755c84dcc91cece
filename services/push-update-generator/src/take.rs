//! Taking contexts in: who the container is, what it proves, what speaks against it. A file that is damaged, forged or
//! of another vendor changes nothing at all.

use lictor_clock::{SharedClock, Timestamp};
use lictor_license_file::{
    Digest,
    context::{self, Context, VerifiedContext},
    evidence::Evidence,
    segment::Segment,
    state::VendorState,
};
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_signing::TrustedRoot;
use lictor_storage::{Tx, retry};

use crate::{
    archive::End,
    domain::{
        container::{Chain, ChainKey, Identity},
        suspicion::{Suspicion, Suspicions},
        verdict::{Judgement, Place, Shown, Verdict, judge},
    },
    events::{self, Fact, Happening},
    failure::Failure,
    issue::{Issuer, random},
    metrics::Counters,
    store::{
        self,
        container::Locked,
        context::{Known, TakenContext},
    },
};

/// What a context led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The container and how far its chain is now; nothing when it stays unknown.
    pub chain: Option<Box<Chain>>,
    /// What the container says.
    pub context: Context,
    /// What is said to it.
    pub verdict: Verdict,
    /// It carries a challenge of ours that is still good.
    pub fresh: bool,
}

/// Takes contexts in.
#[derive(Clone, Debug)]
pub struct Intake {
    issuer: Issuer,
    clock: SharedClock,
    counters: Counters,
}

/// A try under the chain's lock.
enum Attempt {
    Done(Option<Box<Chain>>, Verdict),
    /// Segments are on their way; they are finished first, so that the container cannot know more than the tables.
    InWork,
    /// Another first context was faster; what it stored tells what this one is now.
    Overtaken,
}

impl Intake {
    /// An intake that finishes with `issuer` what was interrupted.
    #[must_use]
    pub fn new(issuer: Issuer) -> Self {
        Self { clock: issuer.clock.clone(), counters: issuer.counters.clone(), issuer }
    }

    /// Reads and checks a context or receipt without changing anything; tells with it whether it is surely fresh.
    ///
    /// # Errors
    /// When it is damaged, not signed by its own container, or for a firm that is not here.
    pub async fn inspect(&self, file: &[u8]) -> Result<(Context, bool), Failure> {
        let (verified, _) = self.read(file).await?;
        let fresh = self.issuer.asked_at(&verified.context)?.is_some();
        Ok((verified.context, fresh))
    }

    /// Takes a context or receipt in.
    ///
    /// # Errors
    /// As [`Intake::inspect`], and when the serial belongs to a container with another key.
    pub async fn take(&self, file: &[u8]) -> Result<Taken, Failure> {
        let read = self.read(file).await;
        let (verified, root) = read.inspect_err(|failure| {
            if matches!(failure, Failure::Refused(_)) {
                self.counters.contexts_refused.inc();
            }
        })?;
        let asked_at = self.issuer.asked_at(&verified.context)?;
        let visit = Visit::new(file, verified, &root, asked_at)?;
        self.issuer.may_issue().await?;
        loop {
            match retry(|| self.attempt(&visit)).await? {
                Attempt::InWork => self.issuer.finish_chain(&visit.key).await.map(|_| ())?,
                Attempt::Overtaken => {}
                Attempt::Done(chain, verdict) => {
                    self.counters.context_taken(verdict);
                    return Ok(Taken { chain, context: visit.context, verdict, fresh: visit.asked_at.is_some() });
                }
            }
        }
    }

    async fn read(&self, file: &[u8]) -> Result<(VerifiedContext, std::sync::Arc<TrustedRoot>), Failure> {
        let verified = context::read_any(file)?;
        let root = self.issuer.newest_root(verified.context.firm_code).await?;
        Ok((verified, root))
    }

    async fn attempt(&self, visit: &Visit<'_>) -> Result<Attempt, Failure> {
        let mut tx = self.issuer.db.begin().await?;
        let Some(Locked { chain, .. }) = store::container::lock(&mut tx, &visit.key).await? else {
            return self.register(tx, visit).await;
        };
        if chain.reserved > chain.issued {
            tx.rollback().await?;
            return Ok(Attempt::InWork);
        }
        if visit.end() > (End { epoch: chain.epoch, to: chain.issued }) {
            self.not_behind(&visit.key, Some(End { epoch: chain.epoch, to: chain.issued })).await?;
        }
        match store::context::look_up(&mut tx, &visit.key, &visit.digest, visit.context.sequence).await? {
            Known::Taken(verdict) => {
                tx.rollback().await?;
                let verdict = if verdict == Verdict::Ok && visit.context.sequence < chain.context_sequence {
                    Verdict::Old
                } else {
                    verdict
                };
                Ok(Attempt::Done(Some(Box::new(chain)), verdict))
            }
            known => self.weigh(tx, visit, chain, known == Known::NumberTaken).await,
        }
    }

    /// The first context of a container: it has to come from the beginning of the chain.
    async fn register(&self, mut tx: Tx, visit: &Visit<'_>) -> Result<Attempt, Failure> {
        let now = self.clock.now();
        let context = &visit.context;
        self.not_behind(&visit.key, None).await?;
        if store::container::serial_taken(&mut tx, visit.key.firm, &context.serial, visit.key.container).await? {
            tx.rollback().await?;
            return Err(serial_taken(&context.serial).into());
        }
        let state = VendorState::genesis(&context.keys.signing, context.firm_code);
        let genesis = Place { head: state.head, state_digest: state.digest() };
        if context.epoch != 0 || context.counter != 0 || visit.place() != genesis {
            tx.rollback().await?;
            return Ok(Attempt::Done(None, Verdict::UnknownContainer));
        }
        let mut chain = Chain {
            identity: visit.identity(),
            epoch: 0,
            genesis,
            confirmed: 0,
            issued: 0,
            reserved: 0,
            file_base: 0,
            state: state.encode()?,
            root_version: visit.root_version,
            context_sequence: context.sequence,
            context_counter: 0,
            suspicions: Suspicions::NONE,
            counters: context.counters.clone(),
            blocked: None,
            version: 0,
            first_seen_at: now,
            last_contact_at: now,
        };
        let version = chain.next_version();
        if !store::container::insert(&mut tx, &chain).await? {
            tx.rollback().await?;
            return Ok(Attempt::Overtaken);
        }
        let fact = Fact::Registered { kind: context.kind };
        events::announce(&mut tx, Happening::of(&chain.identity, version, now, random()?), fact).await?;
        let mut verdict = Verdict::Ok;
        if !visit.reports.is_empty() {
            // Nothing was ever issued, and yet it reports trouble: believed as far as it goes.
            verdict = Verdict::RollbackSuspected;
            self.suspect(&mut tx, visit, &mut chain, &visit.reports, verdict).await?;
            store::container::update_standing(&mut tx, &chain).await?;
        }
        store::context::insert(&mut tx, &visit.taken(verdict), now).await?;
        store::context::accept(&mut tx, &visit.key, visit.file, now).await?;
        tx.commit().await?;
        Ok(Attempt::Done(Some(Box::new(chain)), verdict))
    }

    /// A further context: what it proves counts, what it shows is compared with what was issued.
    async fn weigh(
        &self,
        mut tx: Tx,
        visit: &Visit<'_>,
        mut chain: Chain,
        sequence_taken: bool,
    ) -> Result<Attempt, Failure> {
        let now = self.clock.now();
        let known = self.place(&mut tx, visit, &chain).await?;
        let mut shown = visit.shown();
        if let Some(asked_at) = visit.asked_at
            && shown.epoch == chain.epoch
            && shown.counter < chain.confirmed
        {
            let proven = store::segment::proven_after(&mut tx, &visit.key, chain.epoch, shown.counter).await?;
            shown.after_proof = proven.is_some_and(|proven| asked_at > proven);
        }
        shown.reports.extend(visit.changed_identity(&chain.identity));
        let Judgement { verdict, confirm_to, newest, findings } =
            judge(&chain.standing(), &shown, known, sequence_taken);

        if let Some(counter) = confirm_to {
            let references =
                store::segment::confirm(&mut tx, &visit.key, chain.epoch, chain.confirmed, counter, now).await?;
            chain.confirmed = counter;
            let version = chain.next_version();
            let fact = Fact::Confirmed { epoch: chain.epoch, counter, references };
            events::announce(&mut tx, Happening::of(&chain.identity, version, now, random()?), fact).await?;
        }
        if newest {
            chain.context_sequence = visit.context.sequence;
            chain.context_counter = visit.context.counter;
            chain.root_version = chain.root_version.max(visit.root_version);
            chain.last_contact_at = now;
            chain.identity.profile.virtual_machine = visit.context.virtual_machine;
            chain.identity.profile.runtime = visit.context.runtime;
        }
        // Whatever position it has: what it counted itself, it counted.
        chain.counters.merge(&visit.context.counters);
        self.suspect(&mut tx, visit, &mut chain, &findings, verdict).await?;
        store::container::update_standing(&mut tx, &chain).await?;
        store::context::insert(&mut tx, &visit.taken(verdict), now).await?;
        if confirm_to.is_some() || newest && visit.context.counter == chain.confirmed {
            store::context::accept(&mut tx, &visit.key, visit.file, now).await?;
        }
        tx.commit().await?;
        Ok(Attempt::Done(Some(Box::new(chain)), verdict))
    }

    /// A container that knows more than the tables may be a fork, or the tables were restored: the archive tells which.
    async fn not_behind(&self, key: &ChainKey, known: Option<End>) -> Result<(), Failure> {
        match &self.issuer.archive {
            Some(archive) if archive.end(key).await? > known => Err(archive.found_behind()),
            _ => Ok(()),
        }
    }

    async fn place(&self, tx: &mut Tx, visit: &Visit<'_>, chain: &Chain) -> Result<Option<Place>, Failure> {
        if visit.context.epoch != chain.epoch || visit.context.counter == 0 {
            return Ok(Some(chain.genesis));
        }
        Ok(store::segment::place(tx, &visit.key, chain.epoch, visit.context.counter).await?)
    }

    /// Keeps the evidence, and announces each kind of suspicion once.
    async fn suspect(
        &self,
        tx: &mut Tx,
        visit: &Visit<'_>,
        chain: &mut Chain,
        findings: &[(Suspicion, String)],
        verdict: Verdict,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let taken = visit.taken(verdict);
        for (suspicion, finding) in findings {
            store::context::keep_evidence(tx, &taken, *suspicion, finding, visit.file, now).await?;
            if chain.suspicions.add(*suspicion) {
                let version = chain.next_version();
                let fact = Fact::Suspected { suspicion: *suspicion, evidence: finding.clone() };
                events::announce(tx, Happening::of(&chain.identity, version, now, random()?), fact).await?;
            }
        }
        Ok(())
    }
}

/// A verified context on its way in.
struct Visit<'a> {
    file: &'a [u8],
    key: ChainKey,
    context: Context,
    digest: Digest,
    root_version: u64,
    reports: Vec<(Suspicion, String)>,
    /// When the challenge in it was made, if it carries one of ours that is still good.
    asked_at: Option<Timestamp>,
}

impl<'a> Visit<'a> {
    fn new(
        file: &'a [u8],
        verified: VerifiedContext,
        root: &TrustedRoot,
        asked_at: Option<Timestamp>,
    ) -> Result<Self, Failure> {
        let context = verified.context;
        if i64::try_from(context.sequence).is_err() {
            return Err(Problem::new(
                ErrorCode::InvalidArgument,
                "the context has a number that no container reaches",
                "create a new context file",
            )
            .into());
        }
        Ok(Self {
            file,
            key: ChainKey { container: context.container_id(), firm: context.firm_code },
            digest: verified.hash,
            // What it claims beyond our own newest document would only make its update files lack one.
            root_version: context.root_version.min(root.version()),
            reports: reports(&context.evidence, root),
            context,
            asked_at,
        })
    }

    /// How far it says to be.
    fn end(&self) -> End {
        End { epoch: self.context.epoch, to: self.context.counter }
    }

    fn identity(&self) -> Identity {
        Identity { key: self.key, serial: self.context.serial.clone(), profile: self.context.profile() }
    }

    fn place(&self) -> Place {
        Place { head: self.context.head, state_digest: self.context.state_digest }
    }

    fn shown(&self) -> Shown {
        Shown {
            epoch: self.context.epoch,
            counter: self.context.counter,
            place: self.place(),
            sequence: self.context.sequence,
            after_proof: false,
            reports: self.reports.clone(),
        }
    }

    fn taken(&self, verdict: Verdict) -> TakenContext {
        TakenContext {
            key: self.key,
            digest: self.digest,
            sequence: self.context.sequence,
            epoch: self.context.epoch,
            counter: self.context.counter,
            verdict,
        }
    }

    /// What an honest container never changes.
    fn changed_identity(&self, known: &Identity) -> Option<(Suspicion, String)> {
        let what = if self.context.serial != known.serial {
            "another serial"
        } else if self.context.keys != known.profile.keys {
            "other sealing or lease keys"
        } else if self.context.kind != known.profile.kind {
            "another kind of container"
        } else {
            return None;
        };
        Some((Suspicion::Clone, format!("the context shows {what} than the container was registered with")))
    }
}

/// What the container reports by itself, as far as it can be believed.
fn reports(evidence: &[Evidence], root: &TrustedRoot) -> Vec<(Suspicion, String)> {
    let mut reports = Vec::new();
    let mut add = |suspicion, text: String| {
        if !reports.iter().any(|(known, _)| *known == suspicion) {
            reports.push((suspicion, text));
        }
    };
    for piece in evidence {
        match piece {
            // A piece without the segment cannot be checked; one with a segment that the firm did not sign says nothing.
            Evidence::Fork { at, other, .. } if other.is_empty() || signed_by(root, other) => {
                add(Suspicion::Fork, format!("the container met two different segments for counter {at}"));
            }
            Evidence::Rollback { local, witness, .. } => add(
                Suspicion::Rollback,
                format!("the container found itself at position {local} after a witness saw {witness}"),
            ),
            Evidence::Fork { .. } | Evidence::Clock { .. } => {}
        }
    }
    reports
}

fn signed_by(root: &TrustedRoot, segment: &[u8]) -> bool {
    Segment::read(segment).is_ok_and(|segment| segment.verify(root).is_ok())
}

fn serial_taken(serial: &str) -> Problem {
    Problem::new(
        ErrorCode::AlreadyExists,
        format!("the serial {serial} belongs to a container with another key"),
        "create the container again, so that it gets a serial of its own, or ask support",
    )
}
