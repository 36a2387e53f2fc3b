//! Reads a plain `sync` frame in `MessagePack` without the detours that hold a bad one apart.
//!
//! A batch is what the hub reads most. Whatever is not plain here (a fault, an unknown key, a number where it is
//! rarely one, a bound that was met) is none of this module's business: it gives up, and the careful reader says
//! what becomes of the frame. So it accepts less, and what it accepts is what the careful reader makes of it, sizes
//! and estimates included.

mod reader;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::{Map, Number, Value};
use uuid::Uuid;

use crate::budget;
use crate::client::Sync;
use crate::codec::MAX_DEPTH;
use crate::entry::{Entry, MAX_ENTRIES, Operation, RawEntry};
use crate::loose::{container_header, negative_size, text_header, unsigned_size};
use crate::{Data, MAX_SAFE_INTEGER, Priority, Timestamp};
use reader::Reader;

/// The level of a field's value in an entry's `data`: frame, entries, entry and data are around it.
const DATA_LEVEL: usize = 4;
/// What a plain entry takes in memory at most, and a plain batch: beyond it the work is not done twice. No bound of
/// the careful reader lies below.
const ENTRY_HEAP: usize = 128 * 1024;
const BATCH_HEAP: usize = 4 * 1024 * 1024;
/// For how many entries room is made at once: what is claimed to come is not believed.
const ENTRIES_AT_ONCE: usize = 128;
const FIELDS_AT_ONCE: usize = 16;

/// Reads a frame, if it is a plain `sync`.
pub(crate) fn sync(bytes: &[u8]) -> Option<Sync> {
    let mut reader = Reader { rest: bytes };
    let mut frame = Frame::default();
    for _ in 0..reader.map()? {
        frame.field(&mut reader)?;
    }
    frame.is_sync?;
    if !reader.rest.is_empty() {
        return None;
    }
    let (id, batch_id, entries) = (frame.id?, frame.batch_id?, frame.entries?);
    let Frame { first_client_seq, atomic, cross_device, predict, client_time, .. } = frame;
    Some(Sync { id, batch_id, entries, first_client_seq, atomic, cross_device, predict, client_time })
}

/// Reads the fields of a record, if they are plain: no larger than a plain entry and of its kinds of values.
pub fn data(bytes: &[u8]) -> Option<Data> {
    let mut reader = Reader { rest: bytes };
    let data = map(&mut reader, &mut Weight::default(), DATA_LEVEL)?;
    reader.rest.is_empty().then_some(data)
}

/// The fields of a frame as they come; one that comes twice is not plain.
#[derive(Default)]
struct Frame {
    is_sync: Option<()>,
    id: Option<u64>,
    batch_id: Option<Uuid>,
    entries: Option<Vec<RawEntry>>,
    first_client_seq: Option<u64>,
    atomic: Option<bool>,
    cross_device: Option<bool>,
    predict: Option<bool>,
    client_time: Option<Timestamp>,
}

impl Frame {
    fn field(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        match reader.text()? {
            "type" => put(&mut self.is_sync, (reader.text()? == "sync").then_some(())?),
            "id" => put(&mut self.id, reader.uint()?),
            "batch_id" => put(&mut self.batch_id, Uuid::try_parse(reader.text()?).ok()?),
            "entries" => put(&mut self.entries, entries(reader)?),
            "first_client_seq" => put(&mut self.first_client_seq, reader.uint()?),
            "atomic" => put(&mut self.atomic, reader.flag()?),
            "cross_device" => put(&mut self.cross_device, reader.flag()?),
            "predict" => put(&mut self.predict, reader.flag()?),
            "client_time" => put(&mut self.client_time, reader.text()?.parse().ok()?),
            _ => None,
        }
    }
}

fn put<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

fn entries(reader: &mut Reader<'_>) -> Option<Vec<RawEntry>> {
    let count = reader.array()?;
    if count > MAX_ENTRIES {
        return None;
    }
    let mut entries = Vec::with_capacity(count.min(ENTRIES_AT_ONCE));
    let mut heap = 0;
    for _ in 0..count {
        let mut weight = Weight::default();
        let entry = entry(reader, &mut weight)?;
        heap += weight.heap;
        if heap > BATCH_HEAP {
            return None;
        }
        entries.push(RawEntry { entry: Ok(entry), size: weight.size, heap: weight.heap });
    }
    Some(entries)
}

/// The fields of an entry as they come.
#[derive(Default)]
struct Fields<'b> {
    domain: Option<&'b str>,
    mobile_id: Option<Uuid>,
    version: Option<u64>,
    operation: Option<Operation>,
    data: Option<Map<String, Value>>,
    delta: Option<bool>,
    client_timestamp: Option<Timestamp>,
    priority: Option<Priority>,
    corrects: Option<u64>,
}

fn entry(reader: &mut Reader<'_>, weight: &mut Weight) -> Option<Entry> {
    let count = reader.map()?;
    let mut fields = Fields::default();
    for index in 0..count {
        let key = counted(reader, weight)?;
        fields.field(key, reader, weight)?;
        weight.take(budget::map_field(index))?;
    }
    weight.size += container_header(count);
    let operation = fields.operation.unwrap_or_default();
    let data = match fields.data {
        None if operation == Operation::Delete => Map::new(),
        data => data?,
    };
    Some(Entry {
        domain: fields.domain?.to_owned(),
        mobile_id: fields.mobile_id?,
        version: fields.version?,
        operation,
        data: Arc::new(data),
        delta: fields.delta.unwrap_or(false),
        client_timestamp: fields.client_timestamp,
        priority: fields.priority,
        corrects: fields.corrects,
    })
}

