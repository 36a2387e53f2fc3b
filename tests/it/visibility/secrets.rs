//! What one may not see one can neither read, nor overwrite, nor learn to exist (V3, invariant 9).

use rusqlite::Connection;
use serde_json::{Value, json};
use synchub_rules::group::Belonging;
use uuid::Uuid;

use super::world::hub;
use crate::support::{Hello, Hub, Peer, Publisher};

fn put(domain: &str, id: Uuid, version: u64, data: &Value) -> Value {
    json!({"domain": domain, "mobile_id": id, "version": version, "data": data})
}

fn batch(entries: &Value) -> Value {
    json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": entries})
}

/// The answer without what differs between any two.
async fn answer(peer: &mut Peer, entry: Value) -> Value {
    let id = entry["mobile_id"].as_str().unwrap().to_owned();
    let mut answer = peer.ask(batch(&json!([entry]))).await;
    for key in ["id", "batch_id"] {
        answer[key] = Value::Null;
    }
    serde_json::from_str(&answer.to_string().replace(&id, "the id")).unwrap()
}

/// Scope, version, whether it is deleted, fields.
type Row = (i64, i64, i64, Vec<u8>);

/// Everything that is stored of a record and the number of log rows.
fn stored(hub: &Hub, id: Uuid) -> (Vec<Row>, i64) {
    let database = Connection::open(hub.database()).unwrap();
    let sql = "SELECT scope, version, deleted, data FROM record WHERE key = ?1";
    let mut statement = database.prepare(sql).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let records = statement.query_map([&id.as_bytes()[..]], row).unwrap();
    let rows = database.query_row("SELECT count(*) FROM log", [], |row| row.get(0)).unwrap();
    (records.map(Result::unwrap).collect(), rows)
}

#[tokio::test]
async fn v3_an_invisible_record_is_answered_like_one_that_does_not_exist() {
    let hub = hub(|_| {}).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "b").unit("north")).await;
    let (mut carol, _) = Peer::live(&hub, &Hello::of("carol", "c").unit("south")).await;
    let (mut dave, _) = Peer::live(&hub, &Hello::of("dave", "d")).await;
    let secret = json!({"state": "open", "secret": "of bob"});
    for domain in ["desk", "diary"] {
        let (living, tombstone) = (Uuid::now_v7(), Uuid::now_v7());
        bob.sync(json!([put(domain, living, 0, &secret), put(domain, living, 1, &json!({"n": 2}))])).await;
        let delete = json!({"domain": domain, "mobile_id": tombstone, "version": 1, "operation": "delete", "data": {}});
        bob.sync(json!([put(domain, tombstone, 0, &secret), delete])).await;
        let before = (stored(&hub, living), stored(&hub, tombstone));
        for stranger in [&mut carol, &mut dave] {
            for more in [
                json!({"version": 1}),
                json!({"version": 2}),
                json!({"version": 99}),
                json!({"version": 2, "delta": true}),
                json!({"version": 0, "delta": true}),
                json!({"version": 0, "operation": "delete"}),
                json!({"version": 2, "operation": "delete"}),
            ] {
                let absent = Uuid::now_v7();
                let [living, tombstone, absent] = [living, tombstone, absent].map(|id| {
                    let mut entry = put(domain, id, 0, &json!({"state": "open", "n": 3}));
                    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                    entry
                });
                let absent = answer(stranger, absent).await;
                assert_eq!(absent["results"][0]["error"]["code"], "not_found", "{more}: {absent}");
                assert_eq!(answer(stranger, living).await, absent, "{more}");
                assert_eq!(answer(stranger, tombstone).await, absent, "{more}");
            }
            // The id is taken: that much cannot be hidden from who wants it for a new record.
            for id in [living, tombstone] {
                let taken = answer(stranger, put(domain, id, 0, &json!({"state": "open"}))).await;
                let result = &taken["results"][0];
                assert_eq!(result["error"]["code"], "not_found", "{taken}");
                let keys: Vec<_> = result.as_object().unwrap().keys().collect();
                assert_eq!(keys, ["error", "mobile_id", "status"], "{taken}");
            }
        }
        assert_eq!((stored(&hub, living), stored(&hub, tombstone)), before, "nothing changed");
    }
    hub.stop().await;
}

#[tokio::test]
async fn v3_e11_what_is_kept_of_a_refused_entry_shows_nothing_of_the_record() {
    let hub = hub(|_| {}).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "b").unit("north")).await;
    let (mut carol, _) = Peer::live(&hub, &Hello::of("carol", "c").unit("south")).await;
    let id = Uuid::now_v7();
    bob.sync(json!([put("desk", id, 0, &json!({"state": "open", "secret": "of bob"}))])).await;
    // One that is refused by the record, one that is refused before the record is looked at.
    let faulty = json!({"domain": "desk", "mobile_id": id, "version": -1, "data": {"secret": 1}});
    let results = carol.sync(json!([put("desk", id, 1, &json!({"secret": 1})), faulty])).await;
    assert_eq!(results[0]["error"]["code"], "not_found");
    assert_eq!(results[1]["error"]["code"], "validation_failed");
    assert!(results.iter().all(|result| result.get("server_version").is_none()), "{results:?}");
    let database = Connection::open(hub.database()).unwrap();
    let mut statement = database
        .prepare("SELECT r.server_version, r.server, p.name FROM review r JOIN party p ON p.no = r.scope")
        .unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        let server: Vec<u8> = row.get(1)?;
        Ok((
            row.get::<_, i64>(0)?,
            rmp_serde::from_slice::<Value>(&server).unwrap(),
            row.get::<_, String>(2)?,
        ))
    };
    let kept: Vec<_> = statement.query_map([], read).unwrap().map(Result::unwrap).collect();
    let nothing = (0, json!({}), "carol".to_owned());
    assert_eq!(kept, [nothing.clone(), nothing], "of the sender's own scope, without the record");
    hub.stop().await;
}

