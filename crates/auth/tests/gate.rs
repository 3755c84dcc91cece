//! The gate: deny by default, the right role, one good header.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Request, header::AUTHORIZATION, request::Parts};
use lictor_auth::{Access, AccessTable, AuthSettings, Caller, LocalIssuer, Role, gate};
use lictor_clock::{ManualClock, Timestamp};
use lictor_runtime::{Gate, Reader};
use tonic::Code;

const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);
static TABLE: AccessTable = &[
    ("/p.S/Open", Access::Public),
    ("/p.S/Order", Access::AnyOf(&[Role::Admin, Role::BackOffice])),
    ("/p.S/Nobody", Access::AnyOf(&[])),
];

struct World {
    gate: Gate,
    issuer: LocalIssuer,
}

fn world() -> World {
    let issuer = LocalIssuer::from_seed("local", &[7; 32]).expect("a key");
    let verifier = AuthSettings::local(&issuer, "lictor").verifier(ManualClock::new(NOW).shared()).expect("a verifier");
    World { gate: gate(TABLE, verifier), issuer }
}

impl World {
    fn token(&self, roles: &[Role]) -> String {
        let token = self.issuer.mint("usr_1", roles, "lictor", Duration::from_secs(600), NOW);
        format!("Bearer {}", token.expect("a token"))
    }

    async fn ask(&self, path: &str, headers: &[&str]) -> Result<Parts, Code> {
        let mut request = Request::builder().uri(path).body(()).expect("a request");
        for header in headers {
            request.headers_mut().append(AUTHORIZATION, HeaderValue::from_str(header).expect("a value"));
        }
        // A caller that somebody else put there must not be believed.
        let planted = Caller { subject: "planted".to_owned(), issuer: String::new(), roles: vec![Role::Admin] };
        request.extensions_mut().insert(Arc::new(planted));
        (self.gate)(request.into_parts().0).await.map_err(|status| status.code())
    }
}

fn subject(parts: &Parts) -> Option<&str> {
    parts.extensions.get::<Arc<Caller>>().map(|caller| caller.subject.as_str())
}

#[tokio::test]
async fn path_that_is_not_listed_is_refused_to_everybody() {
    let world = world();
    let admin = world.token(&Role::ALL);
    for path in ["/p.S/Unknown", "/p.S/Open/", "/p.S/open", "/p.S//Open", "/P.S/Open", "/", "/p.S/Order%20"] {
        assert_eq!(world.ask(path, &[&admin]).await.expect_err(path), Code::PermissionDenied, "{path}");
        assert_eq!(world.ask(path, &[]).await.expect_err(path), Code::PermissionDenied, "{path}");
    }
    assert_eq!(world.ask("/p.S/Nobody", &[&admin]).await.expect_err("no role"), Code::PermissionDenied);
}

#[tokio::test]
async fn every_role_gets_exactly_what_the_table_says() {
    let world = world();
    for role in Role::ALL {
        let may = matches!(role, Role::Admin | Role::BackOffice);
        let answer = world.ask("/p.S/Order", &[&world.token(&[role])]).await;
        assert_eq!(answer.is_ok(), may, "{role}");
        if let Ok(parts) = answer {
            assert_eq!(subject(&parts), Some("usr_1"));
        }
    }
    assert_eq!(world.ask("/p.S/Order", &[&world.token(&[])]).await.expect_err("none"), Code::PermissionDenied);
    assert_eq!(world.ask("/p.S/Order", &[]).await.expect_err("no token"), Code::Unauthenticated);
}

#[tokio::test]
async fn public_call_needs_nothing_and_still_knows_a_good_caller() {
    let world = world();
    assert_eq!(subject(&world.ask("/p.S/Open", &[]).await.expect("public")), None, "planted caller is gone");
    let token = world.token(&[Role::Support]);
    assert_eq!(subject(&world.ask("/p.S/Open", &[&token]).await.expect("public")), Some("usr_1"));
    assert_eq!(subject(&world.ask("/p.S/Open", &["Bearer stale"]).await.expect("public")), None);
}

#[tokio::test]
async fn anything_but_one_bearer_token_is_refused() {
    let world = world();
    let token = world.token(&[Role::Admin]);
    let bare = token.trim_start_matches("Bearer ").to_owned();
    for headers in [vec![bare.as_str()], vec!["Basic dXNlcjpwYXNz"], vec![""], vec!["Bearer "], vec![&token, &token]] {
        assert_eq!(world.ask("/p.S/Order", &headers).await.expect_err("refused"), Code::Unauthenticated, "{headers:?}");
    }
    let lower = format!("bearer {bare}");
    assert!(world.ask("/p.S/Order", &[&lower]).await.is_ok(), "the scheme's case does not matter");
}

fn read(pairs: &[(&str, &str)]) -> Result<AuthSettings, String> {
    let env = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut reader = Reader::new(env, None);
    let settings = AuthSettings::read(&mut reader);
    reader.finish().map(|()| settings).map_err(|mistakes| mistakes.to_string())
}

#[test]
fn settings_separate_people_from_services() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("write");
        path.to_str().expect("text").to_owned()
    };
    let issuer = LocalIssuer::from_seed("people", &[7; 32]).expect("a key");
    let key = file("service.pem", &issuer.to_pem().expect("text"));
    let jwks = file("people.json", &issuer.jwks());
    let settings = read(&[
        ("AUTH_ISSUER", "people"),
        ("AUTH_JWKS_FILE", &jwks),
        ("AUTH_ALGORITHM", "EdDSA"),
        ("SERVICE_KEY_FILE", &key),
    ])
    .expect("no mistake");
    let gives: Vec<_> = settings.issuers.iter().map(|issuer| (issuer.name.as_str(), issuer.may_give.clone())).collect();
    assert_eq!(gives, [("people", Role::OF_PEOPLE.to_vec()), ("lictor-services", vec![Role::Service])]);
    let clock = ManualClock::new(NOW).shared();
    assert!(settings.service_tokens("activation", clock.clone()).expect("usable").is_some());
    assert!(read(&[]).expect("nobody is trusted").service_tokens("activation", clock).expect("usable").is_none());

    for bad in [
        vec![("AUTH_ISSUER", "people")],
        vec![("AUTH_JWKS_FILE", jwks.as_str())],
        vec![("AUTH_ISSUER", "people"), ("AUTH_JWKS_FILE", "/nowhere")],
        vec![("AUTH_ISSUER", "people"), ("AUTH_JWKS_FILE", &jwks), ("AUTH_JWKS_URL", "https://x")],
        vec![("AUTH_ISSUER", "people"), ("AUTH_JWKS_FILE", &jwks), ("AUTH_ALGORITHM", "HS256")],
        vec![("SERVICE_KEY_FILE", jwks.as_str())],
        vec![("SERVICE_JWKS_FILE", "/nowhere")],
    ] {
        assert!(read(&bad).is_err(), "{bad:?}");
    }
}
