//! Ids, ticket codes, feature maps, error codes.

use std::collections::BTreeSet;

use lictor_clock::Timestamp;
use lictor_licensing::access::{LocationOrder, SeatsError};
use lictor_licensing::id::{IdError, OrderId, TicketId};
use lictor_licensing::ticket::{CODE_BYTES, TicketCodeError};
use lictor_licensing::{ErrorCode, FeatureMap, FirmCode, Location, Seats, Station, Text, TicketCode};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

#[test]
fn id_has_prefix_and_26_digits_and_later_ids_sort_later() {
    let first = OrderId::new(NOW, [0xff; 10]);
    let text = first.to_string();
    assert_eq!(text.len(), 30);
    assert!(text.starts_with("ord_01"), "{text}");
    assert_eq!(text.parse(), Ok(first));
    let later = OrderId::new(Timestamp::from_micros(NOW.as_micros() + 1_000), [0; 10]);
    assert!(later > first);
    assert!(later.to_string() > text);
    assert_eq!(serde_json::to_string(&first).expect("serialises"), format!("\"{text}\""));
}

#[test]
fn id_of_another_kind_or_spelling_is_refused() {
    let order = OrderId::new(NOW, [7; 10]).to_string();
    assert_eq!(order.parse::<TicketId>(), Err(IdError::Prefix("tkt_")));
    let lower = order.replace("ord_", "").to_lowercase();
    let bad = [
        "ord_".to_owned(),
        format!("ord_{lower}"),
        format!("{order}0"),
        order[..29].to_owned(),
        format!("ord_8{}", "0".repeat(25)),
        format!("ord_0{}U", "0".repeat(24)),
        format!("ord_0{}é", "0".repeat(23)),
    ];
    for text in bad {
        assert_eq!(text.parse::<OrderId>(), Err(IdError::Body("ord_")), "{text}");
    }
    assert_eq!(format!("ord_7{}", "Z".repeat(25)).parse::<OrderId>().map(OrderId::to_u128), Ok(u128::MAX));
}

#[test]
fn firm_code_is_never_zero() {
    assert_eq!(FirmCode::new(0), Err(IdError::FirmCode));
    assert!(serde_json::from_str::<FirmCode>("0").is_err());
    assert!("-1".parse::<FirmCode>().is_err());
    assert_eq!("6000010".parse::<FirmCode>().map(FirmCode::get), Ok(6_000_010));
}

#[test]
fn ticket_shows_only_its_first_group() {
    let ticket = TicketCode::new([0xa5; CODE_BYTES]);
    let whole = ticket.reveal();
    assert_eq!(whole.len(), 29);
    for shown in [format!("{ticket}"), format!("{ticket:?}"), format!("{ticket:#?}")] {
        assert!(shown.contains(&whole[..5]));
        for group in whole.split('-').skip(1) {
            assert!(!shown.contains(group), "{shown} gives {group} away");
        }
    }
    assert_ne!(ticket.hash(), TicketCode::new([0xa4; CODE_BYTES]).hash());
}

#[test]
fn ticket_reads_as_people_type() {
    let ticket = TicketCode::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    let whole = ticket.reveal();
    let sloppy = whole.to_lowercase().replace('0', "o").replace('1', "l").replace('-', " ");
    for typed in [whole.replace('-', ""), sloppy, format!("  {whole}\n"), whole.replace('1', "I")] {
        assert_eq!(typed.parse::<TicketCode>(), Ok(ticket.clone()), "{typed}");
    }
    assert_eq!("".parse::<TicketCode>(), Err(TicketCodeError::Length));
    assert_eq!("A".repeat(1_000_000).parse::<TicketCode>(), Err(TicketCodeError::Length));
    assert_eq!(whole[..28].parse::<TicketCode>(), Err(TicketCodeError::Length));
    assert_eq!(format!("{whole}0").parse::<TicketCode>(), Err(TicketCodeError::Length));
    assert_eq!(whole.replacen('0', "U", 1).parse::<TicketCode>(), Err(TicketCodeError::Character));
}

