//! What a run of `load-bench` is asked to do.

use anyhow::{Context, bail};

/// How it is called.
pub const USAGE: &str = "usage: load-bench [--rounds N] [--seconds N] [--clients N] [--crowd N] [--hosts N] \
                         [--only calls,fresh,crowd,blocks,run,syncs]";

/// The parts of a run, in their order.
pub const PARTS: [&str; 6] = ["calls", "fresh", "crowd", "blocks", "run", "syncs"];

/// The size of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Rounds of each comparison, 1 to 100.
    pub rounds: usize,
    /// About how long one side of a round takes, 1 to 60.
    pub seconds: usize,
    /// Fresh clients per round, 1 to 9,000.
    pub clients: usize,
    /// Clients that hold a seat at two servers together, 2 to 36,000.
    pub crowd: usize,
    /// Machines that borrow blocks, 1 to 200.
    pub hosts: usize,
    /// Parts to do.
    pub only: Vec<String>,
}

impl Default for Wish {
    fn default() -> Self {
        let only = PARTS.map(str::to_owned).to_vec();
        Self { rounds: 5, seconds: 2, clients: 2_000, crowd: 30_000, hosts: 100, only }
    }
}

impl Wish {
    /// Reads the command line.
    ///
    /// # Errors
    /// A word that means nothing here.
    pub fn read(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut wish = Self::default();
        while let Some(name) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{name} needs a value; {USAGE}"))?;
            if name == "--only" {
                wish.only = value.split(',').map(str::to_owned).collect();
                if let Some(other) = wish.only.iter().find(|part| !PARTS.contains(&part.as_str())) {
                    bail!("{other:?} is no part; {USAGE}");
                }
                continue;
            }
            let number: usize = value.parse().with_context(|| format!("{value:?} is no number; {USAGE}"))?;
            match name.as_str() {
                "--rounds" => wish.rounds = number.clamp(1, 100),
                "--seconds" => wish.seconds = number.clamp(1, 60),
                "--clients" => wish.clients = number.clamp(1, 9_000),
                "--crowd" => wish.crowd = number.clamp(2, 36_000),
                "--hosts" => wish.hosts = number.clamp(1, 200),
                _ => bail!("{USAGE}"),
            }
        }
        Ok(wish)
    }

    /// Whether a part is to be done.
    #[must_use]
    pub fn wants(&self, part: &str) -> bool {
        self.only.iter().any(|wanted| wanted == part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> anyhow::Result<Wish> {
        Wish::read(words.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_run_may_be_small_and_may_be_one_part() {
        let wish = read("--rounds 1 --crowd 40 --only crowd,run").expect("understood");
        assert_eq!((wish.rounds, wish.crowd), (1, 40));
        assert!(wish.wants("crowd") && wish.wants("run") && !wish.wants("calls"));
    }

    #[test]
    fn what_means_nothing_is_refused_with_the_usage() {
        for words in ["--rounds", "--rounds many", "--often 3", "--only everything"] {
            let error = read(words).expect_err(words).to_string();
            assert!(error.contains("usage"), "{words}: {error}");
        }
    }
}
