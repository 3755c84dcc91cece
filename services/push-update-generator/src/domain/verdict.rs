//! What a context proves. It was verified before: it is surely from this container's own key.

use std::fmt;

use lictor_license_file::Digest;

use super::suspicion::Suspicion;

/// What is said to the bringer of a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The newest context of this container, and all is well.
    Ok,
    /// A context from before: what it proves counts, its state does not.
    Old,
    /// The container was set back.
    RollbackSuspected,
    /// The container follows another chain.
    ForkReported,
    /// Never seen, and yet it holds segments: nothing is known that it could be compared with.
    UnknownContainer,
}

impl Verdict {
    const ALL: [Self; 5] = [Self::Ok, Self::Old, Self::RollbackSuspected, Self::ForkReported, Self::UnknownContainer];

    /// The word in tables and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Old => "old",
            Self::RollbackSuspected => "rollback-suspected",
            Self::ForkReported => "fork-reported",
            Self::UnknownContainer => "unknown-container",
        }
    }

    /// Reads the word; nothing for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.name() == text)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known about the chain.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its epoch.
    pub epoch: u32,
    /// Counter up to which there is proof.
    pub confirmed: u64,
    /// Newest counter that left the house.
    pub issued: u64,
    /// Highest sequence number of a context so far.
    pub last_sequence: u64,
    /// The counter that this context showed.
    pub last_counter: u64,
}

/// A place in the known chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Chain head there.
    pub head: Digest,
    /// Digest of the vendor-owned state there.
    pub state_digest: Digest,
}

/// What the context shows.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its epoch.
    pub epoch: u32,
    /// Its counter.
    pub counter: u64,
    /// Where it says it is.
    pub place: Place,
    /// The container's own number of this context.
    pub sequence: u64,
    /// It was surely written after a later counter had been proven: it carries a challenge that is younger.
    pub after_proof: bool,
    /// What the container itself reports, with a sentence for each.
    pub reports: Vec<(Suspicion, String)>,
}

/// What follows from a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What to answer.
    pub verdict: Verdict,
    /// Everything up to here is proven; `None` when nothing new is.
    pub confirm_to: Option<u64>,
    /// The context is the newest one and its state counts.
    pub newest: bool,
    /// What speaks against the container.
    pub findings: Vec<(Suspicion, String)>,
}

/// Judges a context that was not seen before. `known` is the place in the chain at the counter that it shows;
/// `sequence_taken` says that another file with its sequence number came in before.
#[must_use]
pub fn judge(standing: &Standing, shown: &Shown, known: Option<Place>, sequence_taken: bool) -> Judgement {
    let newest = shown.sequence > standing.last_sequence;
    if shown.epoch < standing.epoch {
        // From before a rebase: that chain is closed, so it proves nothing about this one.
        return Judgement { verdict: Verdict::Old, confirm_to: None, newest: false, findings: Vec::new() };
    }
    if let Some(finding) = off_the_chain(standing, shown, known) {
        let mut findings = vec![(Suspicion::Fork, finding)];
        findings.extend(shown.reports.iter().cloned());
        return Judgement { verdict: Verdict::ForkReported, confirm_to: None, newest: false, findings };
    }

    let mut findings = shown.reports.clone();
    findings.extend(set_back(standing, shown, newest, sequence_taken).map(|what| (Suspicion::Rollback, what)));
    let verdict = if findings.iter().any(|(suspicion, _)| *suspicion == Suspicion::Fork) {
        Verdict::ForkReported
    } else if !findings.is_empty() {
        Verdict::RollbackSuspected
    } else if newest {
        Verdict::Ok
    } else {
        Verdict::Old
    };
    Judgement {
        verdict,
        // Its head lies on our chain, so it did take everything up to there, whatever else is wrong.
        confirm_to: (shown.counter > standing.confirmed).then_some(shown.counter),
        newest,
        findings,
    }
}

/// Why the container is not on the chain that was issued, if it is not.
fn off_the_chain(standing: &Standing, shown: &Shown, known: Option<Place>) -> Option<String> {
    let counter = shown.counter;
    if shown.epoch > standing.epoch {
        return Some(format!("the container shows epoch {}, the vendor is at {}", shown.epoch, standing.epoch));
    }
    if counter > standing.issued {
        return Some(format!("the container shows counter {counter}, but only {} was ever issued", standing.issued));
    }
    match known {
        None => Some(format!("nothing is known about counter {counter}")),
        Some(place) if place.head != shown.place.head => {
            Some(format!("the container took another segment than the issued one at or before counter {counter}"))
        }
        Some(place) if place.state_digest != shown.place.state_digest => {
            Some(format!("the container's licenses at counter {counter} are not those that were issued"))
        }
        Some(_) => None,
    }
}

