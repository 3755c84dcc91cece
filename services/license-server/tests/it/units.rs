//! Units of pay-per-use: taken once, durable before the answer, never given back.

use lictor_api::server::v1 as wire;
use lictor_clock::ManualClock;
use lictor_license_file::context;
use lictor_license_file::segment::Operation;
use lictor_license_server::domain::ask::Moment;
use lictor_license_server::domain::crypto::CryptoError;
use lictor_license_server::domain::keeper::Keeper;
use lictor_license_server::domain::units::{UnitsAnswer, UnitsWish};
use lictor_license_server::listen::{Channel, Peer};
use lictor_license_server::settings::SessionTimes;
use lictor_license_server::store::memory_disk::{Fault, MemoryDisk, Unsynced};
use lictor_license_server::writer::{Ledger, Writer};
use lictor_licensing::access::Origin;
use lictor_licensing::id::{FirmCode, ProductCode, SessionId};
use lictor_licensing::item::{ModuleItem, Part};
use lictor_licensing::options::{Options, UnitCounter};
use lictor_signing::{KeyChoice, Signer as _, client_proof_message};
use tonic::Code;

use crate::stage::memory::{open, start};
use crate::stage::program::Program;
use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, Vendor, add, add_item, license, options, start_of_tests};

fn counted(product: u32, units: u64) -> Options {
    Options { unit_counter: Some(UnitCounter(units)), ..options(product, Some(9)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_are_taken_once_for_each_request_also_after_a_restart_and_after_the_session() {
    let (mut server, _vendor) = TestServer::with(vec![add_item(1, counted(201, 100), Vec::new(), 9)]).await;
    let mut program = Program::with_seat(&server.server.socket, 1, 201).await;
    assert_eq!(program.consume(1, 30).await, Ok(70));
    assert_eq!(program.consume(1, 30).await, Ok(70), "the same request");
    assert_eq!(program.consume(2, 5).await, Ok(65));
    assert_eq!(program.consume(1, 30).await, Ok(70), "what was left then");
    // The same name for another wish, and somebody else's name.
    let mut request = wire::ConsumeUnitsRequest {
        request_id: vec![1; 16],
        session_id: program.session.clone(),
        proof: Vec::new(),
        units: 31,
    };
    assert_eq!(program.units.consume_units(request.clone()).await.expect_err("reused").code(), Code::AlreadyExists);
    request.units = 30;
    let mut other = Program::with_seat(&server.server.socket, 2, 201).await;
    assert_eq!(other.units.consume_units(request.clone()).await.expect_err("not its own").code(), Code::NotFound);
    request.session_id.clone_from(&other.session);
    assert_eq!(other.units.consume_units(request).await.expect_err("not its own").code(), Code::NotFound);
    assert_eq!(server.listed().await[0].firms[0].entries[0].units_left, Some(65));

    let server = server.restarted().await;
    let mut again = Program::connect(&server.server.socket, 1).await;
    again.session.clone_from(&program.session);
    let repeated = |program: &Program, proof: Vec<u8>| wire::ConsumeUnitsRequest {
        request_id: vec![2; 16],
        session_id: program.session.clone(),
        proof,
        units: 5,
    };
    let request = repeated(&again, Vec::new());
    assert_eq!(again.units.consume_units(request).await.expect_err("not proved").code(), Code::NotFound);
    let request = repeated(&again, again.raw.proof.clone());
    let outcome = again.units.consume_units(request).await.expect("known").into_inner().outcome;
    assert_eq!(outcome, Some(wire::consume_units_response::Outcome::Left(65)));
    again.raw.release(&again.session.clone()).await.expect("released");
    assert_eq!(again.consume(2, 5).await, Ok(65), "the session is over; what it took it took");
    // On a new connection too: nobody could know the key from the session any more.
    let mut late = Program::connect(&server.server.socket, 1).await;
    late.session.clone_from(&again.session);
    let request = repeated(&late, late.raw.proof.clone());
    let outcome = late.units.consume_units(request).await.expect("known").into_inner().outcome;
    assert_eq!(outcome, Some(wire::consume_units_response::Outcome::Left(65)));
    let mut server = server.restarted().await;
    assert_eq!(server.listed().await[0].firms[0].entries[0].units_left, Some(65));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_units_are_refused_with_the_number_that_old_integrations_know() {
    let (server, _vendor) = TestServer::with(vec![add_item(1, counted(201, 10), Vec::new(), 9), add(2, 202, 1)]).await;
    let mut program = Program::with_seat(&server.server.socket, 1, 201).await;
    assert_eq!(program.consume(1, 11).await, Err(33));
    assert_eq!(program.consume(2, u64::MAX).await, Err(33));
    assert_eq!(program.consume(1, 10).await, Ok(0), "a refusal uses no name up");
    assert_eq!(program.consume(3, 1).await, Err(32));
    let mut uncounted = Program::with_seat(&server.server.socket, 2, 202).await;
    assert_eq!(uncounted.consume(4, 1).await, Err(31));
    let nothing = wire::ConsumeUnitsRequest {
        request_id: vec![5; 16],
        session_id: program.session.clone(),
        proof: Vec::new(),
        units: 0,
    };
    assert_eq!(program.units.consume_units(nothing.clone()).await.expect_err("none").code(), Code::InvalidArgument);
    let short = wire::ConsumeUnitsRequest { request_id: vec![5; 15], units: 1, ..nothing };
    assert_eq!(program.units.consume_units(short).await.expect_err("a short id").code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modules_that_inherit_a_counter_share_it_and_contexts_tell_the_vendor() {
    let inheriting = ModuleItem {
        options: Options { product_code: Some(ProductCode(202)), ..Options::default() },
        requires_parent: false,
    };
    let own = ModuleItem {
        options: Options {
            product_code: Some(ProductCode(203)),
            unit_counter: Some(UnitCounter(7)),
            ..Options::default()
        },
        requires_parent: false,
    };
    let (mut server, mut vendor) =
        TestServer::with(vec![add_item(1, counted(201, 100), vec![inheriting, own], 9)]).await;
    let socket = server.server.socket.clone();
    let mut parent = Program::with_seat(&socket, 1, 201).await;
    let mut module = Program::with_seat(&socket, 2, 202).await;
    let mut other = Program::with_seat(&socket, 3, 203).await;
    assert_eq!(parent.consume(1, 10).await, Ok(90));
    assert_eq!(module.consume(2, 10).await, Ok(80));
    assert_eq!(other.consume(3, 7).await, Ok(0));
    let context = server.context(FIRM).await;
    let counters = context::read(&context).expect("a context").context.counters;
    assert_eq!(counters.part(license(1), Part::Parent).units_used, 20);
    assert_eq!(counters.part(license(1), Part::Module(1)).units_used, 7);
    // The vendor raises what is granted; what is used stays.
    let raise = Operation::RaiseUnits { license: license(1), part: Part::Parent, by: 50 };
    server.import(&vendor.update(&context, vec![raise])).await.expect("imported");
    assert_eq!(module.consume(4, 130).await, Ok(0));
    assert_eq!(parent.consume(5, 1).await, Err(32));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_that_is_withdrawn_and_comes_back_brings_no_unit_back() {
    let again = || add_item(1, counted(201, 100), Vec::new(), 9);
    let (mut server, mut vendor) = TestServer::with(vec![again()]).await;
    let mut program = Program::with_seat(&server.server.socket, 1, 201).await;
    assert_eq!(program.consume(1, 60).await, Ok(40));
    let context = server.context(FIRM).await;
    let withdrawn = Operation::WithdrawEntry { license: license(1) };
    server.import(&vendor.update(&context, vec![withdrawn])).await.expect("imported");
    let mut server = server.restarted().await;
    let context = server.context(FIRM).await;
    let counters = context::read(&context).expect("a context").context.counters;
    assert_eq!(counters.part(license(1), Part::Parent).units_used, 60, "the vendor is still told");
    server.import(&vendor.update(&context, vec![again()])).await.expect("imported");
    assert_eq!(server.listed().await[0].firms[0].entries[0].units_left, Some(40));
    let server = server.restarted().await;
    let mut program = Program::with_seat(&server.server.socket, 2, 201).await;
    assert_eq!(program.consume(2, 41).await, Err(33));
    assert_eq!(program.consume(3, 40).await, Ok(0));
}

/// A connection on which a client has proved itself.
fn proved(client: u8) -> Channel {
    let channel = Channel::new(Peer::Unix, Origin::Local, [0; 32], None);
    let key = lictor_key_store::MemorySigner::from_seed(&[client; 32]);
    let message = client_proof_message(&[0; 32], key.public_key().as_bytes());
    assert!(channel.proves(&key.public_key(), key.sign(&message).expect("signed").as_bytes()));
    channel
}

fn wish(session: SessionId, request: u8) -> UnitsWish {
    UnitsWish { request_id: [request; 16], session, units: 10 }
}

/// A container with one licence of 1,000 units that client 1 uses.
async fn filled(disk: &MemoryDisk, clock: &ManualClock) -> (SessionId, Vendor) {
    let (ledger, _failure) = start(disk, clock);
    let mut vendor = Vendor::new(FIRM, 1);
    let lif = vendor.lif();
    let created = ledger.change(move |writer, moment| writer.create_container(&lif, None, moment));
    created.await.expect("created");
    let firm = FirmCode::new(FIRM).expect("a firm");
    let context = ledger.change(move |writer, moment| writer.create_context(firm, None, moment)).await;
    let update = vendor.update(&context.expect("a context").0, vec![add_item(1, counted(201, 1_000), Vec::new(), 9)]);
    ledger.change(move |writer, moment| writer.import(&update, moment)).await.expect("imported");
    ledger.acquire(crate::disk::ask(1)).await.expect("answered");
    ledger.change(|writer, _| writer.started()).await.expect("up");
    let session = ledger.read(|keeper, _| *keeper.state.sessions.keys().next().expect("a session")).await;
    ledger.stop().await;
    (session.expect("a look"), vendor)
}

async fn used(ledger: &Ledger) -> u64 {
    let firm = FirmCode::new(FIRM).expect("a firm");
    let look = ledger.read(move |keeper, _| keeper.state.firms[&firm].counters().part(license(1), Part::Parent));
    look.await.expect("a look").units_used
}

#[tokio::test]
async fn units_cut_at_any_operation_of_the_disk_are_never_lost_and_never_taken_twice() {
    let (whole, clock) = (MemoryDisk::new(), ManualClock::new(start_of_tests()));
    let (session, _) = filled(&whole, &clock).await;
    let mut cut = 0;
    for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Half] {
        for at in 0.. {
            let disk = whole.copy();
            let (ledger, _failure) = start(&disk, &clock);
            assert!(matches!(ledger.take_units(wish(session, 1), proved(1)).await, Ok(UnitsAnswer::Taken { .. })));
            disk.fail_at(at, Fault::Crash);
            let told = ledger.take_units(wish(session, 2), proved(1)).await;
            let second = ledger.take_units(wish(session, 3), proved(1)).await;
            ledger.stop().await;
            disk.restart(unsynced);

            let (ledger, _failure) = start(&disk, &clock);
            let found = used(&ledger).await;
            let acknowledged = 10 + [&told, &second].into_iter().filter(|answer| answer.is_ok()).count() as u64 * 10;
            assert!(found >= acknowledged, "{unsynced:?} at {at}: {found} of {acknowledged} are left");
            assert!(found <= 30 && found % 10 == 0, "{unsynced:?} at {at}: {found}");
            // Whoever did not hear the answer asks again, and all is taken exactly once.
            for request in [3, 2, 1, 2, 3] {
                let again = ledger.take_units(wish(session, request), proved(1)).await;
                assert!(matches!(again, Ok(UnitsAnswer::Taken { .. })), "{unsynced:?} at {at}: {again:?}");
            }
            assert_eq!(used(&ledger).await, 30, "{unsynced:?} at {at}");
            ledger.stop().await;
            let (ledger, _failure) = start(&disk, &clock);
            assert_eq!(used(&ledger).await, 30, "{unsynced:?} at {at}: from a snapshot");
            ledger.stop().await;
            if told.is_ok() && second.is_ok() {
                break;
            }
            cut += 1;
        }
    }
    assert!(cut >= 6, "{cut} crashes were tried");
}

#[tokio::test]
async fn a_full_disk_takes_no_units_and_the_same_request_works_once_there_is_room() {
    let (disk, clock) = (MemoryDisk::new(), ManualClock::new(start_of_tests()));
    let (session, _) = filled(&disk, &clock).await;
    let (ledger, _failure) = start(&disk, &clock);
    disk.fail_at(0, Fault::Full);
    let refused = ledger.take_units(wish(session, 1), proved(1)).await.expect_err("no room");
    assert!(refused.message.contains("full"), "{refused:?}");
    assert_eq!(used(&ledger).await, 0, "nothing is taken that is not on disk");
    disk.heal();
    assert!(matches!(ledger.take_units(wish(session, 1), proved(1)).await, Ok(UnitsAnswer::Taken { left: 990 })));
    assert_eq!(used(&ledger).await, 10);
    ledger.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takings_of_a_crowd_share_their_syncs_and_none_is_lost() {
    let (disk, clock) = (MemoryDisk::new(), ManualClock::new(start_of_tests()));
    let (session, _) = filled(&disk, &clock).await;
    let (ledger, _failure) = start(&disk, &clock);
    let before = disk.syncs();
    // The writer is busy until all of them wait for it.
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let busy = ledger.clone();
    let busy = tokio::spawn(async move {
        let wait = move |_: &mut Writer, _: Moment| {
            gate.recv().expect("the test goes on");
            Ok(())
        };
        busy.change(wait).await
    });
    let crowd = (0..99_u8).map(|request| {
        let (ledger, channel) = (ledger.clone(), proved(1));
        tokio::spawn(async move { ledger.take_units(wish(session, request), channel).await })
    });
    let crowd = crowd.collect::<Vec<_>>();
    while ledger.waiting() < 100 {
        tokio::task::yield_now().await;
    }
    go.send(()).expect("it waits");
    busy.await.expect("no panic").expect("nothing was changed");
    let mut left = Vec::new();
    for taking in crowd {
        match taking.await.expect("no panic") {
            Ok(UnitsAnswer::Taken { left: rest }) => left.push(rest),
            other => panic!("{other:?}"),
        }
    }
    left.sort_unstable();
    assert_eq!(left, (1..100).map(|n| n * 10).collect::<Vec<u64>>(), "each of them saw its own");
    assert_eq!(used(&ledger).await, 990);
    assert!(disk.syncs() - before <= 2, "{} syncs for 99 takings", disk.syncs() - before);
    ledger.stop().await;
}

#[tokio::test]
async fn a_container_that_cannot_be_used_now_takes_no_units_and_gives_no_keys() {
    let (disk, clock) = (MemoryDisk::new(), ManualClock::new(start_of_tests()));
    let (session, _) = filled(&disk, &clock).await;
    let state = crate::stage::memory::open(&disk).expect("a state").state;
    let shared = clock.shared();
    let moment = Moment { now: shared.now(), boottime: shared.boottime() };
    let mut keeper = Keeper::new(state, SessionTimes::default(), semver::Version::new(1, 0, 0), moment);
    let client = keeper.client_key(session).expect("a session");
    let proves = |key: &[u8; 32]| (key == client.as_bytes()).then_some(client);
    let choice = KeyChoice::default();
    let key = |keeper: &Keeper| keeper.program_key(session, &client, &[0; 32], &choice, moment).map(drop);
    // The licence is there, but no product key: that far it comes.
    assert_eq!(key(&keeper), Err(CryptoError::NoProductKey(ProductCode(201))));
    keeper.suspend(Some("its token is away".to_owned()));
    assert_eq!(key(&keeper), Err(CryptoError::Suspended));
    let (answer, record) = keeper.take_units(&wish(session, 1), proves, moment).expect("an answer");
    let UnitsAnswer::Refused(refusal) = answer else { panic!("units were taken") };
    assert_eq!((refusal.lines()[0].reason.code(), record.is_none()), (52, true));
    keeper.suspend(None);
    let (answer, record) = keeper.take_units(&wish(session, 1), proves, moment).expect("an answer");
    assert!(matches!(answer, UnitsAnswer::Taken { left: 990 }) && record.is_some(), "{answer:?}");
}

#[tokio::test]
async fn units_that_were_used_before_a_withdrawal_stay_used_when_the_withdrawal_is_taken_back() {
    let (disk, clock) = (MemoryDisk::new(), ManualClock::new(start_of_tests()));
    let (session, mut vendor) = filled(&disk, &clock).await;
    let (ledger, _failure) = start(&disk, &clock);
    assert!(matches!(ledger.take_units(wish(session, 1), proved(1)).await, Ok(UnitsAnswer::Taken { .. })));
    let firm = vendor.firm;
    let context = ledger.change(move |writer, moment| writer.create_context(firm, None, moment)).await;
    let withdrawn = Operation::WithdrawEntry { license: license(1) };
    let update = vendor.update(&context.expect("a context").0, vec![withdrawn]);
    ledger.change(move |writer, moment| writer.import(&update, moment)).await.expect("imported");
    ledger.stop().await;
    for _ in 0..3 {
        drop(open(&disk).expect("it opens"));
    }
    let opened = open(&disk).expect("it opens");
    assert!(opened.state.firms[&firm].licenses.contains_key(&license(1)), "the withdrawal is taken back");
    assert_eq!(opened.state.firms[&firm].counters().part(license(1), Part::Parent).units_used, 10);
}
