//! Tokens that must not be accepted, and those that must.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lictor_auth::{AuthError, Issuer, KeySource, LocalIssuer, Role, ServiceTokens, TokenAlgorithm, Verifier};
use lictor_clock::{ManualClock, Timestamp};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);
const AUDIENCE: &str = "lictor";

struct World {
    issuer: LocalIssuer,
    clock: ManualClock,
    verifier: Verifier,
}

fn world() -> World {
    let issuer = LocalIssuer::from_seed("local", &[7; 32]).expect("a key");
    let clock = ManualClock::new(NOW);
    let verifier = Verifier::new(AUDIENCE, vec![issuer.trusted(&Role::ALL)], clock.shared()).expect("a verifier");
    World { issuer, clock, verifier }
}

fn good_claims() -> Value {
    json!({ "iss": "local", "sub": "usr_1", "aud": AUDIENCE, "exp": 1_767_229_200_u64, "nbf": 1_767_225_600_u64, "roles": ["admin"] })
}

/// Signs any claims with the world's own key: what an issuer with a fault would make.
fn sign(world: &World, claims: &Value, change: impl FnOnce(&mut Header)) -> String {
    let key = EncodingKey::from_ed_pem(world.issuer.to_pem().expect("a text").as_bytes()).expect("a key");
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(key_id(&world.issuer));
    change(&mut header);
    jsonwebtoken::encode(&header, claims, &key).expect("a token")
}

fn key_id(issuer: &LocalIssuer) -> String {
    let set: Value = serde_json::from_str(&issuer.jwks()).expect("a key set");
    set["keys"][0]["kid"].as_str().expect("a key id").to_owned()
}

#[tokio::test]
async fn good_token_gives_subject_and_roles() {
    let world = world();
    let token = world
        .issuer
        .mint("usr_1", &[Role::Support, Role::Admin], AUDIENCE, Duration::from_secs(60), NOW)
        .expect("a token");
    let caller = world.verifier.verify(&token).await.expect("good");
    assert_eq!(caller.subject, "usr_1");
    assert_eq!(caller.roles, [Role::Admin, Role::Support]);
    assert_eq!(caller.key(), "local|usr_1");
    let many = json!({ "aud": ["other", AUDIENCE] });
    let mut claims = good_claims();
    claims["aud"] = many["aud"].clone();
    assert!(world.verifier.verify(&sign(&world, &claims, |_| {})).await.is_ok());
}

#[tokio::test]
async fn each_claim_is_required_and_strictly_typed() {
    let world = world();
    for claim in ["iss", "sub", "aud", "exp", "nbf"] {
        let mut missing = good_claims();
        missing.as_object_mut().expect("an object").remove(claim);
        let error = world.verifier.verify(&sign(&world, &missing, |_| {})).await.expect_err(claim);
        assert!(matches!(error, AuthError::Malformed(_)), "{claim}: {error}");
        for wrong in [json!(null), json!(true), json!({}), json!([1]), json!("1767229200"), json!(1.5), json!(-1)] {
            if wrong.is_string() && !matches!(claim, "exp" | "nbf") {
                continue;
            }
            let mut claims = good_claims();
            claims[claim] = wrong.clone();
            let error = world.verifier.verify(&sign(&world, &claims, |_| {})).await.expect_err(claim);
            assert!(matches!(error, AuthError::Malformed(_)), "{claim} = {wrong}: {error}");
        }
    }
    for (claim, wrong) in [
        ("exp", json!(u64::MAX)),
        ("exp", json!(1e300)),
        ("roles", json!("admin")),
        ("sub", json!("")),
        ("sub", json!("a\nb")),
        ("sub", json!("x".repeat(300))),
    ] {
        let mut claims = good_claims();
        claims[claim] = wrong;
        let error = world.verifier.verify(&sign(&world, &claims, |_| {})).await.expect_err(claim);
        assert!(matches!(error, AuthError::Malformed(_)), "{claim}: {error}");
    }
}

#[tokio::test]
async fn claim_that_stands_there_twice_is_refused() {
    let world = world();
    let body = r#"{"iss":"local","sub":"usr_1","aud":"lictor","exp":1,"nbf":1,"exp":1767229200}"#;
    let signed = sign(&world, &good_claims(), |_| {});
    let header = signed.split('.').next().expect("a header");
    let key = EncodingKey::from_ed_pem(world.issuer.to_pem().expect("a text").as_bytes()).expect("a key");
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(body));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).expect("a signature");
    let error = world.verifier.verify(&format!("{message}.{signature}")).await.expect_err("twice");
    assert!(matches!(error, AuthError::Malformed(_)), "{error}");
}

