//! What a container could run at a moment, and why: read from the facts that were noted about its licenses.
//!
//! A container stands somewhere between the last segment it proved and the last one that was issued to it. What it holds
//! at every one of these points it surely held; what it holds only at some of them it possibly held. Nothing but proof
//! moves the first point, so an entry whose taking out was never proven stays possible until it ends by date.

use std::collections::HashMap;

use lictor_clock::Timestamp;
use lictor_licensing::id::{ActivationId, LicenseId};

/// What a fact means for what a container holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A segment was issued that puts it in, or adds to it.
    Issued,
    /// A segment was issued that moves its end.
    Renewed,
    /// A segment was issued that takes a part out.
    Lessened,
    /// A segment was issued that takes all of it out.
    Leaving,
    /// The container proved that it took the segment of this activation.
    Proven,
    /// The same, of a segment that took all of it out for good.
    Gone,
    /// The same, when it can be activated again.
    Returned,
    /// Its container was lost.
    WrittenOff,
    /// Nothing: a decision, or a plan.
    Told(String),
}

impl What {
    /// The words that mean something for what a container holds.
    const WORDS: [(&'static str, Self); 8] = [
        ("issued", Self::Issued),
        ("renewed", Self::Renewed),
        ("lessened", Self::Lessened),
        ("leaving", Self::Leaving),
        ("proven", Self::Proven),
        ("gone", Self::Gone),
        ("returned", Self::Returned),
        ("written-off", Self::WrittenOff),
    ];

    /// The meaning of a word of the table.
    #[must_use]
    pub fn named(word: &str) -> Self {
        let known = Self::WORDS.into_iter().find(|(name, _)| *name == word);
        known.map_or_else(|| Self::Told(word.to_owned()), |(_, what)| what)
    }

    /// The word in tables and for people.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Told(word) => word,
            known => Self::WORDS.iter().find(|(_, what)| what == known).map_or("", |(name, _)| name),
        }
    }
}

/// One thing that happened to a license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The license.
    pub license: LicenseId,
    /// Name of its item.
    pub item: String,
    /// Product code of its item.
    pub product_code: u32,
    /// Whether it has a number of seats.
    pub counted: bool,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
    /// SHA-256 of the container's device key, hex; empty when no container is concerned.
    pub container: String,
    /// Its display serial.
    pub serial: String,
    /// Seats that the container holds after this; 0 when it is not counted.
    pub quantity: u32,
    /// The activation that did it.
    pub activation: Option<ActivationId>,
    /// Counter of the segment; 0 when none is involved.
    pub counter: u64,
    /// When the entry ends by date after this.
    pub expires_at: Option<Timestamp>,
    /// One sentence; may be empty.
    pub why: String,
}

/// How sure it is that a container held something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// Wherever between proof and issue the container stood, it held it.
    Proven,
    /// It held it if it took, or did not take, a segment that nobody has proof of.
    Possible,
}

impl Certainty {
    /// The word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Possible => "possible",
        }
    }
}

/// What a container could run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usable {
    /// The license.
    pub license: LicenseId,
    /// Name of its item.
    pub item: String,
    /// Product code of its item.
    pub product_code: u32,
    /// Display serial of the container.
    pub serial: String,
    /// Seats; 0 when it is not counted.
    pub quantity: u32,
    /// How sure it is.
    pub certainty: Certainty,
    /// When that ends by date.
    pub expires_at: Option<Timestamp>,
    /// One sentence: from what it follows.
    pub why: String,
}

/// What the container holds of a license at one of the points where it may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holding {
    quantity: u32,
    ends: Option<Timestamp>,
}

/// A segment without proof.
#[derive(Clone, Debug)]
struct Pending<'a> {
    fact: &'a Fact,
    after: Option<Holding>,
}

#[derive(Clone, Debug)]
struct Story<'a> {
    first: &'a Fact,
    proven: Option<(Holding, Timestamp)>,
    pending: Vec<Pending<'a>>,
    written_off: Option<Timestamp>,
}

/// What the containers in `facts` (oldest first) could run at `at`, by the order in which licenses came into them.
#[must_use]
pub fn usable(facts: &[Fact], at: Timestamp) -> Vec<Usable> {
    let mut places: HashMap<(LicenseId, &str), usize> = HashMap::new();
    let mut stories: Vec<Story<'_>> = Vec::new();
    for fact in facts.iter().filter(|fact| fact.at <= at && !fact.container.is_empty()) {
        let place = *places.entry((fact.license, &fact.container)).or_insert_with(|| {
            stories.push(Story { first: fact, proven: None, pending: Vec::new(), written_off: None });
            stories.len() - 1
        });
        stories[place].tell(fact);
    }
    stories.iter().flat_map(|story| story.usable(facts, at)).collect()
}

