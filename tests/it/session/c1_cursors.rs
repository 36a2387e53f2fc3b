//! What a cursor is good for, and what makes it worthless (C1).

use std::path::Path;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer, journal, ticket};

/// A device that holds everything, and its cursor.
async fn stored(hub: &Hub, hello: &Hello) -> String {
    let (mut peer, _) = Peer::live(hub, hello).await;
    let seq = peer.commit(json!([ticket(Uuid::now_v7(), "fire"), journal(Uuid::now_v7(), "rain")])).await;
    while peer.next().await["seq"].as_u64().is_none_or(|reached| reached < seq) {}
    let cursor = peer.cursor.take().unwrap();
    peer.close().await;
    cursor
}

/// What comes fresh to a device that says hello with this cursor.
async fn fresh(hub: &Hub, hello: &Hello, cursor: &str) -> Value {
    let (peer, welcome) = Peer::hello(hub, &hello.clone().with(json!({"cursor": cursor}))).await;
    peer.close().await;
    welcome["fresh"].clone()
}

fn alice() -> Hello {
    Hello::of("alice", "a").to(&["ticket", "journal"])
}

fn all(reason: &str) -> Value {
    json!([{"domain": "journal", "reason": reason}, {"domain": "ticket", "reason": reason}])
}

#[tokio::test]
async fn c1_an_altered_cursor_makes_everything_fresh() {
    let hub = Hub::start().await;
    let cursor = stored(&hub, &alice()).await;
    assert_eq!(fresh(&hub, &alice(), &cursor).await, json!([]));
    let mut altered = cursor.clone().into_bytes();
    altered[12] = if altered[12] == b'A' { b'B' } else { b'A' };
    let long = "A".repeat(2000);
    for cursor in [std::str::from_utf8(&altered).unwrap(), &cursor[..20], "", "none of ours", &long] {
        assert_eq!(fresh(&hub, &alice(), cursor).await, all("cursor_invalid"), "{cursor}");
    }
}

#[tokio::test]
async fn c1_a_cursor_of_another_tenant_makes_everything_fresh() {
    let hub = Hub::start().await;
    let cursor = stored(&hub, &alice()).await;
    let elsewhere = Hello { tenant: "other".into(), ..alice() };
    stored(&hub, &elsewhere).await;
    assert_eq!(fresh(&hub, &elsewhere, &cursor).await, all("cursor_invalid"));
}

#[tokio::test]
async fn c1_a_cursor_of_another_hub_makes_everything_fresh() {
    let (hub, other) = (Hub::start().await, Hub::with(|_| {}).seed(2).start().await);
    let cursor = stored(&hub, &alice()).await;
    stored(&other, &alice()).await;
    assert_eq!(fresh(&other, &alice(), &cursor).await, all("cursor_invalid"));
}

#[tokio::test]
async fn c1_a_cursor_lasts_over_a_restart() {
    let hub = Hub::start().await;
    let cursor = stored(&hub, &alice()).await;
    let hub = hub.restart().await;
    assert_eq!(fresh(&hub, &alice(), &cursor).await, json!([]));
}

#[tokio::test]
async fn c1_another_filter_makes_its_domain_fresh_and_no_other() {
    let hub = Hub::start().await;
    let filtered = |filter: Value, priority: &str| {
        let ticket = json!({"domain": "ticket", "filter": filter, "priority": priority});
        Hello::of("alice", "a").with(json!({"subscriptions": [ticket, {"domain": "journal"}]}))
    };
    let cursor = stored(&hub, &filtered(json!({"status": ["NEW", "OPEN"], "group": "a"}), "all")).await;
    let same = filtered(json!({"group": ["a"], "status": ["OPEN", "NEW"]}), "high");
    assert_eq!(fresh(&hub, &same, &cursor).await, json!([]), "c3: priority is no part of the hash");
    for filter in [json!({"status": ["NEW"], "group": "a"}), json!({"status": ["NEW", "OPEN"]}), json!({})] {
        let fresh = fresh(&hub, &filtered(filter, "all"), &cursor).await;
        assert_eq!(fresh, json!([{"domain": "ticket", "reason": "changed"}]));
    }
}

#[tokio::test]
async fn c1_another_unit_makes_only_the_domains_of_units_fresh() {
    let hub = Hub::start().await;
    let cursor = stored(&hub, &alice().unit("north")).await;
    assert_eq!(fresh(&hub, &alice().unit("north"), &cursor).await, json!([]));
    let changed = json!([{"domain": "ticket", "reason": "changed"}]);
    assert_eq!(fresh(&hub, &alice().unit("south"), &cursor).await, changed);
    assert_eq!(fresh(&hub, &alice(), &cursor).await, changed);
}

#[tokio::test]
async fn c1_another_user_makes_the_domains_of_owners_fresh() {
    let hub = Hub::start().await;
    let cursor = stored(&hub, &alice()).await;
    let bob = Hello::of("bob", "a").to(&["ticket", "journal"]);
    assert_eq!(fresh(&hub, &bob, &cursor).await, json!([{"domain": "journal", "reason": "changed"}]));
}

#[tokio::test]
async fn c1_a_definition_that_shows_records_to_others_makes_its_domain_fresh() {
    let note = |visibility: &str| {
        let head = "name = \"note\"\ntitle = \"Note\"\nstrategy = \"client_wins\"";
        format!("{head}\nvisibility = \"{visibility}\"\n[fields.text]\ntype = \"string\"\n")
    };
    let hub = Hub::with(|_| {}).definition("note.toml", &note("tenant")).start().await;
    let hello = Hello::of("alice", "a").to(&["ticket", "journal", "note"]);
    let cursor = stored(&hub, &hello).await;
    let hub = hub.restart().await;
    assert_eq!(fresh(&hub, &hello, &cursor).await, json!([]));
    let write = |folder: &Path| std::fs::write(folder.join("domains/note.toml"), note("unit")).unwrap();
    let hub = hub.restart_after(write).await;
    assert_eq!(fresh(&hub, &hello, &cursor).await, json!([{"domain": "note", "reason": "changed"}]));
}
