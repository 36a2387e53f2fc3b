//! Reads a trace, one action a line, as a stream.
//!
//! A trace is JSON lines, plain or compressed with zstd (the file name ends in `.zst`). A line says
//! who did what, when, and which earlier line of the same record the person had seen. Nothing here
//! knows how lines depend on each other, and no more than one line is held at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use synchub_protocol::{Data, Operation};
use uuid::Uuid;

use crate::args::Replay;

/// One action of a trace. Keys that stand in the file but not here are not for sending.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Line {
    /// Milliseconds since the start of the trace.
    pub(crate) t_ms: u64,
    /// The tenant of the account.
    pub(crate) tenant: String,
    /// The user of the account.
    pub(crate) user: String,
    /// The device that acts.
    pub(crate) device: String,
    /// The unit that the account works in, where it has one.
    #[serde(default)]
    pub(crate) unit: Option<String>,
    /// The kind of record.
    pub(crate) domain: String,
    /// The record.
    pub(crate) mobile_id: Uuid,
    /// 0: creates the record; k: the person had seen the record's k-th line.
    pub(crate) base_version: u32,
    /// What is done.
    #[serde(default)]
    pub(crate) operation: Operation,
    /// Whether `data` is what was edited, not the whole record.
    #[serde(default)]
    pub(crate) delta: bool,
    /// The whole record after the action; none with a delete.
    #[serde(default)]
    pub(crate) data: Data,
}

/// How the line begins that says what a recording lacks.
const INCOMPLETE: &str = r#"{"incomplete""#;

/// The last line of a recording in which batches are missing.
#[derive(Debug, Deserialize)]
struct End {
    incomplete: Missing,
}

#[derive(Debug, Deserialize)]
struct Missing {
    lost_batches: u64,
}

/// The lines of a trace, in the order of the file.
pub(crate) struct Reader {
    lost_batches: u64,
    /// Only its lines are given.
    tenant: Option<String>,
    input: Box<dyn BufRead + Send>,
    buffer: String,
    line_no: usize,
    left: usize,
}

impl Reader {
    /// Opens a trace and stops after `limit` lines.
    pub(crate) fn open(path: &Path, limit: Option<usize>) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open the trace {}", path.display()))?;
        let input: Box<dyn Read + Send> = if path.extension().is_some_and(|extension| extension == "zst") {
            let decoder = zstd::Decoder::new(file)
                .with_context(|| format!("{} cannot be read as zstd", path.display()))?;
            Box::new(decoder)
        } else {
            Box::new(file)
        };
        Ok(Self::new(Box::new(BufReader::new(input)), limit))
    }

    /// Opens the trace of a replay.
    pub(crate) fn of(args: &Replay) -> Result<Self> {
        Ok(Self { tenant: args.tenant.clone(), ..Self::open(&args.file, args.lines)? })
    }

    /// How many batches the trace says that its recorder lost, as far as it was read.
    pub(crate) fn lost_batches(&self) -> u64 {
        self.lost_batches
    }

    fn new(input: Box<dyn BufRead + Send>, limit: Option<usize>) -> Self {
        Self {
            lost_batches: 0,
            tenant: None,
            input,
            buffer: String::new(),
            line_no: 0,
            left: limit.unwrap_or(usize::MAX),
        }
    }

    fn read(&mut self) -> Result<Option<Line>> {
        loop {
            self.buffer.clear();
            self.line_no += 1;
            let line_no = self.line_no;
            let read = self.input.read_line(&mut self.buffer);
            if read.with_context(|| format!("line {line_no} of the trace cannot be read"))? == 0 {
                return Ok(None);
            }
            let place = || format!("line {line_no} of the trace");
            if self.buffer.starts_with(INCOMPLETE) {
                let End { incomplete } = serde_json::from_str(&self.buffer).with_context(place)?;
                self.lost_batches += incomplete.lost_batches;
            } else if !self.buffer.trim().is_empty() {
                let line = parse(&self.buffer).with_context(place)?;
                if self.tenant.as_ref().is_none_or(|tenant| *tenant == line.tenant) {
                    return Ok(Some(line));
                }
            }
        }
    }
}

fn parse(text: &str) -> Result<Line> {
    let line: Line = serde_json::from_str(text).context("not an action; see the README beside the traces")?;
    if line.operation == Operation::Upsert && line.data.is_empty() {
        bail!("`data` is empty; it holds the whole record after the action");
    }
    Ok(line)
}

