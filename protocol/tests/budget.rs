//! What people send passes the bounds on memory; what only hostile peers send is that entry's own
//! `too_large`, in both encodings.

use serde_json::{Value, json};
use synchub_protocol::{ClientFrame, Encoding, FaultKind, RawEntry, codec};
use uuid::Uuid;

const ENTRY_BYTES: usize = 64 * 1024;

/// The entries of a batch as they come out of both encodings.
fn decoded(entries: &[Value]) -> [Vec<RawEntry>; 2] {
    let frame = json!({"type": "sync", "id": 1, "batch_id": Uuid::nil(), "entries": entries});
    [Encoding::MessagePack, Encoding::Json].map(|encoding| {
        match codec::decode_client(encoding, &encoding.encode(&frame)) {
            Ok(ClientFrame::Sync(sync)) => sync.entries,
            other => panic!("{other:?}"),
        }
    })
}

fn entry(n: usize, data: &Value) -> Value {
    json!({"data": data, "domain": "ticket", "mobile_id": Uuid::from_u128(n as u128), "version": 1})
}

/// As many of an item as an entry of the usual limit holds.
fn filled(item: &Value) -> Value {
    let count = (ENTRY_BYTES - 200) / Encoding::MessagePack.encode(item).len();
    json!({"list": vec![item; count]})
}

fn ticket(n: usize) -> Value {
    json!({
        "subject": format!("Printer {n} on floor 3 does not print"), "status": "WIP", "priority": "HIGH",
        "description": "It says that there is no paper, but there is. ".repeat(n % 20), "group": "north",
        "tags": ["printer", "paper", "floor 3"], "due": "2026-03-04T05:06:07Z", "minutes": n,
        "checklist": (0..12).map(|n| json!({"done": n % 2 == 0, "text": format!("step {n}")})).collect::<Vec<_>>(),
    })
}

#[test]
fn what_people_send_passes() {
    let batch: Vec<_> = (0..1000).map(|n| entry(n, &ticket(n))).collect();
    for entries in decoded(&batch) {
        assert_eq!(entries.len(), 1000);
        assert!(entries.iter().all(|raw| raw.entry.is_ok()));
    }
    let shapes = [
        filled(&json!("a word or two")),
        filled(&json!(0.125)),
        filled(&json!(20_000)),
        filled(&json!({"name": "a field", "value": 1234, "unit": "millimetres", "note": "measured twice"})),
        filled(&json!([1.5, 2.5, 3.5])),
        json!({"text": "x".repeat(ENTRY_BYTES - 200)}),
        json!({"numbers": vec![7; 1500], "flags": vec![true; 400]}),
        json!({"steps": vec![json!({"n": 1, "ok": true}); 80]}),
        (0..30).fold(json!({}), |inner, _| json!({"in": inner})),
        Value::Object((0..500).map(|n| (format!("field {n}"), json!(n))).collect()),
    ];
    for data in &shapes {
        // The entry nests one level more.
        let data = if data.get("in").is_some() { data["in"]["in"]["in"].clone() } else { data.clone() };
        for entries in decoded(&[entry(1, &data)]) {
            assert!(entries[0].entry.is_ok(), "{:.200}: {:.200?}", data.to_string(), entries[0].entry);
        }
    }
}

#[test]
fn an_entry_of_too_many_small_values_is_too_large_and_harms_no_other() {
    for item in [json!({"a": 1}), json!(1), json!([[]]), json!({"": {"": 0}})] {
        let batch = [entry(1, &ticket(1)), entry(2, &filled(&item)), entry(3, &ticket(3))];
        for entries in decoded(&batch) {
            let fault = entries[1].entry.clone().unwrap_err();
            assert_eq!((fault.kind, fault.mobile_id), (FaultKind::TooLarge, Some(Uuid::from_u128(2))));
            assert_eq!(fault.domain.as_deref(), Some("ticket"));
            assert_eq!(fault.partial, json!({"domain": "ticket", "mobile_id": Uuid::from_u128(2)}));
            assert!(entries[0].entry.is_ok() && entries[2].entry.is_ok() && entries.len() == 3);
        }
    }
}

#[test]
fn a_batch_of_too_many_small_values_ends_where_that_shows() {
    let data = json!({"list": vec![json!({"a": 1}); 90]});
    let batch: Vec<_> = (0..900).map(|n| entry(n, &data)).collect();
    let [packed, text] = decoded(&batch);
    assert_eq!(packed.len(), text.len(), "the bound is the same in both encodings");
    assert!(packed.len() < 900);
    let (last, rest) = packed.split_last().unwrap();
    assert_eq!(last.entry.as_ref().unwrap_err().kind, FaultKind::BatchTooLarge);
    assert!(rest.iter().all(|raw| raw.entry.is_ok()));
}
