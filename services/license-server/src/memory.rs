//! Memory goes back to the system after a crowd has left. The allocator keeps what was freed for whoever comes next, which
//! after 30,000 connections is more than a gigabyte that the other containers of the machine do not have.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::MissedTickBehavior};

use crate::listen::MAX_CONNECTIONS;

/// How often it is looked whether a crowd has left.
const EVERY: Duration = Duration::from_secs(5);
/// Fewer connections leave too little behind to look for it.
const CROWD: usize = 1_000;

/// How many connections were open at most since memory was given back.
#[derive(Debug, Default)]
struct Tide {
    highest: usize,
}

impl Tide {
    /// Whether, with `open` connections now, half of a crowd has left.
    fn ebbs(&mut self, open: usize) -> bool {
        let ebbs = self.highest >= CROWD && open <= self.highest / 2;
        self.highest = if ebbs { open } else { self.highest.max(open) };
        ebbs
    }
}

/// Looks at how many of the `places` for connections are taken, and gives memory back when half of a crowd has left.
pub(crate) async fn give_back(places: Arc<Semaphore>) {
    let mut tide = Tide::default();
    let mut looks = tokio::time::interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if tide.ebbs(MAX_CONNECTIONS.saturating_sub(places.available_permits())) {
            // It takes a part of a second, which nobody on this runtime should wait for.
            if let Err(error) = tokio::task::spawn_blocking(lictor_sys::give_memory_back).await {
                tracing::warn!(%error, "memory could not be given back to the system");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_for_each_crowd_of_which_half_has_left() {
        let mut tide = Tide::default();
        let days = [(0, false), (999, false), (0, false), (1_000, false), (501, false), (500, true), (0, false)];
        for (open, gives_back) in days {
            assert_eq!(tide.ebbs(open), gives_back, "{open} open");
        }
        for (open, gives_back) in [(30_000, false), (16_000, false), (15_000, true), (8_000, false), (7_500, true)] {
            assert_eq!(tide.ebbs(open), gives_back, "{open} open");
        }
    }
}
