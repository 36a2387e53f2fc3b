//! What people and their apps write: entries of every domain, most of them sensible, some odd, some wrong.

use serde_json::{Value, json};
use synchub_protocol::Timestamp;
use uuid::Uuid;

use crate::chance::Chance;
use crate::model::Data;

/// Ids that several devices write to, for each domain.
const IDS: u128 = 3;

/// A domain and an id, few enough that people meet.
pub(crate) fn key(domains: &[&str], chance: &mut Chance) -> (String, String) {
    let domain = *chance.pick(domains);
    let id = if chance.percent(8) {
        chance.uuid()
    } else {
        Uuid::from_u128(u128::from(chance.word()) % IDS + 0x0190_0000_0000_7000_8000_0000_0000_0001)
    };
    (domain.to_owned(), id.to_string())
}

/// Fields for a record: those that a new one needs, or some.
pub(crate) fn fields(domain: &str, new: bool, chance: &mut Chance) -> Data {
    let mut data = Data::new();
    if new {
        for field in crate::model::definition(domain).required {
            data.insert((*field).to_owned(), value(domain, field, chance));
        }
    }
    let names: &[&str] = match domain {
        "ticket" => &[
            "subject",
            "status",
            "priority",
            "impact",
            "reopens",
            "escalated",
            "escalation_level",
            "ticket_history",
            "f",
            "colour",
        ],
        "task" => &["jobdesc", "jobstatus", "priority", "plandatetime", "expirydatetime", "gracetime", "f"],
        "journal" => &["content", "title", "f"],
        "attendance" => &["latitude", "longitude", "transport", "f"],
        "punch" => &["a", "f"],
        _ => &["a", "b", "f", "list"],
    };
    if chance.percent(35) {
        data.insert("f".to_owned(), value(domain, "f", chance));
    }
    for _ in 0..=chance.below(3) {
        let name = chance.pick(names);
        data.insert((*name).to_owned(), value(domain, name, chance));
    }
    data
}

fn value(domain: &str, field: &str, chance: &mut Chance) -> Value {
    if chance.percent(3) {
        return json!(null);
    }
    if chance.percent(3) {
        return json!(["wrong", -7]);
    }
    match field {
        "f" => json!(chance.below(3)),
        "status" => json!(*chance.pick(&["NEW", "OPEN", "OPEN", "INPROGRESS", "ONHOLD", "RESOLVED", "BAD"])),
        "jobstatus" => json!(*chance.pick(&["ASSIGNED", "INPROGRESS", "COMPLETED", "CANCELLED"])),
        "priority" if domain == "task" => json!(*chance.pick(&["LOW", "MEDIUM", "HIGH"])),
        "priority" => json!(*chance.pick(&["LOW", "MEDIUM", "HIGH", "CRITICAL"])),
        "plandatetime" | "expirydatetime" => {
            json!(format!("2026-01-0{}T10:00:00{}", 1 + chance.below(4), *chance.pick(&["Z", "+02:00"])))
        }
        "gracetime" | "reopens" | "escalation_level" | "impact" => json!(chance.below(5)),
        "escalated" => json!(chance.percent(50)),
        "latitude" | "longitude" => match chance.below(3) {
            0 => json!(chance.below(80)),
            1 => json!(f64::from(u32::try_from(chance.below(80)).unwrap())),
            _ => json!(0.5 + f64::from(u32::try_from(chance.below(80)).unwrap())),
        },
        "transport" => json!(*chance.pick(&["WALK", "BIKE", "CAR"])),
        "ticket_history" => {
            let n = chance.below(3);
            (0..n).map(|_| json!({"id": chance.below(6), "by": chance.below(9)})).collect()
        }
        "list" => json!([chance.below(3)]),
        _ if chance.percent(3) => json!("x".repeat(12_000 + chance.below(9))),
        _ => json!(format!("{}", chance.below(6))),
    }
}

/// An edit as an app makes it from its copy, with what waits in its outbox on top: an entry, or none where
/// the user sees nothing that could be edited.
pub(crate) fn sensible(
    (domain, id): (&str, &str),
    held: Option<(u64, &Value)>,
    pending: &[&Value],
    chance: &mut Chance,
) -> Option<Value> {
    let mut shown = held.map(|(_, data)| data.as_object().unwrap().clone());
    for entry in pending {
        if entry["operation"] == "delete" {
            return None;
        }
        shown.get_or_insert_default().extend(entry["data"].as_object()?.clone());
    }
    let version = held.map_or(0, |(version, _)| version);
    let mut entry = json!({"domain": domain, "mobile_id": id, "version": version});
    let Some(shown) = shown else {
        entry["data"] = Value::Object(fields(domain, true, chance));
        return Some(entry);
    };
    if chance.percent(12) {
        entry["operation"] = json!("delete");
        entry["data"] = json!({});
        return Some(entry);
    }
    let edited = fields(domain, false, chance);
    if !pending.is_empty() || chance.percent(50) {
        entry["delta"] = json!(true);
        entry["data"] = Value::Object(edited);
    } else {
        let mut whole = shown;
        whole.extend(edited);
        entry["data"] = Value::Object(whole);
    }
    Some(entry)
}

/// An entry that no app would send.
pub(crate) fn odd((domain, id): (&str, &str), chance: &mut Chance) -> Value {
    let new = chance.percent(50);
    let mut entry = json!({"domain": domain, "mobile_id": id, "version": chance.below(6),
        "data": fields(domain, new, chance)});
    match chance.below(8) {
        0 => entry["operation"] = json!("delete"),
        1 => entry["delta"] = json!(true),
        2 => entry["version"] = json!(1000),
        3 => entry["domain"] = json!("nowhere"),
        4 => entry["version"] = json!("three"),
        _ => {}
    }
    entry
}

/// What entries carry besides: when they were made by the device's clock, a priority.
pub(crate) fn dress(entry: &mut Value, device_us: i64, chance: &mut Chance) {
    if chance.percent(80) {
        entry["client_timestamp"] = json!(Timestamp(device_us - i64::try_from(chance.below(5)).unwrap()));
    }
    if chance.percent(15) {
        entry["priority"] = json!(*chance.pick(&["low", "normal", "high", "critical"]));
    }
}

/// A filter: none, which lets all through, or one over the field that all domains have.
pub(crate) fn filter(chance: &mut Chance) -> Value {
    match chance.below(6) {
        0 => json!({"f": chance.below(3)}),
        1 => json!({"f": [chance.below(3), chance.below(3)]}),
        2 => json!({"f": {"gte": chance.below(3)}}),
        3 => json!({"f": {"lt": chance.below(3)}}),
        _ => json!(null),
    }
}
