//! Bad files at the licence server: of another type, cut off, flipped, too large, too deep, too many.

use lictor_license_file::device::DeviceCounters;
use lictor_license_file::frame::{self, FileType, SectionType};
use lictor_license_file::{armor, limits};
use lictor_license_server::store::memory_disk::MemoryDisk;

use crate::stage::doors::{Door, Stage, close_again};
use crate::stage::scale;
use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, Vendor, add, start_of_tests};

/// A server with one licence, its vendor, and a good file for each door that it has not seen yet.
struct Good {
    stage: Stage,
    vendor: Vendor,
    context: Vec<u8>,
    update: Vec<u8>,
    rebase: Vec<u8>,
    statement: Vec<u8>,
}

impl Good {
    async fn new() -> Self {
        let mut vendor = Vendor::new(FIRM, 1);
        let stage = Stage::filled(&mut vendor, vec![add(1, 201, 2)]).await;
        let context = stage.context(Some([9; 32])).await;
        let states = vendor.states_of();
        let update = vendor.update(&context, vec![add(2, 202, 1)]);
        vendor.restore(states);
        let rebase = vendor.rebase(&context, &[], &DeviceCounters::default());
        let statement = vendor.say_time(&stage.nonce().await, start_of_tests());
        Self { stage, vendor, context, update, rebase, statement }
    }

