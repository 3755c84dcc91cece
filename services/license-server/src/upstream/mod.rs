//! Network servers that lend seats to this one: the search list, who answers, and what is asked when.
//!
//! A program that finds no seat here makes this server ask for a block, at the servers of the list in their order. What was
//! lent is then handed out without asking; a task in the background keeps blocks alive, lets them grow with the demand, and
//! gives back what nobody uses.

mod server;
mod task;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_api::types::v1::RefusalReason;
use lictor_clock::SharedClock;
use lictor_key_store::MemorySigner;
use lictor_licensing::access::{AccessMode, Origin};
use lictor_licensing::error::Problem;
use lictor_licensing::refusal::Reason;
use lictor_runtime::StartError;
use lictor_sdk::{Address, Trust};

use crate::domain::ask::{Answer, Ask};
use crate::domain::blocks::{MAX_BLOCK_SEATS, Wish};
use crate::domain::rules::Effect;
use crate::metrics::Metrics;
use crate::writer::Ledger;
use server::{CallError, Server};

/// Longest time for which a program waits for an answer out of the search list.
const LONGEST: Duration = Duration::from_secs(8);
/// How often a program's wish is looked at again after seats came: others may have been faster, who came in a crowd later than
/// the question that counted them out.
const ROUNDS: u32 = 64;

/// The network servers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Upstreams(Option<Arc<Inner>>);

#[derive(Debug)]
pub(crate) struct Inner {
    servers: Vec<Server>,
    ledger: Ledger,
    key: MemorySigner,
    host: String,
    trust: Trust,
    clock: SharedClock,
    metrics: Metrics,
    /// One question at a time for each wish; those who come meanwhile add what they want.
    wishes: Mutex<HashMap<Wish, Arc<Asking>>>,
}

/// What is asked for one wish.
#[derive(Debug, Default)]
struct Asking {
    turn: Arc<tokio::sync::Mutex<()>>,
    waiting: std::sync::atomic::AtomicU32,
}

/// Seats that somebody wants, for as long as he does.
struct Wanted<'a>(&'a Asking, u32);

