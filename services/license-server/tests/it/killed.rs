//! The real program, killed while it takes a rebase or a signed time.

use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::container_service_client::ContainerServiceClient;
use lictor_api::{convert, error};
use lictor_clock::{Clock as _, SystemClock, Timestamp};
use lictor_license_file::context::{self, Context};
use lictor_license_file::device::DeviceCounters;
use tonic::transport::Channel;

use crate::process::{Program, fill_with};
use crate::stage::client::unix_channel;
use crate::stage::scale;
use crate::stage::vendor::{FIRM, Vendor};

type Containers = ContainerServiceClient<Channel>;

async fn containers(program: &Program) -> Containers {
    ContainerServiceClient::new(unix_channel(&program.socket).await)
}

async fn asked(containers: &mut Containers, challenge: Vec<u8>) -> Vec<u8> {
    let request = wire::CreateContextRequest { firm_code: FIRM, serial: String::new(), challenge };
    containers.create_context(request).await.expect("a context").into_inner().context
}

async fn epoch(containers: &mut Containers) -> u32 {
    let file = asked(containers, Vec::new()).await;
    let Context { epoch, .. } = context::read(&file).expect("a context").context;
    epoch
}

/// Lets a call run for a while, then kills the program; gives what the call was answered, if it was.
async fn killed<T: Send + 'static>(
    program: Program,
    yields: usize,
    call: impl Future<Output = Result<T, tonic::Status>> + Send + 'static,
) -> Option<T> {
    let call = tokio::spawn(call);
    for _ in 0..yields {
        tokio::task::yield_now().await;
    }
    program.kill();
    call.await.expect("joined").ok()
}

/// How long the calls may run before the kill, in turns of the scheduler.
fn moments() -> impl Iterator<Item = usize> {
    let rounds = usize::try_from(scale().min(20)).expect("few");
    (0..rounds).flat_map(|round| [0, 10, 100, 400, 1_000, 4_000].map(|yields| yields + 37 * round))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebase_survives_the_kill_whole_or_not_at_all_and_is_taken_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(folder.path()).await;
    let mut vendor = Vendor::new(FIRM, 1);
    fill_with(&program.socket, &mut vendor, 5).await;
    for (round, yields) in moments().enumerate() {
        let mut server = containers(&program).await;
        let asking = asked(&mut server, vec![u8::try_from(round % 251).expect("small"); 32]).await;
        let rebase = vendor.rebase(&asking, &[], &DeviceCounters::default());
        let request = wire::ImportUpdateRequest { update: rebase.clone() };
        let told = killed(program, yields, async move { server.import_update(request).await }).await;
        program = Program::start(folder.path()).await;
        let mut server = containers(&program).await;
        let (before, found) = (u32::try_from(round).expect("few"), epoch(&mut server).await);
        assert!(found == before || found == before + 1, "round {round}: epoch {found}");
        assert!(told.is_none() || found == before + 1, "round {round}: acknowledged and gone");
        let again = server.import_update(wire::ImportUpdateRequest { update: rebase }).await.expect("not burned");
        assert_eq!(again.into_inner().applied, before + 1 - found, "round {round}");
        assert_eq!(epoch(&mut server).await, before + 1);
    }
}

async fn proven(containers: &mut Containers) -> Timestamp {
    let listed = containers.list_containers(wire::ListContainersRequest {}).await.expect("listed").into_inner();
    convert::from_timestamp(&listed.proven_time.expect("a proven time")).expect("a time")
}

async fn nonce(containers: &mut Containers) -> Vec<u8> {
    let request = wire::CreateTimeNonceRequest { firm_code: FIRM };
    containers.create_time_nonce(request).await.expect("a nonce").into_inner().nonce
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_time_survives_the_kill_whole_or_not_at_all_and_cannot_be_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(folder.path()).await;
    let mut vendor = Vendor::new(FIRM, 1);
    fill_with(&program.socket, &mut vendor, 5).await;
    let begun = SystemClock.now();
    for (round, yields) in moments().enumerate() {
        // Each says a later time, far from what the machine's clock could have brought.
        let days = u64::try_from(round + 1).expect("few");
        let said = begun.saturating_add(Duration::from_secs(days * 30 * 24 * 3_600));
        let mut server = containers(&program).await;
        let before = proven(&mut server).await;
        assert!(before < said);
        let statement = vendor.say_time(&nonce(&mut server).await, said);
        let request = wire::ImportTimeRequest { firm_code: FIRM, statement: statement.clone() };
        let told = killed(program, yields, async move { server.import_time(request).await }).await;
        program = Program::start(folder.path()).await;
        let mut server = containers(&program).await;
        let found = proven(&mut server).await;
        let slack = Duration::from_secs(3_600);
        let (untouched, taken) = (found < before.saturating_add(slack), found >= said);
        assert!(untouched || taken, "round {round}: {found} is neither {before} nor {said}");
        assert!(told.is_none() || taken, "round {round}: acknowledged and gone");
        nonce(&mut server).await;
        let request = wire::ImportTimeRequest { firm_code: FIRM, statement };
        let status = server.import_time(request).await.expect_err("a replay");
        assert!(error::problem(&status).message.contains("answers no question"), "{status}");
        let statement = vendor.say_time(&nonce(&mut server).await, said);
        let request = wire::ImportTimeRequest { firm_code: FIRM, statement };
        server.import_time(request).await.expect("the answer to an open question");
        assert!(proven(&mut server).await >= said);
    }
}
