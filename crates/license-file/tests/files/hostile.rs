//! Input that is made to hurt: too large, too deep, too many, or just never ending.

use self::rand_like::Numbers;
use lictor_license_file::frame::{self, FileType, SectionType};
use lictor_license_file::limits::{MAX_CHECKPOINT_BYTES, MAX_SEGMENT_BYTES};
use lictor_license_file::segment::{Operation, Segment};
use lictor_license_file::{FileError, context, issue, lif, product_item, update};
use lictor_signing::TrustedRoot;

use crate::golden;
use crate::support::{add, license, scale, terms};

/// A few reproducible numbers.
pub(crate) mod rand_like {
    /// The xorshift generator.
    pub(crate) struct Numbers(pub(crate) u64);

    impl Numbers {
        /// The next number.
        pub(crate) fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        /// A number below `limit`, which is above zero.
        pub(crate) fn below(&mut self, limit: usize) -> usize {
            usize::try_from(self.next() % u64::try_from(limit).unwrap_or(1)).unwrap_or(0)
        }
    }
}

#[test]
fn deep_nesting_ends_at_once_everywhere() {
    let parts = golden::parts();
    for opener in [&[0x81_u8][..], &[0xA1, 0x00], &[0xD8, 0x40], &[0x9F], &[0xBF, 0x00]] {
        let deep: Vec<u8> = opener.repeat(100_000);
        assert!(TrustedRoot::trust(&deep).is_err());
        assert!(Segment::read(&deep).is_err());
        assert!(product_item::decode(&deep).is_err());
        for (file_type, kind) in [
            (FileType::Update, SectionType::Segment),
            (FileType::Update, SectionType::Root),
            (FileType::Context, SectionType::Envelope),
            (FileType::Receipt, SectionType::Envelope),
            (FileType::LicenseInformation, SectionType::Envelope),
        ] {
            let file = frame::build(file_type, &[(kind, &deep)]).expect("a file below the limit");
            assert!(parts.container.import(&file, &parts.vendor.root, &parts.chain.states[0]).is_err());
            assert!(context::read_any(&file).is_err());
            assert!(lif::read(&file).is_err());
        }
    }
}

#[test]
fn segments_over_their_limit_are_refused_on_both_sides() {
    let parts = golden::parts();
    let mut operations = Vec::new();
    for number in 0..2 {
        let mut large = vec![0; 47 * 1024];
        large[0] = number;
        operations.push(Operation::AddEntry { license: license(number), item: large, quantity: 1 });
    }
    // Not even an item, but the size is judged without reading it in the container.
    let plan = issue::plan(&parts.chain.states[0], &parts.container.profile, &parts.vendor.root, operations, &terms(1));
    assert!(plan.is_err());
    assert!(matches!(Segment::read(&vec![0; MAX_CHECKPOINT_BYTES + 1]), Err(FileError::TooLarge { .. })));
    let many = vec![Operation::Nop; 257];
    let plan = issue::plan(&parts.chain.states[0], &parts.container.profile, &parts.vendor.root, many, &terms(1));
    assert!(matches!(plan, Err(FileError::TooLarge { .. })));
    let most = vec![Operation::Nop; 256];
    let plan = issue::plan(&parts.chain.states[0], &parts.container.profile, &parts.vendor.root, most, &terms(1))
        .expect("as many operations as allowed");
    let segment = parts.vendor.sign(&plan);
    assert!(segment.len() < MAX_SEGMENT_BYTES);
    let file = update::build(&[], &[segment]).expect("a small file");
    let reached = parts.container.import(&file, &parts.vendor.root, &parts.chain.states[0]);
    assert_eq!(reached, Ok(plan.predicted));
}

#[test]
fn after_a_thousand_bad_files_the_good_one_applies() {
    let parts = golden::parts();
    let good = update::build(&[], &parts.chain.segments).expect("a small file");
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let mut state = parts.chain.states[0].clone();
    let before = state.encode().expect("a small state");
    for _ in 0..1_000 {
        let mut bad = good.clone();
        match numbers.below(4) {
            0 => bad.truncate(numbers.below(bad.len())),
            1 => {
                let place = numbers.below(bad.len());
                bad[place] ^= 1 << numbers.below(8);
            }
            2 => {
                let place = 18 + numbers.below(bad.len() - 50);
                bad[place] ^= 1 << numbers.below(8);
                crate::support::close_again(&mut bad);
            }
            _ => {
                let (from, to) = (numbers.below(bad.len()), numbers.below(bad.len()));
                bad.swap(from, to);
                if bad == good {
                    continue;
                }
            }
        }
        if let Ok(next) = parts.container.import(&bad, &parts.vendor.root, &state) {
            state = next;
        }
        assert_eq!(state.encode().as_ref(), Ok(&before), "a refused file left a trace");
    }
    let reached = parts.container.import(&good, &parts.vendor.root, &state);
    assert_eq!(reached.as_ref(), Ok(parts.chain.latest()));
}

#[test]
fn random_bytes_are_no_file() {
    let parts = golden::parts();
    let mut numbers = Numbers(42);
    for _ in 0..2_000 * scale() {
        let mut bytes: Vec<u8> = (0..numbers.below(300)).map(|_| numbers.next().to_le_bytes()[0]).collect();
        if numbers.below(2) == 0 && bytes.len() > 8 {
            bytes[..8].copy_from_slice(&frame::MAGIC);
        }
        assert!(parts.container.import(&bytes, &parts.vendor.root, &parts.chain.states[0]).is_err());
        assert!(context::read_any(&bytes).is_err());
    }
}

#[test]
fn sixty_four_segments_import_quickly() {
    let parts = golden::parts();
    let mut chain = crate::support::Chain::new(&parts.vendor, &parts.container);
    for number in 0..64 {
        chain.issue(vec![add(number, 1)]);
    }
    let file = update::build(&[], &chain.segments).expect("a file below the limit");
    let start = std::time::Instant::now();
    let reached = parts.container.import(&file, &parts.vendor.root, &chain.states[0]);
    let spent = start.elapsed();
    assert_eq!(reached.as_ref(), Ok(chain.latest()));
    // A figure to look at, with a bound that only a quadratic mistake would break on a busy machine.
    eprintln!("import of 64 segments: {} ms, {} bytes", spent.as_millis(), file.len());
    assert!(spent.as_millis() < 2_000);
}
