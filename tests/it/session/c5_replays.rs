//! What a replay says of each record, from the log and from memory (C5).

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, delete, edit, journal, ticket};

async fn hub(tail_bytes: usize, page_rows: usize) -> Hub {
    let hub = Hub::with(|settings| {
        settings.feed.tail_bytes = tail_bytes;
        settings.catch_up.page_rows = page_rows;
    });
    hub.start().await
}

/// Only what is on fire.
fn bob() -> Hello {
    let fire = json!({"domain": "ticket", "filter": {"subject": "fire"}});
    Hello::of("bob", "b").with(json!({"subscriptions": [fire]}))
}

/// Writes `before`, lets Bob take it, writes `after` while he is away; what he is sent when he is back.
async fn away(hub: &Hub, before: Value, after: &[Value]) -> (Vec<Value>, Copy) {
    let (mut alice, _) = Peer::live(hub, &Hello::of("alice", "a")).await;
    alice.commit(before).await;
    let (bob_then, frames) = Peer::live(hub, &bob()).await;
    bob_then.close().await;
    let mut copy = Copy::default();
    copy.take(&frames);
    for entry in after {
        alice.commit(json!([entry])).await;
    }
    let rows_read = hub.metric("synchub_log_rows_read_total");
    let (_, mut frames) = Peer::live(hub, &bob().with(json!({"cursor": copy.cursor}))).await;
    let from_the_log = hub.metric("synchub_log_rows_read_total") > rows_read;
    let tail_bytes = hub.node.deps().settings.feed.tail_bytes;
    assert_eq!(from_the_log, tail_bytes == 0, "where the replay came from");
    copy.take(&frames);
    frames.pop();
    (frames, copy)
}

fn said(frames: &[Value]) -> Vec<(&str, u64)> {
    let changes = frames.iter().filter(|frame| frame["type"] == "data_update");
    changes.map(|frame| (frame["operation"].as_str().unwrap(), frame["version"].as_u64().unwrap())).collect()
}

async fn c5_a_record_comes_once_with_its_newest_state(tail_bytes: usize) {
    let hub = hub(tail_bytes, 500).await;
    let (old, new) = (Uuid::now_v7(), Uuid::now_v7());
    let mut after = vec![ticket(new, "fire")];
    for version in 1..=4 {
        after.push(edit("ticket", old, version, &json!({"group": format!("{version}")})));
        after.push(edit("ticket", new, version, &json!({"group": format!("{version}")})));
    }
    let (frames, copy) = away(&hub, json!([ticket(old, "fire")]), &after).await;
    assert_eq!(said(&frames).len(), 2, "each once: {frames:?}");
    assert_eq!(frames[0]["mobile_id"], json!(new), "at the first of its rows");
    assert!(said(&frames).iter().all(|(_, version)| *version == 5), "{frames:?}");
    assert_eq!(frames[1]["data"], json!({"subject": "fire", "status": "NEW", "group": "4"}));
    assert_eq!((copy.version("ticket", old), copy.version("ticket", new)), (Some(5), Some(5)));
}

async fn c5_what_was_deleted_comes_as_delete_with_the_standing_version(tail_bytes: usize) {
    let hub = hub(tail_bytes, 500).await;
    let id = Uuid::now_v7();
    let after = [edit("ticket", id, 1, &json!({"group": "north"})), delete("ticket", id, 2)];
    let (frames, copy) = away(&hub, json!([ticket(id, "fire")]), &after).await;
    assert_eq!(said(&frames), [("delete", 3)]);
    assert!(frames[0].get("data").is_none(), "{frames:?}");
    assert!(copy.records.is_empty());
}

async fn c5_what_left_the_view_comes_as_remove_with_the_standing_version(tail_bytes: usize) {
    let hub = hub(tail_bytes, 500).await;
    let id = Uuid::now_v7();
    let after =
        [edit("ticket", id, 1, &json!({"subject": "smoke"})), edit("ticket", id, 2, &json!({"group": "a"}))];
    let (frames, copy) = away(&hub, json!([ticket(id, "fire")]), &after).await;
    assert_eq!(said(&frames), [("remove", 3)]);
    assert!(frames[0].get("data").is_none(), "what may not be seen is not sent: {frames:?}");
    assert!(copy.records.is_empty());
}

async fn c5_what_left_the_view_and_was_deleted_comes_as_a_delete(tail_bytes: usize) {
    let hub = hub(tail_bytes, 500).await;
    let id = Uuid::now_v7();
    let after = [edit("ticket", id, 1, &json!({"subject": "smoke"})), delete("ticket", id, 2)];
    let (frames, copy) = away(&hub, json!([ticket(id, "fire")]), &after).await;
    assert_eq!(said(&frames), [("delete", 3)]);
    assert!(copy.records.is_empty());
}