    /// The good files with their doors.
    fn files(&self) -> [(&'static str, Door, &[u8]); 3] {
        [
            ("an update", Door::Import, &self.update),
            ("a rebase", Door::Import, &self.rebase),
            ("a statement of the time", Door::Time, &self.statement),
        ]
    }
}

#[tokio::test]
async fn every_type_of_file_is_refused_at_every_other_door() {
    let good = Good::new().await;
    let Good { stage, vendor, context, update, rebase, statement } = &good;
    let other = Stage::on(MemoryDisk::new());
    let files = [
        ("a licence information file", Some(Door::Create), vendor.lif()),
        ("an update", Some(Door::Import), update.clone()),
        ("a rebase", Some(Door::Import), rebase.clone()),
        ("a statement of the time", Some(Door::Time), statement.clone()),
        ("a context", None, context.clone()),
        ("a modified context", None, vendor.modified(context)),
        ("a root document", None, vendor.root_document.clone()),
        ("an update in text armor", None, armor::wrap(update).into_bytes()),
        ("a text", None, b"Dear customer, please find attached".to_vec()),
        ("a picture", None, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec()),
        ("nothing", None, Vec::new()),
    ];
    for (what, own, file) in &files {
        for door in Door::ALL.into_iter().filter(|door| *own != Some(*door)) {
            let problem = stage.refuses(door, what, file.clone()).await;
            assert_eq!(problem.code.exit_code(), 7, "{what} at {door:?}: {problem:?}");
            assert!(["file_damaged", "file_forged"].contains(&problem.code.name()), "{what} at {door:?}: {problem:?}");
            if door == Door::Create {
                // A server without a container is no easier to deceive.
                other.refuses(door, what, file.clone()).await;
            }
        }
    }
    // A file of another type is called by its name, and so is the one that is wanted.
    let problem = stage.refuses(Door::Import, "a context", context.clone()).await;
    assert!(problem.message.contains("context") && problem.message.contains("update"), "{problem:?}");
    // A receipt is a context too, and no update.
    let told = stage.copied().await.ledger;
    let file = update.clone();
    let receipt = told.change(move |writer, moment| writer.import(&file, moment)).await.expect("imported").receipt;
    for door in Door::ALL {
        stage.refuses(door, "a receipt", receipt.clone()).await;
    }
    // Nothing was burned: each good file still does at its own door.
    for (what, door, file) in good.files() {
        let copy = stage.copied().await;
        let file = match door {
            // The nonce is the server's own.
            Door::Time => vendor.say_time(&copy.nonce().await, start_of_tests()),
            _ => file.to_vec(),
        };
        copy.knock(door, file).await.unwrap_or_else(|problem| panic!("{what}: {problem:?}"));
    }
    other.knock(Door::Create, vendor.lif()).await.expect("created");
}

#[tokio::test]
async fn a_file_that_is_cut_at_any_byte_is_refused_at_every_door() {
    let good = Good::new().await;
    for (what, door, file) in good.files() {
        for length in 0..file.len() {
            let problem = good.stage.refuses(door, what, file[..length].to_vec()).await;
            assert_eq!(problem.code.exit_code(), 7, "{length} bytes of {what}");
        }
        let problem = good.stage.refuses(door, what, [file, &[0]].concat()).await;
        assert_eq!(problem.code.exit_code(), 7, "{what} and one byte more");
    }
    let (empty, lif) = (Stage::on(MemoryDisk::new()), good.vendor.lif());
    for length in 0..lif.len() {
        empty.refuses(Door::Create, "a licence information file", lif[..length].to_vec()).await;
    }
    empty.knock(Door::Create, lif).await.expect("the whole file");
}

#[tokio::test]
async fn every_flipped_bit_is_refused_at_every_door() {
    let good = Good::new().await;
    for (what, door, file) in good.files() {
        for bit in 0..file.len() * 8 {
            let mut flipped = file.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let problem = good.stage.refuses(door, what, flipped).await;
            assert_ne!(problem.code.name(), "update_forked", "bit {bit} of {what}: a forgery was believed");
        }
    }
    let (empty, lif) = (Stage::on(MemoryDisk::new()), good.vendor.lif());
    for bit in 0..lif.len() * 8 {
        let mut flipped = lif.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        empty.refuses(Door::Create, "a licence information file", flipped).await;
    }
}

/// What the vendors' chains say.
async fn effect(stage: &Stage) -> Vec<Vec<u8>> {
    let look = stage
        .ledger
        .read(|keeper, _| keeper.state.firms.values().map(|firm| firm.vendor.encode().expect("a state")).collect());
    look.await.expect("a look")
}

#[tokio::test]
async fn a_flipped_bit_behind_a_matching_digest_is_refused_or_means_the_same() {
    let good = Good::new().await;
    let step = if scale() >= 10 { 1 } else { 5 };
    for (what, door, file) in good.files().into_iter().filter(|(_, door, _)| *door == Door::Import) {
        let truth = good.stage.copied().await;
        truth.knock(door, file.to_vec()).await.expect("the good file");
        let (truth, mut same, mut stage) = (effect(&truth).await, 0, good.stage.copied().await);
        for bit in (0..(file.len() - 32) * 8).step_by(step) {
            let mut flipped = file.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            close_again(&mut flipped);
            let before = stage.bytes();
            match stage.knock(door, flipped).await {
                Ok(()) => {
                    assert_eq!(effect(&stage).await, truth, "bit {bit} of {what}");
                    same += 1;
                    stage = good.stage.copied().await;
                }
                Err(problem) => {
                    assert_ne!(problem.code.name(), "update_forked", "bit {bit} of {what}: a forgery was believed");
                    assert_eq!(stage.bytes(), before, "bit {bit} of {what}");
                }
            }
        }
        // Readers ignore nothing but the minor version of the frame.
        assert!(same <= 16, "{same} flips of {what} have no effect");
    }
}

#[tokio::test]
async fn files_that_are_too_large_too_deep_or_of_too_many_parts_are_refused_at_every_door() {
    let good = Good::new().await;
    let stage = &good.stage;
    let mut large = good.update.clone();
    large.resize(limits::MAX_FILE_BYTES + 1, 0);
    for door in Door::ALL {
        let problem = stage.refuses(door, "too large", large.clone()).await;
        assert!([2, 7].contains(&problem.code.exit_code()), "{door:?}: {problem:?}");
    }
    let problem = stage.refuses(Door::Time, "4 KiB and a byte", vec![0; 4_097]).await;
    assert_eq!((problem.code.name(), problem.code.exit_code()), ("limit_exceeded", 2));

    let deep = [vec![0x81; 100_000], vec![0]].concat();
    let endless = [&[0x9b], &u64::MAX.to_be_bytes()[..]].concat();
    let lying = [&[0x5b], &u64::MAX.to_be_bytes()[..]].concat();
    for (what, bytes) in [("too deep", &deep), ("a list without end", &endless), ("bytes without end", &lying)] {
        stage.refuses(Door::Time, what, bytes[..bytes.len().min(4_096)].to_vec()).await;
        let places = [
            (Door::Create, FileType::LicenseInformation, SectionType::Envelope),
            (Door::Create, FileType::LicenseInformation, SectionType::Root),
            (Door::Import, FileType::Update, SectionType::Segment),
            (Door::Import, FileType::Update, SectionType::Rebase),
            (Door::Import, FileType::Update, SectionType::Root),
        ];
        for (door, file_type, section) in places {
            let file = frame::build(file_type, &[(section, bytes.as_slice())]).expect("below the limit of a file");
            let problem = stage.refuses(door, what, file).await;
            assert!([2, 7].contains(&problem.code.exit_code()), "{what} as {section:?}: {problem:?}");
        }
    }
    for (count, section) in [
        (limits::MAX_SEGMENTS + 1, SectionType::Segment),
        (limits::MAX_ROOTS + 1, SectionType::Root),
        (2, SectionType::Rebase),
    ] {
        let parts = vec![(section, b"".as_slice()); count];
        let Ok(file) = frame::build(FileType::Update, &parts) else { continue };
        let problem = stage.refuses(Door::Import, "too many", file).await;
        assert!([2, 7].contains(&problem.code.exit_code()), "{count} of {section:?}: {problem:?}");
    }
    // The good file is as good as before.
    stage.knock(Door::Import, good.update.clone()).await.expect("imported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_beyond_the_limit_of_a_file_is_refused_before_it_is_read() {
    let (mut server, _vendor) = TestServer::with(vec![add(1, 201, 1)]).await;
    let picture = |server: &TestServer| {
        let files = std::fs::read_dir(server.path()).expect("the folder").map(|entry| entry.expect("an entry").path());
        let files = files.filter(|path| path.is_file());
        files
            .map(|path| (path.clone(), std::fs::read(path).expect("read")))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = picture(&server);
    for bytes in [limits::MAX_FILE_BYTES + 1, limits::MAX_FILE_BYTES + 4_096, 3 * limits::MAX_FILE_BYTES] {
        let status = server.import(&vec![0; bytes]).await.expect_err("too large");
        assert!([2, 7].contains(&lictor_api::error::problem(&status).code.exit_code()), "{bytes}: {status}");
        server.create(&vec![0; bytes]).await.expect_err("too large");
    }
    assert_eq!(picture(&server), before);
    assert_eq!(server.listed().await.len(), 1, "and it serves on");
}
