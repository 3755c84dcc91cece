//! A lender sees when two servers borrow with one key: one of them is a copy of the other, such as a machine that was cloned with
//! its licence server on it.
//!
//! A server has one connection for each of its blocks at a time; when that breaks it makes another one and never goes back. So a
//! connection that was left for another one, and long afterwards is used again for the same block, more than once, belongs to
//! somebody else. What a connection still carries when it breaks may come late, and comes all at once: that counts once. It goes
//! by block, because one server may know its lender by two addresses and borrows other blocks over each.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::BlockId;

/// Most borrowers that are remembered; those beyond are not watched.
const MAX_BORROWERS: usize = 4_096;
/// Most blocks of one borrower that are remembered; those beyond are not watched.
const MAX_BLOCKS: usize = 64;
/// Most connections of one block that are remembered.
const MAX_CONNECTIONS: usize = 8;
/// After so long a message is late and not on its way: no question is waited for as long.
const LATE: Duration = Duration::from_secs(10);
/// So many returns prove that there are two.
const PROOF: u32 = 2;

type Key = [u8; 32];
type Connection = [u8; 32];

/// What was seen of the borrowers, in this life of the process.
#[derive(Debug, Default)]
pub struct Witness {
    borrowers: HashMap<Key, HashMap<BlockId, Seen>>,
}

/// What was seen of one block.
#[derive(Debug, Default)]
struct Seen {
    current: Connection,
    /// Connections that another one took the place of, and when.
    left: VecDeque<(Connection, Duration)>,
    returns: u32,
    last_return: Duration,
    last: Duration,
}

impl Witness {
    /// Notes a question about `block`, and says whether two servers ask with this key. They count as two for `memory` after the
    /// last proof.
    pub fn saw(
        &mut self,
        key: &Key,
        block: &BlockId,
        connection: &Connection,
        boottime: Duration,
        memory: Duration,
    ) -> bool {
        if !self.borrowers.contains_key(key) && self.borrowers.len() >= MAX_BORROWERS {
            self.borrowers.retain(|_, blocks| blocks.values().any(|seen| seen.is_recent(boottime, memory)));
            if self.borrowers.len() >= MAX_BORROWERS {
                return false;
            }
        }
        let blocks = self.borrowers.entry(*key).or_default();
        if !blocks.contains_key(block) && blocks.len() >= MAX_BLOCKS {
            blocks.retain(|_, seen| seen.is_recent(boottime, memory));
        }
        if blocks.contains_key(block) || blocks.len() < MAX_BLOCKS {
            let fresh = || Seen { current: *connection, ..Seen::default() };
            blocks.entry(*block).or_insert_with(fresh).note(connection, boottime, memory);
        }
        blocks.values().any(|seen| seen.is_doubled(boottime, memory))
    }

    /// How many borrowers are two at this time.
    #[must_use]
    pub fn doubled(&self, boottime: Duration, memory: Duration) -> usize {
        let blocks = self.borrowers.values();
        blocks.filter(|blocks| blocks.values().any(|seen| seen.is_doubled(boottime, memory))).count()
    }
}

impl Seen {
    fn is_recent(&self, boottime: Duration, memory: Duration) -> bool {
        boottime.saturating_sub(self.last) < memory
    }

    fn is_doubled(&self, boottime: Duration, memory: Duration) -> bool {
        self.returns >= PROOF && boottime.saturating_sub(self.last_return) < memory
    }

    fn note(&mut self, connection: &Connection, boottime: Duration, memory: Duration) {
        self.last = boottime;
        if self.returns > 0 && boottime.saturating_sub(self.last_return) >= memory {
            self.returns = 0;
        }
        if self.current != *connection {
            self.change_to(connection, boottime);
        }
    }

    fn change_to(&mut self, connection: &Connection, boottime: Duration) {
        let known = self.left.iter().position(|(left, _)| left == connection);
        if let Some((_, at)) = known.and_then(|place| self.left.remove(place)) {
            let late = boottime.saturating_sub(at) >= LATE;
            let again = self.returns == 0 || boottime.saturating_sub(self.last_return) >= LATE;
            if late && again {
                self.returns += 1;
                self.last_return = boottime;
            }
        }
        if self.left.len() >= MAX_CONNECTIONS {
            self.left.pop_front();
        }
        self.left.push_back((self.current, boottime));
        self.current = *connection;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Duration = Duration::from_secs(900);
    const KEY: Key = [7; 32];
    const BLOCK: BlockId = [5; 16];

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_server_that_loses_its_connection_again_and_again_is_one_server() {
        let mut witness = Witness::default();
        for number in 0..200_u8 {
            let now = at(u64::from(number) * 60);
            assert!(!witness.saw(&KEY, &BLOCK, &[number; 32], now, MEMORY));
            // What was still on the old wire comes late and in a burst.
            for late in 1..6 {
                assert!(!witness.saw(&KEY, &BLOCK, &[number.wrapping_sub(1); 32], now + at(late), MEMORY), "{number}");
                assert!(!witness.saw(&KEY, &BLOCK, &[number; 32], now + at(late), MEMORY), "{number}");
            }
        }
    }

    #[test]
    fn a_burst_that_comes_minutes_late_counts_once() {
        let mut witness = Witness::default();
        witness.saw(&KEY, &BLOCK, &[1; 32], at(0), MEMORY);
        witness.saw(&KEY, &BLOCK, &[2; 32], at(5), MEMORY);
        for late in 0..9 {
            assert!(!witness.saw(&KEY, &BLOCK, &[1; 32], at(300 + late), MEMORY));
            assert!(!witness.saw(&KEY, &BLOCK, &[2; 32], at(300 + late), MEMORY));
        }
    }

    #[test]
    fn two_servers_that_go_on_with_one_key_are_found_out_and_forgotten_once_one_of_them_stops() {
        let mut witness = Witness::default();
        let mut found = 0;
        for round in 0..6 {
            for connection in [1, 2] {
                found += u32::from(witness.saw(
                    &KEY,
                    &BLOCK,
                    &[connection; 32],
                    at(round * 450 + u64::from(connection)),
                    MEMORY,
                ));
            }
        }
        assert!(found >= 6, "{found} of the later questions");
        assert!(!witness.saw(&[8; 32], &BLOCK, &[9; 32], at(2_700), MEMORY), "others are none of it");
        assert_eq!(witness.doubled(at(2_700), MEMORY), 1);
        // One of them is stopped.
        for round in 0..4 {
            found = u32::from(witness.saw(&KEY, &BLOCK, &[1; 32], at(2_800 + round * 450), MEMORY));
        }
        assert_eq!((found, witness.doubled(at(4_200), MEMORY)), (0, 0));
    }

    #[test]
    fn a_server_that_knows_its_lender_by_two_addresses_is_one_server() {
        let mut witness = Witness::default();
        for round in 0..20 {
            for address in [1, 2] {
                let now = at(round * 450 + u64::from(address));
                assert!(!witness.saw(&KEY, &[address; 16], &[address; 32], now, MEMORY), "round {round}");
            }
        }
    }
}