#[tokio::test]
async fn wrong_audience_issuer_and_time_are_refused() {
    let world = world();
    let refuse = async |change: fn(&mut Value)| {
        let mut claims = good_claims();
        change(&mut claims);
        world.verifier.verify(&sign(&world, &claims, |_| {})).await.expect_err("refused")
    };
    assert_eq!(refuse(|claims| claims["aud"] = json!("other")).await, AuthError::Audience);
    assert_eq!(refuse(|claims| claims["aud"] = json!([])).await, AuthError::Audience);
    assert_eq!(refuse(|claims| claims["aud"] = json!("LICTOR")).await, AuthError::Audience);
    assert_eq!(refuse(|claims| claims["iss"] = json!("other")).await, AuthError::UnknownIssuer);
    assert_eq!(refuse(|claims| claims["exp"] = json!(1_767_225_570_u64)).await, AuthError::Expired);
    assert_eq!(refuse(|claims| claims["nbf"] = json!(1_767_225_631_u64)).await, AuthError::NotYet);
}

#[tokio::test]
async fn remembered_token_ends_with_its_time_also_when_the_clock_goes_back() {
    let world = world();
    let token = sign(&world, &good_claims(), |_| {});
    assert!(world.verifier.verify(&token).await.is_ok());
    world.clock.set_now(NOW.saturating_sub(Duration::from_secs(31)));
    assert_eq!(world.verifier.verify(&token).await, Err(AuthError::NotYet));
    world.clock.set_now(NOW.saturating_add(Duration::from_secs(3600 + 29)));
    assert!(world.verifier.verify(&token).await.is_ok());
    world.clock.set_now(NOW.saturating_add(Duration::from_secs(3600 + 30)));
    assert_eq!(world.verifier.verify(&token).await, Err(AuthError::Expired));
}

#[tokio::test]
async fn algorithm_cannot_be_chosen_by_the_token() {
    let world = world();
    // `none`, and HMAC with the public key as its secret.
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = format!("{}.{}.", part(json!({ "alg": "none", "kid": key_id(&world.issuer) })), part(good_claims()));
    assert!(world.verifier.verify(&none).await.is_err());
    let set: Value = serde_json::from_str(&world.issuer.jwks()).expect("a key set");
    let public = URL_SAFE_NO_PAD.decode(set["keys"][0]["x"].as_str().expect("a key")).expect("bytes");
    for secret in [public.as_slice(), world.issuer.jwks().as_bytes()] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let mut header = Header::new(algorithm);
            header.kid = Some(key_id(&world.issuer));
            let forged =
                jsonwebtoken::encode(&header, &good_claims(), &EncodingKey::from_secret(secret)).expect("a token");
            assert_eq!(world.verifier.verify(&forged).await, Err(AuthError::Signature), "{algorithm:?}");
        }
    }
    // The right key, but an issuer that is set to another algorithm.
    let other = Issuer { algorithm: TokenAlgorithm::Es256, ..world.issuer.trusted(&Role::ALL) };
    let verifier = Verifier::new(AUDIENCE, vec![other], world.clock.shared()).expect("a verifier");
    let token = sign(&world, &good_claims(), |_| {});
    assert_eq!(verifier.verify(&token).await, Err(AuthError::Signature));
}

#[tokio::test]
async fn key_of_the_token_is_not_followed() {
    let world = world();
    let stranger = LocalIssuer::from_seed("local", &[9; 32]).expect("a key");
    // Another key under the same issuer's name.
    let token = stranger.mint("usr_1", &[Role::Admin], AUDIENCE, Duration::from_secs(60), NOW).expect("a token");
    assert_eq!(world.verifier.verify(&token).await, Err(AuthError::UnknownKey));
    // The same, claiming to be the known key and bringing its own along.
    let key = EncodingKey::from_ed_pem(stranger.to_pem().expect("a text").as_bytes()).expect("a key");
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(key_id(&world.issuer));
    header.jku = Some("http://127.0.0.1:9/jwks".to_owned());
    let token = jsonwebtoken::encode(&header, &good_claims(), &key).expect("a token");
    assert_eq!(world.verifier.verify(&token).await, Err(AuthError::Signature));
    let no_key = sign(&world, &good_claims(), |header| header.kid = None);
    assert!(matches!(world.verifier.verify(&no_key).await, Err(AuthError::Malformed(_))));
}

#[tokio::test]
async fn damaged_tokens_are_refused() {
    let world = world();
    let token = sign(&world, &good_claims(), |_| {});
    for cut in 0..token.len() {
        assert!(world.verifier.verify(&token[..cut]).await.is_err(), "cut at {cut}");
    }
    for place in (0..token.len()).step_by(7) {
        let mut bytes = token.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("text");
        assert!(world.verifier.verify(&changed).await.is_err(), "changed at {place}");
    }
    for odd in ["", ".", "..", "...", "a.b.c", &format!("{token}.x"), &"x".repeat(9_000)] {
        assert!(world.verifier.verify(odd).await.is_err());
    }
}

