//! How the hub keeps up with an issuer's set of keys, and what it asks of the issuer for that.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey};
use parking_lot::Mutex;
use serde_json::json;
use synchub::auth::{TokenError, Verifier};
use synchub::clock::{Clock, ManualClock};
use synchub::config::{AuthSettings, Secret};
use synchub::tasks::Tasks;
use tokio_util::sync::DropGuard;

use crate::support::{Issuer, KeyServer, NOW_US, set, sign_parts};

/// The time between two requests at least, in microseconds.
const RETRY_US: i64 = 10_000_000;

/// A verifier that keeps up with a set, at a clock that a test moves.
struct World {
    verifier: Verifier,
    clock: Arc<ManualClock>,
    _stop: DropGuard,
}

impl World {
    fn start(settings: &AuthSettings) -> Self {
        let (verifier, clock, tasks) =
            (Verifier::new(settings).unwrap(), ManualClock::at(NOW_US), Tasks::default());
        tasks.spawn(verifier.keep_keys(clock.clone(), tasks.finishing().clone()).unwrap());
        Self { verifier, clock, _stop: tasks.finishing().clone().drop_guard() }
    }

    async fn verify(&self, token: &str) -> Result<(), TokenError> {
        self.verifier.verify(token, self.clock.now_us()).await.map(drop)
    }

    fn wait_for_retry(&self) {
        self.clock.advance(RETRY_US);
    }
}

fn of(url: String) -> AuthSettings {
    AuthSettings { jwks_url: Some(url), ..AuthSettings::default() }
}

fn issuer(kid: &str) -> Issuer {
    Issuer::new(Algorithm::EdDSA, kid)
}

fn token(issuer: &Issuer) -> String {
    issuer.token(&json!({}))
}

