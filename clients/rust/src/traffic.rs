//! What went over the wire, before compression and after it: by kind, and by size.
//!
//! It counts frames alone, not what WebSocket, TLS and TCP put around them.

use synchub_protocol::ServerFrame;

/// Frames of some kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many.
    pub frames: u64,
    /// Bytes as they went over the wire.
    pub bytes: u64,
    /// Bytes before compression.
    pub plain_bytes: u64,
}

impl Traffic {
    fn add(&mut self, bytes: usize, plain_bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
        self.plain_bytes += plain_bytes as u64;
    }
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.plain_bytes += other.plain_bytes;
    }
}

/// Up to how many bytes before compression the frames of each class of [`Flow::by_size`] have; the last class
/// has all larger ones. Up to the first, none is compressed.
pub const SIZE_CLASSES: [usize; 4] = [1024, 4096, 16_384, 65_536];

/// What went one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Every frame, by its size before compression ([`SIZE_CLASSES`]).
    pub by_size: [Traffic; SIZE_CLASSES.len() + 1],
    /// Changes with their whole records, and deletes.
    pub changes: Traffic,
    /// Changes that came as the fields that changed.
    pub deltas: Traffic,
    /// Pages of snapshots.
    pub snapshots: Traffic,
    /// Batches (to the hub), or their answers (from it).
    pub batches: Traffic,
}

impl Flow {
    /// Everything.
    pub fn total(&self) -> Traffic {
        let mut total = Traffic::default();
        self.by_size.into_iter().for_each(|traffic| total += traffic);
        total
    }

    /// Counts a frame by its size.
    pub(crate) fn count(&mut self, bytes: usize, plain_bytes: usize) {
        let class = SIZE_CLASSES.iter().position(|most| plain_bytes <= *most).unwrap_or(SIZE_CLASSES.len());
        self.by_size[class].add(bytes, plain_bytes);
    }

    /// Counts a frame of the hub by its kind, too.
    pub(crate) fn received(&mut self, frame: &ServerFrame, bytes: usize, plain_bytes: usize) {
        let kind = match frame {
            ServerFrame::DataUpdate(change) if change.base_version.is_some() => &mut self.deltas,
            ServerFrame::DataUpdate(_) => &mut self.changes,
            ServerFrame::Snapshot(_) => &mut self.snapshots,
            ServerFrame::SyncResult(_) => &mut self.batches,
            _ => return,
        };
        kind.add(bytes, plain_bytes);
    }

    /// Counts a frame of the client that is a batch.
    pub(crate) fn sent_batch(&mut self, bytes: usize, plain_bytes: usize) {
        self.batches.add(bytes, plain_bytes);
    }
}

impl std::ops::AddAssign for Flow {
    fn add_assign(&mut self, other: Self) {
        self.by_size.iter_mut().zip(other.by_size).for_each(|(sum, traffic)| *sum += traffic);
        self.changes += other.changes;
        self.deltas += other.deltas;
        self.snapshots += other.snapshots;
        self.batches += other.batches;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_by_their_size_before_compression() {
        let mut flow = Flow::default();
        for (bytes, plain_bytes) in [(10, 10), (1024, 1024), (300, 1025), (20_000, 65_537)] {
            flow.count(bytes, plain_bytes);
        }
        let frames = flow.by_size.map(|traffic| traffic.frames);
        assert_eq!(frames, [2, 1, 0, 0, 1]);
        assert_eq!(flow.total(), Traffic { frames: 4, bytes: 21_334, plain_bytes: 67_596 });
        let mut twice = flow;
        twice += flow;
        assert_eq!((twice.total().bytes, twice.by_size[4].frames), (42_668, 2));
    }
}
