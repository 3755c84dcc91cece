//! Programs as their SDK behaves, and the server that they ask.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lictor_clock::ManualClock;
use lictor_key_store::MemorySigner;
use lictor_license_file::RuntimeVersion;
use lictor_license_file::device::DeviceProfile;
use lictor_license_server::domain::ask::{Ask, Moment};
use lictor_license_server::domain::keeper::Keeper;
use lictor_license_server::domain::session::ClientNames;
use lictor_license_server::listen::{Channel, Peer};
use lictor_license_server::metrics::Metrics;
use lictor_license_server::opening::Opened;
use lictor_license_server::settings::SessionTimes;
use lictor_license_server::store::memory_disk::MemoryDisk;
use lictor_license_server::writer::{Held, Ledger, Parts, Turns, Visit};
use lictor_licensing::access::{AccessMode, Origin, Seats, Station};
use lictor_licensing::binding::ContainerKind;
use lictor_licensing::feature::FeatureMap;
use lictor_licensing::id::{FirmCode, ProductCode, SessionId};
use lictor_signing::{Signer as _, client_proof_message};

use super::CLIENTS;
use crate::stage::doors::Stage;
use crate::stage::memory::open;
use crate::stage::vendor::{FIRM, Vendor, add};

const EDITOR: u32 = 201;

pub(crate) type Asked<T> = Pin<Box<dyn Future<Output = T>>>;

pub(crate) fn poll<T>(future: &mut Asked<T>) -> Option<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// A program, as its SDK behaves.
pub(crate) struct Program {
    pub(crate) channel: Channel,
    pub(crate) ask: Ask,
    pub(crate) request: u64,
    pub(crate) doing: Doing,
    /// Until when it believes in its seat, since boot.
    pub(crate) believes: Duration,
    /// Nothing goes through before this time.
    pub(crate) cut_off: Duration,
}

pub(crate) enum Doing {
    Nothing,
    Waits { visit: Visit, joined: Option<u64> },
    Holds { session: SessionId, stream: Option<Held> },
}

pub(crate) fn begin(disk: &MemoryDisk, clock: &ManualClock) -> (Turns, Ledger) {
    begin_with(disk, clock, SessionTimes::default())
}

pub(crate) fn begin_with(disk: &MemoryDisk, clock: &ManualClock, times: SessionTimes) -> (Turns, Ledger) {
    let Opened { secrets, journal, state, probation, .. } = open(disk).expect("a state");
    let clock = clock.shared();
    let moment = Moment { now: clock.now(), boottime: clock.boottime() };
    let keeper = Keeper::new(state, times, semver::Version::new(1, 0, 0), moment);
    let profile = DeviceProfile {
        keys: secrets.device_keys(),
        kind: ContainerKind::Folder,
        virtual_machine: false,
        runtime: RuntimeVersion::new(0, 1, 0),
    };
    let metrics = Metrics::new(&lictor_telemetry::Metrics::new());
    Turns::new(Parts { journal, keeper, secrets, profile, clock, metrics, probation })
}

/// Connections on which the programs have proved themselves; the same for all seeds.
pub(crate) fn channels() -> Vec<(Channel, MemorySigner)> {
    let connect = |number: usize| {
        let key = MemorySigner::from_seed(&[u8::try_from(number).expect("few") + 1; 32]);
        let channel = Channel::new(Peer::Unix, Origin::Local, [9; 32], None);
        let public = key.public_key();
        let proof = key.sign(&client_proof_message(&[9; 32], public.as_bytes())).expect("signed");
        assert!(channel.proves(&public, proof.as_bytes()));
        (channel, key)
    };
    (0..CLIENTS).map(connect).collect()
}

pub(crate) fn wish(key: &MemorySigner) -> Ask {
    Ask {
        request_id: [0; 16],
        asked: [0; 32],
        client_key: key.public_key(),
        nonce: [0; 32],
        firm_code: FirmCode::new(FIRM).expect("a firm"),
        product_code: ProductCode(EDITOR),
        feature_map: FeatureMap::NONE,
        mode: AccessMode::UserLimit,
        seats: Seats::ONE,
        release_date: None,
        names: ClientNames::default(),
        station: Station::new("here").expect("a name"),
        origin: Origin::Local,
        address: None,
        container: None,
    }
}

/// Disks with a container of so many seats.
pub(crate) async fn disks() -> Vec<(u32, MemoryDisk)> {
    let mut disks = Vec::new();
    for seats in [1, 2, 5] {
        let mut vendor = Vendor::new(FIRM, 1);
        let stage = Stage::filled(&mut vendor, vec![add(1, EDITOR, seats)]).await;
        stage.ledger.change(|writer, _| writer.started()).await.expect("started");
        stage.ledger.stop().await;
        disks.push((seats, stage.disk));
    }
    disks
}