proptest! {
    #[test]
    fn every_ticket_survives_its_text(random in any::<[u8; CODE_BYTES]>()) {
        let ticket = TicketCode::new(random);
        prop_assert_eq!(ticket.reveal().parse(), Ok(ticket));
    }

    #[test]
    fn one_wrong_digit_or_one_swap_never_passes(random in any::<[u8; CODE_BYTES]>(), place in 0..25_usize, other in 0..25_usize, step in 1..32_usize) {
        const DIGITS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let digits: Vec<char> = TicketCode::new(random).reveal().replace('-', "").chars().collect();
        let mut wrong = digits.clone();
        let value = DIGITS.find(wrong[place]).expect("a digit");
        wrong[place] = DIGITS.chars().nth((value + step) % 32).expect("in range");
        let wrong: String = wrong.into_iter().collect();
        prop_assert_eq!(wrong.parse::<TicketCode>(), Err(TicketCodeError::Check));
        let mut swapped = digits.clone();
        swapped.swap(place, other);
        if swapped != digits {
            let swapped: String = swapped.into_iter().collect();
            prop_assert_eq!(swapped.parse::<TicketCode>(), Err(TicketCodeError::Check));
        }
    }

    #[test]
    fn no_typed_text_panics(text in "\\PC{0,80}") {
        let _ = text.parse::<TicketCode>();
        let _ = text.parse::<OrderId>();
        let _ = text.parse::<FeatureMap>();
        let _ = Station::new(&text);
        let _ = Text::new(text);
    }
}

#[test]
fn error_codes_have_distinct_names_and_documented_exits() {
    let names: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.len(), ErrorCode::ALL.len());
    for code in ErrorCode::ALL {
        assert!(code.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{code}");
        assert!((1..=7).contains(&code.exit_code()), "{code}");
        assert_eq!(code.name().parse(), Ok(*code));
    }
    for (code, exit) in [
        (ErrorCode::InvalidArgument, 2),
        (ErrorCode::LicenseForbids, 3),
        (ErrorCode::TicketUnknown, 4),
        (ErrorCode::RequestIdReused, 5),
        (ErrorCode::Unavailable, 6),
        (ErrorCode::FileForged, 7),
        (ErrorCode::Internal, 1),
    ] {
        assert_eq!(code.exit_code(), exit, "{code}");
    }
}

#[test]
fn feature_map_reads_numbers_texts_and_lists() {
    for (yaml, bits) in [
        ("5", 5),
        ("\"0x5\"", 5),
        ("0x5", 5),
        ("\"0b101\"", 5),
        ("[0, 2]", 5),
        ("[31]", 1 << 31),
        ("[]", 0),
        ("4294967295", u32::MAX),
    ] {
        assert_eq!(serde_norway::from_str::<FeatureMap>(yaml).ok(), Some(FeatureMap(bits)), "{yaml}");
    }
    for yaml in [
        "-1",
        "4294967296",
        "\"0x100000000\"",
        "\"+5\"",
        "\"0x-5\"",
        "[32]",
        "[1, 1]",
        "{}",
        "1.5",
        "\"\"",
        "\"é5\"",
        "true",
        "~",
    ] {
        assert!(serde_norway::from_str::<FeatureMap>(yaml).is_err(), "{yaml}");
    }
    assert_eq!(FeatureMap(0b0110).missing(FeatureMap(0b0011)), FeatureMap(0b0001));
    assert_eq!(FeatureMap(0b0110).additional(FeatureMap(0b0011)), 1);
}

#[test]
fn edges_of_requests_are_checked() {
    assert_eq!(Seats::new(0), Err(SeatsError));
    assert_eq!(Seats::new(Seats::MAX + 1), Err(SeatsError));
    assert!(Station::new("").is_err());
    assert!(Station::new("two\nlines").is_err());
    assert!(Station::new(&"x".repeat(129)).is_err());
    let order = LocationOrder::new(&[Location::Cloud, Location::Cloud, Location::Local]);
    assert_eq!(
        [Location::Cloud, Location::Local, Location::Lan].map(|location| order.rank(location)),
        [Some(0), Some(1), None]
    );
    assert_eq!(LocationOrder::new(&[]), LocationOrder::default());
}
