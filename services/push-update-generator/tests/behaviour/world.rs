//! What the tests stand on: an issuer over a database with a firm in it.

use std::sync::Arc;

use lictor_api::event::v1::{Event, ListEventsRequest};
use lictor_clock::{ManualClock, SharedClock, Timestamp};
use lictor_key_store::{FileKeyStore, Mode};
use lictor_license_file::product_item;
use lictor_licensing::{
    Bindings, Options, ProductItem, Quantity,
    binding::{Binding, ContainerKind},
    error::ErrorCode,
    id::{FirmCode, LicenseId, ProductCode},
};
use lictor_push_update_generator::{
    Failure, archive,
    archive::Archive,
    domain::request::{Change, IssueRequest},
    issue::{Issued, Issuer, Watch},
    keys::Keys,
    metrics::Counters,
    store::{self, MIGRATIONS},
    take::{Intake, Taken},
    vendor::FirmName,
};
use lictor_signing::TrustedRoot;
use lictor_storage::{Database, testing::TestDatabase};
use lictor_telemetry::Metrics;

use lictor_test_support::device::TestDevice;

pub(crate) const FIRM: u32 = 4711;

/// A vendor's installation.
pub(crate) struct World {
    pub(crate) db: Database,
    pub(crate) archive: Option<Archive>,
    pub(crate) archive_db: Option<Database>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) issuer: Issuer,
    pub(crate) intake: Intake,
    pub(crate) root: Arc<TrustedRoot>,
    pub(crate) folder: Arc<tempfile::TempDir>,
}

/// Runs a test in a fresh world on each engine; its archive is another database of the same engine.
pub(crate) async fn worlds(test: impl AsyncFn(World)) {
    let (tables, kept) = (TestDatabase::sqlite(MIGRATIONS).await, TestDatabase::sqlite(archive::MIGRATIONS).await);
    test(World::new(tables.db.clone(), kept.db.clone()).await).await;
    tables.remove().await;
    kept.remove().await;
    let Some(tables) = TestDatabase::postgres(MIGRATIONS).await else {
        eprintln!("SKIPPED on PostgreSQL: {} is not set", lictor_storage::testing::POSTGRES_URL);
        return;
    };
    let kept = TestDatabase::postgres(archive::MIGRATIONS).await.expect("the same server");
    test(World::new(tables.db.clone(), kept.db.clone()).await).await;
    tables.remove().await;
    kept.remove().await;
}

pub(crate) fn firm(code: u32) -> FirmCode {
    FirmCode::new(code).expect("a firm")
}

pub(crate) fn noon() -> Timestamp {
    Timestamp::from_micros(1_780_000_000_000_000)
}

impl World {
    async fn new(db: Database, kept: Database) -> Self {
        Self::over(db, Some(kept), Arc::new(tempfile::tempdir().expect("a folder"))).await
    }

    /// The same keys over these databases: a restarted process, or one with another memory.
    pub(crate) async fn over(db: Database, kept: Option<Database>, folder: Arc<tempfile::TempDir>) -> Self {
        let name = FirmName::new("Example Instruments").expect("a name");
        let clock = Arc::new(ManualClock::new(noon()));
        let issuer = issuer(&db, kept.clone(), &folder, &clock);
        issuer.make_vendor(firm(FIRM), &name).await.expect("a firm");
        let stored = store::vendor::roots_after(&db, firm(FIRM), 0).await.expect("roots");
        let root = Arc::new(TrustedRoot::trust(&stored[0].envelope).expect("a root document"));
        Self::whole(db, kept, folder, clock, root)
    }

    /// The same over other tables that hold whatever they hold.
    pub(crate) fn elsewhere(&self, db: Database, kept: Option<Database>) -> Self {
        let clock = Arc::new(ManualClock::new(noon()));
        Self::whole(db, kept, Arc::clone(&self.folder), clock, Arc::clone(&self.root))
    }

    fn whole(
        db: Database,
        archive_db: Option<Database>,
        folder: Arc<tempfile::TempDir>,
        clock: Arc<ManualClock>,
        root: Arc<TrustedRoot>,
    ) -> Self {
        let issuer = issuer(&db, archive_db.clone(), &folder, &clock);
        let archive = archive_db.clone().map(|kept| Archive::new(kept, clock.clone()));
        Self { db, archive, archive_db, clock, intake: Intake::new(issuer.clone()), issuer, root, folder }
    }

    /// A second process over the same tables and keys, which somebody may break.
    pub(crate) async fn restarted(&self, watch: Option<Arc<dyn Watch>>) -> Self {
        let mut world = Self::over(self.db.clone(), self.archive_db.clone(), Arc::clone(&self.folder)).await;
        if let Some(watch) = watch {
            world.issuer = world.issuer.watched(watch);
            world.intake = Intake::new(world.issuer.clone());
        }
        world
    }