impl<'b> Fields<'b> {
    fn field(&mut self, key: &str, reader: &mut Reader<'b>, weight: &mut Weight) -> Option<()> {
        match key {
            "domain" => put(&mut self.domain, counted(reader, weight)?),
            "mobile_id" => put(&mut self.mobile_id, Uuid::try_parse(counted(reader, weight)?).ok()?),
            "version" => put(&mut self.version, counted_uint(reader, weight)?),
            "data" => put(&mut self.data, map(reader, weight, DATA_LEVEL)?),
            "operation" => put(&mut self.operation, operation(counted(reader, weight)?)?),
            "delta" => {
                weight.size += 1;
                put(&mut self.delta, reader.flag()?)
            }
            "client_timestamp" => put(&mut self.client_timestamp, counted(reader, weight)?.parse().ok()?),
            "priority" => put(&mut self.priority, priority(counted(reader, weight)?)?),
            "corrects" => put(&mut self.corrects, counted_uint(reader, weight)?),
            _ => None,
        }
    }
}

fn operation(word: &str) -> Option<Operation> {
    match word {
        "upsert" => Some(Operation::Upsert),
        "delete" => Some(Operation::Delete),
        _ => None,
    }
}

fn priority(word: &str) -> Option<Priority> {
    match word {
        "low" => Some(Priority::Low),
        "normal" => Some(Priority::Normal),
        "high" => Some(Priority::High),
        "critical" => Some(Priority::Critical),
        _ => None,
    }
}

/// What an entry takes, as the careful reader counts it: its size in the shortest form, and memory.
#[derive(Default)]
struct Weight {
    size: usize,
    heap: usize,
}

impl Weight {
    fn take(&mut self, bytes: usize) -> Option<()> {
        self.heap += bytes;
        (self.heap <= ENTRY_HEAP).then_some(())
    }
}

fn counted<'b>(reader: &mut Reader<'b>, weight: &mut Weight) -> Option<&'b str> {
    let text = reader.text()?;
    weight.size += text.len() + text_header(text.len());
    weight.take(budget::text(text.len()))?;
    (!text.as_bytes().contains(&0)).then_some(text)
}

fn counted_uint(reader: &mut Reader<'_>, weight: &mut Weight) -> Option<u64> {
    let number = reader.uint()?;
    weight.size += unsigned_size(number);
    Some(number)
}

fn value(reader: &mut Reader<'_>, weight: &mut Weight, level: usize) -> Option<Value> {
    Some(match *reader.rest.first()? {
        0xa0..=0xbf | 0xd9..=0xdb => Value::String(counted(reader, weight)?.to_owned()),
        0x80..=0x8f | 0xde | 0xdf => Value::Object(map(reader, weight, level)?),
        0x90..=0x9f | 0xdc | 0xdd => Value::Array(array(reader, weight, level)?),
        0xc0 => {
            weight.size += 1;
            reader.skip()?;
            Value::Null
        }
        0xc2 | 0xc3 => {
            weight.size += 1;
            Value::Bool(reader.flag()?)
        }
        0xcb => float(f64::from_be_bytes(reader.marked()?), weight)?,
        0xe0..=0xff | 0xd0..=0xd3 => negative(reader.int()?, weight)?,
        _ => Value::from(counted_uint(reader, weight)?),
    })
}

/// A fraction; whole numbers written as floats are left to the careful reader.
fn float(number: f64, weight: &mut Weight) -> Option<Value> {
    weight.size += 9;
    Number::from_f64(number).filter(|_| number.fract() != 0.0).map(Value::Number)
}

fn negative(number: i64, weight: &mut Weight) -> Option<Value> {
    weight.size += negative_size(number);
    (number < 0 && number.unsigned_abs() <= MAX_SAFE_INTEGER).then(|| Value::from(number))
}

fn array(reader: &mut Reader<'_>, weight: &mut Weight, level: usize) -> Option<Vec<Value>> {
    let count = reader.array()?;
    let mut items = Vec::new();
    for _ in 0..deep_enough(count, level)? {
        items.push(value(reader, weight, level + 1)?);
        weight.take(budget::ITEM)?;
    }
    weight.size += container_header(count);
    Some(items)
}

fn map(reader: &mut Reader<'_>, weight: &mut Weight, level: usize) -> Option<Map<String, Value>> {
    let count = reader.map()?;
    let mut fields = Vec::with_capacity(count.min(FIELDS_AT_ONCE));
    for index in 0..deep_enough(count, level)? {
        let key = counted(reader, weight)?.to_owned();
        fields.push((key, value(reader, weight, level + 1)?));
        weight.take(budget::map_field(index))?;
    }
    weight.size += container_header(count);
    let map: Map<String, Value> = fields.into_iter().collect();
    // Fewer: a key stands twice.
    (map.len() == count).then_some(map)
}

/// The length of a container at this level, if it may stand there.
fn deep_enough(count: usize, level: usize) -> Option<usize> {
    (level <= MAX_DEPTH).then_some(count)
}
