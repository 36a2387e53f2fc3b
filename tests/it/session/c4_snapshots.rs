//! Snapshots: their pages, where they break off, and what changes meanwhile (C4).

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, delete, edit, tickets};

async fn hub(page_rows: usize, tail_bytes: usize) -> Hub {
    let hub = Hub::with(|settings| {
        settings.catch_up.page_rows = page_rows;
        settings.feed.tail_bytes = tail_bytes;
    });
    hub.start().await
}

fn bob(device: &str) -> Hello {
    Hello::of("bob", device).to(&["ticket"])
}

/// Says hello with what the copy holds and takes frames into it, `count` of them.
async fn take(hub: &Hub, hello: &Hello, copy: &mut Copy, count: usize) -> Vec<Value> {
    let hello = hello.clone().with(json!({"cursor": copy.cursor}));
    let (mut peer, welcome) = Peer::hello(hub, &hello).await;
    copy.take(&[welcome]);
    let mut frames = Vec::new();
    for _ in 0..count {
        frames.push(peer.next().await);
    }
    copy.take(&frames);
    peer.cut();
    frames
}

/// The same up to `caught_up`.
async fn take_all(hub: &Hub, hello: &Hello, copy: &mut Copy) -> Vec<Value> {
    let (mut peer, welcome) = Peer::hello(hub, &hello.clone().with(json!({"cursor": copy.cursor}))).await;
    copy.take(&[welcome]);
    let frames = peer.until("caught_up").await;
    copy.take(&frames);
    frames
}

fn snapshots(frames: &[Value]) -> Vec<&Value> {
    frames.iter().filter(|frame| frame["type"] == "snapshot").collect()
}

#[tokio::test]
async fn c4_pages_come_with_first_and_last_and_each_record_once() {
    let hub = hub(3, 4 << 20).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let (entries, ids) = tickets(10);
    alice.commit(entries).await;
    let (_, frames) = Peer::live(&hub, &bob("b")).await;
    let pages = snapshots(&frames);
    assert_eq!(pages.len(), 4, "{frames:?}");
    for (index, page) in pages.iter().enumerate() {
        assert_eq!((page["first"] == true, page["last"] == true), (index == 0, index == 3));
        assert_eq!(page["total"].as_u64(), (index == 0).then_some(10));
        assert!(page["cursor"].is_string());
    }
    let records = pages.iter().flat_map(|page| page["records"].as_array().unwrap());
    let mut came: Vec<_> = records.map(|record| record["mobile_id"].as_str().unwrap().to_owned()).collect();
    came.sort();
    let mut all: Vec<_> = ids.iter().map(Uuid::to_string).collect();
    all.sort();
    assert_eq!(came, all);
}

#[tokio::test]
async fn c4_an_empty_snapshot_comes_with_first_and_last() {
    let hub = hub(3, 4 << 20).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let check = |frames: &[Value]| {
        let pages = snapshots(frames);
        assert_eq!(pages.len(), 1, "{frames:?}");
        assert_eq!((&pages[0]["first"], &pages[0]["last"]), (&json!(true), &json!(true)));
        assert_eq!(pages[0]["records"], json!([]));
    };
    check(&Peer::live(&hub, &bob("b")).await.1);
    alice.commit(tickets(10).0).await;
    let none = json!({"subscriptions": [{"domain": "ticket", "filter": {"subject": "nothing"}}]});
    check(&Peer::live(&hub, &Hello::of("bob", "c").with(none)).await.1);
}

#[tokio::test]
async fn c4_a_page_holds_no_more_than_the_client_takes() {
    let hub = hub(500, 4 << 20).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let data = json!({"subject": "x".repeat(3000), "status": "NEW"});
    let entries: Value = (0..40).map(|_| edit("ticket", Uuid::now_v7(), 0, &data)).collect();
    alice.commit(entries).await;
    for (limit, records) in [(16_000, 2..=5), (1000, 1..=1), (10_000_000, 2..=40)] {
        let hello = bob(&format!("{limit}")).with(json!({"max_frame_bytes": limit}));
        let (_, frames) = Peer::live(&hub, &hello).await;
        let counts: Vec<_> =
            snapshots(&frames).iter().map(|page| page["records"].as_array().unwrap().len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 40);
        assert!(
            counts[..counts.len() - 1].iter().all(|count| records.contains(count)),
            "{limit}: {counts:?}"
        );
        let largest = frames.iter().map(|frame| frame.to_string().len()).max().unwrap();
        assert!(largest <= limit || records == (1..=1), "{largest} bytes, asked for {limit}");
    }
}

