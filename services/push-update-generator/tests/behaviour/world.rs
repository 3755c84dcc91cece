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
    Failure,
    domain::request::{Change, IssueRequest},
    issue::{Issued, Issuer, Watch},
    keys::Keys,
    metrics::Counters,
    store::{self, MIGRATIONS},
    take::{Intake, Taken},
    vendor::FirmName,
};
use lictor_signing::TrustedRoot;
use lictor_storage::{Database, testing::for_each_engine};
use lictor_telemetry::Metrics;

use crate::device::Device;

pub(crate) const FIRM: u32 = 4711;

/// A vendor's installation.
pub(crate) struct World {
    pub(crate) db: Database,
    pub(crate) issuer: Issuer,
    pub(crate) intake: Intake,
    pub(crate) root: Arc<TrustedRoot>,
    pub(crate) folder: Arc<tempfile::TempDir>,
}

/// Runs a test in a fresh world on each engine.
pub(crate) async fn worlds(test: impl AsyncFn(World)) {
    for_each_engine(MIGRATIONS, async |db| test(World::new(db).await).await).await;
}

pub(crate) fn firm(code: u32) -> FirmCode {
    FirmCode::new(code).expect("a firm")
}

pub(crate) fn noon() -> Timestamp {
    Timestamp::from_micros(1_780_000_000_000_000)
}

impl World {
    async fn new(db: Database) -> Self {
        Self::over(db, Arc::new(tempfile::tempdir().expect("a folder"))).await
    }

    /// The same keys over this database: a restarted process, or one with another memory.
    pub(crate) async fn over(db: Database, folder: Arc<tempfile::TempDir>) -> Self {
        let clock: SharedClock = ManualClock::new(noon()).shared();
        let keys = Keys::new(FileKeyStore::open(folder.path().join("keys"), Mode::Development).expect("a store"));
        let issuer = Issuer::new(db.clone(), keys, clock, Counters::register(&Metrics::new()));
        let name = FirmName::new("Example Instruments").expect("a name");
        issuer.make_vendor(firm(FIRM), &name).await.expect("a firm");
        let stored = store::vendor::roots_after(&db, firm(FIRM), 0).await.expect("roots");
        let root = Arc::new(TrustedRoot::trust(&stored[0].envelope).expect("a root document"));
        Self { db, intake: Intake::new(issuer.clone()), issuer, root, folder }
    }

    /// A second process over the same tables and keys, which somebody may break.
    pub(crate) async fn restarted(&self, watch: Option<Arc<dyn Watch>>) -> Self {
        let mut world = Self::over(self.db.clone(), Arc::clone(&self.folder)).await;
        if let Some(watch) = watch {
            world.issuer = world.issuer.watched(watch);
            world.intake = Intake::new(world.issuer.clone());
        }
        world
    }

    pub(crate) fn device(&self, number: u8) -> Device {
        Device::new(number, ContainerKind::Machine, &self.root)
    }

    /// A container that the vendor has seen.
    pub(crate) async fn known_device(&self, number: u8) -> Device {
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

    pub(crate) async fn issue(&self, device: &Device, reference: &str, changes: Vec<Change>) -> Issued {
        self.try_issue(device, reference, changes).await.expect("an issued segment")
    }

    pub(crate) async fn try_issue(
        &self,
        device: &Device,
        reference: &str,
        changes: Vec<Change>,
    ) -> Result<Issued, Failure> {
        self.issuer.issue(&request(device, reference, changes)).await
    }

    pub(crate) async fn pending(&self, device: &Device) -> Option<Vec<u8>> {
        let chain = self.chain(device).await;
        self.issuer.pending(&chain).await.expect("pending updates").map(|file| file.bytes)
    }

    pub(crate) async fn chain(&self, device: &Device) -> lictor_push_update_generator::domain::container::Chain {
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

pub(crate) fn request(device: &Device, reference: &str, changes: Vec<Change>) -> IssueRequest {
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
