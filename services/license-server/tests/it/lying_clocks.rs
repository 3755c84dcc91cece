//! Clocks that lie to this one process, ends that pass in the middle of an operation, machines that sleep or stand still.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_clock::{Clock, ManualClock, SystemClock, Timestamp};
use lictor_license_file::context;
use lictor_license_server::domain::ask::Moment;
use lictor_license_server::domain::time::ProvenTime;
use lictor_license_server::{Settings, start_server};
use lictor_licensing::item::Part;
use lictor_licensing::options::{Options, UsagePeriod};
use lictor_signing::{GrantStatement, cbor};

use crate::stage::client::RawClient;
use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, add, add_item, license, options, start_of_tests};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const DATED: u32 = 201;
const PERPETUAL: u32 = 202;

/// A licence that ends after `span`, and a perpetual one.
async fn server(span: Duration) -> TestServer {
    let dated = Options { expiration_time: Some(start_of_tests().saturating_add(span)), ..options(DATED, Some(1)) };
    TestServer::with(vec![add_item(1, dated, Vec::new(), 1), add(2, PERPETUAL, 1)]).await.0
}

async fn grants(server: &mut TestServer, product: u32) -> bool {
    let wish = wire::AcquireRequest { firm_code: FIRM, product_code: product, ..Default::default() };
    let request = wire::ExplainRequest { request: Some(wish) };
    server.containers.explain(request).await.expect("explained").into_inner().granted
}

/// A field of the program's file.
fn field<const N: usize>(file: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[..N].copy_from_slice(&file[at..at + N]);
    u64::from_le_bytes(bytes)
}

#[test]
fn no_library_can_come_between_the_program_and_the_clock() {
    // What lies to a process about the time, such as a preloaded library, has to be loaded by an interpreter. A program
    // without one asks the kernel itself.
    const INTERPRETER: u64 = 3;
    let file = std::fs::read(env!("CARGO_BIN_EXE_license-server")).expect("the program");
    assert_eq!(&file[..5], b"\x7fELF\x02", "a program for a 64 bit Linux");
    let (first, size, count) = (field::<8>(&file, 0x20), field::<2>(&file, 0x36), field::<2>(&file, 0x38));
    for number in 0..count {
        let header = usize::try_from(first + number * size).expect("inside of the file");
        assert_ne!(field::<4>(&file, header), INTERPRETER, "the program is linked against libraries of the machine");
    }
}

