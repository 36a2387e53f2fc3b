//! Holes between an edit and its answer.

use rusqlite::Connection;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer, delete, edit, ticket};

fn install(user: &str) -> Hello {
    Hello::of(user, "phone").with(json!({"device": {"install_id": Uuid::now_v7()}}))
}

#[expect(clippy::needless_pass_by_value, reason = "calls read like the frames they make")]
fn numbered(first: u64, entries: Value) -> Value {
    json!({"type": "sync", "batch_id": Uuid::now_v7(), "first_client_seq": first, "entries": entries})
}

/// The answer to a merge is lost with its socket: neither the batch again, nor its entry under its number
/// in another batch, may merge a second time.
#[tokio::test]
async fn o1_o2_a_lost_answer_after_a_merge() {
    let hub = Hub::start().await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let (hello, id) = (install("alice"), Uuid::now_v7());
    let (mut alice, _) = Peer::hello(&hub, &hello).await;
    alice.ask(numbered(1, json!([ticket(id, "fire")]))).await;
    bob.sync(json!([edit("ticket", id, 1, &json!({"group": "north"}))])).await;
    let entry =
        edit("ticket", id, 1, &json!({"ticket_history": [{"id": "a", "text": "seen"}], "caller": "Ann"}));
    let batch = numbered(2, json!([entry]));
    let sent = alice.request(batch.clone()).await;
    // The answer is in the socket, and nobody reads it.
    bob.sync(json!([edit("ticket", id, 2, &json!({"location": "roof"}))])).await;
    alice.answer(sent).await;
    alice.cut();
    let (mut alice, welcome) = Peer::hello(&hub, &hello).await;
    assert_eq!(welcome["last_client_seq"], 2);
    let again = alice.ask(batch).await;
    assert_eq!(
        (&again["repeated"], &again["results"][0]["status"]),
        (&json!(true), &json!("merged")),
        "{again}"
    );
    let cut_differently = alice.ask(numbered(2, json!([entry]))).await;
    assert_eq!(cut_differently["results"][0]["status"], "duplicate", "{cut_differently}");
    assert_eq!(cut_differently["results"][0]["server_version"], 4, "{cut_differently}");
    let (mut reader, frames) = Peer::live(&hub, &Hello::of("bob", "other").to(&["ticket"])).await;
    let record = &frames[0]["records"][0];
    assert_eq!(record["version"], 4);
    assert_eq!(record["data"]["ticket_history"].as_array().map(Vec::len), Some(1), "{record}");
    assert_eq!((&record["data"]["caller"], &record["data"]["group"]), (&json!("Ann"), &json!("north")));
    assert_eq!(reader.ask(json!({"type": "ping"})).await["type"], "pong");
}

/// What was refused is mended under a new number; under the old one it would be swallowed as a duplicate.
#[tokio::test]
async fn e11_o2_a_corrected_entry() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::hello(&hub, &install("alice")).await;
    let (good, bad) = (Uuid::now_v7(), Uuid::now_v7());
    let refused = edit("ticket", bad, 0, &json!({"status": "NEW"}));
    let answer = alice.ask(numbered(1, json!([ticket(good, "fire"), refused]))).await;
    assert_eq!(answer["results"][1]["error"]["code"], "validation_failed", "{answer}");
    // The old number with mended contents is still the refused entry.
    let same_number = alice.ask(numbered(2, json!([ticket(bad, "smoke")]))).await;
    let result = &same_number["results"][0];
    assert_eq!(
        (&result["status"], &result["error"]["code"]),
        (&json!("duplicate"), &json!("validation_failed"))
    );
    let mut mended = ticket(bad, "smoke");
    mended["corrects"] = json!(2);
    let batch = numbered(3, json!([mended]));
    assert_eq!(alice.ask(batch.clone()).await["results"][0]["status"], "created");
    assert_eq!(alice.ask(batch).await["repeated"], true);
    let database = Connection::open(hub.database()).unwrap();
    let open = "SELECT count(*) FROM review WHERE kind = 3 AND state = 1";
    assert_eq!(database.query_row(open, [], |row| row.get::<_, u32>(0)).unwrap(), 0, "the inbox is empty");
}

/// Three batches of one chain are in flight and the first meets a store that refuses it: nothing of what
/// follows may land before it.
#[tokio::test]
async fn o2_a_chain_cut_over_batches_with_the_first_meeting_a_temporary_error() {
    let hub = Hub::start().await;
    let database = Connection::open(hub.database()).unwrap();
    let (hello, id) = (install("alice"), Uuid::now_v7());
    let trigger = format!(
        "CREATE TRIGGER refuses BEFORE INSERT ON record WHEN NEW.key = x'{}'
         BEGIN SELECT RAISE(ABORT, 'refused by the test'); END",
        id.simple()
    );
    database.execute_batch(&trigger).unwrap();
    let (mut alice, _) = Peer::hello(&hub, &hello).await;
    let step = |status: &str| {
        let mut entry = edit("ticket", id, 0, &json!({"status": status}));
        entry["delta"] = json!(true);
        entry
    };
    let chain = [
        numbered(1, json!([ticket(id, "fire")])),
        numbered(2, json!([step("OPEN")])),
        numbered(3, json!([step("INPROGRESS"), step("RESOLVED")])),
    ];
    let mut ids = Vec::new();
    for batch in &chain {
        ids.push(alice.request(batch.clone()).await);
    }
    let mut codes = Vec::new();
    for id in ids {
        codes.push(alice.answer(id).await["code"].as_str().unwrap_or("none").to_owned());
    }
    assert_eq!(codes, ["internal", "out_of_order", "out_of_order"]);
    database.execute_batch("DROP TRIGGER refuses").unwrap();
    for (batch, statuses) in chain.iter().zip([vec!["created"], vec!["updated"], vec!["updated", "updated"]])
    {
        let answer = alice.ask(batch.clone()).await;
        let came: Vec<_> =
            answer["results"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
        assert_eq!(came, statuses, "{answer}");
    }
    let (_, welcome) = Peer::hello(&hub, &hello).await;
    assert_eq!(welcome["last_client_seq"], 4);
}

/// Who did not know of the other loses to the delete, whoever arrives first.
#[tokio::test]
async fn d1_delete_against_edit_in_both_orders() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "phone")).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let mut ends = Vec::new();
    for delete_first in [true, false] {
        let id = Uuid::now_v7();
        alice.sync(json!([ticket(id, "fire")])).await;
        let (gone, edited) =
            (json!([delete("ticket", id, 1)]), json!([edit("ticket", id, 1, &json!({"group": "n"}))]));
        let results = if delete_first {
            [alice.sync(gone).await, bob.sync(edited).await]
        } else {
            let edited = bob.sync(edited).await;
            [alice.sync(gone).await, edited]
        };
        let statuses = results.map(|results| results[0]["status"].as_str().unwrap().to_owned());
        let record = hub.store().find_record("acme", "ticket", id).await.unwrap().unwrap();
        ends.push((statuses, record["deleted"].clone(), record["data"].get("subject").cloned()));
    }
    assert_eq!(ends[0].0, ["updated", "conflict"]);
    assert_eq!(ends[1].0, ["merged", "updated"]);
    assert!(ends.iter().all(|end| end.1 == true), "{ends:?}");
}