#[tokio::test]
async fn c4_a_snapshot_that_breaks_off_goes_on_from_each_page_without_first() {
    let hub = hub(3, 4 << 20).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    alice.commit(tickets(10).0).await;
    for broken_at in 1..=4 {
        let (hello, mut copy) = (bob(&format!("{broken_at}")), Copy::default());
        take(&hub, &hello, &mut copy, broken_at).await;
        let held = copy.records.len();
        assert_eq!(held, 10.min(3 * broken_at));
        let with = hello.clone().with(json!({"cursor": copy.cursor}));
        let (mut peer, welcome) = Peer::hello(&hub, &with).await;
        let fresh = if broken_at < 4 { json!([{"domain": "ticket", "reason": "new"}]) } else { json!([]) };
        assert_eq!(welcome["fresh"], fresh);
        let frames = peer.until("caught_up").await;
        let pages = snapshots(&frames);
        assert_eq!(pages.len(), 4 - broken_at, "{frames:?}");
        assert!(pages.iter().all(|page| page["first"] != true), "{frames:?}");
        let came: usize = pages.iter().map(|page| page["records"].as_array().unwrap().len()).sum();
        assert_eq!(came, 10 - held, "nothing comes twice");
        copy.take(&frames);
        assert_eq!(copy.records.len(), 10);
    }
}

#[tokio::test]
async fn c4_a_snapshot_under_another_filter_begins_anew() {
    let hub = hub(3, 4 << 20).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    alice.commit(tickets(10).0).await;
    let mut copy = Copy::default();
    take(&hub, &bob("b"), &mut copy, 2).await;
    let filtered = json!({"subscriptions": [{"domain": "ticket", "filter": {"status": "NEW"}}]});
    let frames = take_all(&hub, &Hello::of("bob", "b").with(filtered), &mut copy).await;
    assert_eq!(snapshots(&frames)[0]["first"], true);
    assert_eq!(copy.records.len(), 10);
}

/// Everything that can happen to a record while a snapshot runs, at every page.
async fn c4_what_changes_during_a_snapshot_comes_by_the_replay(tail_bytes: usize) {
    let hub = hub(2, tail_bytes).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    for broken_at in 1..=4 {
        let subject = format!("round {broken_at}");
        let ids: Vec<_> = (0..8).map(|_| Uuid::now_v7()).collect();
        let new = |id: &Uuid| edit("ticket", *id, 0, &json!({"subject": subject, "status": "NEW"}));
        alice.commit(ids.iter().map(new).collect()).await;
        let filter = json!({"subscriptions": [{"domain": "ticket", "filter": {"subject": subject}}]});
        let (hello, mut copy) = (Hello::of("bob", &subject).with(filter), Copy::default());
        take(&hub, &hello, &mut copy, broken_at).await;
        // One of each pair of records: edited, deleted, moved out of the filter, left alone.
        let mut changes = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            changes.extend(match index % 4 {
                0 => Some(edit("ticket", *id, 1, &json!({"group": "north"}))),
                1 => Some(delete("ticket", *id, 1)),
                2 => Some(edit("ticket", *id, 1, &json!({"subject": "elsewhere"}))),
                _ => None,
            });
        }
        let late = Uuid::now_v7();
        changes.push(new(&late));
        let seq = alice.commit(changes.into()).await;
        // Broken off once more: the place is still the one before the first page.
        take(&hub, &hello, &mut copy, 1).await;
        let frames = take_all(&hub, &hello, &mut copy).await;
        assert!(frames.last().unwrap()["seq"].as_u64().unwrap() >= seq);
        let versions: Vec<_> = ids.iter().map(|id| copy.version("ticket", *id)).collect();
        let expected = [Some(2), None, None, Some(1)];
        assert_eq!(versions, [expected, expected].concat(), "broken off at page {broken_at}: {frames:#?}");
        assert_eq!((copy.version("ticket", late), copy.records.len()), (Some(1), 5));
    }
}

#[tokio::test]
async fn c4_what_changes_during_a_snapshot_comes_by_the_replay_from_the_log() {
    c4_what_changes_during_a_snapshot_comes_by_the_replay(0).await;
}

#[tokio::test]
async fn c4_what_changes_during_a_snapshot_comes_by_the_replay_from_the_tail() {
    c4_what_changes_during_a_snapshot_comes_by_the_replay(4 << 20).await;
}

/// Two domains, the second broken off: the first goes on by replay from the place before both.
#[tokio::test]
async fn c4_a_finished_snapshot_waits_for_its_replay_until_all_are_finished() {
    let hub = hub(2, 0).await;
    let hello = Hello::of("alice", "b").to(&["journal", "ticket"]);
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let (journals, journal_ids) = crate::support::journals(4);
    let (tickets, _) = tickets(6);
    alice.commit(journals).await;
    alice.commit(tickets).await;
    let mut copy = Copy::default();
    let frames = take(&hub, &hello, &mut copy, 3).await;
    assert_eq!((&frames[1]["last"], &frames[2]["domain"]), (&json!(true), &json!("ticket")));
    alice.commit(json!([edit("journal", journal_ids[0], 1, &json!({"content": "sun"}))])).await;
    alice.commit(json!([delete("journal", journal_ids[1], 1)])).await;
    let (mut peer, welcome) = Peer::hello(&hub, &hello.with(json!({"cursor": copy.cursor}))).await;
    assert_eq!(welcome["fresh"], json!([{"domain": "ticket", "reason": "new"}]));
    copy.take(&peer.until("caught_up").await);
    assert_eq!(copy.version("journal", journal_ids[0]), Some(2));
    assert_eq!(copy.version("journal", journal_ids[1]), None);
    assert_eq!(copy.records.len(), 3 + 6);
}
