//! Replays: jobs that make deliveries due again, written down and done in steps.

use lictor_clock::Timestamp;
use lictor_licensing::id::{DeliveryId, DestinationId, ReplayId};

/// What is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This delivery, whatever became of it.
    One(DeliveryId),
    /// Everything of a time, taken or not.
    Range,
    /// What was given up.
    Failed,
    /// What the destination wants today and never got a delivery for.
    NeverAttempted,
}

impl Kind {
    /// The word in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::One(_) => "one",
            Self::Range => "range",
            Self::Failed => "failed",
            Self::NeverAttempted => "never-attempted",
        }
    }

    /// Reads the word of a table.
    pub fn stored(name: &str, delivery: Option<DeliveryId>) -> Option<Self> {
        match (name, delivery) {
            ("one", Some(id)) => Some(Self::One(id)),
            ("range", None) => Some(Self::Range),
            ("failed", None) => Some(Self::Failed),
            ("never-attempted", None) => Some(Self::NeverAttempted),
            _ => None,
        }
    }
}

/// Where a replay stands. Both ends are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Steps are left.
    Running,
    /// All is due again.
    Done,
    /// Somebody stopped it.
    Cancelled,
}

impl State {
    /// The word in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the word of a table.
    pub fn stored(name: &str) -> Option<Self> {
        [Self::Running, Self::Done, Self::Cancelled].into_iter().find(|state| state.name() == name)
    }
}

/// A job as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// `rpl_…`
    pub id: ReplayId,
    /// Whose deliveries.
    pub destination: DestinationId,
    /// Which of them.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// Of events that happened at or after this …
    pub since: Timestamp,
    /// … and before this.
    pub until: Timestamp,
    /// The last place that was looked at: a delivery's position, or an event's.
    pub cursor: i64,
    /// Deliveries made due so far.
    pub replayed: u64,
    /// When it was wanted.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}
