//! Protected programs with the SDK, over TLS, with a wire that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lictor_sdk::{AcquireError, Client, EndReason, Request, SeatEvent, SeatState, TrustError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, Vendor, add};

fn client(server: &TestServer, vendor: &Vendor, address: &str) -> Client {
    Client::builder().trust_lif(&vendor.lif()).server(address).clock(server.shared_clock()).build().expect("a client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_takes_holds_and_gives_back_a_seat_over_tls_and_over_the_socket() {
    let (mut server, vendor) = TestServer::with(vec![add(1, 201, 1)]).await;
    let tcp = server.server.addresses().grpc.to_string();
    let socket = format!("unix:{}", server.server.socket.display());
    for address in [tcp, socket] {
        let program = client(&server, &vendor, &address);
        let seat = program.acquire(Request::new(FIRM, 201).program("editor")).await.expect("a seat");
        assert_eq!((seat.units(), seat.state()), (1, SeatState::Held));
        let sessions = server.until_sessions("held", |sessions| sessions[0].state == "held").await;
        assert_eq!(sessions[0].session_id, seat.session_id());
        assert!(sessions[0].client.starts_with("editor"), "{}", sessions[0].client);

        let second = client(&server, &vendor, &address);
        let Err(AcquireError::Refused(refusal)) = second.acquire(Request::new(FIRM, 201)).await else {
            panic!("one seat too many")
        };
        assert_eq!(refusal.reasons[0].code, 212);
        assert_eq!(refusal.reasons[0].holders.len(), 1);
        seat.release().await;
        assert!(server.sessions().await.is_empty(), "a release is waited for");

        let seat = second.acquire(Request::new(FIRM, 201)).await.expect("a seat");
        drop(seat);
        server.until_sessions("dropped", <[_]>::is_empty).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_asked_in_their_order_until_one_has_a_seat() {
    let (server, vendor) = TestServer::with(vec![add(1, 201, 1)]).await;
    let (other, _) = TestServer::with(vec![add(1, 202, 1)]).await;
    let (first, second) = (server.server.addresses().grpc, other.server.addresses().grpc);
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let program = client(&server, &vendor, &format!("{nobody},{second},{first}"));
    let seat = program.acquire(Request::new(FIRM, 201)).await.expect("the third has it");
    seat.release().await;
    let Err(AcquireError::Refused(refusal)) = program.acquire(Request::new(FIRM, 999)).await else {
        panic!("nobody has it")
    };
    let codes: Vec<u32> = refusal.reasons.iter().map(|reason| reason.code).collect();
    assert_eq!(codes, [200, 200, 101], "one reason from each, the silent one included");
    let alone = client(&server, &vendor, &nobody.to_string());
    let Err(AcquireError::Unreachable(tried)) = alone.acquire(Request::new(FIRM, 201)).await else {
        panic!("nobody is there")
    };
    assert_eq!(tried.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_firm_that_the_program_does_not_trust_cannot_grant() {
    let (server, _vendor) = TestServer::with(vec![add(1, 201, 1)]).await;
    let stranger = Vendor::new(77, 3);
    let program = client(&server, &stranger, &server.server.addresses().grpc.to_string());
    let Err(AcquireError::NotTrusted { reason, .. }) = program.acquire(Request::new(FIRM, 201)).await else {
        panic!("not trusted")
    };
    assert_eq!(reason, TrustError::UnknownFirm(FIRM));
    // The same firm code under other root keys.
    let imposter = Vendor::new(FIRM, 9);
    let program = client(&server, &imposter, &server.server.addresses().grpc.to_string());
    let Err(AcquireError::NotTrusted { reason, .. }) = program.acquire(Request::new(FIRM, 201)).await else {
        panic!("not trusted")
    };
    assert!(matches!(reason, TrustError::Chain(_)), "{reason:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_firm_that_comes_to_the_server_later_is_believed_on_the_same_connection() {
    let mut server = TestServer::empty().await;
    let mut vendor = Vendor::new(FIRM, 1);
    let program = client(&server, &vendor, &server.server.addresses().grpc.to_string());
    assert!(matches!(program.acquire(Request::new(FIRM, 201)).await, Err(AcquireError::Refused(_))));
    server.create(&vendor.lif()).await.expect("created");
    let context = server.context(FIRM).await;
    server.import(&vendor.update(&context, vec![add(1, 201, 1)])).await.expect("imported");
    program.acquire(Request::new(FIRM, 201)).await.expect("a seat").release().await;
}

/// A wire between programs and the server that can be cut and mended.
struct Wire {
    address: SocketAddr,
    whole: watch::Sender<bool>,
}

impl Wire {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (whole, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = state.clone();
                if !*state.borrow() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Self { address, whole }
    }

    fn cut(&self) {
        self.whole.send_replace(false);
    }

    fn mend(&self) {
        self.whole.send_replace(true);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_wire_is_mended_within_the_grace_and_charges_nothing() {
    let (mut server, vendor) = TestServer::with(vec![add(1, 201, 1)]).await;
    let wire = Wire::to(server.server.addresses().grpc).await;
    let program = client(&server, &vendor, &wire.address.to_string());
    let seat = program.acquire(Request::new(FIRM, 201)).await.expect("a seat");
    let mut events = seat.events();
    server.until_sessions("held", |sessions| sessions[0].state == "held").await;
    wire.cut();
    assert_eq!(events.recv().await.expect("an event"), SeatEvent::Lost);
    assert!(seat.is_valid(), "the seat is still this program's");
    let reserved = server.until_sessions("reserved", |sessions| sessions[0].state == "reserved").await;
    assert_eq!(reserved[0].session_id, seat.session_id());
    server.clock.advance(Duration::from_secs(20));
    wire.mend();
    assert_eq!(events.recv().await.expect("an event"), SeatEvent::Restored);
    let sessions = server.until_sessions("held", |sessions| sessions[0].state == "held").await;
    assert_eq!(sessions.len(), 1, "charged once");
    assert_eq!(sessions[0].session_id, seat.session_id());
    seat.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_without_contact_stops_before_the_server_frees_its_seat() {
    let (mut server, vendor) = TestServer::with(vec![add(1, 201, 1)]).await;
    let wire = Wire::to(server.server.addresses().grpc).await;
    let program = client(&server, &vendor, &wire.address.to_string());
    let seat = program.acquire(Request::new(FIRM, 201)).await.expect("a seat");
    server.until_sessions("held", |sessions| sessions[0].state == "held").await;
    wire.cut();
    server.until_sessions("reserved", |sessions| sessions[0].state == "reserved").await;
    // The acquire gave it 54 s; the first beat cannot give it less.
    server.clock.advance(Duration::from_secs(32));
    assert_eq!(server.sessions().await.len(), 1, "the server waits for the grace and a tenth");
    server.clock.advance(Duration::from_secs(8));
    assert!(seat.is_valid(), "what the acquire promised still holds");
    let other = client(&server, &vendor, &server.server.addresses().grpc.to_string());
    let refused = other.acquire(Request::new(FIRM, 201)).await;
    assert!(matches!(refused, Err(AcquireError::Refused(_))), "one seat, two holders: {refused:?}");
    server.clock.advance(Duration::from_secs(15));
    let ended = tokio::time::timeout(Duration::from_secs(10), seat.ended()).await.expect("it ends by itself");
    assert_eq!(ended, EndReason::NoContact);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_slept_for_two_hours_does_not_believe_in_its_seat() {
    let (mut server, vendor) = TestServer::with(vec![add(1, 201, 1)]).await;
    let wire = Wire::to(server.server.addresses().grpc).await;
    let sleeper = client(&server, &vendor, &wire.address.to_string());
    let seat = sleeper.acquire(Request::new(FIRM, 201)).await.expect("a seat");
    server.until_sessions("held", |sessions| sessions[0].state == "held").await;
    // Its machine sleeps; the connection does not outlive that, and the server's time goes on.
    wire.cut();
    server.until_sessions("reserved", |sessions| sessions[0].state == "reserved").await;
    server.clock.advance(Duration::from_secs(7_200));
    assert!(!seat.is_valid(), "valid at the moment of waking");
    let awake = client(&server, &vendor, &server.server.addresses().grpc.to_string());
    let theirs = awake.acquire(Request::new(FIRM, 201)).await.expect("the seat came free");
    wire.mend();
    let ended = tokio::time::timeout(Duration::from_secs(10), seat.ended()).await.expect("it ends by itself");
    assert_eq!(ended, EndReason::NoContact);
    assert!(matches!(sleeper.acquire(Request::new(FIRM, 201)).await, Err(AcquireError::Refused(_))), "two holders");
    theirs.release().await;
    sleeper.acquire(Request::new(FIRM, 201)).await.expect("asked again").release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_gets_its_programs_back() {
    let (server, vendor) = TestServer::with(vec![add(1, 201, 1)]).await;
    let socket = format!("unix:{}", server.server.socket.display());
    let program = client(&server, &vendor, &socket);
    let seat = program.acquire(Request::new(FIRM, 201)).await.expect("a seat");
    let mut events = seat.events();
    let mut server = server.restarted().await;
    assert_eq!(events.recv().await.expect("an event"), SeatEvent::Lost);
    assert_eq!(events.recv().await.expect("an event"), SeatEvent::Restored);
    let sessions = server.until_sessions("held", |sessions| sessions[0].state == "held").await;
    assert_eq!(sessions[0].session_id, seat.session_id());
    seat.release().await;
    assert!(server.sessions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_programs_share_ten_seats_and_never_hold_eleven() {
    let (mut server, vendor) = TestServer::with(vec![add(1, 201, 10)]).await;
    let address = server.server.addresses().grpc.to_string();
    let server_ref = Arc::new(address);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let program = client(&server, &vendor, &server_ref);
        tasks.spawn(async move { (program.acquire(Request::new(FIRM, 201)).await, program) });
    }
    let mut seats = Vec::new();
    let mut refused = 0;
    while let Some(done) = tasks.join_next().await {
        match done.expect("joined") {
            (Ok(seat), program) => seats.push((seat, program)),
            (Err(AcquireError::Refused(_)), _) => refused += 1,
            (Err(error), _) => panic!("{error}"),
        }
    }
    assert_eq!((seats.len(), refused), (10, 20));
    assert_eq!(server.sessions().await.len(), 10);
}
