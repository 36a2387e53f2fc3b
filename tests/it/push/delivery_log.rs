//! The delivery log tells the truth about each push (P4), held against what the devices saw.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use synchub::store::DeliveryQuery;
use synchub_protocol::Timestamp;

use super::service::{Service, message, pass, pushes, texts, trigger};
use crate::support::{Hello, Hub, Peer};

async fn deliveries(hub: &Hub, change: impl FnOnce(&mut DeliveryQuery)) -> Vec<Value> {
    let deps = hub.node.deps();
    deps.deliveries.flush(hub.store().as_ref()).await;
    let mut query = DeliveryQuery {
        tenant: "acme".into(),
        limit: 1000,
        now_us: deps.clock.now_us(),
        ..DeliveryQuery::default()
    };
    change(&mut query);
    hub.store().find_deliveries(query).await.unwrap()
}

/// Each line's device and status.
async fn statuses(hub: &Hub) -> Vec<(String, String)> {
    let lines = deliveries(hub, |_| {}).await;
    let text = |line: &Value, field: &str| line[field].as_str().unwrap().to_owned();
    lines.iter().map(|line| (text(line, "device"), text(line, "status"))).collect()
}

fn of(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    lines.iter().map(|(device, status)| ((*device).to_owned(), (*status).to_owned())).collect()
}