#[test]
fn deadlines_count_the_time_that_the_machine_sleeps() {
    // The first number of this file is the time since boot, sleep included.
    let uptime = std::fs::read_to_string("/proc/uptime").expect("the kernel says it");
    let uptime: f64 = uptime.split(' ').next().and_then(|seconds| seconds.parse().ok()).expect("a number");
    let told = SystemClock.boottime().as_secs_f64();
    assert!((told - uptime).abs() < 5.0, "{told} is not {uptime}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_goes_at_half_speed_wins_nothing() {
    let mut server = server(10 * DAY).await;
    let start = start_of_tests();
    let mut passed = Duration::ZERO;
    for _ in 0..(11 * 24) {
        passed += HOUR;
        server.clock.advance(HOUR);
        server.clock.set_now(start.saturating_add(passed / 2));
        assert_eq!(grants(&mut server, DATED).await, passed < 10 * DAY, "after {passed:?}");
    }
    assert!(grants(&mut server, PERPETUAL).await);
    let request = wire::ListContainersRequest {};
    assert!(server.containers.list_containers(request).await.expect("listed").into_inner().clock_suspect);
}

#[test]
fn a_time_since_boot_that_begins_elsewhere_changes_nothing() {
    // In a time namespace of its own a process sees its boot whenever somebody wants. Only spans count.
    let start = start_of_tests();
    for boottime in [Duration::ZERO, Duration::from_millis(1), DAY, 36_500 * DAY] {
        let mut time = ProvenTime::default();
        time.see(start);
        time.run(boottime);
        let moment = Moment { now: Timestamp::UNIX_EPOCH, boottime: boottime + HOUR };
        assert_eq!((time.floor(boottime), time.judged(moment)), (start, start.saturating_add(HOUR)));
        let noted = time.note(moment, HOUR).expect("a floor");
        assert_eq!(noted.at, start.saturating_add(HOUR));
        // The next process begins at another boot, also an earlier one.
        let mut next = ProvenTime::default();
        next.take_note(noted);
        next.run(Duration::ZERO);
        assert_eq!(next.floor(HOUR), start.saturating_add(2 * HOUR));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_was_paused_ends_what_is_over_and_takes_no_seat_away() {
    let mut server = server(HOUR).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let held = client.acquire(1, PERPETUAL).await.expect("a seat");
    // A pause of the whole virtual machine: the time of day leaps, the time since boot does not.
    server.clock.set_now(start_of_tests().saturating_add(2 * HOUR));
    assert!(!grants(&mut server, DATED).await, "over, whoever slept");
    client.revalidate(&held.session_id).await.expect("nobody was there who could have taken it");
    let mut other = RawClient::connect(&server.server.socket, 2).await;
    assert_eq!(other.acquire(2, PERPETUAL).await.expect_err("one seat, one holder").reasons[0].code, 212);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_two_hours_of_sleep_a_client_has_to_ask_again_and_nobody_holds_a_seat_twice() {
    let server = server(DAY).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let held = client.acquire(1, PERPETUAL).await.expect("a seat");
    server.clock.advance(2 * HOUR);
    client.revalidate(&held.session_id).await.expect_err("its time is over");
    let mut other = RawClient::connect(&server.server.socket, 2).await;
    let theirs = other.acquire(2, PERPETUAL).await.expect("the seat is free");
    client.revalidate(&held.session_id).await.expect_err("it is somebody else's now");
    let refusal = client.acquire(3, PERPETUAL).await.expect_err("one seat, one holder");
    assert_eq!(refusal.reasons[0].code, 212);
    other.release(&theirs.session_id).await.expect("released");
    client.acquire(4, PERPETUAL).await.expect("asked again");
}

/// Every look at the time of day finds it a second later.
#[derive(Debug)]
struct Hasty {
    now: Mutex<Timestamp>,
    machine: ManualClock,
}

impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        let mut now = self.now.lock().expect("not poisoned");
        *now = now.saturating_add(Duration::from_secs(1));
        *now
    }

    fn boottime(&self) -> Duration {
        self.machine.boottime()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_passes_during_an_operation_is_judged_once() {
    // The licence ends within the many looks of this test; its period of use begins with the first of them.
    let (start, end) = (start_of_tests(), start_of_tests().saturating_add(Duration::from_secs(120)));
    let period = UsagePeriod::new(DAY).expect("a period");
    let dated = Options { expiration_time: Some(end), usage_period: Some(period), ..options(DATED, Some(200)) };
    let (server, _vendor) = TestServer::with(vec![add_item(1, dated, Vec::new(), 200)]).await;
    server.server.running.shutdown();
    server.server.running.wait().await.expect("a clean stop");
    let folder = server.folder;
    let clock = Arc::new(Hasty { now: Mutex::new(start), machine: ManualClock::new(start) });
    let server = start_server(Settings::loopback(folder.path().to_owned()), clock).await.expect("a server");
    let mut client = RawClient::connect(&server.socket, 1).await;
    let (mut granted, mut first_use, mut over) = (0, None, false);
    for number in 1..=200 {
        match client.acquire(number, DATED).await {
            Ok(grant) => {
                assert!(!over, "wish {number} is granted after the end");
                let statement: GrantStatement = cbor::decode(&grant.statement).expect("a grant");
                assert_eq!(statement.ends_at, Some(end));
                assert!(statement.issued_at < end, "granted at {} until {end}", statement.issued_at);
                first_use.get_or_insert(statement.issued_at);
                granted += 1;
            }
            Err(refusal) => {
                assert_eq!(refusal.reasons[0].code, 35, "{refusal:?}");
                over = true;
            }
        }
    }
    assert!(granted > 1 && over, "{granted} grants");
    // The first use was written down with the very time that the grant names.
    let mut containers = wire::container_service_client::ContainerServiceClient::new(
        crate::stage::client::unix_channel(&server.socket).await,
    );
    let request = wire::CreateContextRequest { firm_code: FIRM, serial: String::new(), challenge: Vec::new() };
    let file = containers.create_context(request).await.expect("a context").into_inner().context;
    let counters = context::read(&file).expect("a context").context.counters;
    assert_eq!(counters.part(license(1), Part::Parent).usage_start, first_use);
    server.running.shutdown();
    server.running.wait().await.expect("a clean stop");
}
