//! The operators' pages, by raw requests and in a browser.

use lictor_api::{
    event::v1::{self as wire, event::Data},
    notification::v1::{
        AddDestinationRequest, DestinationState, FileTransmission, ListDestinationsRequest, Transmission,
        WebhookTransmission, destination_service_client::DestinationServiceClient, transmission::Kind,
    },
    types::v1 as types,
};
use lictor_auth::Role;
use lictor_clock::SystemClock;
use lictor_notification_dispatcher::transmission::file::FileOptions;
use lictor_runtime::Running;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    browser::Browser,
    world::{World, stop},
};

const HOSTILE: &str = "\"><script>window.hacked=1</script><img src=x onerror=window.hacked=1>";

/// One request as it stands, and its answer.
async fn raw(running: &Running, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(running.addresses().http).await.expect("a listener");
    let host = running.addresses().http;
    let length = body.len();
    let request = format!("{head}\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

async fn add(world: &World, running: &Running, name: &str, kind: Kind) -> String {
    let mut client = DestinationServiceClient::new(world.channel(running, Role::Admin));
    let request = AddDestinationRequest {
        request_id: name.to_owned(),
        transmission: Some(Transmission { kind: Some(kind) }),
        ..AddDestinationRequest::default()
    };
    let added = client.add_destination(request).await.expect("a destination").into_inner();
    added.destination.expect("a destination").destination_id
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_a_page_without_a_token_and_only_own_forms_of_admins_act() {
    let world = World::at(SystemClock::shared()).await;
    let running = world.start().await;
    let http = running.addresses().http;
    let id =
        add(&world, &running, "a", Kind::Webhook(WebhookTransmission { url: "http://127.0.0.1:9/".to_owned() })).await;
    for page in ["/", "/deliveries", "/reports", "/reports/daily", "/deliveries/dlv_1", &format!("/destinations/{id}")]
    {
        let answer = raw(&running, &format!("GET {page} HTTP/1.1"), "").await;
        assert_eq!(status(&answer), 303, "{page}: {answer}");
        assert!(answer.contains("location: /login"), "{answer}");
        let forged = raw(&running, &format!("GET {page} HTTP/1.1\r\nCookie: lictor_token=a.b.c"), "").await;
        assert_eq!(status(&forged), 303, "{page}");
    }
    let support = format!("GET / HTTP/1.1\r\nCookie: lictor_token={}", world.token(Role::Support));
    assert_eq!(status(&raw(&running, &support, "").await), 403);
    let door = raw(&running, "GET /login?next=//evil.example HTTP/1.1", "").await;
    assert!(door.contains("content-security-policy: default-src 'none'") && !door.contains("evil.example"), "{door}");
    // A token goes in, a cookie that no script reads comes out.
    let token = world.token(Role::Auditor);
    let login = format!("POST /login HTTP/1.1\r\nOrigin: http://{http}");
    let answer = raw(&running, &login, &format!("token={token}&next=/reports")).await;
    assert!(answer.contains("location: /reports") && answer.contains("; HttpOnly; SameSite=Strict"), "{answer}");
    let foreign = "POST /login HTTP/1.1\r\nOrigin: https://evil.example";
    assert_eq!(status(&raw(&running, foreign, &format!("token={token}")).await), 403, "no login by another site");
    // Who may act.
    let act = format!("/destinations/{id}/disable");
    let admin = world.token(Role::Admin);
    for (token, origin, expected) in [
        (&token, format!("Origin: http://{http}"), 403),
        (&admin, "Origin: https://evil.example".to_owned(), 403),
        (&admin, "Origin: null".to_owned(), 403),
        (&admin, "Accept: */*".to_owned(), 403),
        (&admin, format!("Origin: http://{http}\r\nSec-Fetch-Site: cross-site"), 403),
        (&admin, format!("Origin: http://{http}\r\nSec-Fetch-Site: same-origin"), 303),
    ] {
        let head = format!("POST {act} HTTP/1.1\r\nCookie: lictor_token={token}\r\n{origin}");
        assert_eq!(status(&raw(&running, &head, "").await), expected, "{origin}");
    }
    let mut client = DestinationServiceClient::new(world.channel(&running, Role::Admin));
    let listed = client.list_destinations(ListDestinationsRequest {}).await.expect("a list").into_inner();
    assert_eq!(listed.destinations[0].state(), DestinationState::Disabled);
    assert!(listed.destinations[0].note.contains("ada"), "{:?}", listed.destinations[0].note);
    let large = raw(&running, &login, &"x".repeat(20_000)).await;
    assert_eq!(status(&large), 413);
    stop(running).await;
}

/// Answers every request with the same words of a hostile receiver.
async fn hostile_receiver() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 16 * 1024];
                let _ = stream.read(&mut buffer).await;
                let answer = format!(
                    "HTTP/1.1 500 no\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{HOSTILE}",
                    HOSTILE.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_hostile_events_as_text_and_renews_by_itself() {
    let mut world = World::at(SystemClock::shared()).await;
    let folder = world.folder.path().join("files");
    std::fs::create_dir(&folder).expect("a folder");
    world.settings.ways.files = Some(FileOptions { folder, rotate_bytes: 1 << 20 });
    world.settings.schedule = "20ms,1h".parse().expect("waits");
    let running = world.start().await;
    let file = add(&world, &running, "f", Kind::File(FileTransmission { name: "orders".to_owned() })).await;
    let hook = Kind::Webhook(WebhookTransmission { url: hostile_receiver().await });
    let hook = add(&world, &running, "w", hook).await;
    let now = world.clock.now();
    let subject = format!("lic_{}", HOSTILE.replace(' ', "/"));
    let license = types::License {
        license_id: subject.clone(),
        item: HOSTILE.to_owned(),
        customer: "\u{202e}gnp.exe".to_owned(),
        ..types::License::default()
    };
    world.announce(&subject, now, Data::LicenseCreated(wire::LicenseCreated { license: Some(license) }));
    let order = wire::OrderCreated {
        order_id: "ord_77".to_owned(),
        customer: "ACME".to_owned(),
        lines: vec![wire::order_created::OrderLine {
            item: "CAD".to_owned(),
            quantity: 1,
            license_ids: vec!["lic_77".to_owned()],
        }],
        ..wire::OrderCreated::default()
    };
    world.announce("ord_77", now, Data::OrderCreated(order));
    let license = types::License { license_id: "lic_77".to_owned(), ..types::License::default() };
    world.announce("lic_77", now, Data::LicenseCreated(wire::LicenseCreated { license: Some(license) }));
    let Some(mut browser) = Browser::start().await else {
        stop(running).await;
        return;
    };
    let base = format!("http://{}", running.addresses().http);
    browser.look(false, 1_200).await;
    browser.open(&format!("{base}/")).await;
    assert_eq!(browser.ask("location.pathname").await, "/login");
    browser.picture("page-login").await;
    let token = world.token(Role::Admin);
    browser
        .go(&format!(
            "document.querySelector('textarea').value='{token}'; document.querySelector('form').requestSubmit()"
        ))
        .await;
    assert_eq!(browser.ask("location.pathname").await, "/");
    assert_eq!(browser.ask("document.cookie").await, "", "no script reads the token");
    browser.until("document.querySelectorAll('tbody tr').length >= 2 && document.getElementById('pulse').textContent === 'live'").await;
    browser.until("document.body.innerText.includes('last attempt: refused with status 500')").await;
    for (name, dark, width) in [("light", false, 1_200), ("dark", true, 1_200), ("narrow", false, 390)] {
        browser.look(dark, width).await;
        for (page, path) in [
            ("destinations", "/".to_owned()),
            ("deliveries", "/deliveries".to_owned()),
            ("destination", format!("/destinations/{hook}")),
            ("reports", "/reports".to_owned()),
        ] {
            browser.open(&format!("{base}{path}")).await;
            let wide = browser.ask("document.documentElement.scrollWidth - window.innerWidth").await;
            assert!(wide.as_i64().is_some_and(|wide| wide <= 0), "{page} in {name} is too wide by {wide}");
            assert_eq!(browser.ask("String(window.hacked)").await, "undefined", "{page}");
            browser.picture(&format!("page-{page}-{name}")).await;
        }
    }
    // The search for an order finds its licenses too; the form is used as people do.
    browser.look(false, 1_200).await;
    browser.open(&format!("{base}/deliveries")).await;
    browser.go("document.querySelector('input[name=about]').value='ord_77'; document.querySelector('form.search').requestSubmit()").await;
    let text = browser.ask("document.getElementById('live').innerText").await.to_string();
    assert!(text.contains("ord_77") && text.contains("lic_77") && !text.contains("script"), "{text}");
    // One delivery with what the receiver said, and the button that sends it again.
    browser.open(&format!("{base}/destinations/{file}")).await;
    browser
        .go("[...document.querySelectorAll('tbody a')].find(link => link.textContent === 'license.created').click()")
        .await;
    browser.until("document.body.innerText.includes('Send again')").await;
    assert_eq!(browser.ask("String(window.hacked)").await, "undefined");
    browser.picture("page-delivery").await;
    browser.go("[...document.querySelectorAll('button')].find(one => one.textContent === 'Send again').click()").await;
    browser.until("document.querySelectorAll('section:nth-of-type(2) tbody tr').length >= 2").await;
    // Events that come while one looks show by themselves.
    browser.open(&format!("{base}/deliveries?about=lic_new")).await;
    assert!(browser.ask("document.body.innerText.includes('Nothing was found')").await == true);
    let license = types::License { license_id: "lic_new".to_owned(), ..types::License::default() };
    world.announce("lic_new", world.clock.now(), Data::LicenseCreated(wire::LicenseCreated { license: Some(license) }));
    browser.until("document.getElementById('live').innerText.includes('lic_new')").await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
    browser.go("[...document.querySelectorAll('button')].find(one => one.textContent === 'Sign out').click()").await;
    assert_eq!(browser.ask("location.pathname").await, "/login");
    stop(running).await;
}
