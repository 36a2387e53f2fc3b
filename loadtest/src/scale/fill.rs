//! Fills a hub with records, over sockets, as devices do.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::peer::Peer;
use crate::chance::Chance;
use crate::hub::Hub;
use crate::progress::say;

/// The domain that is filled.
pub(super) const DOMAIN: &str = "ticket";
/// Devices that fill at once.
const WRITERS: u64 = 4;
/// Entries of a batch.
const BATCH: u64 = 500;
/// Batches of a writer that wait for their answers.
const IN_FLIGHT: u64 = 2;

/// The id of the record of this number.
pub(super) fn id(number: u64) -> String {
    Chance::new(number).uuid().to_string()
}

/// Creates records 0 to `count`, about as large as those of a help desk.
pub(super) async fn fill(hub: &Hub, count: u64, quiet: bool) -> Result<()> {
    let each = count.div_ceil(WRITERS);
    let writers = (0..WRITERS).map(|writer| {
        let range = (writer * each).min(count)..((writer + 1) * each).min(count);
        write(hub, writer, range, quiet)
    });
    futures::future::try_join_all(writers).await.map(drop)
}

async fn write(hub: &Hub, writer: u64, range: std::ops::Range<u64>, quiet: bool) -> Result<()> {
    let mut peer = Peer::connect(hub).await?;
    peer.hello(hub, &format!("writer-{writer}"), &[], None).await?;
    let (mut next, mut waiting) = (range.start, 0);
    while next < range.end || waiting > 0 {
        while next < range.end && waiting < IN_FLIGHT {
            let end = (next + BATCH).min(range.end);
            peer.send(batch(next..end)).await?;
            (next, waiting) = (end, waiting + 1);
        }
        let answer = peer.wait_for("sync_result").await?;
        let results = answer["results"].as_array().into_iter().flatten();
        ensure!(
            results.clone().all(|result| result["status"] == "created"),
            "not all were created: {answer}"
        );
        waiting -= 1;
        if writer == 0 && next.is_multiple_of(50_000) {
            say(quiet, &format!("  about {} records written", next * WRITERS));
        }
    }
    peer.close().await;
    Ok(())
}

fn batch(range: std::ops::Range<u64>) -> Value {
    let batch_id = id(u64::MAX - range.start);
    let entries: Vec<_> = range.map(create).collect();
    json!({"type": "sync", "batch_id": batch_id, "entries": entries})
}

fn create(number: u64) -> Value {
    json!({"domain": DOMAIN, "mobile_id": id(number), "version": 0, "data": {
        "subject": format!("Incident {number}"), "status": "NEW", "priority": "MEDIUM", "category": "Category 55",
        "impact": 2, "urgency": 2, "location": "Location 143", "caller": "Caller 2403",
        "channel": "Phone", "group": "Group 56", "reassignments": 0, "reopens": 0, "sla_ok": true}})
}