impl<'a> Wanted<'a> {
    fn new(asking: &'a Asking, seats: u32) -> Self {
        asking.waiting.fetch_add(seats, std::sync::atomic::Ordering::Relaxed);
        Self(asking, seats)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(self.1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// What is needed to ask other servers.
#[derive(Debug)]
pub struct Search {
    /// The servers, the best first.
    pub servers: Vec<Address>,
    /// Licence information files of vendors whose seats may come from there.
    pub trust: Vec<PathBuf>,
    /// Name of this machine, for people and for access rules.
    pub host: String,
}

impl Upstreams {
    /// Those of a search list; an empty list asks nobody.
    ///
    /// # Errors
    /// When a file of a vendor cannot be read.
    pub fn new(
        search: Search,
        ledger: Ledger,
        key: MemorySigner,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        if search.servers.is_empty() {
            return Ok(Self(None));
        }
        let mut trust = Trust::default();
        for path in &search.trust {
            let unusable = |error: &dyn std::fmt::Display| {
                StartError::failed(
                    format!("the licence information file {} cannot be used", path.display()),
                    error.to_string(),
                )
            };
            let bytes = std::fs::read(path).map_err(|error| unusable(&error))?;
            let opened = lictor_license_file::lif::read(&bytes).map_err(|error| unusable(&error))?;
            trust.add(opened.root);
        }
        let servers = search.servers.into_iter().map(Server::new).collect();
        let wishes = Mutex::default();
        Ok(Self(Some(Arc::new(Inner { servers, ledger, key, host: search.host, trust, clock, metrics, wishes }))))
    }

    /// The servers and how they answered last.
    #[must_use]
    pub fn view(&self) -> Vec<wire::Upstream> {
        let servers = self.0.iter().flat_map(|inner| &inner.servers);
        servers.map(|server| wire::Upstream { server: server.name.clone(), problem: server.problem() }).collect()
    }

    /// Whether some server of the list answers, as far as is known; none without a list.
    ///
    /// # Errors
    /// A phrase that says what each of them answered.
    pub fn could_lend(&self) -> Option<Result<(), String>> {
        let inner = self.0.as_ref()?;
        let problems: Vec<String> =
            inner.servers.iter().map(|server| format!("{}: {}", server.name, server.problem())).collect();
        let answers = inner.servers.iter().any(|server| server.problem().is_empty());
        Some(if answers { Ok(()) } else { Err(format!("no network server answers ({})", problems.join("; "))) })
    }

    /// Takes a seat here, or asks the network servers for more seats and takes one of those. A refusal comes with what they
    /// said, each with its name.
    ///
    /// # Errors
    /// As for [`Ledger::acquire`].
    pub async fn acquire(&self, ledger: &Ledger, ask: Ask) -> Result<(Answer, Vec<RefusalReason>), Problem> {
        let Some(inner) = self.0.as_ref().filter(|_| may_come_from_elsewhere(&ask)) else {
            return ledger.acquire(ask).await.map(|answer| (answer, Vec::new()));
        };
        let until = inner.clock.boottime().saturating_add(LONGEST);
        let mut beyond = Vec::new();
        for _ in 0..ROUNDS {
            if inner.clock.boottime() > until {
                break;
            }
            let answer = ledger.try_acquire(ask.clone(), true).await?;
            if let Answer::Refused(refusal) = &answer
                && !refusal.lines().iter().any(|line| matches!(line.reason, Reason::DeniedByRule { .. }))
                && !inner.is_denied(&ask).await?
            {
                match inner.want(&ask, until).await {
                    Ok(()) => continue,
                    Err(reasons) => beyond = reasons,
                }
                break;
            }
            if matches!(answer, Answer::Granted(_)) {
                return Ok((answer, Vec::new()));
            }
            break;
        }
        ledger.acquire(ask).await.map(|answer| (answer, beyond))
    }

    /// Gets seats for somebody who is about to wait, if there are any: he waits only for what comes here.
    pub async fn prepare(&self, ledger: &Ledger, ask: &Ask) {
        let Some(inner) = self.0.as_ref().filter(|_| may_come_from_elsewhere(ask)) else { return };
        let here = ask.clone();
        let served = ledger.read(move |keeper, moment| keeper.explain(&here, moment).is_ok()).await;
        if served.is_ok_and(|served| !served) && inner.is_denied(ask).await.is_ok_and(|denied| !denied) {
            let until = inner.clock.boottime().saturating_add(LONGEST);
            // What other servers say is no answer for him: he waits here.
            let _ = inner.want(ask, until).await;
        }
    }

    /// Keeps blocks alive, for ever.
    pub async fn run(self) {
        match self.0 {
            Some(inner) => task::run(inner).await,
            None => std::future::pending().await,
        }
    }
}

/// Blocks hold seats that each program takes for itself, and lie behind this server for those who count as local.
fn may_come_from_elsewhere(ask: &Ask) -> bool {
    ask.mode == AccessMode::UserLimit && ask.origin == Origin::Local && ask.seats.get() <= MAX_BLOCK_SEATS
}

impl Inner {
    /// Whether the access rules keep somebody from a product, wherever it comes from.
    async fn is_denied(&self, ask: &Ask) -> Result<bool, Problem> {
        let ask = ask.clone();
        let look = self.ledger.read(move |keeper, _| {
            let rules = keeper.rules();
            !rules.allow_all() && rules.decide(&ask.caller(), ask.wish()).effect == Effect::Deny
        });
        look.await
    }

    fn asking(&self, wish: &Wish) -> Arc<Asking> {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody asks for what nobody holds any more.
        if wishes.len() >= 1_024 {
            wishes.retain(|_, asking| Arc::strong_count(asking) > 1);
        }
        Arc::clone(wishes.entry(wish.clone()).or_default())
    }

    /// Gets seats for a wish from the first server that has some.
    ///
    /// # Errors
    /// What each server said.
    async fn want(&self, ask: &Ask, until: Duration) -> Result<(), Vec<RefusalReason>> {
        let wish = Wish { firm_code: ask.firm_code, product_code: ask.product_code, feature_map: ask.feature_map };
        let asking = self.asking(&wish);
        let seats = ask.seats.get();
        let _wanted = Wanted::new(&asking, seats);
        let left = until.saturating_sub(self.clock.boottime());
        let Ok(_turn) = tokio::time::timeout(left, asking.turn.lock()).await else {
            return Err(vec![server::overloaded(ask.product_code.get())]);
        };
        if self.has_free(&wish, seats).await {
            return Ok(());
        }
        let mut reasons = Vec::new();
        for server in &self.servers {
            let left = until.saturating_sub(self.clock.boottime());
            if left.is_zero() {
                break;
            }
            match tokio::time::timeout(left, self.want_of(server, &wish, &asking)).await {
                // Free seats, or there were some and others were faster: both are worth another look.
                Ok(Ok(())) if self.has_free(&wish, seats).await || !self.is_short(server, &wish).await => return Ok(()),
                Ok(Ok(())) => reasons.push(server.has_no_more(&wish)),
                Ok(Err(CallError::Refused(refusal))) => {
                    reasons.extend(refusal.reasons.into_iter().map(|reason| server.says(reason)));
                }
                Ok(Err(error)) => reasons.push(server.away(&wish, &error.to_string())),
                Err(_) => reasons.push(server.away(&wish, "it takes too long")),
            }
        }
        Err(reasons)
    }

    /// Whether blocks have free seats for a wish.
    async fn has_free(&self, wish: &Wish, seats: u32) -> bool {
        let wish = wish.clone();
        let look = self.ledger.read(move |keeper, _| {
            let wanted = wish.feature_map.bits();
            let mut blocks = keeper.state.blocks_of(wish.firm_code, wish.product_code);
            blocks.any(|block| {
                block.serves() && block.wish.feature_map.bits() & wanted == wanted && block.free() >= seats
            })
        });
        look.await.unwrap_or(false)
    }

    /// Whether a server had fewer seats than were needed when it was asked last, so that asking again at once is of no use.
    async fn is_short(&self, server: &Server, wish: &Wish) -> bool {
        let (name, wish) = (server.name.clone(), wish.clone());
        let look = self.ledger.read(move |keeper, moment| keeper.is_short(&name, &wish, moment));
        look.await.unwrap_or(true)
    }

    /// Asks one server for as many seats as are wanted now.
    async fn want_of(&self, server: &Server, wish: &Wish, asking: &Asking) -> Result<(), CallError> {
        server.may_be_asked(self.clock.boottime())?;
        // An open question comes first, whatever it asks for; then one with what is wanted now.
        for _ in 0..2 {
            let waiting = asking.waiting.load(std::sync::atomic::Ordering::Relaxed);
            let (name, wish) = (server.name.clone(), wish.clone());
            let next = self.ledger.change(move |writer, moment| writer.ask_for_block(&name, &wish, waiting, moment));
            let Some(next) = next.await.map_err(CallError::Failed)? else { return Ok(()) };
            let enough = next.question.needed >= waiting.min(MAX_BLOCK_SEATS);
            self.ask(server, &next.question).await?;
            if enough {
                break;
            }
        }
        Ok(())
    }
}
