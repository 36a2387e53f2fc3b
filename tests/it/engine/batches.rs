//! Whole batches: entries that follow one another, atomic ones, lists and domains that only grow, and
//! what is refused (E7, E9 to E12).

use serde_json::{Value, json};
use uuid::Uuid;

use super::desk::{code, data, delete, delta, expect, hub, put, record, reviews, rows, send, two, with};
use crate::support::{Hello, Peer};

fn atomic(entries: &Value) -> Value {
    json!({"type": "sync", "batch_id": Uuid::now_v7(), "atomic": true, "entries": entries})
}

fn column(results: &Value, key: &str) -> Vec<Value> {
    results.as_array().unwrap().iter().map(|result| result[key].clone()).collect()
}

#[tokio::test]
async fn e7_entries_of_one_record_apply_in_order() {
    let hub = hub().await;
    let (mut alice, _) = two(&hub).await;
    let id = Uuid::now_v7();
    let domain = "server_wins";
    let entries = json!([
        put(domain, id, 0, &json!({"x": 1})),
        delta(domain, id, 0, &json!({"x": 2})),
        delta(domain, id, 0, &json!({"y": 3})),
        delete(domain, id, 0),
        put(domain, id, 4, &json!({"x": 5})),
    ]);
    let results = json!(alice.sync(entries).await);
    let statuses = ["created", "updated", "updated", "updated", "created"];
    assert_eq!(column(&results, "status"), statuses);
    assert_eq!(column(&results, "server_version"), [1, 2, 3, 4, 5]);
    assert_eq!(record(&hub, id), Some((5, json!({"x": 5}), false)));
    hub.stop().await;
}

#[tokio::test]
async fn e7_e11_what_hangs_on_a_refused_create_is_refused_too() {
    let hub = hub().await;
    let (mut alice, _) = two(&hub).await;
    let (bad, good) = (Uuid::now_v7(), Uuid::now_v7());
    let entries = json!([
        put("strict", bad, 0, &json!({"n": "no number"})),
        delta("strict", bad, 0, &json!({"n": 2})),
        delete("strict", bad, 0),
        put("strict", good, 0, &json!({"n": 1})),
        put("strict", bad, 0, &json!({"n": 3})),
        delta("strict", bad, 0, &json!({"n": 4})),
    ]);
    let results = alice.sync(entries).await;
    let codes: Vec<_> = results[..3].iter().map(code).collect();
    assert_eq!(codes, ["validation_failed", "depends_on_failed", "depends_on_failed"]);
    assert_eq!(column(&json!(results[3..]), "status"), ["created", "created", "updated"]);
    let kept = reviews(&hub, bad);
    assert_eq!(kept.iter().filter_map(|row| row.code.clone()).collect::<Vec<_>>(), codes);
    assert!(kept.iter().all(|row| row.kind == "inbox" && row.open));
    hub.stop().await;
}

#[tokio::test]
async fn e10_an_atomic_batch_applies_whole_or_not_at_all() {
    let hub = hub().await;
    let (mut alice, mut bob) = two(&hub).await;
    let (mut watcher, _) = Peer::live(&hub, &Hello::of("eve", "e").to(&["strict", "server_wins"])).await;
    let (old, new, bad) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    expect(&mut alice, put("strict", old, 0, &json!({"n": 1})), "created").await;
    watcher.find("data_update").await;
    let batch = atomic(&json!([
        put("strict", old, 1, &json!({"n": 2})),
        put("strict", new, 0, &json!({"n": 3})),
        put("strict", bad, 0, &json!({})),
        delete("strict", old, 1),
    ]));
    let answer = alice.ask(batch.clone()).await;
    assert_eq!(answer["type"], "sync_result", "o3: the batch is decided all the same: {answer}");
    let results = answer["results"].as_array().unwrap();
    let codes: Vec<_> = results.iter().map(code).collect();
    assert_eq!(codes, ["not_applied", "not_applied", "validation_failed", "not_applied"]);
    assert_eq!(record(&hub, old), Some((1, json!({"n": 1}), false)));
    assert_eq!((record(&hub, new), record(&hub, bad)), (None, None));
    assert_eq!((rows(&hub, "log"), rows(&hub, "review")), (1, 0), "nothing goes to the inbox");
    let again = alice.ask(batch).await;
    assert_eq!((&again["results"], &again["repeated"]), (&answer["results"], &json!(true)));

    let id = Uuid::now_v7();
    expect(&mut alice, put("server_wins", id, 0, &json!({"x": 0})), "created").await;
    expect(&mut bob, put("server_wins", id, 1, &json!({"x": "bob"})), "updated").await;
    let batch = atomic(&json!([
        put("server_wins", new, 0, &json!({"x": 1})),
        put("server_wins", id, 1, &json!({"x": "alice"})),
    ]));
    let answer = alice.ask(batch).await;
    assert_eq!(answer["results"][1]["status"], "conflict", "its own status: {answer}");
    assert_eq!(code(&answer["results"][0]), "not_applied");
    assert_eq!(record(&hub, new), None);

    let fine =
        atomic(&json!([put("strict", new, 0, &json!({"n": 3})), put("strict", old, 1, &json!({"n": 2})),]));
    let answer = alice.ask(fine).await;
    assert_eq!(column(&answer["results"], "status"), ["created", "updated"]);
    // The watcher was told of nothing that sank.
    let mut told = Vec::new();
    while told.len() < 4 {
        let update = watcher.find("data_update").await;
        told.push((update["mobile_id"].clone(), update["version"].clone()));
    }
    let expected = [(id, 1), (id, 2), (new, 1), (old, 2)].map(|(id, version)| (json!(id), json!(version)));
    assert_eq!(told, expected);
    hub.stop().await;
}