#[tokio::test]
async fn p4_a_push_is_queued_delivered_acknowledged_or_expired() {
    let hub = Hub::with(|settings| settings.ack_flush_secs = 1).start().await;
    let mut service = Service::start(&hub).await;
    let (tablet, _) = Peer::live(&hub, &Hello::of("bob", "tablet")).await;
    tablet.close().await;
    let (mut phone, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let id = service.send(message("bob", "one")).await;
    phone.find("message").await;
    assert_eq!(statuses(&hub).await, of(&[("tablet", "queued"), ("phone", "delivered")]));
    let position = phone.find("position").await;
    phone.send(&json!({"type": "ack", "cursor": position["cursor"]})).await;
    let acknowledged = of(&[("tablet", "queued"), ("phone", "acknowledged")]);
    let wait = async {
        while statuses(&hub).await != acknowledged {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the place is written");
    pass(&hub, 3600);
    assert_eq!(statuses(&hub).await, of(&[("tablet", "expired"), ("phone", "acknowledged")]));
    let (_watch, _) = Peer::live(&hub, &Hello::of("bob", "watch")).await;
    assert_eq!(statuses(&hub).await.len(), 2, "it was not for a device that came later");
    let (_tablet, frames) = Peer::live(&hub, &Hello::of("bob", "tablet")).await;
    assert_eq!(pushes(&frames)[0]["reason"], "queue_expired");
    let lines = deliveries(&hub, |query| query.device = Some("tablet".into())).await;
    assert_eq!((&lines[0]["status"], &lines[0]["push_id"]), (&json!("expired"), &json!(id)));
    assert_eq!(lines[0]["events"][0]["what"], "dropped: its time was over");
    assert_eq!(lines[0]["events"][0]["at"], json!(Timestamp(hub.node.deps().clock.now_us())));
    assert_eq!((&lines[0]["kind"], &lines[0]["user"]), (&json!("message"), &json!("bob")));
    assert!(!lines[0].to_string().contains("one"), "no contents");
}

#[tokio::test]
async fn p4_what_was_held_merged_or_dropped_says_so() {
    let hub = Hub::with(|settings| {
        settings.push.per_minute = 1;
        settings.push.queue = 3;
    });
    let hub = hub.start().await;
    let mut service = Service::start(&hub).await;
    let (mut phone, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let sent = [message("bob", "0"), message("bob", "1"), trigger("bob", &[]), trigger("bob", &["task"])];
    service.push(json!(sent)).await;
    phone.quiet().await;
    let all = |lines: &[&str]| of(&lines.iter().map(|status| ("phone", *status)).collect::<Vec<_>>());
    assert_eq!(statuses(&hub).await, all(&["delivered", "held", "held", "held"]));
    service.push(json!([message("bob", "2")])).await;
    phone.quiet().await;
    assert_eq!(statuses(&hub).await, all(&["delivered", "dropped", "held", "held", "held"]));
    pass(&hub, 60);
    phone.ask(json!({"type": "ping"})).await;
    phone.quiet().await;
    assert_eq!(statuses(&hub).await, all(&["delivered", "dropped", "merged", "delivered", "held"]));
    let lines = deliveries(&hub, |_| {}).await;
    let what = |line: &Value| -> Vec<String> {
        let events = line["events"].as_array().unwrap().iter();
        events.map(|event| event["what"].as_str().unwrap().split(':').next().unwrap().to_owned()).collect()
    };
    assert_eq!(what(&lines[1]), ["held", "dropped"]);
    assert_eq!(what(&lines[3]), ["held", "delivered"]);
}

#[tokio::test]
async fn p4_what_was_held_and_comes_with_a_hello_is_delivered() {
    let hub = Hub::with(|settings| settings.push.per_minute = 1).start().await;
    let mut service = Service::start(&hub).await;
    let (mut phone, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    service.push(json!([message("bob", "0"), message("bob", "1"), message("bob", "2")])).await;
    phone.quiet().await;
    let all = |lines: &[&str]| of(&lines.iter().map(|status| ("phone", *status)).collect::<Vec<_>>());
    assert_eq!(statuses(&hub).await, all(&["delivered", "held", "held"]));
    phone.cut();
    let (_phone, frames) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    assert_eq!(pushes(&frames).len(), 3);
    assert_eq!(statuses(&hub).await, all(&["delivered", "delivered", "delivered"]));
    let lines = deliveries(&hub, |_| {}).await;
    assert_eq!(lines[1]["events"].as_array().unwrap().len(), 2, "held and delivered: {}", lines[1]);
    assert_eq!(lines[0]["events"], json!([]), "this one never waited");
}

/// What happened to a line's push.
fn events(line: &Value) -> Vec<&str> {
    line["events"].as_array().unwrap().iter().map(|event| event["what"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn p4_c9_what_waits_for_a_device_that_saves_battery_says_why() {
    let hub = Hub::start().await;
    let mut service = Service::start(&hub).await;
    let (mut phone, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    phone.ask(json!({"type": "settings", "battery_saver": true})).await;
    service.push(json!([message("bob", "low")])).await;
    phone.quiet().await;
    let lines = deliveries(&hub, |_| {}).await;
    let why = "held: the device saves battery";
    assert_eq!((&lines[0]["status"], events(&lines[0])), (&json!("held"), vec![why]));
    phone.request(json!({"type": "catch_up"})).await;
    phone.until("caught_up").await;
    let lines = deliveries(&hub, |_| {}).await;
    let mut both = events(&lines[0]);
    both.sort_unstable();
    assert_eq!((&lines[0]["status"], both), (&json!("delivered"), vec!["delivered", why]));
}

/// Of three pushes one waits and one is dropped; the hello after the time of the others brings that one.
#[tokio::test]
async fn p4_what_was_dropped_and_comes_after_all_is_delivered() {
    let hub = Hub::with(|settings| {
        settings.push.per_minute = 1;
        settings.push.queue = 1;
    });
    let hub = hub.start().await;
    let mut service = Service::start(&hub).await;
    let (mut phone, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let short = |text: &str| {
        let mut short = message("bob", text);
        short["ttl_secs"] = json!(1);
        short
    };
    service.push(json!([short("0"), message("bob", "1"), short("2")])).await;
    phone.quiet().await;
    let all = |lines: [&str; 3]| of(&lines.map(|status| ("phone", status)));
    assert_eq!(statuses(&hub).await, all(["delivered", "dropped", "held"]));
    phone.cut();
    pass(&hub, 2);
    let (_phone, frames) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    assert_eq!(texts(&frames), ["1"]);
    assert_eq!(statuses(&hub).await, all(["expired", "delivered", "expired"]));
}

#[tokio::test]
async fn p4_what_was_held_too_long_was_not_delivered_with_the_others() {
    let hub = Hub::with(|settings| settings.push.per_minute = 1).start().await;
    let mut service = Service::start(&hub).await;
    let (mut phone, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let mut short = message("bob", "1");
    short["ttl_secs"] = json!(1);
    service.push(json!([message("bob", "0"), short, message("bob", "2")])).await;
    phone.quiet().await;
    phone.cut();
    pass(&hub, 2);
    let (_phone, frames) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    assert_eq!(texts(&frames), ["0", "2"]);
    let lines = deliveries(&hub, |_| {}).await;
    let most = "held: the user had the most of a minute";
    assert_eq!(events(&lines[1]), [most, "dropped: its time was over"]);
    assert_eq!((&lines[1]["status"], events(&lines[2])), (&json!("expired"), vec![most, "delivered"]));
}

#[tokio::test]
async fn p4_too_many_in_the_queue_are_dropped_by_one_note() {
    let hub = Hub::with(|settings| settings.push.queue = 2).start().await;
    let mut service = Service::start(&hub).await;
    let (phone, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    phone.close().await;
    while hub.node.deps().devices.mailboxes().len() > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let many: Vec<_> = (0..5).map(|n| message("bob", &n.to_string())).collect();
    service.push(json!(many)).await;
    let (_phone, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let found: Vec<_> = statuses(&hub).await.into_iter().map(|(_, status)| status).collect();
    assert_eq!(found, ["dropped", "dropped", "dropped", "delivered", "delivered"]);
    let database = Connection::open(hub.database()).unwrap();
    let notes: i64 = database.query_row("SELECT count(*) FROM push_exception", [], |row| row.get(0)).unwrap();
    assert_eq!(notes, 1);
}

#[tokio::test]
async fn p4_a_message_to_100000_devices_is_one_row() {
    let hub = Hub::start().await;
    let mut service = Service::start(&hub).await;
    let (_phone, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let mut database = Connection::open(hub.database()).unwrap();
    let transaction = database.transaction().unwrap();
    transaction
        .execute_batch(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000)
             INSERT INTO device (tenant, user, id, kind, priority, profile, seen_us)
             SELECT (SELECT no FROM tenant WHERE name = 'acme'), 1000000 + n, 'd' || n, 4, 40, x'c0', 0 FROM n",
        )
        .unwrap();
    transaction.commit().unwrap();
    let count = || -> Vec<i64> {
        let mut statement =
            database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
        let tables: Vec<String> =
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let of = |table: &String| -> i64 {
            let sql = format!("SELECT count(*) FROM \"{table}\"");
            database.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        tables.iter().map(of).collect()
    };
    let before: i64 = count().iter().sum();
    let all = json!({"kind": "message", "to": {"tenant": true}, "data": {"text": "all"}});
    let receipts = service.push(json!([all])).await;
    assert_eq!((&receipts[0]["delivered"], &receipts[0]["queued"]), (&json!(1), &json!(100_000)));
    let after: i64 = count().iter().sum();
    assert_eq!(after - before, 2, "the push's row in the log, and the request's id");
}

#[tokio::test]
async fn d3_p4_pushes_and_notes_go_with_the_log() {
    let hub = Hub::with(|settings| settings.push.per_minute = 1).start().await;
    let mut service = Service::start(&hub).await;
    let (mut phone, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let mut kept = message("bob", "a year");
    kept["ttl_secs"] = json!(365 * 86_400);
    service.push(json!([message("bob", "0"), kept])).await;
    phone.quiet().await;
    assert_eq!(statuses(&hub).await.len(), 2);
    pass(&hub, 2_678_400);
    let removed = hub.node.purge().await.unwrap();
    assert_eq!((removed.log, removed.deliveries), (2, 1));
    assert_eq!(statuses(&hub).await.len(), 0);
    phone.close().await;
    let (_phone, frames) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    assert_eq!(pushes(&frames).len(), 0, "the log's time is the longest for a push too");
}
