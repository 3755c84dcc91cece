//! No file passes as another, and no key signs what is not its own.

use lictor_key_store::MemorySigner;
use lictor_license_file::context;
use lictor_license_file::frame::{self, FileType, Frame, SectionType};
use lictor_license_file::lif::{self, LicenseInformation};
use lictor_license_file::modified_context::ModifiedContext;
use lictor_license_file::segment::{RebasePayload, SegmentPayload};
use lictor_license_file::update::{self, UpdateFile};
use lictor_license_file::{FileError, apply};
use lictor_licensing::binding::Bindings;
use lictor_signing::cbor;
use lictor_signing::{
    Envelope, LeaseCertificate, PayloadType, Role, RootDocument, SignedPayload, Signer, TimeStatement, TrustedRoot,
};

use crate::golden::{self, Parts};
use crate::support::{FIRM, Vendor, at, close_again, firm};

type Parser<'p> = (FileType, Box<dyn Fn(&[u8]) -> Result<(), FileError> + 'p>);

fn parsers(parts: &Parts) -> Vec<Parser<'_>> {
    let Parts { vendor, container, chain, .. } = parts;
    vec![
        (FileType::LicenseInformation, Box::new(|file| lif::read(file).map(drop))),
        (FileType::LicenseInformation, Box::new(|file| lif::read_known(file, &vendor.root).map(drop))),
        (FileType::Context, Box::new(|file| context::read(file).map(drop))),
        (FileType::Receipt, Box::new(|file| context::read_receipt(file).map(drop))),
        (FileType::ModifiedContext, Box::new(|file| ModifiedContext::read(file, &vendor.root).map(drop))),
        (
            FileType::Update,
            Box::new(|file| {
                // From wherever the file fits.
                let positions = [0, 5].map(|at| container.import(file, &vendor.root, &chain.states[at]));
                let [first, last] = positions;
                first.or(last).map(drop)
            }),
        ),
    ]
}

#[test]
fn every_type_of_file_is_refused_by_every_other_parser() {
    let parts = golden::parts();
    for (name, file) in golden::framed() {
        let own = Frame::parse(&file).expect("a golden file").file_type;
        for (wanted, parse) in parsers(&parts) {
            let result = parse(&file);
            if wanted == own {
                assert_eq!(result, Ok(()), "{name}");
            } else {
                assert_eq!(result, Err(FileError::WrongFileType { expected: wanted, found: own }), "{name}");
            }
        }
    }
}

#[test]
fn renaming_the_type_in_the_frame_does_not_help() {
    let parts = golden::parts();
    for (name, file) in golden::framed() {
        let own = Frame::parse(&file).expect("a golden file").file_type;
        for claimed in FileType::ALL.into_iter().filter(|claimed| *claimed != own) {
            let mut renamed = file.clone();
            renamed[12] = claimed.number();
            close_again(&mut renamed);
            for (_, parse) in parsers(&parts) {
                assert!(parse(&renamed).is_err(), "{name} as {}", claimed.name());
            }
        }
    }
}

