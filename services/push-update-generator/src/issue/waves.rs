//! A crowd in parts that can be done together.

use std::collections::HashMap;

use crate::domain::container::ChainKey;

/// Splits a crowd so that in each part every chain and every reference comes once; whoever came earlier goes first. Gives
/// the places of the parts' members.
pub(super) fn waves<'a>(crowd: impl Iterator<Item = (ChainKey, &'a str)>) -> Vec<Vec<usize>> {
    let (mut waves, mut next): (Vec<Vec<usize>>, _) = (Vec::new(), (HashMap::new(), HashMap::new()));
    for (place, (key, reference)) in crowd.enumerate() {
        // After every part that has the same chain or reference, not into a gap between them.
        let after = |next: Option<&usize>| next.copied().unwrap_or(0);
        let wave = after(next.0.get(&key)).max(after(next.1.get(reference)));
        next.0.insert(key, wave + 1);
        next.1.insert(reference, wave + 1);
        if wave == waves.len() {
            waves.push(Vec::new());
        }
        waves[wave].push(place);
    }
    waves
}

#[cfg(test)]
mod tests {
    use lictor_license_file::ContainerId;
    use lictor_licensing::id::FirmCode;

    use super::*;

    fn split(crowd: &[(u8, &str)]) -> Vec<Vec<usize>> {
        let firm = FirmCode::new(7).expect("a firm");
        waves(
            crowd
                .iter()
                .map(|(chain, reference)| (ChainKey { container: ContainerId([*chain; 32]), firm }, *reference)),
        )
    }

    #[test]
    fn different_chains_go_together_and_one_chain_in_the_order_of_its_requests() {
        assert_eq!(split(&[(1, "a"), (2, "b"), (3, "c")]), [[0, 1, 2]]);
        assert_eq!(split(&[(1, "a"), (1, "b"), (2, "c"), (1, "d")]), [vec![0, 2], vec![1], vec![3]]);
        assert_eq!(split(&[]), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn one_reference_comes_once_in_each_part() {
        assert_eq!(split(&[(1, "a"), (1, "a"), (2, "a")]), [[0], [1], [2]]);
        assert_eq!(split(&[(1, "a"), (2, "a"), (2, "b"), (1, "c")]), [vec![0], vec![1, 3], vec![2]]);
    }
}