#[tokio::test]
async fn a_new_key_is_known_at_once_and_an_old_one_no_longer() {
    let (old, new) = (issuer("old"), issuer("new"));
    let server = KeyServer::start(&[&old]);
    let world = World::start(&of(server.url()));
    for _ in 0..3 {
        assert_eq!(world.verify(&token(&old)).await, Ok(()));
    }
    assert_eq!(server.asked(), 1);

    server.publish(&[&new]);
    world.wait_for_retry();
    assert_eq!(world.verify(&token(&new)).await, Ok(()));
    assert_eq!(server.asked(), 2);
    assert_eq!(world.verify(&token(&old)).await, Err(TokenError::UnknownKey));
    assert_eq!(server.asked(), 2, "the set was asked for just now");
    world.wait_for_retry();
    assert_eq!(world.verify(&token(&old)).await, Err(TokenError::UnknownKey));
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn those_who_wait_share_one_request() {
    let known = issuer("known");
    let server = KeyServer::start(&[&known]);
    let world = World::start(&of(server.url()));
    world.verify(&token(&known)).await.unwrap();
    let new = issuer("new");
    server.publish(&[&known, &new]);
    world.wait_for_retry();

    let held = server.hold().await;
    let strangers: Vec<_> = (0..100).map(|n| issuer(&format!("stranger-{n}")).token(&json!({}))).collect();
    let new = token(&new);
    let flood = async { join_all(strangers.iter().chain([&new]).map(|token| world.verify(token))).await };
    let release = async {
        server.until_asked(2).await;
        assert_eq!(world.verify(&token(&known)).await, Ok(()), "known keys wait for nothing");
        drop(held);
    };
    let (mut outcomes, ()) = tokio::join!(flood, release);
    assert_eq!(outcomes.pop(), Some(Ok(())));
    assert!(outcomes.iter().all(|outcome| *outcome == Err(TokenError::UnknownKey)), "{outcomes:?}");
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_names_is_no_flood_of_requests() {
    let server = KeyServer::start(&[&issuer("known")]);
    let world = World::start(&of(server.url()));
    server.until_asked(1).await;
    let stranger = token(&issuer("stranger"));
    for round in 0..5 {
        for _ in 0..50 {
            assert_eq!(world.verify(&stranger).await, Err(TokenError::UnknownKey));
        }
        assert_eq!(server.asked(), 1 + round, "at most one request between two moves of the clock");
        world.clock.advance(RETRY_US - 1);
        assert_eq!(world.verify(&stranger).await, Err(TokenError::UnknownKey));
        assert_eq!(server.asked(), 1 + round);
        world.clock.advance(1);
    }
}

#[tokio::test]
async fn what_no_set_can_mend_asks_for_none() {
    let known = issuer("known");
    let server = KeyServer::start(&[&known]);
    let world = World::start(&AuthSettings { hs256_secret: Some(Secret::new("s3cret")), ..of(server.url()) });
    world.verify(&token(&known)).await.unwrap();
    let claims = Issuer::claims(&json!({}));
    let with_secret = |kid: &str, secret: &[u8]| {
        let header = json!({"alg": "HS256", "kid": kid});
        sign_parts(&header, &claims, &EncodingKey::from_secret(secret), Algorithm::HS256)
    };
    world.wait_for_retry();
    assert_eq!(world.verify(&with_secret("unknown", b"s3cret")).await, Ok(()));
    for token in [
        with_secret("unknown", b"another"),
        with_secret("known", known.pem.as_bytes()),
        token(&issuer("known")),
        token(&issuer("")),
        known.token(&json!({"exp": 0})),
        known.signed(&json!({"alg": "none", "kid": "unknown"}), &claims),
        "nonsense".to_owned(),
    ] {
        world.verify(&token).await.unwrap_err();
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn the_last_good_set_goes_on_while_nobody_answers() {
    let (old, new) = (issuer("old"), issuer("new"));
    let server = KeyServer::start(&[&old]);
    let world = World::start(&of(server.url()));
    world.verify(&token(&old)).await.unwrap();
    let redirect = "302 Found\r\nLocation: ftp://elsewhere/";
    for (round, broken) in ["503 Busy", "404 Gone", redirect, "html", "huge"].into_iter().enumerate() {
        match broken {
            "html" => server.answer("<html></html>"),
            "huge" => server.answer(&format!("{}{}", " ".repeat(600_000), set(&[&new]))),
            status => server.fail(status),
        }
        world.wait_for_retry();
        assert_eq!(world.verify(&token(&new)).await, Err(TokenError::KeysOutOfReach), "{broken}");
        assert_eq!(world.verify(&token(&old)).await, Ok(()), "{broken}");
        assert_eq!(world.verify(&token(&new)).await, Err(TokenError::KeysOutOfReach), "{broken}");
        assert_eq!(server.asked(), 2 + round, "{broken}");
    }
    server.publish(&[&new]);
    world.wait_for_retry();
    assert_eq!(world.verify(&token(&new)).await, Ok(()));
    assert_eq!(world.verify(&token(&old)).await, Err(TokenError::UnknownKey));
    assert!(TokenError::KeysOutOfReach.is_temporary() && !TokenError::UnknownKey.is_temporary());
}

#[tokio::test]
async fn without_any_set_configured_keys_go_on() {
    let (configured, in_set) = (issuer("configured"), issuer("in set"));
    let server = KeyServer::start(&[&in_set]);
    server.fail("500 Broken");
    let world = World::start(&AuthSettings { keys: vec![configured.settings()], ..of(server.url()) });
    assert_eq!(world.verify(&token(&configured)).await, Ok(()));
    let nameless = in_set.signed(&json!({"alg": "EdDSA"}), &Issuer::claims(&json!({})));
    for token in [&token(&in_set), &nameless] {
        assert_eq!(world.verify(token).await, Err(TokenError::KeysOutOfReach));
    }
    server.publish(&[&in_set]);
    world.wait_for_retry();
    for token in [&nameless, &token(&in_set)] {
        assert_eq!(world.verify(token).await, Ok(()));
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_stops_nothing() {
    let server = KeyServer::start(&[]);
    let world = World::start(&of(server.url()));
    let new = issuer("new");
    assert_eq!(world.verify(&token(&new)).await, Err(TokenError::UnknownKey));
    server.publish(&[&new]);
    world.clock.advance(-3600 * 1_000_000);
    assert_eq!(world.verify(&token(&new)).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_set_is_asked_for_at_a_regular_interval() {
    let (old, new) = (issuer("old"), issuer("new"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set(&[&old]).to_string()).unwrap();
    let settings = AuthSettings { jwks_file: Some(file.path().to_owned()), ..AuthSettings::default() };
    let world = World::start(&settings);
    tokio::time::sleep(Duration::from_secs(1)).await;
    std::fs::write(file.path(), set(&[&new]).to_string()).unwrap();
    tokio::time::sleep(Duration::from_secs(298)).await;
    assert!(world.verifier.verify_at_once(&token(&old), NOW_US).is_ok());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.verifier.verify_at_once(&token(&new), NOW_US).is_ok());
    assert!(world.verifier.verify_at_once(&token(&old), NOW_US).is_err(), "nobody had to ask for this");

    std::fs::write(file.path(), "{").unwrap();
    tokio::time::sleep(Duration::from_mins(5)).await;
    std::fs::write(file.path(), set(&[&old]).to_string()).unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(world.verifier.verify_at_once(&token(&old), NOW_US).is_ok(), "after a failure sooner");
}

/// What was logged, for a test to read.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_outage_is_logged_once_and_its_end_too() {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _log = tracing::subscriber::set_default(log);
    let known = issuer("known");
    let server = KeyServer::start(&[&known]);
    server.fail("503 Busy");
    let address = server.url().replace("http://", "http://user:hunter2@") + "?key=hunter2";
    let world = World::start(&of(address));
    for _ in 0..3 {
        assert_eq!(world.verify(&token(&known)).await, Err(TokenError::KeysOutOfReach));
        world.wait_for_retry();
    }
    server.publish(&[&known]);
    assert_eq!(world.verify(&token(&known)).await, Ok(()));
    server.fail("503 Busy");
    for _ in 0..3 {
        world.wait_for_retry();
        assert_eq!(world.verify(&token(&issuer("other"))).await, Err(TokenError::KeysOutOfReach));
    }
    let text = String::from_utf8(lines.0.lock().clone()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let [missing, there, lost] = lines.as_slice() else { panic!("{text}") };
    assert!(missing.contains("WARN") && missing.contains("4004") && missing.contains("503"), "{missing}");
    assert!(missing.contains(&server.url()), "{missing}");
    assert!(there.contains("INFO") && there.contains("known"), "{there}");
    assert!(lost.contains("WARN") && lost.contains("the last one goes on"), "{lost}");
    assert!(!text.contains("hunter2"), "{text}");
}
