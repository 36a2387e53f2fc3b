//! The file of a recording: JSON lines, compressed with zstd where its name ends in `.zst`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use serde::Serialize;
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::lines::Lines;
use super::{Took, Waiting};

/// The level of compression: quick.
const LEVEL: i32 = 3;
/// Nobody but the hub's user reads what users wrote.
const MODE: u32 = 0o600;

/// An open file.
pub(super) enum TraceFile {
    Plain(BufWriter<File>),
    Packed(zstd::Encoder<'static, BufWriter<File>>),
}

/// The last line of a file in which something is missing.
#[derive(Serialize)]
struct End {
    incomplete: Missing,
}

#[derive(Serialize)]
struct Missing {
    lost_batches: u64,
}

impl TraceFile {
    /// Creates a file; one that exists is not touched.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
        let file = BufWriter::new(file);
        if path.extension().is_some_and(|extension| extension == "zst") {
            return Ok(Self::Packed(zstd::Encoder::new(file, LEVEL)?));
        }
        Ok(Self::Plain(file))
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        match self {
            Self::Plain(file) => file.write_all(&text),
            Self::Packed(file) => file.write_all(&text),
        }
    }

    /// What a plain file holds is readable up to here, whatever comes; a packed one only when it is finished.
    fn rest(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Packed(_) => Ok(()),
        }
    }

    fn finish(self) -> io::Result<()> {
        let file = match self {
            Self::Plain(file) => file,
            Self::Packed(file) => file.finish()?,
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

/// Writes what comes until nothing can come any more, then completes the file. Blocks.
pub(super) fn write(mut queue: Receiver<Took>, mut lines: Lines, file: TraceFile, waiting: &Waiting) {
    let written = write_all(&mut queue, &mut lines, file, waiting);
    let (count, left_out) = lines.counts();
    let lost_batches = waiting.lost_batches.load(Ordering::Relaxed);
    match written {
        Ok(()) => tracing::info!(lines = count, left_out, lost_batches, "the recording is complete"),
        Err(error) => {
            tracing::error!(%error, lines = count, "the recording cannot be written any more; it ends here");
        }
    }
}

fn write_all(
    queue: &mut Receiver<Took>,
    lines: &mut Lines,
    mut file: TraceFile,
    waiting: &Waiting,
) -> io::Result<()> {
    while let Some(took) = next(queue, &mut file)? {
        for line in lines.of(&took) {
            file.line(&line)?;
        }
        waiting.bytes.fetch_sub(took.bytes, Ordering::Relaxed);
    }
    let lost_batches = waiting.lost_batches.load(Ordering::Relaxed);
    if lost_batches > 0 {
        file.line(&End { incomplete: Missing { lost_batches } })?;
    }
    file.finish()
}

fn next(queue: &mut Receiver<Took>, file: &mut TraceFile) -> io::Result<Option<Took>> {
    match queue.try_recv() {
        Ok(took) => Ok(Some(took)),
        Err(TryRecvError::Disconnected) => Ok(None),
        Err(TryRecvError::Empty) => {
            file.rest()?;
            Ok(queue.blocking_recv())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use synchub_rules::group::Submission;

    use super::super::{Mask, Names, Running, WAITING_BYTES};
    use super::*;
    use crate::entropy::SeededEntropy;

    fn took(bytes: usize) -> Took {
        let batches: Vec<Submission> = Vec::new();
        Took { tenant: 1, batches: Arc::new(batches), outcomes: Vec::new(), after: Vec::new(), bytes }
    }

    /// What stands in the file when so many bytes were handed over to a writer that was held up.
    fn written(name: &str, groups: &[usize], room: usize) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let file = TraceFile::create(&path).unwrap();
        let (queue, waits) = tokio::sync::mpsc::channel(room);
        let running = Running { queue, waiting: Arc::default() };
        for bytes in groups {
            running.hand_over(took(*bytes), 2);
        }
        let waiting = Arc::clone(&running.waiting);
        drop(running);
        let mask = Some(Mask::new(&*SeededEntropy::new(1)));
        write(waits, Lines::new(Names::asked(), mask), file, &waiting);
        std::fs::read(path).unwrap()
    }

    #[test]
    fn what_was_lost_is_said_at_the_end_of_the_file() {
        assert_eq!(written("t.jsonl", &[10, 10], 2), b"");
        let end = b"{\"incomplete\":{\"lost_batches\":2}}\n";
        assert_eq!(written("t.jsonl", &[10, 10], 1), end);
        assert_eq!(written("t.jsonl", &[WAITING_BYTES, 1], 9), end, "no room in memory");
        let packed = written("t.jsonl.zst", &[10, 10], 1);
        assert_eq!(zstd::decode_all(packed.as_slice()).unwrap(), end);
    }

    #[test]
    fn a_file_that_exists_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl");
        std::fs::write(&path, "dear").unwrap();
        assert!(TraceFile::create(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"dear");
    }
}