async fn c5_what_left_the_view_and_came_back_comes_as_it_stands(tail_bytes: usize) {
    let hub = hub(tail_bytes, 500).await;
    let id = Uuid::now_v7();
    let after = [
        edit("ticket", id, 1, &json!({"subject": "smoke"})),
        edit("ticket", id, 2, &json!({"subject": "fire"})),
    ];
    let (frames, copy) = away(&hub, json!([ticket(id, "fire")]), &after).await;
    assert_eq!(said(&frames), [("update", 3)]);
    assert_eq!(copy.version("ticket", id), Some(3));
}

async fn c5_what_was_never_in_view_is_not_mentioned(tail_bytes: usize) {
    let hub = hub(tail_bytes, 500).await;
    let (smoke, water, hers) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let after = [
        edit("ticket", smoke, 1, &json!({"group": "a"})),
        delete("ticket", smoke, 2),
        ticket(water, "water"),
        edit("ticket", water, 1, &json!({"group": "a"})),
        journal(hers, "fire"),
    ];
    let (frames, _) = away(&hub, json!([ticket(smoke, "smoke")]), &after).await;
    assert!(frames.is_empty(), "{frames:?}");
}

/// Pages of a few rows: a record may come once in each page, never with less than what stands.
async fn c5_pages_bring_each_record_once_a_page(tail_bytes: usize) {
    let hub = hub(tail_bytes, 3).await;
    let ids: Vec<_> = (0..4).map(|_| Uuid::now_v7()).collect();
    let before: Value = ids.iter().map(|id| ticket(*id, "fire")).collect();
    let mut after = Vec::new();
    for version in 1..=5 {
        after.extend(
            ids.iter().map(|id| edit("ticket", *id, version, &json!({"group": format!("{version}")}))),
        );
    }
    after.push(delete("ticket", ids[3], 6));
    let (frames, copy) = away(&hub, before, &after).await;
    let changes = said(&frames);
    assert!(changes.iter().all(|(_, version)| *version >= 6), "what stands: {changes:?}");
    let versions: Vec<_> = ids.iter().map(|id| copy.version("ticket", *id)).collect();
    assert_eq!(versions, [Some(6), Some(6), Some(6), None]);
    let positions = frames.iter().filter(|frame| frame["type"] == "position").count();
    assert!(positions > 0, "each page ends with a place");
    assert_eq!(copy.went_back, 0, "c6: versions only rise");
}

macro_rules! both_ways {
    ($($name:ident: $from_the_log:ident, $from_the_tail:ident;)*) => {$(
        #[tokio::test]
        async fn $from_the_log() {
            $name(0).await;
        }

        #[tokio::test]
        async fn $from_the_tail() {
            $name(4 << 20).await;
        }
    )*};
}

both_ways! {
    c5_a_record_comes_once_with_its_newest_state:
        c5_a_record_comes_once_with_its_newest_state_from_the_log,
        c5_a_record_comes_once_with_its_newest_state_from_the_tail;
    c5_what_was_deleted_comes_as_delete_with_the_standing_version:
        c5_what_was_deleted_comes_as_delete_from_the_log,
        c5_what_was_deleted_comes_as_delete_from_the_tail;
    c5_what_left_the_view_comes_as_remove_with_the_standing_version:
        c5_what_left_the_view_comes_as_remove_from_the_log,
        c5_what_left_the_view_comes_as_remove_from_the_tail;
    c5_what_left_the_view_and_was_deleted_comes_as_a_delete:
        c5_what_left_the_view_and_was_deleted_comes_as_a_delete_from_the_log,
        c5_what_left_the_view_and_was_deleted_comes_as_a_delete_from_the_tail;
    c5_what_left_the_view_and_came_back_comes_as_it_stands:
        c5_what_left_the_view_and_came_back_comes_as_it_stands_from_the_log,
        c5_what_left_the_view_and_came_back_comes_as_it_stands_from_the_tail;
    c5_what_was_never_in_view_is_not_mentioned:
        c5_what_was_never_in_view_is_not_mentioned_from_the_log,
        c5_what_was_never_in_view_is_not_mentioned_from_the_tail;
    c5_pages_bring_each_record_once_a_page:
        c5_pages_bring_each_record_once_a_page_from_the_log,
        c5_pages_bring_each_record_once_a_page_from_the_tail;
}
