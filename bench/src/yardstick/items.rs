//! What lies between the bare statements and the hub, one part at a time, over the same work: decoding and
//! checks, the hash, the plan, and the store's own commit around it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use synchub::store::{Group, Store};
use synchub_rules::group::{Author, Submission};
use synchub_rules::plan;
use synchub_rules::record::TenantNo;

use super::node::{self, Node};
use crate::process;
use crate::stats::real_size;
use crate::write::work::{self, Size};

/// What each part costs, in microseconds of a processor for an entry.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Items {
    /// From the frame's bytes to checked entries, without the hash.
    pub(crate) decode: f64,
    /// The request's hash.
    pub(crate) hash: f64,
    /// What has to be read, and the plan itself.
    pub(crate) plan: f64,
    /// The store's commit: the plan, the statements and all around them.
    pub(crate) commit: f64,
}

/// Measures over the whole work, in a copy of the hub's store.
pub(crate) fn run(database: &Path, size: Size, group: usize) -> Result<Items> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(database, size, group))
}

async fn measure(database: &Path, size: Size, group: usize) -> Result<Items> {
    let node = Node::open(database).await?;
    let mut authors = Vec::new();
    for device in 0..size.devices {
        authors.push(node.register(&work::user(device), work::install(device)).await?);
    }
    let work = work::in_turns(size);
    let entries = real_size(work.iter().map(|(_, batch)| batch.items.len()).sum());
    let frames: Vec<_> = work.iter().map(|(device, batch)| (*device, batch.frame(1))).collect();
    drop(work);
    let tenant = authors.first().map_or(0, |(tenant, _)| *tenant);
    let authors: Vec<Author> = authors.into_iter().map(|(_, author)| author).collect();
    let (submissions, decoding, hashing) = decode_all(&node, &frames, &authors)?;
    drop(frames);
    let (committing, planning) = commit_all(&node, tenant, submissions, group).await?;
    node.store.close().await;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / entries;
    Ok(Items {
        decode: each(decoding.saturating_sub(hashing)),
        hash: each(hashing),
        plan: each(planning),
        commit: each(committing),
    })
}

/// All frames as submissions; the time of that, and the time of the hashes in it.
fn decode_all(
    node: &Node,
    frames: &[(usize, Vec<u8>)],
    authors: &[Author],
) -> Result<(Vec<Submission>, Duration, Duration)> {
    let mut hashing = Duration::ZERO;
    for (_, frame) in frames {
        let sync = node::decode(frame)?;
        let begin = Instant::now();
        std::hint::black_box(plan::request_hash(&sync.entries, false, false));
        hashing += begin.elapsed();
    }
    let mut submissions = Vec::with_capacity(frames.len());
    let before = process::cpu_time(std::process::id())?;
    for (device, frame) in frames {
        submissions.push(node.submission(node::decode(frame)?, authors[*device].clone())?);
    }
    let decoding = process::cpu_time(std::process::id())?.saturating_sub(before);
    Ok((submissions, decoding, hashing))
}

/// Commits group by group; the processor time of all, and the time of the plans in it.
async fn commit_all(
    node: &Node,
    tenant: TenantNo,
    mut submissions: Vec<Submission>,
    group: usize,
) -> Result<(Duration, Duration)> {
    let planning = Arc::new(AtomicU64::new(0));
    let count = |begin: Instant, planning: &AtomicU64| {
        let nanos = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        planning.fetch_add(nanos, Ordering::Relaxed);
    };
    let before = process::cpu_time(std::process::id())?;
    while !submissions.is_empty() {
        let rest = submissions.split_off(group.clamp(1, submissions.len()));
        let batches = std::mem::replace(&mut submissions, rest);
        let begin = Instant::now();
        let reads = plan::reads(&batches);
        count(begin, &planning);
        let shared = Arc::clone(&planning);
        let decide = Box::new(move |loaded| {
            let begin = Instant::now();
            let plan = plan::plan(node::now_us(), loaded, &batches);
            count(begin, &shared);
            plan
        });
        node.store.commit(Group { tenant, reads, plan: decide }).await?;
    }
    let committing = process::cpu_time(std::process::id())?.saturating_sub(before);
    Ok((committing, Duration::from_nanos(planning.load(Ordering::Relaxed))))
}