#[tokio::test]
async fn v3_server_data_is_read_when_the_answer_is_made_and_only_for_who_sees_it() {
    let hub = hub(|_| {}).await;
    let publisher = Publisher::of(&hub, "acme").await;
    let install =
        Hello::of("alice", "a1").unit("north").with(json!({"device": {"install_id": Uuid::now_v7()}}));
    let (mut alice, _) = Peer::live(&hub, &install).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "b").unit("north")).await;
    let id = Uuid::now_v7();
    bob.sync(json!([put("desk", id, 0, &json!({"x": 0, "y": 0}))])).await;
    bob.sync(json!([put("desk", id, 1, &json!({"x": "bob"}))])).await;
    let mut merging = batch(&json!([put("desk", id, 1, &json!({"y": "alice"}))]));
    merging["first_client_seq"] = json!(1);
    let first = alice.ask(merging.clone()).await["results"][0].clone();
    assert_eq!(
        (&first["status"], &first["server_data"]),
        (&json!("merged"), &json!({"x": "bob", "y": "alice"}))
    );

    bob.sync(json!([put("desk", id, 3, &json!({"x": "later"}))])).await;
    let again = alice.ask(merging.clone()).await["results"][0].clone();
    assert_eq!((&again["status"], &again["server_version"]), (&first["status"], &first["server_version"]));
    assert_eq!(again["server_data"], json!({"x": "later", "y": "alice"}), "as it is now");

    let south = publisher.unit(&hub, "south").await;
    let entry = put("desk", id, 4, &json!({"secret": "of south"}));
    publisher.publish(&hub, entry, Some(Belonging { unit: Some(Some(south)), owner: None })).await;
    let again = alice.ask(merging.clone()).await;
    assert_eq!(again["repeated"], true);
    let again = &again["results"][0];
    assert_eq!((&again["status"], again.get("server_data")), (&first["status"], None), "o1: {again}");
    assert!(!again.to_string().contains("secret"), "{again}");

    // The same by its number: neither version nor data of what is out of view.
    merging["batch_id"] = json!(Uuid::now_v7());
    let duplicate = alice.ask(merging).await["results"][0].clone();
    assert_eq!(duplicate, json!({"mobile_id": id, "status": "duplicate"}), "o2");
    hub.stop().await;
}

#[tokio::test]
async fn v1_inv9_nothing_in_an_entry_changes_where_a_record_belongs() {
    let hub = hub(|_| {}).await;
    let publisher = Publisher::of(&hub, "acme").await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a1").unit("north")).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "b").unit("north")).await;
    let (mut carol, _) = Peer::live(&hub, &Hello::of("carol", "c").unit("south").to(&["desk"])).await;
    let id = Uuid::now_v7();
    let forged = json!({"tenant": "umbrella", "unit": "south", "owner": "carol", "scope": 0, "sub": "carol"});
    for (peer, version) in [(&mut alice, 0), (&mut bob, 1)] {
        let mut entry = put("desk", id, version, &forged);
        entry["data"]["n"] = json!(version);
        entry.as_object_mut().unwrap().extend(forged.as_object().unwrap().clone());
        entry["key"] = json!("carol");
        let mut batch = batch(&json!([entry]));
        batch.as_object_mut().unwrap().extend(forged.as_object().unwrap().clone());
        let answer = peer.ask(batch).await;
        assert_eq!(answer["results"][0]["server_version"], version + 1, "{answer}");
    }
    let database = Connection::open(hub.database()).unwrap();
    let sql = "SELECT t.name, u.name, o.name, r.scope = r.unit FROM record r JOIN tenant t ON t.no = r.tenant
               JOIN party u ON u.no = r.unit JOIN party o ON o.no = r.owner";
    let row = |row: &rusqlite::Row<'_>| {
        Ok([row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get::<_, bool>(3)?.to_string()])
    };
    let found: [String; 4] = database.query_row(sql, [], row).unwrap();
    assert_eq!(found, ["acme", "north", "alice", "true"], "the creator's, whoever edits");
    // In `data` they are fields like any other.
    let (_, frames) = Peer::live(&hub, &Hello::of("dora", "d").unit("north").to(&["desk"])).await;
    let data = &frames[0]["records"][0]["data"];
    assert_eq!((&data["unit"], &data["tenant"]), (&json!("south"), &json!("umbrella")), "{frames:?}");
    // A mark of south's own comes alone.
    let south = publisher.unit(&hub, "south").await;
    let mark = Uuid::now_v7();
    let belonging = Belonging { unit: Some(Some(south)), owner: None };
    publisher.publish(&hub, put("desk", mark, 0, &json!({})), Some(belonging)).await;
    assert_eq!(carol.find("data_update").await["mobile_id"], json!(mark));
    hub.stop().await;
}
