//! A writer on a disk in memory.

use std::sync::mpsc;

use lictor_clock::ManualClock;
use lictor_license_file::RuntimeVersion;
use lictor_license_file::device::DeviceProfile;
use lictor_license_server::domain::ask::Moment;
use lictor_license_server::domain::keeper::Keeper;
use lictor_license_server::metrics::Metrics;
use lictor_license_server::opening::{self, OpenError, Opened};
use lictor_license_server::settings::SessionTimes;
use lictor_license_server::store::Disk;
use lictor_license_server::store::memory_disk::MemoryDisk;
use lictor_license_server::writer::{self, Ledger, Parts};
use lictor_licensing::binding::ContainerKind;

/// Opens the folder, as the program does.
pub(crate) fn open(disk: &MemoryDisk) -> Result<Opened, OpenError> {
    opening::open(&|| Ok(Box::new(disk.clone()) as Box<dyn Disk>))
}

/// A writer, with the reason for which it gave up, if it did.
pub(crate) fn start(disk: &MemoryDisk, clock: &ManualClock) -> (Ledger, mpsc::Receiver<String>) {
    start_opened(open(disk).expect("a state"), clock)
}

/// The same on a folder that was opened.
pub(crate) fn start_opened(opened: Opened, clock: &ManualClock) -> (Ledger, mpsc::Receiver<String>) {
    let Opened { secrets, journal, state, probation, .. } = opened;
    let clock = clock.shared();
    let moment = Moment { now: clock.now(), boottime: clock.boottime() };
    let keeper = Keeper::new(state, SessionTimes::default(), semver::Version::new(1, 0, 0), moment);
    let profile = DeviceProfile {
        keys: secrets.device_keys(),
        kind: ContainerKind::Folder,
        virtual_machine: false,
        runtime: RuntimeVersion::new(0, 1, 0),
    };
    let metrics = Metrics::new(&lictor_telemetry::Metrics::new());
    let (failed, failure) = mpsc::channel();
    let parts = Parts { journal, keeper, secrets, profile, clock, metrics, probation };
    let ledger = writer::start(parts, move |reason| {
        let _ = failed.send(reason);
    });
    (ledger.expect("a thread"), failure)
}
