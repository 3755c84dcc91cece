//! What the wizard shows and how it reads choices: everything of it that needs no terminal.

use lictor_api::activation::v1::{InspectTicketResponse, TicketLicense};
use lictor_api::types::v1::ContainerKind;

use crate::remote::{HeldFirm, Pick};
use crate::{output, show};

/// What a ticket holds, numbered for choosing.
pub(super) fn holds_table(holds: &InspectTicketResponse) -> String {
    let rows = holds
        .licenses
        .iter()
        .enumerate()
        .map(|(place, license)| {
            vec![
                (place + 1).to_string(),
                license.item.clone(),
                license.text.clone(),
                license.product_code.to_string(),
                show::seats(license.quantity),
                license.state.clone(),
            ]
        })
        .collect();
    output::table(&["no.", "item", "text", "product", "seats", "state"], rows)
}

/// Whether something of a license can be activated.
pub(super) fn is_free(license: &TicketLicense) -> bool {
    license.state == "available"
}

/// Reads a choice such as `1,3` or `2=5`: numbers of the table, and seats where not all are meant. Empty means all.
pub(super) fn choice(answer: &str, holds: &InspectTicketResponse) -> Result<Vec<Pick>, String> {
    let mut picks: Vec<Pick> = Vec::new();
    for word in answer.split([',', ' ']).filter(|word| !word.is_empty()) {
        let (number, seats) = match word.split_once('=') {
            None => (word, None),
            Some((number, seats)) => (number, Some(seats)),
        };
        let license = number
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_sub(1))
            .and_then(|place| holds.licenses.get(place))
            .ok_or_else(|| format!("{word}: answer numbers from 1 to {}, separated by commas", holds.licenses.len()))?;
        let quantity = match seats.map(str::parse::<u32>) {
            None => 0,
            Some(Ok(seats)) if seats >= 1 && seats <= license.quantity => seats,
            Some(_) if license.quantity == 0 => return Err(format!("{} is not counted: leave =N out", license.item)),
            Some(_) => return Err(format!("{} has 1 to {} seats", license.item, license.quantity)),
        };
        if picks.iter().any(|pick| pick.license == license.license_id) {
            return Err(format!("{number} is there twice"));
        }
        picks.push(Pick { license: license.license_id.clone(), quantity });
    }
    Ok(picks)
}

/// What was chosen, in words.
pub(super) fn in_words(picks: &[Pick], holds: &InspectTicketResponse) -> String {
    let named = |pick: &Pick| {
        let item = holds
            .licenses
            .iter()
            .find(|license| license.license_id == pick.license)
            .map_or(pick.license.as_str(), |license| license.item.as_str());
        match pick.quantity {
            0 => item.to_owned(),
            1 => format!("{item} (1 seat)"),
            seats => format!("{item} ({seats} seats)"),
        }
    };
    match picks {
        [] => "everything that is free".to_owned(),
        picks => picks.iter().map(named).collect::<Vec<_>>().join(", "),
    }
}

/// Containers to choose from, and the way by files as the last one.
pub(super) fn places_table(firms: &[HeldFirm], address: &str) -> String {
    let mut rows: Vec<Vec<String>> = firms
        .iter()
        .enumerate()
        .map(|(place, held)| {
            let entries = if held.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", held.entries) };
            vec![
                (place + 1).to_string(),
                held.serial.clone(),
                format!("{}, {entries}, at {address}", ContainerKind::word_of(held.kind)),
            ]
        })
        .collect();
    rows.push(vec![(firms.len() + 1).to_string(), "another one".to_owned(), "elsewhere, by files".to_owned()]);
    output::table(&["no.", "container", "where"], rows)
}

/// Containers and firms to choose from.
pub(super) fn choices_table(firms: &[HeldFirm]) -> String {
    let rows = firms
        .iter()
        .enumerate()
        .map(|(place, held)| vec![(place + 1).to_string(), held.serial.clone(), held.firm_code.to_string()])
        .collect();
    output::table(&["no.", "container", "firm"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds() -> InspectTicketResponse {
        let license = |id: &str, quantity| TicketLicense {
            license_id: id.to_owned(),
            item: format!("item of {id}"),
            quantity,
            state: "available".to_owned(),
            ..TicketLicense::default()
        };
        InspectTicketResponse { firm_code: 1, licenses: vec![license("a", 5), license("b", 0)] }
    }

    #[test]
    fn choices_are_numbers_and_seats() {
        let pick = |license: &str, quantity| Pick { license: license.to_owned(), quantity };
        assert_eq!(choice("", &holds()), Ok(Vec::new()));
        assert_eq!(choice("1", &holds()), Ok(vec![pick("a", 0)]));
        assert_eq!(choice("2, 1=3", &holds()), Ok(vec![pick("b", 0), pick("a", 3)]));
        for bad in ["0", "3", "x", "1=0", "1=6", "1=x", "2=1", "1,1", "-1", "99999999999999999999"] {
            assert!(choice(bad, &holds()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_chosen_is_said_in_words() {
        let picks = choice("1=1,2", &holds()).expect("choice");
        assert_eq!(in_words(&picks, &holds()), "item of a (1 seat), item of b");
        assert_eq!(in_words(&[], &holds()), "everything that is free");
    }
}
