//! Reads a plain `sync` frame in `MessagePack` without the detours that hold a bad one apart.
//!
//! A batch is what the hub reads most. Whatever is not plain here (a fault, an unknown key, a number where it is
//! rarely one, a bound that was met) is none of this module's business: it gives up, and the careful reader says
//! what becomes of the frame. So it accepts less, and what it accepts is what the careful reader makes of it, sizes
//! and estimates included.

use serde::de::Visitor;
use serde::de::value::Error;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::budget::{self, Bound};
use crate::client::Sync;
use crate::codec::MAX_DEPTH;
use crate::entry::{Entry, MAX_ENTRIES, Operation, RawEntry};
use crate::loose::{Loose, Notes, container_header};
use crate::{MAX_SAFE_INTEGER, Priority, Timestamp};

/// The level of a field's value in an entry's `data`: frame, entries, entry and data are around it.
const DATA_LEVEL: usize = 4;
/// What a plain entry takes in memory at most, and a plain batch: beyond it the work is not done twice.
const ENTRY_HEAP: usize = 128 * 1024;
const BATCH_HEAP: usize = 4 * 1024 * 1024;
/// For how many entries room is made at once: what is claimed to come is not believed.
const ENTRIES_AT_ONCE: usize = 128;

/// Reads a frame whose first key is `type`, if it is a plain `sync`.
pub(crate) fn sync(bytes: &[u8]) -> Option<Sync> {
    let mut reader = Reader { rest: bytes };
    let fields = reader.map()?;
    if fields == 0 || reader.text()? != "type" || reader.text()? != "sync" {
        return None;
    }
    let mut frame = Frame::default();
    for _ in 1..fields {
        frame.field(&mut reader)?;
    }
    if !reader.rest.is_empty() {
        return None;
    }
    let (id, batch_id, entries) = (frame.id?, frame.batch_id?, frame.entries?);
    let Frame { first_client_seq, atomic, cross_device, predict, client_time, .. } = frame;
    Some(Sync { id, batch_id, entries, first_client_seq, atomic, cross_device, predict, client_time })
}

/// The fields of a frame as they come; one that comes twice is not plain.
#[derive(Default)]
struct Frame {
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
    let (mut packed, mut heap) = (0, 0);
    for _ in 0..count {
        let notes = Notes::bounded(Bound::entry_behind(packed, heap));
        let entry = entry(reader, &notes)?;
        if !notes.is_sound() || heap > BATCH_HEAP {
            return None;
        }
        let raw = RawEntry { entry: Ok(entry), size: notes.size(), heap: notes.heap() };
        (packed, heap) = (packed + raw.size, heap + raw.heap);
        entries.push(raw);
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

fn entry(reader: &mut Reader<'_>, notes: &Notes) -> Option<Entry> {
    let count = reader.map()?;
    let mut fields = Fields::default();
    for index in 0..count {
        let key = noted(reader, notes)?;
        fields.field(key, reader, notes)?;
        take(notes, budget::map_field(index))?;
    }
    notes.weigh(container_header(count));
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
        data,
        delta: fields.delta.unwrap_or(false),
        client_timestamp: fields.client_timestamp,
        priority: fields.priority,
        corrects: fields.corrects,
    })
}

