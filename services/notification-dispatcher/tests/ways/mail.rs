//! Mail as a way.

use lictor_api::notification::v1::{EmailTransmission, transmission::Kind};
use lictor_notification_dispatcher::{
    domain::outcome::{Attempt, AttemptResult},
    transmission::{
        Carrier, Ways,
        executable::ExecutableSender,
        file::FileSender,
        guard::SystemNames,
        mailer::{MailOptions, Mailer},
        sap::SapSender,
        transmitter::TransmitterSender,
    },
};
use std::{sync::Arc, time::Duration};

use crate::{
    shipments::{clock, local, options, sender, shipment},
    smtp::MailServer,
};

async fn send(options_of_mail: Option<MailOptions>, number: u128) -> Attempt {
    let webhooks = sender();
    let ways = Ways {
        sap: SapSender::new(&webhooks),
        executables: ExecutableSender::new(None, Duration::from_secs(1)),
        transmitters: TransmitterSender::new(&options(local(), None), Arc::new(SystemNames)).expect("a sender"),
        mailer: Mailer::new(options_of_mail).expect("a mailer"),
        files: FileSender::new(None),
    };
    let kind = Kind::Email(EmailTransmission {
        to: vec!["orders@customer.example".to_owned(), "copy@customer.example".to_owned()],
        subject_prefix: String::new(),
    });
    Carrier::new(webhooks, ways, clock()).carry(&shipment(kind, number)).await
}

#[tokio::test]
async fn mail_leaves_over_tls_with_a_name_that_a_repetition_keeps() {
    for mode in ["tls", "starttls"] {
        let Some(mut server) = MailServer::start(mode, &[]).await else { return };
        for _ in 0..2 {
            let attempt = send(Some(server.options()), 5).await;
            assert_eq!((attempt.result, attempt.status), (AttemptResult::Taken, 250), "{attempt:?}");
            let mail = server.mail().await;

            assert_eq!(mail["to"], serde_json::json!(["orders@customer.example", "copy@customer.example"]));
            let data = mail["data"].as_str().expect("text");
            let id = "Message-ID: <evt_00000000000000000000000005.dst_00000000000000000000000007@vendor.example>";
            assert!(data.contains(id), "{data}");
            assert!(data.contains("Subject: [Lictor] lictor.license.created.v1 lic_1"), "{data}");
            assert!(data.contains("item: CAD"), "{data}");
            assert!(data.contains("evt_00000000000000000000000005.json"), "{data}");
        }
    }
}

#[tokio::test]
async fn a_server_without_starttls_gets_nothing_unless_the_operator_allows_plain() {
    let Some(mut server) = MailServer::start("plain", &[]).await else { return };
    let plain = server.options();
    let strict = MailOptions {
        server: format!("smtp://127.0.0.1:{}", server.port()).parse().expect("a server"),
        ..server.options()
    };
    let attempt = send(Some(strict), 1).await;
    assert_ne!(attempt.result, AttemptResult::Taken, "{attempt:?}");
    let attempt = send(Some(plain), 2).await;
    assert_eq!(attempt.result, AttemptResult::Taken, "{attempt:?}");
    let first = server.mail().await;
    assert!(first["data"].as_str().expect("text").contains("evt_00000000000000000000000002"), "only the second came");
}

#[tokio::test]
async fn a_stranger_s_certificate_gets_neither_mail_nor_password() {
    let Some(server) = MailServer::start("starttls", &["auth=yes"]).await else { return };
    let credentials = Some(("lictor".to_owned(), "s3cret".to_owned()));
    let stranger = MailOptions { extra_ca: None, credentials: credentials.clone(), ..server.options() };
    let attempt = send(Some(stranger), 1).await;
    assert_eq!(attempt.result, AttemptResult::Tls, "{attempt:?}");
    let good = MailOptions { credentials, ..server.options() };
    let attempt = send(Some(good), 2).await;
    assert_eq!(attempt.result, AttemptResult::Taken, "{attempt:?}");
    let wrong = MailOptions { credentials: Some(("lictor".to_owned(), "wrong".to_owned())), ..server.options() };
    let attempt = send(Some(wrong), 3).await;
    assert_eq!(attempt.result, AttemptResult::Refused, "{attempt:?}");
    assert!(!attempt.answer.contains("wrong"), "{}", attempt.answer);
}

#[tokio::test]
async fn a_refusal_is_on_record_with_its_code_and_the_next_attempt_goes_through() {
    let refuse = "refuse=451 4.3.0 later|554 5.7.1 never";
    let Some(mut server) = MailServer::start("starttls", &[refuse]).await else { return };
    for (code, word) in [(451, "later"), (554, "never")] {
        let attempt = send(Some(server.options()), 1).await;
        assert_eq!((attempt.result, attempt.status), (AttemptResult::Refused, code), "{attempt:?}");
        assert!(attempt.answer.contains(word), "{}", attempt.answer);
    }
    assert_eq!(send(Some(server.options()), 1).await.result, AttemptResult::Taken);
    assert_eq!(server.mail().await["from"], "lictor@vendor.example");
    let port = server.port();
    drop(server);
    let nobody = MailOptions {
        server: format!("smtp+plain://127.0.0.1:{port}").parse().expect("a server"),
        credentials: None,
        from: "a@b.example".parse().expect("an address"),
        extra_ca: None,
        deadline: Duration::from_secs(5),
    };
    let attempt = send(Some(nobody), 1).await;
    assert!(!matches!(attempt.result, AttemptResult::Taken | AttemptResult::Refused), "{attempt:?}");
    assert_eq!(send(None, 1).await.result, AttemptResult::Failed);
}
