//! Batches over a socket: what each entry is answered, what is sent again, what is out of order.

use serde_json::{Value, json};
use synchub_protocol::Encoding;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer, delete, edit, ticket};

async fn live(hub: &Hub, encoding: Encoding, install: bool) -> Peer {
    let hello = Hello::of("alice", "a");
    let id = json!({"device": {"install_id": "00000000-0000-4000-8000-000000000001"}});
    let hello = if install { hello.with(id) } else { hello };
    let (mut peer, _) = Peer::hello_in(hub, &hello, encoding).await;
    peer.until("caught_up").await;
    peer
}

#[expect(clippy::needless_pass_by_value, reason = "calls read like the frames they make")]
fn batch(entries: Value) -> Value {
    json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": entries})
}

fn numbered(first: u64, entries: Value) -> Value {
    let mut batch = batch(entries);
    batch["first_client_seq"] = json!(first);
    batch
}

fn codes(answer: &Value) -> Vec<String> {
    let results = answer["results"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let of =
        |result: &Value| result["error"]["code"].as_str().or(result["status"].as_str()).unwrap().to_owned();
    results.iter().map(of).collect()
}

#[tokio::test]
async fn o3_what_is_wrong_inside_one_entry_is_that_entrys_result() {
    let hub = Hub::start().await;
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let mut peer = live(&hub, encoding, false).await;
        let id = || Uuid::now_v7();
        let good = || ticket(id(), "fire");
        let bad = json!([
            good(),
            {},
            7,
            {"domain": "ticket", "mobile_id": "no uuid", "version": 0, "data": {}},
            {"domain": "ticket", "mobile_id": id(), "version": -1, "data": {}},
            {"domain": "ticket", "mobile_id": id(), "version": "0", "data": {}},
            {"domain": "ticket", "mobile_id": id(), "version": 0, "data": []},
            {"domain": "ticket", "mobile_id": id(), "version": 0, "operation": "explode", "data": {}},
            edit("ticket", id(), 0, &json!({"subject": "nul \u{0}", "status": "NEW"})),
            edit("ticket", id(), 0, &json!({"subject": 7, "status": "NEW"})),
            edit("ticket", id(), 0, &json!({"status": "NEW"})),
            edit("nonsense", id(), 0, &json!({"subject": "x"})),
            good(),
        ]);
        let answer = peer.ask(batch(bad)).await;
        let codes = codes(&answer);
        assert_eq!((codes[0].as_str(), codes[12].as_str()), ("created", "created"), "{answer}");
        assert_eq!(codes[11], "unknown_domain");
        assert!(codes[1..11].iter().all(|code| code == "validation_failed"), "{codes:?}");
    }
}

#[tokio::test]
async fn o3_what_message_pack_can_say_and_json_cannot_is_that_entrys_result() {
    let hub = Hub::start().await;
    let mut peer = live(&hub, Encoding::MessagePack, false).await;
    let entries = json!([ticket(Uuid::now_v7(), "marker"), ticket(Uuid::now_v7(), "fire")]);
    // The text of the first subject makes room for each of these.
    let marker = b"\xa6marker";
    for odd in [
        &b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"[..],
        b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
        b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xc4\x02hi",
        b"\xd4\x01x",
        b"\xa2\xff\xfe",
    ] {
        let mut frame = batch(entries.clone());
        frame["id"] = json!(77);
        let bytes = Encoding::MessagePack.encode(&frame);
        let at = bytes.windows(marker.len()).position(|window| window == marker).unwrap();
        let bytes = [&bytes[..at], odd, &bytes[at + marker.len()..]].concat();
        peer.send_message(Message::Binary(bytes.into())).await;
        let answer = peer.find("sync_result").await;
        assert_eq!(codes(&answer)[0], "validation_failed", "{odd:x?}");
        assert!(["created", "duplicate", "unchanged"].contains(&codes(&answer)[1].as_str()), "{answer}");
    }
}

#[tokio::test]
async fn o1_a_batch_that_is_sent_again_is_answered_the_same() {
    let hub = Hub::start().await;
    let id = Uuid::now_v7();
    let request = batch(json!([ticket(id, "fire"), edit("ticket", id, 1, &json!({"status": "CLOSED"})), {}]));
    let mut first = live(&hub, Encoding::Json, false).await;
    let answer = first.ask(request.clone()).await;
    assert_eq!(
        (&answer["repeated"], codes(&answer)),
        (&json!(false), vec!["created".into(), "invalid_transition".into(), "validation_failed".into()])
    );
    let again = first.ask(request.clone()).await;
    let mut later = live(&hub, Encoding::MessagePack, false).await;
    let much_later = later.ask(request.clone()).await;
    for again in [again, much_later] {
        assert_eq!((&again["repeated"], &again["batch_id"]), (&json!(true), &answer["batch_id"]));
        assert_eq!(again["results"], answer["results"]);
    }
    let log = hub.store().find_log("acme", 0, 10).await.unwrap();
    assert_eq!(log.len(), 1, "inv2: {log:?}");
}

#[tokio::test]
async fn o1_other_contents_under_the_same_id_are_refused() {
    let hub = Hub::start().await;
    let mut peer = live(&hub, Encoding::Json, false).await;
    let mut request = batch(json!([ticket(Uuid::now_v7(), "fire")]));
    peer.ask(request.clone()).await;
    request["entries"][0]["data"]["subject"] = json!("smoke");
    let error = peer.ask(request).await;
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("idempotency_key_reused")));
}

