//! Which licenses a verb is about, and how many seats of each.

use std::fmt;

/// A license, or some of its seats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    /// Id of the license.
    pub(crate) license: String,
    /// Seats, 1 and up; 0 when all are meant.
    pub(crate) quantity: u32,
}

impl Pick {
    /// Reads `LICENSE` or `LICENSE=N`. Zero is refused here, because on the wire it means "all".
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (license, quantity) = match text.split_once('=') {
            None => (text, 0),
            Some((license, quantity)) => match quantity.parse() {
                Ok(quantity @ 1..=1_000_000) => (license, quantity),
                _ => return Err("seats are a number from 1 to 1000000".to_owned()),
            },
        };
        if license.is_empty() {
            return Err("the id of the license is missing".to_owned());
        }
        Ok(Self { license: license.to_owned(), quantity })
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.quantity {
            0 => f.write_str(&self.license),
            quantity => write!(f, "{}={quantity}", self.license),
        }
    }
}

/// The two lists of the wire, which belong together, and the words for the journal.
pub(crate) fn picks(all: &[Pick]) -> (Vec<String>, Vec<u32>, Vec<String>) {
    let licenses = all.iter().map(|pick| pick.license.clone()).collect();
    let quantities = if all.iter().all(|pick| pick.quantity == 0) {
        Vec::new()
    } else {
        all.iter().map(|pick| pick.quantity).collect()
    };
    (licenses, quantities, all.iter().map(Pick::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_license_may_carry_a_number_of_seats() {
        assert_eq!(Pick::parse("lic_1"), Ok(Pick { license: "lic_1".to_owned(), quantity: 0 }));
        assert_eq!(Pick::parse("lic_1=3"), Ok(Pick { license: "lic_1".to_owned(), quantity: 3 }));
        for bad in ["", "=3", "lic_1=", "lic_1=0", "lic_1=-1", "lic_1=1000001", "lic_1=a"] {
            assert!(Pick::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn quantities_are_sent_only_where_some_are_given() {
        let read = |texts: &[&str]| texts.iter().map(|text| Pick::parse(text).expect("pick")).collect::<Vec<_>>();
        assert_eq!(picks(&read(&["a", "b"])).1, Vec::<u32>::new());
        assert_eq!(picks(&read(&["a", "b=2"])).1, [0, 2]);
        assert_eq!(picks(&read(&["a", "b=2"])).2, ["a", "b=2"]);
    }
}
