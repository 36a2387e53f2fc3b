//! Decoding a batch: the hub's way from a frame's bytes to checked entries and the request's hash, and rmp-serde
//! into a `serde_json::Value`, which checks nothing.

use std::time::{Duration, Instant};

use anyhow::Result;
use synchub_rules::group::{Author, SubmittedEntry};
use uuid::Uuid;

use super::node::{self, Node};
use crate::frames;
use crate::process;
use crate::stats::real;
use crate::write::work::{self, BATCH, DOMAIN, Item, Size};

/// Bytes of an entry.
const ENTRY_BYTES: usize = 320;

/// The frame that both decode: 100 entries of 320 bytes.
pub(crate) fn frame() -> Vec<u8> {
    let size = Size { devices: 1, preloaded: BATCH, batches: 1 };
    let mut batch = work::measured(0, size).remove(0);
    for item in &mut batch.items {
        let Some(data) = item.data.as_object_mut() else { continue };
        data.retain(|name, _| !["caller", "location"].contains(&name.as_str()));
        let over = entry_bytes(item).saturating_sub(ENTRY_BYTES);
        if let Some(serde_json::Value::String(text)) = item.data.get_mut("description") {
            text.truncate(text.len().saturating_sub(over));
        }
    }
    batch.frame(1)
}

fn entry_bytes(item: &Item) -> usize {
    frames::encode(&frames::entry(DOMAIN, item.key, item.base, &item.data)).len()
}

/// Microseconds of a processor for a batch, through the hub's own functions.
pub(crate) fn hub(time: Duration) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let node = runtime.block_on(Node::open(&folder.path().join("synchub.db")))?;
    let (_, author) = runtime.block_on(node.register("reader", Uuid::nil()))?;
    let frame = frame();
    let took = repeat(time, || check(&node, &author, &frame))?;
    runtime.block_on(synchub::store::Store::close(node.store.as_ref()));
    Ok(took)
}

fn check(node: &Node, author: &Author, frame: &[u8]) -> Result<()> {
    let submission = node.submission(node::decode(frame)?, author.clone())?;
    for entry in &submission.entries {
        match entry {
            SubmittedEntry::Entry { entry, domain, .. } => {
                anyhow::ensure!(domain.definition.check_create(&entry.data).is_ok(), "an entry is refused");
            }
            SubmittedEntry::Fault { fault, .. } => anyhow::bail!("an entry is refused: {}", fault.message),
        }
    }
    std::hint::black_box(&submission);
    Ok(())
}

/// The same into a `serde_json::Value`.
pub(crate) fn value(time: Duration) -> Result<f64> {
    let frame = frame();
    repeat(time, || {
        let value: serde_json::Value = rmp_serde::from_slice(&frame)?;
        std::hint::black_box(&value);
        Ok(())
    })
}

fn repeat(time: Duration, mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let warm = Instant::now();
    while warm.elapsed() < time / 4 {
        once()?;
    }
    let (own, begin) = (std::process::id(), Instant::now());
    let (before, mut times) = (process::cpu_time(own)?, 0);
    while begin.elapsed() < time {
        once()?;
        times += 1;
    }
    let cpu = process::cpu_time(own)?.saturating_sub(before);
    Ok(cpu.as_secs_f64() * 1e6 / real(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_has_a_hundred_entries_of_its_size() {
        let frame = frame();
        let each = frame.len() / BATCH;
        assert!((315..=325).contains(&each), "{each}");
        let sync = node::decode(&frame).unwrap();
        assert_eq!(sync.entries.len(), BATCH);
        assert!(sync.entries.iter().all(|raw| raw.entry.is_ok() && raw.size.abs_diff(ENTRY_BYTES) <= 2));
    }
}