#[tokio::test]
async fn demanded_extension_is_refused() {
    let world = world();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({ "alg": "EdDSA", "kid": key_id(&world.issuer), "crit": ["exp"] }));
    let message = format!("{header}.{}", part(good_claims()));
    let key = EncodingKey::from_ed_pem(world.issuer.to_pem().expect("a text").as_bytes()).expect("a key");
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).expect("a signature");
    let error = world.verifier.verify(&format!("{message}.{signature}")).await.expect_err("refused");
    assert!(matches!(error, AuthError::Malformed(_)), "{error}");
}

#[tokio::test]
async fn issuer_cannot_give_more_than_it_may() {
    let world = world();
    let people = Verifier::new(AUDIENCE, vec![world.issuer.trusted(&Role::OF_PEOPLE)], world.clock.shared())
        .expect("a verifier");
    let mut claims = good_claims();
    claims["roles"] = json!(["service", "admin", "admin", "root", "Admin"]);
    let caller = people.verify(&sign(&world, &claims, |_| {})).await.expect("good");
    assert_eq!(caller.roles, [Role::Admin]);
}

#[tokio::test]
async fn keys_come_from_their_address_and_unknown_ids_do_not_hammer_it() {
    let world = world();
    let served = Arc::new(AtomicUsize::new(0));
    let (jwks, count) = (world.issuer.jwks(), Arc::clone(&served));
    let app = axum::Router::new().route(
        "/jwks",
        axum::routing::get(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let jwks = jwks.clone();
            async move { jwks }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/jwks", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let remote = Issuer { keys: KeySource::Address { url, ca: None }, ..world.issuer.trusted(&Role::ALL) };
    let verifier = Verifier::new(AUDIENCE, vec![remote], world.clock.shared()).expect("a verifier");
    assert!(verifier.verify(&sign(&world, &good_claims(), |_| {})).await.is_ok());
    for number in 0..20 {
        let unknown = sign(&world, &good_claims(), |header| header.kid = Some(format!("k{number}")));
        assert_eq!(verifier.verify(&unknown).await, Err(AuthError::UnknownKey));
    }
    assert_eq!(served.load(Ordering::SeqCst), 1);
    server.abort();
}

#[tokio::test]
async fn unreachable_keys_are_not_the_callers_fault() {
    let world = world();
    let keys = KeySource::Address { url: "http://127.0.0.1:9/jwks".to_owned(), ca: None };
    let remote = Issuer { keys, ..world.issuer.trusted(&Role::ALL) };
    let verifier = Verifier::new(AUDIENCE, vec![remote], world.clock.shared()).expect("a verifier");
    let token = sign(&world, &good_claims(), |_| {});
    assert_eq!(verifier.verify(&token).await, Err(AuthError::KeysUnavailable));
    assert_eq!(verifier.verify(&token).await, Err(AuthError::KeysUnavailable));
}

#[tokio::test]
async fn key_file_is_made_once_for_its_owner_only_and_loaded_after() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("issuer.pem");
    let made = LocalIssuer::load_or_create("local", &path, &[1; 32]).expect("made");
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let loaded = LocalIssuer::load_or_create("local", &path, &[2; 32]).expect("loaded");
    assert_eq!(made.jwks(), loaded.jwks());
    assert!(!format!("{loaded:?}").contains("PRIVATE"));
    std::fs::write(&path, "nonsense").expect("write");
    assert!(matches!(LocalIssuer::load("local", &path), Err(AuthError::KeyFile(_))));
}

#[tokio::test]
async fn service_token_is_kept_and_renewed_before_its_end() {
    let world = world();
    let tokens = ServiceTokens::new(world.issuer.clone(), "activation", AUDIENCE, world.clock.shared());
    let first = tokens.token().expect("a token");
    assert_eq!(tokens.token().expect("a token"), first);
    assert_eq!(world.verifier.verify(&first).await.expect("good").roles, [Role::Service]);
    world.clock.advance(Duration::from_secs(241));
    let second = tokens.token().expect("a token");
    assert_ne!(second, first);
    assert_eq!(world.verifier.verify(&second).await.expect("good").subject, "activation");
    world.clock.set_now(NOW.saturating_sub(Duration::from_secs(3600)));
    let back = (tokens.source())().expect("a token");
    assert!(world.verifier.verify(&back).await.is_ok(), "a clock that was set back gets a token of its own time");
}