/// What a reader expects in a file, the type of the file, and its sections.
type Place<'a> = (&'static str, FileType, Vec<(SectionType, &'a [u8])>);

#[test]
fn an_envelope_in_the_place_of_another_is_refused() {
    let parts = golden::parts();
    let Parts { vendor, chain, .. } = &parts;
    let inner = |name: &str| {
        let file = golden::read(name);
        Frame::parse(&file).expect("a golden file").only(SectionType::Envelope).expect("one envelope").to_vec()
    };
    let root = vendor.root.envelope_bytes();
    let envelopes = [
        ("license information", inner("v1-first.lif")),
        ("context", inner("v1-new.rac")),
        ("receipt", inner("v1-receipt.rac")),
        ("modified context", inner("v1-pending.ram")),
        ("segment", chain.segments[0].clone()),
        ("rebase", crate::support::rebased(chain).segments[0].clone()),
        ("time statement", golden::read("v1-time-statement.cbor")),
        ("root", root.to_vec()),
        ("lease certificate", vendor.certificate(&parts.container.profile.keys)),
    ];
    for (name, envelope) in &envelopes {
        let files: [Place<'_>; 7] = [
            (
                "license information",
                FileType::LicenseInformation,
                vec![(SectionType::Root, root), (SectionType::Envelope, envelope)],
            ),
            ("context", FileType::Context, vec![(SectionType::Envelope, envelope)]),
            ("receipt", FileType::Receipt, vec![(SectionType::Envelope, envelope)]),
            ("modified context", FileType::ModifiedContext, vec![(SectionType::Envelope, envelope)]),
            ("segment", FileType::Update, vec![(SectionType::Segment, envelope)]),
            ("rebase", FileType::Update, vec![(SectionType::Rebase, envelope)]),
            ("root", FileType::Update, vec![(SectionType::Root, envelope), (SectionType::Segment, &chain.segments[0])]),
        ];
        for (place, file_type, sections) in files {
            let file = frame::build(file_type, &sections).expect("a small file");
            let accepted = parsers(&parts).iter().any(|(_, parse)| parse(&file).is_ok());
            // The manifest of a modified context names its parts, which are missing here.
            let fits = *name == place && place != "modified context";
            assert_eq!(accepted, fits, "{name} in the place of {place}");
        }
    }
}

/// One more key of each role, a device's key and a stranger's.
fn keys() -> Vec<(Option<Role>, MemorySigner)> {
    let mut keys: Vec<_> = Role::ALL.into_iter().map(|role| (Some(role), Vendor::role_key(FIRM, role, 0))).collect();
    keys.push((None, crate::support::key(7, 1)));
    keys.push((None, crate::support::key(99, 99)));
    keys
}

#[test]
fn only_the_keys_of_a_role_sign_what_belongs_to_it() {
    let parts = golden::parts();
    let Parts { vendor, container, chain, .. } = &parts;
    let information = LicenseInformation {
        firm_code: firm(FIRM),
        bindings: Bindings::DEFAULT,
        activation_address: String::new(),
        issued_at: at(1),
    };
    let segment = Envelope::from_bytes(&chain.segments[0]).expect("an envelope").unverified_payload().to_vec();
    let certificate = Envelope::from_bytes(&vendor.certificate(&container.profile.keys)).expect("an envelope");
    let statement = crate::support::time_statement(vendor, at(50));
    let rebase = crate::support::rebased(chain).segments[0].clone();
    let rebase = Envelope::from_bytes(&rebase).expect("an envelope").unverified_payload().to_vec();
    let next_root = Vendor::document(FIRM, 2, 0);
    for (role, key) in keys() {
        let key: &dyn Signer = &key;
        let signed = |kind: PayloadType, payload: &[u8]| {
            Envelope::sign(kind, payload.to_vec(), &[key]).expect("a key in memory signs").to_bytes()
        };
        let roots = [vendor.root.envelope_bytes().to_vec()];
        let file = lif::build(&information, &roots, &[key]).expect("a small file");
        assert_eq!(lif::read(&file).is_ok(), role == Some(Role::Issue), "{role:?} on a license information file");

        let file = update::build(&[], &[signed(SegmentPayload::PAYLOAD_TYPE, &segment)]).expect("a small file");
        let imported = container.import(&file, &vendor.root, &chain.states[0]);
        assert_eq!(imported.is_ok(), role == Some(Role::Issue), "{role:?} on a segment");

        let file = update::build(&[], &[signed(RebasePayload::PAYLOAD_TYPE, &rebase)]).expect("a small file");
        let imported = container.import(&file, &vendor.root, &chain.states[0]);
        assert_eq!(imported.is_ok(), role == Some(Role::Support), "{role:?} on a rebase");
        // Under the type of ordinary segments the support key does not help, and under its own the issue key does not.
        let file = update::build(&[], &[signed(SegmentPayload::PAYLOAD_TYPE, &rebase)]).expect("a small file");
        assert!(container.import(&file, &vendor.root, &chain.states[0]).is_err(), "{role:?} on a renamed rebase");
        let file = update::build(&[], &[signed(RebasePayload::PAYLOAD_TYPE, &segment)]).expect("a small file");
        assert!(container.import(&file, &vendor.root, &chain.states[0]).is_err(), "{role:?} on a renamed segment");

        let envelope = Envelope::from_bytes(&signed(TimeStatement::PAYLOAD_TYPE, statement.unverified_payload()));
        let opened = vendor.root.open::<TimeStatement>(&envelope.expect("an envelope"));
        assert_eq!(opened.is_ok(), role == Some(Role::Time), "{role:?} on a statement of the time");

        let envelope = Envelope::from_bytes(&signed(LeaseCertificate::PAYLOAD_TYPE, certificate.unverified_payload()));
        let opened = vendor.root.open::<LeaseCertificate>(&envelope.expect("an envelope"));
        assert_eq!(opened.is_ok(), role == Some(Role::LeaseCertifier), "{role:?} on a lease certificate");

        let root = signed(RootDocument::PAYLOAD_TYPE, &cbor::encode(&next_root));
        assert_eq!(vendor.root.update(&root).is_ok(), role == Some(Role::Root), "{role:?} on a root document");
        assert_eq!(TrustedRoot::trust(&root).is_ok(), role == Some(Role::Root), "{role:?} on a first root document");

        let context = container.context(&chain.states[0], 1, context::Reason::Request);
        let file = context.to_file(key).expect("a small file");
        let own = key.public_key() == container.profile.keys.signing;
        assert_eq!(context::read(&file).is_ok(), own, "{role:?} on a context");
    }
}

#[test]
fn another_vendors_files_are_named_as_such() {
    let parts = golden::parts();
    let stranger = Vendor::new(2002);
    let theirs = crate::support::story(&stranger, &parts.container);
    let ours = &parts.chain.states[0];
    let file = update::build(&[], &theirs.segments).expect("a small file");
    let refusal = parts.container.import(&file, &parts.vendor.root, ours).expect_err("another vendor's update");
    assert_eq!(refusal, FileError::WrongVendor { expected: firm(FIRM), found: 2002 });
    let with_root = update::build(&[stranger.root.envelope_bytes().to_vec()], &theirs.segments).expect("a small file");
    let refusal = parts.container.import(&with_root, &parts.vendor.root, ours).expect_err("another vendor's root");
    assert_eq!(refusal, FileError::WrongVendor { expected: firm(FIRM), found: 2002 });
    let lif = golden::read("v1-first.lif");
    assert!(matches!(lif::read_known(&lif, &stranger.root), Err(FileError::WrongVendor { .. })));
    // A vendor whose keys sign for another firm: the name constraint of the root document holds.
    let mut thief = crate::support::Chain::new(&parts.vendor, &parts.container);
    thief.issue(vec![crate::support::add(1, 1)]);
    let segment = Envelope::from_bytes(&thief.segments[0]).expect("an envelope");
    let stolen =
        Envelope::sign(SegmentPayload::PAYLOAD_TYPE, segment.unverified_payload().to_vec(), &[&stranger.issue]);
    let file = update::build(&[], &[stolen.expect("a signature").to_bytes()]).expect("a small file");
    let theirs = parts.container.genesis(2002);
    assert!(apply::verify(&file, parts.container.device(), &stranger.root, &theirs).is_err());
    assert!(UpdateFile::read(&file).is_ok_and(|file| file.info().is_some_and(|info| info.firm_code == firm(FIRM))));
}