#[tokio::test]
async fn o2_numbers_at_or_below_the_mark_are_duplicates() {
    let hub = Hub::start().await;
    let mut peer = live(&hub, Encoding::Json, true).await;
    let (one, two) =
        (ticket(Uuid::now_v7(), "fire"), edit("ticket", Uuid::now_v7(), 0, &json!({"subject": 7})));
    let answer = peer.ask(numbered(1, json!([one, two]))).await;
    assert_eq!(codes(&answer), ["created", "validation_failed"]);
    let three = ticket(Uuid::now_v7(), "smoke");
    let answer = peer.ask(numbered(1, json!([one, two, three]))).await;
    assert_eq!(answer["repeated"], false);
    let results = answer["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["duplicate", "duplicate", "created"], "{answer}");
    assert_eq!(results[0]["server_version"], 1);
    assert_eq!(results[1]["error"]["code"], "validation_failed", "refused then, and said again");
    peer.close().await;
    let hello = json!({"device": {"install_id": "00000000-0000-4000-8000-000000000001"}});
    let (_, welcome) = Peer::hello(&hub, &Hello::of("alice", "a").with(hello)).await;
    assert_eq!(welcome["last_client_seq"], 3);
}

#[tokio::test]
async fn o2_a_gap_is_out_of_order_and_decides_nothing() {
    let hub = Hub::start().await;
    let mut peer = live(&hub, Encoding::Json, true).await;
    let error = peer.ask(numbered(2, json!([ticket(Uuid::now_v7(), "fire")]))).await;
    assert_eq!((&error["code"], &error["temporary"]), (&json!("out_of_order"), &json!(true)));
    let answer = peer.ask(numbered(1, json!([ticket(Uuid::now_v7(), "fire")]))).await;
    assert_eq!((codes(&answer), &answer["seq"]), (vec!["created".to_owned()], &json!(1)));
}

/// Batches that are sent without waiting are decided, and answered, in the order sent.
#[tokio::test]
async fn answers_to_batches_come_in_the_order_sent() {
    let hub = Hub::start().await;
    let mut peer = live(&hub, Encoding::Json, true).await;
    for round in 0..20_u64 {
        let id = Uuid::now_v7();
        let mut frames = vec![
            numbered(4 * round + 1, json!([ticket(id, "fire")])),
            numbered(4 * round + 2, json!([edit("ticket", id, 1, &json!({"status": "OPEN"}))])),
            batch(json!([])),
            numbered(4 * round + 3, json!([edit("ticket", id, 1, &json!({"status": "INPROGRESS"}))])),
            numbered(4 * round + 4, json!([delete("ticket", id, 1)])),
            json!({"type": "sync", "batch_id": 7, "entries": []}),
        ];
        for (n, frame) in (0..).zip(&mut frames) {
            frame["id"] = json!(1000 + n);
            peer.send(frame).await;
        }
        let mut answers = Vec::new();
        while answers.len() < 6 {
            let frame = peer.next().await;
            if frame["id"].is_u64() {
                answers.push(frame);
            }
        }
        let ids: Vec<_> = answers.iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
        assert_eq!(ids, [1000, 1001, 1002, 1003, 1004, 1005]);
        assert_eq!(
            (&answers[2]["code"], &answers[5]["code"]),
            (&json!("bad_request"), &json!("bad_request"))
        );
        assert_eq!(codes(&answers[4]), ["updated"], "e4: own writes make nothing stale");
    }
}

/// A commit that waits for the disk: the hub reads on, takes four batches and refuses the rest.
#[tokio::test]
async fn batches_over_max_in_flight_are_refused_and_nothing_of_them_is_done() {
    let hub = Hub::start().await;
    let mut peer = live(&hub, Encoding::Json, false).await;
    let lock = rusqlite::Connection::open(hub.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ids: Vec<_> = (0..7).map(|_| Uuid::now_v7()).collect();
    for (n, id) in (100..).zip(&ids) {
        let mut frame = batch(json!([ticket(*id, "fire")]));
        frame["id"] = json!(n);
        peer.send(&frame).await;
    }
    assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong", "the hub reads on");
    lock.execute_batch("ROLLBACK").unwrap();
    let mut answers = Vec::new();
    while answers.len() < 7 {
        let frame = peer.next().await;
        if frame["id"].is_u64() {
            answers.push((frame["id"].as_u64().unwrap(), frame));
        }
    }
    let order: Vec<_> = answers.iter().map(|(id, _)| *id).collect();
    assert_eq!(order, (100..107).collect::<Vec<_>>(), "in the order sent");
    for (n, (_, answer)) in answers.iter().enumerate() {
        let stored = hub.store().find_record("acme", "ticket", ids[n]).await.unwrap();
        assert_eq!(stored.is_some(), n < 4);
        if n < 4 {
            assert_eq!(codes(answer), ["created"]);
        } else {
            assert_eq!((&answer["code"], &answer["temporary"]), (&json!("too_many_in_flight"), &json!(true)));
        }
    }
    assert_eq!(codes(&peer.ask(batch(json!([ticket(ids[6], "fire")]))).await), ["created"]);
}
