//! The system's clock jumps by a day while the hub runs: the log stays in order (T1), and nobody is shut out, hidden
//! from or made to wait for it.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::push::service::{Service, back, message, pass, texts};
use crate::support::{Hello, Hub, NOW_US, Peer, ticket};

const DAY_US: i64 = 86_400_000_000;
/// Where the clock is put, one after the other, in days from now.
const JUMPS: [i64; 6] = [0, 1, 0, -1, 1, 0];

/// A push that is kept for so long.
fn kept(user: &str, text: &str, ttl_secs: u64) -> Value {
    let mut push = message(user, text);
    push["ttl_secs"] = json!(ttl_secs);
    push
}

/// A device that was never there before is let in; its limit is met and forgets.
async fn is_held_to_its_limit(hub: &Hub, device: &str) {
    let (mut loud, _) = Peer::live(hub, &Hello::of("loud", device)).await;
    let mut asked = 0;
    while loud.ask(json!({"type": "ping"})).await["type"] == "pong" {
        asked += 1;
        assert!(asked < 100, "there is no limit");
    }
    pass(hub, 1);
    assert_eq!(loud.ask(json!({"type": "ping"})).await["type"], "pong");
    loud.close().await;
}

/// Four messages where three a minute go: the fourth comes a minute later, not a day.
async fn is_sent_within_two_minutes(hub: &Hub, service: &mut Service, bob: &mut Peer, step: usize) {
    let expected: Vec<_> = (0..4).map(|n| format!("{step} {n}")).collect();
    let pushes: Vec<_> = expected.iter().map(|text| message("bob", text)).collect();
    service.push(json!(pushes)).await;
    let mut frames = bob.quiet().await;
    for _ in 0..2 {
        pass(hub, 60);
        bob.ask(json!({"type": "ping"})).await;
        frames.extend(bob.quiet().await);
    }
    assert_eq!(texts(&frames), expected);
}

#[tokio::test]
async fn t1_p3_a_clock_that_jumps_by_a_day_shuts_nobody_out_and_expires_nothing_wrongly() {
    let hub = Hub::with(|settings| {
        settings.push.per_minute = 3;
        (settings.rates.device_frames, settings.rates.burst_secs) = (20, 1);
    });
    let hub = hub.start().await;
    let mut service = Service::start(&hub).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone").to(&["ticket"])).await;
    for user in ["dave", "erin"] {
        Peer::live(&hub, &Hello::of(user, "phone")).await.0.close().await;
    }
    service.send(kept("erin", "for days", 5 * 86_400)).await;
    for (step, days) in JUMPS.into_iter().enumerate() {
        hub.clock.set(NOW_US + days * DAY_US);
        is_sent_within_two_minutes(&hub, &mut service, &mut bob, step).await;
        let id = Uuid::now_v7();
        bob.commit(json!([ticket(id, "fire")])).await;
        let update = bob.find("data_update").await;
        assert_eq!(update["mobile_id"], json!(id));

        let text = format!("while away, {step}");
        service.send(kept("dave", &text, 3600)).await;
        let (mut dave, frames) = Peer::live(&hub, &back("dave", "phone", None)).await;
        assert!(texts(&frames).contains(&text.as_str()), "p2: {frames:?}");
        dave.send(&json!({"type": "ack", "cursor": dave.cursor})).await;
        dave.ask(json!({"type": "ping"})).await;
        dave.close().await;

        is_held_to_its_limit(&hub, &step.to_string()).await;
        let ready = reqwest::get(format!("{}/health/ready", hub.http())).await.unwrap();
        assert_eq!(ready.status(), 200, "{days} days away");
        let numbers = reqwest::get(format!("{}/metrics", hub.http())).await.unwrap().text().await.unwrap();
        assert!(!numbers.lines().any(|line| line.rsplit(' ').next().unwrap().starts_with('-')), "{numbers}");
    }
    let (_erin, frames) = Peer::live(&hub, &back("erin", "phone", None)).await;
    assert_eq!(texts(&frames), ["for days"]);

    let database = rusqlite::Connection::open(hub.database()).unwrap();
    let behind = "SELECT count(*) FROM log AS later JOIN log AS earlier
                  ON later.tenant = earlier.tenant AND later.seq = earlier.seq + 1 AND later.time_us <= earlier.time_us";
    assert_eq!(database.query_row(behind, [], |row| row.get::<_, i64>(0)).unwrap(), 0, "t1");
    hub.stop().await;
}

/// Signs of life go by a clock that nobody sets.
#[tokio::test]
async fn t1_heartbeats_do_not_feel_a_clock_that_jumps() {
    let hub = Hub::with(|settings| settings.limits.heartbeat_secs = 1).start().await;
    let (mut silent, _) = Peer::hello(&hub, &Hello::of("alice", "silent")).await;
    let (mut awake, _) = Peer::live(&hub, &Hello::of("alice", "awake")).await;
    let talk = async {
        let mut pings = 0;
        while pings < 4 {
            if awake.message().await.unwrap().unwrap().is_ping() {
                pings += 1;
                hub.clock.set(NOW_US + [1, -1][pings % 2] * DAY_US);
                awake.send_message(Message::text(r#"{"type":"ping","id":7}"#)).await;
            }
        }
        assert_eq!(awake.ask(json!({"type": "ping"})).await["type"], "pong");
    };
    let ((), code) = tokio::join!(talk, silent.close_code());
    assert_eq!(code, 4002);
    hub.stop().await;
}