impl Iterator for Reader {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.read().transpose()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A line of tenant `t` about record `record`, seen up to its line `base`.
    pub(crate) fn line(user: &str, device: &str, record: u128, base: u32) -> Line {
        let text = format!(
            r#"{{"t_ms":5,"tenant":"t","user":"{user}","device":"{device}","domain":"ticket","mobile_id":"{}",
            "base_version":{base},"data":{{"status":"NEW"}},"src":{{"row":2}},"synth":true}}"#,
            Uuid::from_u128(record)
        );
        parse(&text).unwrap()
    }

    fn read_all(text: &'static str, limit: Option<usize>) -> Vec<Result<Line>> {
        Reader::new(Box::new(text.as_bytes()), limit).collect()
    }

    const TWO: &str = r#"{"t_ms":1,"tenant":"t","user":"u","device":"d","domain":"ticket","mobile_id":"00000000-0000-0000-0000-000000000001","base_version":0,"data":{"a":1}}

{"t_ms":2,"tenant":"t","user":"u","device":"d","unit":"north","domain":"ticket","mobile_id":"00000000-0000-0000-0000-000000000001","base_version":1,"operation":"delete"}
"#;

    #[test]
    fn a_line_is_read_and_what_is_not_for_sending_is_left() {
        let lines: Vec<Line> = read_all(TWO, None).into_iter().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].base_version, lines[0].data["a"].as_u64()), (0, Some(1)));
        assert_eq!((lines[1].operation, lines[1].unit.as_deref()), (Operation::Delete, Some("north")));
        assert_eq!(line("u", "d", 7, 3).mobile_id, Uuid::from_u128(7));
    }

    #[test]
    fn a_recording_says_what_it_lacks() {
        let text = TWO.to_owned() + r#"{"incomplete":{"lost_batches":3}}"#;
        let mut reader = Reader::new(Box::new(text.leak().as_bytes()), None);
        assert_eq!(reader.by_ref().map(Result::unwrap).count(), 2);
        assert_eq!(reader.lost_batches(), 3);
        assert!(read_all(r#"{"incomplete":{}}"#, None)[0].is_err());
    }

    #[test]
    fn lines_of_other_tenants_are_left_out() {
        let of = |tenant: &str| {
            let mut reader = Reader::new(Box::new(TWO.as_bytes()), None);
            reader.tenant = Some(tenant.to_owned());
            reader.count()
        };
        assert_eq!((of("t"), of("other")), (2, 0));
    }

    #[test]
    fn the_limit_counts_lines() {
        assert_eq!(read_all(TWO, Some(1)).len(), 1);
        assert_eq!(read_all(TWO, Some(0)).len(), 0);
    }

    #[test]
    fn a_bad_line_is_named() {
        let all = read_all("\n{\"t_ms\":1}\n", None);
        let message = format!("{:#}", all[0].as_ref().unwrap_err());
        assert!(message.contains("line 2") && message.contains("tenant"), "{message}");
        let empty = TWO.replace("{\"a\":1}", "{}");
        assert!(parse(empty.lines().next().unwrap()).is_err());
    }

    #[test]
    fn a_compressed_trace_reads_like_a_plain_one() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, packed) = (folder.path().join("t.jsonl"), folder.path().join("t.jsonl.zst"));
        std::fs::write(&plain, TWO).unwrap();
        std::fs::write(&packed, zstd::encode_all(TWO.as_bytes(), 3).unwrap()).unwrap();
        let read = |path| Reader::open(path, None).unwrap().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(read(&plain), read(&packed));
        assert!(Reader::open(&folder.path().join("none"), None).is_err());
    }

    fn shipped(path: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("traces").join(path)
    }

    #[test]
    fn the_desks_own_ticket_allows_every_status_change_of_the_shipped_trace() {
        let text = std::fs::read_to_string(shipped("domains/ticket.toml")).unwrap();
        let workflow = toml::from_str::<toml::Table>(&text).unwrap().remove("workflow").unwrap();
        let names = |value: Option<&toml::Value>| -> Vec<String> {
            let names = value.and_then(toml::Value::as_array).cloned().unwrap_or_default();
            names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let mut stands: std::collections::HashMap<Uuid, String> = std::collections::HashMap::new();
        for line in Reader::open(&shipped("incidents-a-lag8h.jsonl.zst"), None).unwrap() {
            let line = line.unwrap();
            let to = line.data["status"].as_str().unwrap().to_owned();
            let (from, allowed) = match stands.insert(line.mobile_id, to.clone()) {
                Some(from) if from == to => continue,
                Some(from) => (from.clone(), names(workflow["transitions"].get(&from))),
                None => ("nothing".to_owned(), names(workflow.get("initial"))),
            };
            assert!(allowed.contains(&to), "{from} to {to} is not allowed, only {allowed:?}");
        }
        assert_eq!(stands.len(), 9910);
    }
}