impl<'a> Story<'a> {
    fn tell(&mut self, fact: &'a Fact) {
        let after = Some(Holding { quantity: fact.quantity, ends: fact.expires_at });
        match fact.what {
            What::Issued | What::Renewed | What::Lessened => self.pending.push(Pending { fact, after }),
            What::Leaving => self.pending.push(Pending { fact, after: None }),
            What::Proven | What::Gone | What::Returned => self.prove(fact),
            What::WrittenOff => self.written_off = Some(fact.at),
            What::Told(_) => {}
        }
    }

    /// A container that took a segment took all before it.
    fn prove(&mut self, proof: &Fact) {
        let reached = self.pending.iter().rposition(|pending| pending.fact.activation == proof.activation);
        let Some(reached) = reached else {
            return;
        };
        let last = self.pending.drain(..=reached).next_back();
        self.proven = last.and_then(|last| last.after).map(|holding| (holding, proof.at));
    }

    fn usable(&self, facts: &[Fact], at: Timestamp) -> Vec<Usable> {
        let seats = |holding: Option<Holding>| match holding {
            Some(holding) if holding.ends.is_none_or(|end| end > at) => {
                if self.first.counted {
                    holding.quantity
                } else {
                    1
                }
            }
            _ => 0,
        };
        let points = || {
            std::iter::once(self.proven.map(|(holding, _)| holding))
                .chain(self.pending.iter().map(|pending| pending.after))
        };
        let most = points().max_by_key(|point| (seats(*point), point.and_then(|holding| holding.ends))).flatten();
        let least = points().min_by_key(|point| seats(*point)).flatten();
        let sure = if self.written_off.is_some() { 0 } else { seats(least) };
        let row = |certainty, quantity: u32, expires_at, why| Usable {
            license: self.first.license,
            item: self.first.item.clone(),
            product_code: self.first.product_code,
            serial: self.first.serial.clone(),
            quantity: if self.first.counted { quantity } else { 0 },
            certainty,
            expires_at,
            why,
        };
        let mut rows = Vec::new();
        if sure > 0 {
            let ends = points().flatten().filter_map(|holding| holding.ends).min();
            rows.push(row(Certainty::Proven, sure, ends, self.why_proven(facts, at)));
        }
        if seats(most) > sure {
            let ends = most.and_then(|holding| holding.ends);
            rows.push(row(Certainty::Possible, seats(most) - sure, ends, self.why_possible(facts, at)));
        }
        rows
    }

    fn why_proven(&self, facts: &[Fact], at: Timestamp) -> String {
        let arrival = match self.proven {
            Some((_, proof)) => format!("the container proved on {proof} that it holds it"),
            None => "every state that the container can be in holds it".to_owned(),
        };
        match self.pending.last() {
            None => arrival,
            Some(last) => format!("{arrival}; {}", told(last, facts, at)),
        }
    }

    fn why_possible(&self, facts: &[Fact], at: Timestamp) -> String {
        if let Some(lost) = self.written_off {
            return format!("the container was written off as lost on {lost}, and nobody can prove that it stopped");
        }
        self.pending.last().map_or_else(String::new, |last| told(last, facts, at))
    }
}

/// One sentence about a segment without proof.
fn told(pending: &Pending<'_>, facts: &[Fact], at: Timestamp) -> String {
    let does = match pending.fact.what {
        What::Leaving => "takes it out",
        What::Lessened => "takes a part of it out",
        What::Renewed => "moves its end",
        _ => "puts it in",
    };
    let proof = facts.iter().find(|fact| {
        fact.at > at
            && fact.license == pending.fact.license
            && fact.container == pending.fact.container
            && fact.activation == pending.fact.activation
            && matches!(fact.what, What::Proven | What::Gone | What::Returned)
    });
    let issued = format!("the update that {does} was issued on {}", pending.fact.at);
    match proof {
        Some(proof) => format!("{issued} and proven only on {}", proof.at),
        None => format!("{issued} and was never proven"),
    }
}

#[cfg(test)]
mod tests;
