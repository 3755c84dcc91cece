//! How much memory a file can make the reader take, counted by the allocator of this test program.
//!
//! One test alone, so that nothing else allocates meanwhile.

#[path = "files/support.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod support;

use lictor_license_file::frame::{self, FileType, SectionType};
use lictor_license_file::limits::MAX_FILE_BYTES;
use lictor_license_file::segment::Segment;
use lictor_license_file::{context, lif, update};
use peak_alloc::PeakAlloc;

use support::{Chain, Container, FIRM, Rebase, Vendor, close_again, story};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What reading takes that has a limit of its own: the table of at most 1,296 sections, keys, hashes, sentences.
const CONSTANT: usize = 192 * 1024;

/// Most bytes that were allocated at one time while `act` ran, beyond what was there before.
fn peak(act: impl FnOnce()) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    act();
    MEMORY.peak_usage().saturating_sub(before)
}

/// A file of nearly the largest size, with everything in it that an update can have.
fn largest(vendor: &Vendor, container: &Container) -> (Vec<u8>, Chain) {
    let mut chain = Chain::new(vendor, container);
    let blob = |number: u8| {
        let mut entries = lictor_licensing::options::DataEntries::default();
        for key in 0..60 {
            entries.set(key, [number; 250]).expect("a full entry");
        }
        let options = lictor_licensing::options::Options {
            product_code: Some(lictor_licensing::id::ProductCode(u32::from(number))),
            user_data: Some(entries),
            ..Default::default()
        };
        let item = lictor_licensing::item::ProductItem::new(options, Vec::new()).expect("an item");
        lictor_license_file::product_item::encode(&item).expect("below the limit")
    };
    for number in 0..70_u8 {
        let license = support::license(number);
        let operation = |item| lictor_license_file::segment::Operation::AddEntry { license, item, quantity: 0 };
        chain.issue(vec![operation(blob(number))]);
    }
    let segments = &chain.segments;
    (update::build(&[], segments).expect("below the limit"), chain)
}

#[test]
fn no_file_takes_more_memory_than_twice_its_size_before_it_is_believed() {
    let vendor = Vendor::new(FIRM);
    let container = Container::new(1);
    let small = story(&vendor, &container);
    let (large, chain) = largest(&vendor, &container);
    assert!(large.len() > 1_000_000, "{} bytes", large.len());
    let rebase = update::build(&[], &chain.rebased(&Rebase::default()).segments).expect("below the limit");
    let import = |file: &[u8]| container.verify(file, &vendor.root, &small.states[0]).map(drop);
    let mut worst = 0.0_f64;
    let mut judge = |what: &str, file: &[u8]| {
        let taken = peak(|| {
            assert!(import(file).is_err(), "{what}");
            assert!(context::read_any(file).is_err(), "{what}");
            assert!(lif::read(file).is_err(), "{what}");
        });
        worst = worst.max(taken.saturating_sub(CONSTANT) as f64 / file.len().max(1) as f64);
        assert!(taken <= 2 * file.len() + CONSTANT, "{what}: {taken} bytes for a file of {}", file.len());
    };

    for whole in [&large, &rebase] {
        // Cut anywhere.
        for length in (0..whole.len()).step_by(whole.len() / 97) {
            judge("cut", &whole[..length]);
        }
        // Changed anywhere, and the closing checksum made to fit.
        for place in (18..whole.len() - 40).step_by(whole.len() / 97) {
            let mut flipped = whole.clone();
            flipped[place] ^= 4;
            close_again(&mut flipped);
            judge("flipped", &flipped);
        }
    }
    // Lengths that promise the world: of the file, of a section, of every kind of CBOR element.
    let mut boast = large.clone();
    boast[14..18].copy_from_slice(&u32::MAX.to_be_bytes());
    judge("the length of the file", &boast);
    let mut boast = large.clone();
    boast[20..24].copy_from_slice(&u32::MAX.to_be_bytes());
    close_again(&mut boast);
    judge("the length of a section", &boast);
    for head in [0x5B_u8, 0x7B, 0x9B, 0xBB] {
        let claim = [&[head], &[0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF][..]].concat();
        for section in [SectionType::Segment, SectionType::Rebase, SectionType::Root, SectionType::Envelope] {
            for file_type in FileType::ALL {
                let file = frame::build(file_type, &[(section, &claim)]).expect("a small file");
                judge("the length of an element", &file);
            }
        }
    }
    // As many and as much as fits, none of it good.
    let many = vec![(SectionType::Segment, &[0x80_u8][..]); 1_200];
    judge("many sections", &frame::build(FileType::Update, &many).expect("below the limit"));
    let zeros = vec![0; MAX_FILE_BYTES - 1_000];
    judge("a huge section", &frame::build(FileType::Update, &[(SectionType::Segment, &zeros)]).expect("fits"));
    let empty_lists = [&[0x9A, 0x00, 0x20, 0x00, 0x00][..], &vec![0x80; 0x0020_0000]].concat();
    judge("a huge list", &frame::build(FileType::Update, &[(SectionType::Root, &empty_lists)]).expect("fits"));
    eprintln!("worst refused file: {worst:.2} bytes for each of its bytes, beyond {CONSTANT}");

    // A good file is read, verified and opened: its envelopes, payloads, bodies and the states that it leads to.
    let taken = peak(|| assert!(container.import(&large, &vendor.root, &chain.states[0]).is_ok()));
    eprintln!("a good file of {} bytes: {:.2} bytes for each of them", large.len(), taken as f64 / large.len() as f64);
    let segment = peak(|| drop(Segment::read(&chain.segments[0])));
    assert!(segment <= 4 * chain.segments[0].len() + CONSTANT, "{segment}");
}