impl<'b> Fields<'b> {
    fn field(&mut self, key: &str, reader: &mut Reader<'b>, notes: &Notes) -> Option<()> {
        match key {
            "domain" => put(&mut self.domain, noted(reader, notes)?),
            "mobile_id" => put(&mut self.mobile_id, Uuid::try_parse(noted(reader, notes)?).ok()?),
            "version" => put(&mut self.version, noted_uint(reader, notes)?),
            "data" => put(&mut self.data, map(reader, notes, DATA_LEVEL)?),
            "operation" => put(&mut self.operation, operation(noted(reader, notes)?)?),
            "delta" => {
                notes.weigh(1);
                put(&mut self.delta, reader.flag()?)
            }
            "client_timestamp" => put(&mut self.client_timestamp, noted(reader, notes)?.parse().ok()?),
            "priority" => put(&mut self.priority, priority(noted(reader, notes)?)?),
            "corrects" => put(&mut self.corrects, noted_uint(reader, notes)?),
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

/// A text that counts, as the careful reader counts it.
fn noted<'b>(reader: &mut Reader<'b>, notes: &Notes) -> Option<&'b str> {
    let text = reader.text()?;
    notes.weigh_text(text.len());
    take(notes, budget::text(text.len()))?;
    (!text.contains('\0')).then_some(text)
}

/// Takes memory, within what is plain.
fn take(notes: &Notes, bytes: usize) -> Option<()> {
    (notes.take(bytes) && notes.heap() <= ENTRY_HEAP).then_some(())
}

fn noted_uint(reader: &mut Reader<'_>, notes: &Notes) -> Option<u64> {
    let number = reader.uint()?;
    Loose(notes).visit_u64::<Error>(number).ok()?;
    Some(number)
}

fn value(reader: &mut Reader<'_>, notes: &Notes, level: usize) -> Option<Value> {
    let loose = Loose(notes);
    let read: Result<Value, Error> = match *reader.rest.first()? {
        0x80..=0x8f | 0xde | 0xdf => return map(reader, notes, level).map(Value::Object),
        0x90..=0x9f | 0xdc | 0xdd => return array(reader, notes, level).map(Value::Array),
        0xa0..=0xbf | 0xd9..=0xdb => return noted(reader, notes).map(|text| Value::String(text.to_owned())),
        0xc0 => {
            reader.skip()?;
            loose.visit_unit()
        }
        0xc2 | 0xc3 => loose.visit_bool(reader.flag()?),
        0xca => loose.visit_f32(f32::from_be_bytes(reader.marked()?)),
        0xcb => loose.visit_f64(f64::from_be_bytes(reader.marked()?)),
        0xe0..=0xff | 0xd0..=0xd3 => loose.visit_i64(reader.int()?),
        _ => loose.visit_u64(reader.any_uint()?),
    };
    read.ok().filter(|_| notes.is_sound())
}

fn array(reader: &mut Reader<'_>, notes: &Notes, level: usize) -> Option<Vec<Value>> {
    let count = reader.array()?;
    let mut items = Vec::new();
    for _ in 0..deep_enough(count, level)? {
        items.push(value(reader, notes, level + 1)?);
        take(notes, budget::ITEM)?;
    }
    notes.weigh(container_header(count));
    Some(items)
}

fn map(reader: &mut Reader<'_>, notes: &Notes, level: usize) -> Option<Map<String, Value>> {
    let count = reader.map()?;
    let mut fields = Vec::new();
    for index in 0..deep_enough(count, level)? {
        let key = noted(reader, notes)?.to_owned();
        fields.push((key, value(reader, notes, level + 1)?));
        take(notes, budget::map_field(index))?;
    }
    notes.weigh(container_header(count));
    let map: Map<String, Value> = fields.into_iter().collect();
    // Fewer: a key stands twice.
    (map.len() == count).then_some(map)
}

/// The length of a container at this level, if it may stand there.
fn deep_enough(count: usize, level: usize) -> Option<usize> {
    (level <= MAX_DEPTH).then_some(count)
}

/// What is left of a message.
struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    fn bytes(&mut self, count: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    fn skip(&mut self) -> Option<()> {
        self.byte().map(drop)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    /// A number of fixed size behind its marker.
    fn marked<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.skip()?;
        self.number()
    }

    fn length(&mut self, width: usize) -> Option<usize> {
        self.bytes(width).map(|bytes| bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn text(&mut self) -> Option<&'b str> {
        let length = match self.byte()? {
            marker @ 0xa0..=0xbf => usize::from(marker & 0x1f),
            0xd9 => self.length(1)?,
            0xda => self.length(2)?,
            0xdb => self.length(4)?,
            _ => return None,
        };
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    fn map(&mut self) -> Option<usize> {
        match self.byte()? {
            marker @ 0x80..=0x8f => Some(usize::from(marker & 0x0f)),
            0xde => self.length(2),
            0xdf => self.length(4),
            _ => None,
        }
    }

    fn array(&mut self) -> Option<usize> {
        match self.byte()? {
            marker @ 0x90..=0x9f => Some(usize::from(marker & 0x0f)),
            0xdc => self.length(2),
            0xdd => self.length(4),
            _ => None,
        }
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0xc2 => Some(false),
            0xc3 => Some(true),
            _ => None,
        }
    }

    /// A count or a number of an entry.
    fn uint(&mut self) -> Option<u64> {
        self.any_uint().filter(|number| *number <= MAX_SAFE_INTEGER)
    }

    fn any_uint(&mut self) -> Option<u64> {
        match self.byte()? {
            marker @ 0x00..=0x7f => Some(u64::from(marker)),
            0xcc => self.number().map(u8::from_be_bytes).map(u64::from),
            0xcd => self.number().map(u16::from_be_bytes).map(u64::from),
            0xce => self.number().map(u32::from_be_bytes).map(u64::from),
            0xcf => self.number().map(u64::from_be_bytes),
            _ => None,
        }
    }

    fn int(&mut self) -> Option<i64> {
        match self.byte()? {
            marker @ 0xe0..=0xff => Some(i64::from(marker.cast_signed())),
            0xd0 => self.number().map(i8::from_be_bytes).map(i64::from),
            0xd1 => self.number().map(i16::from_be_bytes).map(i64::from),
            0xd2 => self.number().map(i32::from_be_bytes).map(i64::from),
            0xd3 => self.number().map(i64::from_be_bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ClientFrame;
    use crate::codec::{Encoding, decode_carefully};

    /// A plain frame is read, and read as the careful reader reads it.
    fn assert_plain(bytes: &[u8]) {
        let plain = sync(bytes).expect("it is plain");
        let Ok(ClientFrame::Sync(careful)) = decode_carefully(Encoding::MessagePack, bytes) else { panic!() };
        let sizes =
            |frame: &Sync| -> Vec<_> { frame.entries.iter().map(|raw| (raw.size, raw.heap)).collect() };
        assert_eq!((sizes(&plain), plain), (sizes(&careful), careful));
    }

    fn frame(data: &Value) -> Vec<u8> {
        let id = "550e8400-e29b-41d4-a716-446655440000";
        let entry = json!({"domain": "task", "mobile_id": id, "version": 3, "data": data});
        // The keys come sorted: `type` has to come first.
        let rest = json!({"batch_id": id, "entries": [entry, entry], "id": 300, "atomic": true});
        let mut bytes = vec![0x85];
        bytes.extend(rmp_serde::to_vec("type").unwrap());
        bytes.extend(rmp_serde::to_vec("sync").unwrap());
        bytes.extend(&rmp_serde::to_vec(&rest).unwrap()[1..]);
        bytes
    }

    #[test]
    fn a_plain_batch_is_read_as_by_the_careful_reader() {
        let long = "x".repeat(70_000);
        assert_plain(&frame(&json!({})));
        assert_plain(&frame(&json!({
            "n": null, "t": true, "f": false, "text": "é", "long": long, "float": 1.5, "whole": 3.0,
            "small": -5, "large": -9_007_199_254_740_991_i64, "max": 9_007_199_254_740_991_u64, "byte": 200,
            "list": [1, [2, {"a": {}}]], "words": vec!["w"; 40], "map": {"b": 1, "a": [null]},
        })));
    }

    #[test]
    fn as_deep_as_the_careful_reader_goes_and_no_deeper() {
        let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert_plain(&frame(&json!({"deep": nested(MAX_DEPTH - DATA_LEVEL)})));
        let deeper = frame(&json!({"deep": nested(MAX_DEPTH - DATA_LEVEL + 1)}));
        assert_eq!(sync(&deeper), None);
        assert!(decode_carefully(Encoding::MessagePack, &deeper).is_err());
    }

    proptest::proptest! {
        /// Any byte of a plain frame changed: what is still plain is what the careful reader makes of it.
        #[test]
        fn whatever_is_plain_is_read_as_by_the_careful_reader(at in 0..400_usize, byte: u8, more: u8) {
            let mut bytes = frame(&json!({
                "n": null, "t": true, "text": "words", "float": 1.5, "single": 0, "small": -5, "large": -70_000,
                "max": 9_007_199_254_740_991_u64, "byte": 200, "list": [1, [2, {"a": {}}]], "map": {"b": 1, "a": []},
            }));
            let places = bytes.len();
            bytes[at % places] = byte;
            bytes[(at * 7 + 3) % places] ^= more & 1;
            if sync(&bytes).is_some() {
                assert_plain(&bytes);
            }
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_careful_reader() {
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        let many = json!({"many": vec![json!({"a": 1}); 2000]});
        for data in [json!({"big": 1_u64 << 60}), json!({"nul": "\0"}), deep, json!({"deep": many})] {
            assert!(sync(&frame(&data)).is_none(), "{}", data.to_string().get(..40).unwrap_or("short"));
        }
        let whole = frame(&json!({"a": 1}));
        for length in 0..whole.len() {
            assert_eq!(sync(&whole[..length]), None, "{length}");
        }
        assert_eq!(sync(&[&whole[..], &[0xc0]].concat()), None, "bytes follow");
        let twice: Vec<u8> = [&[0x82, 0xa1, b'a', 1, 0xa1, b'a', 2][..]].concat();
        let at = whole.windows(4).position(|bytes| bytes == [0x81, 0xa1, b'a', 1]).unwrap();
        assert_eq!(sync(&[&whole[..at], &twice, &whole[at + 4..]].concat()), None, "a key stands twice");
    }
}
