//! Deterministic CBOR: one spelling per meaning, and no memory for what is only claimed.

use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};
use lictor_signing::pre_authentication_encoding;
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sample {
    number: u64,
    text: Option<String>,
    list: Vec<i64>,
}

impl Canonical for Sample {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.uint(self.number));
            fields.option(2, self.text.as_ref(), |w, text| w.text(text));
            fields.field(30, |w| w.list(&self.list, |w, number| w.int(*number)));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let sample = Self {
            number: fields.required(0, Reader::uint)?,
            text: fields.optional(2, |r| r.text(16))?.map(str::to_owned),
            list: fields.required(30, |r| r.list(4, Reader::int))?,
        };
        fields.end()?;
        Ok(sample)
    }
}

#[test]
fn other_spellings_of_the_same_meaning_are_refused() {
    let good = [0xA2, 0x00, 0x05, 0x18, 0x1E, 0x81, 0x20];
    assert_eq!(cbor::decode::<Sample>(&good), Ok(Sample { number: 5, text: None, list: vec![-1] }));
    let cases: [(&str, &[u8]); 9] = [
        ("a number longer than needed", &[0xA2, 0x00, 0x18, 0x05, 0x18, 0x1E, 0x81, 0x20]),
        ("a key longer than needed", &[0xA2, 0x18, 0x00, 0x05, 0x18, 0x1E, 0x81, 0x20]),
        ("a list of open length", &[0xA2, 0x00, 0x05, 0x18, 0x1E, 0x9F, 0x20, 0xFF]),
        ("a map of open length", &[0xBF, 0x00, 0x05, 0x18, 0x1E, 0x81, 0x20, 0xFF]),
        ("keys out of order", &[0xA2, 0x18, 0x1E, 0x81, 0x20, 0x00, 0x05]),
        ("a key twice", &[0xA3, 0x00, 0x05, 0x00, 0x05, 0x18, 0x1E, 0x81, 0x20]),
        ("an unknown key", &[0xA3, 0x00, 0x05, 0x03, 0x00, 0x18, 0x1E, 0x81, 0x20]),
        ("a byte after the end", &[0xA2, 0x00, 0x05, 0x18, 0x1E, 0x81, 0x20, 0x00]),
        ("a tag around it", &[0xC1, 0xA2, 0x00, 0x05, 0x18, 0x1E, 0x81, 0x20]),
    ];
    for (what, bytes) in cases {
        assert!(cbor::decode::<Sample>(bytes).is_err(), "{what}");
    }
}

#[test]
fn unknown_fields_are_named_and_missing_ones_too() {
    assert_eq!(cbor::decode::<Sample>(&[0xA2, 0x00, 0x05, 0x01, 0x00]), Err(CborError::UnknownField(1)));
    assert_eq!(cbor::decode::<Sample>(&[0xA1, 0x00, 0x05]), Err(CborError::MissingField(30)));
}

#[test]
fn claimed_lengths_and_depths_cost_nothing() {
    // A list, a text and a map that claim 2^32-1 and 2^64-1 elements.
    for claim in [
        &[0xA2, 0x00, 0x05, 0x18, 0x1E, 0x9A, 0xFF, 0xFF, 0xFF, 0xFF][..],
        &[0xA2, 0x00, 0x05, 0x18, 0x1E, 0x9B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0xA2, 0x00, 0x05, 0x02, 0x7B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0xBB, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
    ] {
        assert!(cbor::decode::<Sample>(claim).is_err());
    }
    for deep in [vec![0x81; 100_000], vec![0xA1; 100_000], [vec![0xA1, 0x00], vec![0x81; 100_000]].concat()] {
        assert!(cbor::decode::<Sample>(&deep).is_err());
    }
}

#[test]
fn the_signed_message_follows_dsse() {
    assert_eq!(pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"), {
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world".to_vec()
    });
    assert_ne!(pre_authentication_encoding("a", b"bc"), pre_authentication_encoding("ab", b"c"));
}

proptest! {
    #[test]
    fn what_was_written_reads_back_and_nothing_else_does(
        number in any::<u64>(),
        text in proptest::option::of("[a-z]{0,16}"),
        list in proptest::collection::vec(any::<i64>(), 0..4),
    ) {
        let sample = Sample { number, text, list };
        let bytes = cbor::encode(&sample);
        prop_assert_eq!(cbor::decode::<Sample>(&bytes), Ok(sample));
    }

    #[test]
    fn whatever_decodes_has_exactly_that_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(sample) = cbor::decode::<Sample>(&bytes) {
            prop_assert_eq!(cbor::encode(&sample), bytes);
        }
    }
}