    pub(crate) fn device(&self, number: u8) -> TestDevice {
        TestDevice::new(u32::from(number), ContainerKind::Machine, &self.root)
    }

    /// One of very many containers.
    pub(crate) fn numbered(&self, number: usize) -> TestDevice {
        let number = 0x1_0000 + u32::try_from(number).expect("not that many");
        TestDevice::new(number, ContainerKind::Machine, &self.root)
    }

    /// A container that the vendor has seen.
    pub(crate) async fn known_device(&self, number: u8) -> TestDevice {
        let mut device = self.device(number);
        assert_eq!(self.take(&device.context()).await.verdict.name(), "ok");
        device
    }

    pub(crate) async fn take(&self, file: &[u8]) -> Taken {
        self.intake.take(file).await.expect("a context that is taken")
    }

    pub(crate) async fn refused(&self, file: &[u8]) -> ErrorCode {
        code(self.intake.take(file).await.expect_err("a context that is refused"))
    }

    pub(crate) async fn issue(&self, device: &TestDevice, reference: &str, changes: Vec<Change>) -> Issued {
        self.try_issue(device, reference, changes).await.expect("an issued segment")
    }

    pub(crate) async fn try_issue(
        &self,
        device: &TestDevice,
        reference: &str,
        changes: Vec<Change>,
    ) -> Result<Issued, Failure> {
        self.issuer.issue(&request(device, reference, changes)).await
    }

    pub(crate) async fn pending(&self, device: &TestDevice) -> Option<Vec<u8>> {
        let chain = self.chain(device).await;
        self.issuer.pending(&chain).await.expect("pending updates").map(|file| file.bytes)
    }

    pub(crate) async fn chain(&self, device: &TestDevice) -> lictor_push_update_generator::domain::container::Chain {
        let key = request(device, "look", vec![withdraw(0)]).key;
        store::container::find(&self.db, &key).await.expect("a database").expect("a known container")
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        let all = ListEventsRequest { after_sequence: 0, limit: 1_000 };
        lictor_broker::list_events(&self.db, &all).await.expect("events").events
    }

    /// Types of all events so far, without the common parts of their names.
    pub(crate) async fn event_types(&self) -> Vec<String> {
        let short = |event: &Event| event.r#type.trim_start_matches("lictor.").trim_end_matches(".v1").to_owned();
        self.events().await.iter().map(short).collect()
    }
}

fn issuer(db: &Database, kept: Option<Database>, folder: &tempfile::TempDir, clock: &Arc<ManualClock>) -> Issuer {
    let clock: SharedClock = clock.clone();
    let keys = FileKeyStore::open(folder.path().join("keys"), Mode::Development).expect("a store");
    let archive = kept.map(|kept| Archive::new(kept, clock.clone()));
    Issuer::new(db.clone(), archive, Keys::new(keys), clock, Counters::register(&Metrics::new()))
}

pub(crate) fn request(device: &TestDevice, reference: &str, changes: Vec<Change>) -> IssueRequest {
    IssueRequest::new(reference.to_owned(), device.root.firm_code(), &device.id(), changes).expect("a good form")
}

pub(crate) fn code(failure: Failure) -> ErrorCode {
    failure.problem().code
}

pub(crate) fn license(number: u8) -> LicenseId {
    LicenseId::new(noon(), [number; 10])
}

pub(crate) fn withdraw(number: u8) -> Change {
    Change::Withdraw { license: license(number) }
}

/// Five seats of product 1000 + number.
pub(crate) fn add(number: u8) -> Change {
    add_bound(number, Bindings::DEFAULT)
}

/// The same license with another number of seats and one product more.
pub(crate) fn replace(number: u8, seats: u32) -> Change {
    let options = Options {
        product_code: Some(ProductCode(2_000 + u32::from(number))),
        license_quantity: Some(Quantity::new(seats).expect("a quantity")),
        ..Options::default()
    };
    let item = ProductItem::new(options, Vec::new()).expect("an item");
    let item = product_item::encode(&item).expect("a small item");
    Change::Replace { license: license(number), item, quantity: seats }
}

pub(crate) fn add_bound(number: u8, bindings: Bindings) -> Change {
    let options = Options {
        product_code: Some(ProductCode(1_000 + u32::from(number))),
        license_quantity: Some(Quantity::new(5).expect("a quantity")),
        bindings: Some(bindings),
        ..Options::default()
    };
    let item = ProductItem::new(options, Vec::new()).expect("an item");
    Change::Add { license: license(number), item: product_item::encode(&item).expect("a small item"), quantity: 5 }
}

pub(crate) const FOLDER: Bindings = Bindings::of(&[Binding::Folder]);
