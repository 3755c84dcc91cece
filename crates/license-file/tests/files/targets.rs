//! What fuzzing runs: one function per parser, each with its own assertions. The targets in `fuzz/` and the replay of
//! their corpora in this test both call these.

use std::sync::LazyLock;

use lictor_license_file::Digest;
use lictor_license_file::armor;
use lictor_license_file::context;
use lictor_license_file::frame::{self, Frame};
use lictor_license_file::lif;
use lictor_license_file::modified_context::ModifiedContext;
use lictor_license_file::product_item;
use lictor_license_file::segment::{Body, Segment};
use lictor_license_file::state::VendorState;
use lictor_license_file::update::UpdateFile;
use lictor_signing::cbor;
use lictor_signing::{Envelope, RootDocument, TimeStatement, TrustedRoot};

use crate::support::{Container, FIRM, Vendor, add, at, close_again, rebased, story};

/// A target by its name, which is also the name of its corpus.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All targets.
pub(crate) const TARGETS: &[Target] = &[
    ("frame", frame),
    ("armor", armor),
    ("root_document", root_document),
    ("segment", segment),
    ("segment_body", segment_body),
    ("product_item", product_item),
    ("state", state),
    ("import", import),
    ("context", context),
    ("license_information", license_information),
    ("modified_context", modified_context),
    ("time_statement", time_statement),
];

struct Fixture {
    vendor: Vendor,
    rotated: Vendor,
    container: Container,
    /// Where the container of the import target stands.
    position: VendorState,
    /// Hashes of everything that was ever signed.
    issued: Vec<Digest>,
    /// All states that what was signed leads to.
    states: Vec<VendorState>,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let vendor = Vendor::new(FIRM);
    let (_, rotated) = vendor.rotated();
    let container = Container::new(1);
    let chain = story(&vendor, &container);
    // The other endings that golden files and corpora hold.
    let (mut folded, mut smaller, mut continued) = (chain.clone(), chain.clone(), chain.clone());
    folded.checkpoint(&[0, 2, 5]);
    smaller.checkpoint(&[0, 2]);
    continued.vendor = rotated.clone();
    continued.issue(vec![add(9, 2)]);
    let position = chain.states[2].clone();
    let rebased = rebased(&chain);
    let chains = [chain, folded, smaller, continued, rebased];
    let hash = |bytes: &Vec<u8>| Segment::read(bytes).expect("an issued segment").hash();
    let issued = chains.iter().flat_map(|chain| chain.segments.iter().map(hash)).collect();
    let states = chains.into_iter().flat_map(|chain| chain.states).collect();
    Fixture { vendor, rotated, container, position, issued, states }
});

/// A file that parses is put together again from its sections.
pub(crate) fn frame(data: &[u8]) {
    let data = closed(data);
    if let Ok(parsed) = Frame::parse(&data) {
        let again = frame::build(parsed.file_type, &parsed.sections).expect("a file that was small enough before");
        assert!(again.len() <= data.len());
        assert_eq!(Frame::parse(&again).map(|frame| frame.sections), Ok(parsed.sections));
    }
}

/// What comes out of an armor can be wrapped and unwrapped again.
pub(crate) fn armor(data: &[u8]) {
    if let Ok(file) = armor::unwrap(data) {
        let wrapped = armor::wrap(&file);
        assert_eq!(armor::unwrap(wrapped.as_bytes()).as_deref(), Ok(file.as_ref()));
    }
}

/// Root documents and the envelopes around them.
pub(crate) fn root_document(data: &[u8]) {
    if let Ok(document) = cbor::decode::<RootDocument>(data) {
        assert_eq!(cbor::encode(&document), data);
    }
    if let Ok(envelope) = Envelope::from_bytes(data) {
        assert_eq!(envelope.to_bytes(), data);
    }
    // Whatever may be trusted as a first root by itself, only the one that was signed follows a known root.
    let _ = TrustedRoot::trust(data);
    if let Ok(next) = FIXTURE.vendor.root.update(data) {
        assert_eq!(next.digest(), FIXTURE.rotated.root.digest());
    }
}

/// Segments with their headers.
pub(crate) fn segment(data: &[u8]) {
    if let Ok(segment) = Segment::read(data) {
        assert_eq!(segment.to_bytes(), data);
        if segment.verify(&FIXTURE.vendor.root).is_ok() {
            assert!(FIXTURE.issued.contains(&segment.hash()), "a segment that nobody issued");
        }
    }
}

/// Bodies, which are sealed in real files.
pub(crate) fn segment_body(data: &[u8]) {
    if let Ok(body) = cbor::decode::<Body>(data) {
        assert_eq!(cbor::encode(&body), data);
    }
}

/// Product items.
pub(crate) fn product_item(data: &[u8]) {
    if let Ok(item) = product_item::decode(data) {
        assert_eq!(product_item::encode(&item).as_deref(), Ok(data));
    }
}

/// States, as journals and modified contexts hold them.
pub(crate) fn state(data: &[u8]) {
    if let Ok(state) = VendorState::decode(data) {
        assert_eq!(state.encode().as_deref(), Ok(data));
    }
}

/// The whole import against a container in the middle of its chain.
pub(crate) fn import(data: &[u8]) {
    let data = closed(data);
    let fixture = &*FIXTURE;
    if let Ok(file) = UpdateFile::read(&data) {
        let _ = file.info();
    }
    if let Ok(mut import) = fixture.container.verify(&data, &fixture.vendor.root, &fixture.position) {
        while let Some(Ok(step)) = import.next_step() {
            assert!(fixture.states.contains(&step.state), "a state that nobody issued");
        }
    }
}

/// Contexts and receipts.
pub(crate) fn context(data: &[u8]) {
    if let Ok(verified) = context::read_any(&closed(data)) {
        assert_eq!(cbor::decode::<context::Context>(&cbor::encode(&verified.context)), Ok(verified.context));
    }
}

/// License information files, for a new vendor and for a known one.
pub(crate) fn license_information(data: &[u8]) {
    let data = closed(data);
    let _ = lif::read(&data);
    if let Ok(opened) = lif::read_known(&data, &FIXTURE.vendor.root) {
        assert_eq!(opened.information.firm_code.get(), FIRM);
    }
}

/// Modified contexts.
pub(crate) fn modified_context(data: &[u8]) {
    if let Ok(modified) = ModifiedContext::read(&closed(data), &FIXTURE.vendor.root) {
        assert_eq!(modified.predicted.firm_code.get(), FIRM);
    }
}

/// Statements of the time.
pub(crate) fn time_statement(data: &[u8]) {
    if let Ok(statement) = cbor::decode::<TimeStatement>(data) {
        assert_eq!(cbor::encode(&statement), data);
    }
    let opened = Envelope::from_bytes(data).map(|envelope| FIXTURE.vendor.root.open::<TimeStatement>(&envelope));
    if let Ok(Ok(statement)) = opened {
        assert_eq!(statement.time(), at(50), "a time that nobody signed");
    }
}

/// Gives changed bytes a matching length and closing digest, else no mutation would come past the frame.
fn closed(data: &[u8]) -> Vec<u8> {
    let mut file = data.to_vec();
    if file.len() >= 56 && file.starts_with(&frame::MAGIC) {
        let length = u32::try_from(file.len()).unwrap_or(u32::MAX);
        file[14..18].copy_from_slice(&length.to_be_bytes());
        close_again(&mut file);
    }
    file
}