/// Why the container must have been set back, if so. An honest container counts its contexts before it writes them, so
/// of two contexts the one with the higher number never shows the lower counter.
fn set_back(standing: &Standing, shown: &Shown, newest: bool, sequence_taken: bool) -> Option<String> {
    let (sequence, counter) = (shown.sequence, shown.counter);
    if sequence_taken {
        return Some(format!("two different contexts have the number {sequence}"));
    }
    let highest = standing.confirmed.max(standing.last_counter);
    if shown.after_proof {
        return Some(format!("context {sequence} shows counter {counter} and was written after {highest} was proven"));
    }
    if newest && counter < highest {
        return Some(format!("context {sequence} shows counter {counter} after {highest} was proven"));
    }
    if !newest && counter > standing.last_counter {
        return Some(format!(
            "context {sequence} shows counter {counter}, but the later context {} shows {}",
            standing.last_sequence, standing.last_counter
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place = Place { head: Digest([1; 32]), state_digest: Digest([2; 32]) };
    const STANDING: Standing = Standing { epoch: 0, confirmed: 3, issued: 5, last_sequence: 10, last_counter: 3 };

    fn shown(counter: u64, sequence: u64) -> Shown {
        Shown { epoch: 0, counter, place: HERE, sequence, after_proof: false, reports: Vec::new() }
    }

    #[test]
    fn a_newer_context_confirms_what_it_shows() {
        let judged = judge(&STANDING, &shown(5, 11), Some(HERE), false);
        assert_eq!((judged.verdict, judged.confirm_to, judged.newest), (Verdict::Ok, Some(5), true));
    }

    #[test]
    fn an_old_context_is_checked_off_and_its_state_ignored() {
        for counter in 0..=3 {
            let judged = judge(&STANDING, &shown(counter, 9), Some(HERE), false);
            assert_eq!((judged.verdict, judged.confirm_to, judged.newest), (Verdict::Old, None, false));
        }
    }

    #[test]
    fn a_later_context_with_a_lower_counter_is_a_rollback() {
        let judged = judge(&STANDING, &shown(2, 11), Some(HERE), false);
        assert_eq!((judged.verdict, judged.confirm_to), (Verdict::RollbackSuspected, None));
    }

    #[test]
    fn a_context_written_after_a_later_proof_is_a_rollback_whatever_its_number() {
        for sequence in [4, 11] {
            let late = Shown { after_proof: true, ..shown(2, sequence) };
            let judged = judge(&STANDING, &late, Some(HERE), false);
            assert_eq!((judged.verdict, judged.confirm_to), (Verdict::RollbackSuspected, None));
        }
    }

    #[test]
    fn an_earlier_context_with_a_higher_counter_is_a_rollback_and_still_proves() {
        let judged = judge(&STANDING, &shown(4, 9), Some(HERE), false);
        assert_eq!((judged.verdict, judged.confirm_to, judged.newest), (Verdict::RollbackSuspected, Some(4), false));
    }

    #[test]
    fn a_reused_context_number_is_a_rollback() {
        let judged = judge(&STANDING, &shown(3, 10), Some(HERE), true);
        assert_eq!(judged.verdict, Verdict::RollbackSuspected);
    }

    #[test]
    fn another_head_state_epoch_or_future_is_a_fork_and_proves_nothing() {
        let other_head = Place { head: Digest([9; 32]), ..HERE };
        let other_state = Place { state_digest: Digest([9; 32]), ..HERE };
        let mut later_epoch = shown(4, 11);
        later_epoch.epoch = 1;
        for judged in [
            judge(&STANDING, &shown(4, 11), Some(other_head), false),
            judge(&STANDING, &shown(4, 11), Some(other_state), false),
            judge(&STANDING, &shown(4, 11), None, false),
            judge(&STANDING, &shown(6, 11), Some(HERE), false),
            judge(&STANDING, &later_epoch, Some(HERE), false),
        ] {
            assert_eq!((judged.verdict, judged.confirm_to, judged.newest), (Verdict::ForkReported, None, false));
            assert_eq!(judged.findings[0].0, Suspicion::Fork);
        }
    }

    #[test]
    fn a_context_from_before_a_rebase_proves_nothing() {
        let standing = Standing { epoch: 1, ..STANDING };
        let judged = judge(&standing, &shown(5, 11), Some(HERE), false);
        assert_eq!((judged.verdict, judged.confirm_to, judged.newest), (Verdict::Old, None, false));
    }

    #[test]
    fn what_the_container_reports_is_kept_and_the_proof_counts() {
        let mut reporting = shown(5, 11);
        reporting.reports.push((Suspicion::Fork, "two segments for counter 5".to_owned()));
        let judged = judge(&STANDING, &reporting, Some(HERE), false);
        assert_eq!((judged.verdict, judged.confirm_to), (Verdict::ForkReported, Some(5)));
    }
}