#[tokio::test]
async fn e9_append_only_lists_unite_whatever_is_sent() {
    let hub = hub().await;
    let (mut alice, mut bob) = two(&hub).await;
    let id = Uuid::now_v7();
    let note = |id: &str, text: &str| json!({"id": id, "text": text});
    let list = |notes: &[Value]| json!({"ticket_history": notes});
    let first = json!({"subject": "fire", "status": "NEW", "ticket_history": [note("1", "seen")]});
    expect(&mut alice, put("ticket", id, 0, &first), "created").await;
    expect(&mut bob, put("ticket", id, 1, &list(&[note("b", "bob was there")])), "updated").await;
    // Alice knows nothing of it, sends her whole list, and would change the first element.
    let hers = list(&[note("1", "changed"), note("a", "alice was there")]);
    let merged = expect(&mut alice, put("ticket", id, 1, &hers), "merged").await;
    let whole = [note("1", "seen"), note("b", "bob was there"), note("a", "alice was there")];
    assert_eq!(merged["server_data"]["ticket_history"], json!(whole));
    expect(&mut bob, put("ticket", id, 3, &json!({"ticket_history": null})), "unchanged").await;
    let bare = send(&mut bob, put("ticket", id, 3, &json!({"ticket_history": ["no id"]}))).await;
    assert_eq!((code(&bare), &bare["error"]["field"]), ("validation_failed", &json!("ticket_history")));
    assert_eq!(data(&hub, id)["ticket_history"], json!(whole));
    hub.stop().await;
}

#[tokio::test]
async fn e9_in_an_append_only_domain_an_item_is_made_once() {
    let hub = hub().await;
    let (mut alice, mut bob) = two(&hub).await;
    let id = Uuid::now_v7();
    expect(&mut alice, put("photo", id, 0, &json!({"of": "the door"})), "created").await;
    let twice = expect(&mut bob, put("photo", id, 0, &json!({"of": "something else"})), "duplicate").await;
    assert_eq!(twice["server_version"], 1);
    expect(&mut alice, put("photo", id, 1, &json!({"of": "an edit"})), "duplicate").await;
    assert_eq!(code(&send(&mut alice, delete("photo", id, 1)).await), "forbidden");
    assert_eq!(record(&hub, id), Some((1, json!({"of": "the door"}), false)));
    assert_eq!(rows(&hub, "review"), 0);
    hub.stop().await;
}

#[tokio::test]
async fn o3_e11_what_is_wrong_inside_one_entry_is_that_entrys_result() {
    let hub = hub().await;
    let (mut alice, _) = two(&hub).await;
    let ids: Vec<_> = (0..5).map(|_| Uuid::now_v7()).collect();
    let entries = json!([
        put("strict", ids[0], 0, &json!({"n": 1})),
        put("no-such-domain", ids[1], 0, &json!({"n": 1})),
        with(put("strict", ids[2], 0, &json!({"n": 1})), &json!({"version": "one"})),
        with(put("strict", ids[3], 0, &json!({})), &json!({"data": [1]})),
        {"domain": "strict", "mobile_id": "no uuid", "version": 0, "data": {}},
        put("strict", ids[4], 0, &json!({"n": 1.5})),
    ]);
    let results = alice.sync(entries).await;
    assert_eq!(results[0]["status"], "created");
    let codes: Vec<_> = results[1..].iter().map(code).collect();
    let bad = "validation_failed";
    assert_eq!(codes, ["unknown_domain", bad, bad, bad, bad]);
    let named: Vec<_> = results.iter().map(|result| result["mobile_id"].clone()).collect();
    assert_eq!(named[..4], [json!(ids[0]), json!(ids[1]), json!(ids[2]), json!(ids[3])]);
    assert_eq!((&named[4], &named[5]), (&Value::Null, &json!(ids[4])));
    assert_eq!(results[5]["error"]["field"], "n");
    assert!(reviews(&hub, ids[1]).is_empty(), "of an unknown domain nothing is kept");
    for id in &ids[2..] {
        let kept = reviews(&hub, *id);
        assert_eq!((kept[0].kind, &kept[0].code), ("inbox", &Some(json!(bad))), "{kept:?}");
    }
    assert_eq!(rows(&hub, "review"), 4);
    hub.stop().await;
}

#[tokio::test]
async fn e12_a_change_is_as_urgent_as_its_definition_says_or_less() {
    let hub = hub().await;
    let (mut alice, _) = two(&hub).await;
    let (mut watcher, _) = Peer::live(&hub, &Hello::of("eve", "e").to(&["ticket"])).await;
    let ticket = |data: &Value, asked: &Value| {
        let mut whole = json!({"subject": "fire", "status": "NEW"});
        whole.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
        let entry = put("ticket", Uuid::now_v7(), 0, &whole);
        if asked.is_null() { entry } else { with(entry, &json!({"priority": asked})) }
    };
    for (data, asked, expected) in [
        (json!({}), Value::Null, "normal"),
        (json!({"priority": "HIGH"}), Value::Null, "high"),
        (json!({"priority": "CRITICAL"}), Value::Null, "critical"),
        (json!({"escalated": true, "priority": "LOW"}), Value::Null, "critical"),
        (json!({"priority": "HIGH"}), json!("low"), "low"),
        (json!({}), json!("critical"), "normal"),
    ] {
        expect(&mut alice, ticket(&data, &asked), "created").await;
        assert_eq!(watcher.find("data_update").await["priority"], expected, "{data} asked {asked}");
    }
    hub.stop().await;
}
