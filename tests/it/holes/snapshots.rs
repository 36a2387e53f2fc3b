//! Holes between a snapshot, its replay and the cursor that is stored.

use serde_json::{Value, json};

use crate::support::{Copy, Hello, Hub, Peer, delete, edit, tickets};

async fn hub(page_rows: usize) -> Hub {
    Hub::with(|settings| settings.catch_up.page_rows = page_rows).start().await
}

/// Takes at most `count` frames into the copy and goes away; says whether `caught_up` came.
async fn take(hub: &Hub, hello: &Hello, copy: &mut Copy, count: usize) -> bool {
    let hello = hello.clone().with(json!({"cursor": copy.cursor}));
    let (mut peer, welcome) = Peer::hello(hub, &hello).await;
    copy.take(&[welcome]);
    for _ in 0..count {
        let frame = peer.next().await;
        let is_last = frame["type"] == "caught_up";
        copy.take(&[frame]);
        if is_last {
            return true;
        }
    }
    peer.cut();
    false
}

fn change_all(ids: &[uuid::Uuid], version: u64) -> Value {
    ids.iter().map(|id| edit("ticket", *id, version, &json!({"group": format!("g{version}")}))).collect()
}

/// The connection breaks after every number of frames that it can break after, while others go on
/// writing: the place that was stored never stands past what had come.
#[tokio::test]
async fn c2_a_stored_cursor_ahead_of_what_was_sent() {
    for frames in 1..9 {
        let hub = hub(3).await;
        let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
        let (entries, ids) = tickets(10);
        alice.commit(entries).await;
        let (hello, mut copy, mut version) = (Hello::of("bob", "b").to(&["ticket"]), Copy::default(), 1);
        // Each time a little further, as a page without a cursor inside has to come whole once.
        for attempt in 0.. {
            if take(&hub, &hello, &mut copy, frames + attempt / 2).await {
                break;
            }
            if version < 6 {
                alice.commit(change_all(&ids, version)).await;
                version += 1;
            }
        }
        let held: Vec<_> = ids.iter().map(|id| copy.version("ticket", *id)).collect();
        assert_eq!(held, vec![Some(version); 10], "broken off after each {frames} frames");
    }
}

/// A record of a page that was sent and one of a page that was not are deleted between the two.
#[tokio::test]
async fn c4_a_deleted_record_between_two_pages_of_a_snapshot() {
    for breaks_off in [false, true] {
        let hub = hub(3).await;
        let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
        let (entries, ids) = tickets(9);
        alice.commit(entries).await;
        let (hello, mut copy) = (Hello::of("bob", "b").to(&["ticket"]), Copy::default());
        let (mut bob, welcome) = Peer::hello(&hub, &hello).await;
        copy.take(&[welcome, bob.next().await]);
        let sent = *ids.iter().find(|id| copy.version("ticket", **id).is_some()).unwrap();
        let unsent = *ids.iter().rfind(|id| copy.version("ticket", **id).is_none()).unwrap();
        let seq = alice.commit(json!([delete("ticket", sent, 1), delete("ticket", unsent, 1)])).await;
        if breaks_off {
            bob.cut();
            take(&hub, &hello, &mut copy, usize::MAX).await;
        } else {
            copy.take(&bob.until("caught_up").await);
            copy.follow(&mut bob, seq).await;
        }
        let gone = [sent, unsent].map(|id| copy.version("ticket", id));
        assert_eq!((gone, copy.records.len()), ([None, None], 7), "broken off: {breaks_off}");
    }
}
