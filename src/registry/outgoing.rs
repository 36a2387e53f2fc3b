//! A log row on its way out: encoded once for each encoding and delivery, shared by all receivers.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use synchub_protocol::server::{Change, ChangeOperation};
use synchub_protocol::{Data, Encoding, ServerFrame, Timestamp};
use synchub_rules::record::{LogRow, RowKind};
use synchub_rules::route::Delivery;

/// A log row with its frames, made when somebody first needs them (invariant 10).
#[derive(Debug)]
pub struct Outgoing {
    /// The row.
    pub row: Arc<LogRow>,
    /// About how many bytes it keeps in memory.
    pub weight: usize,
    frames: [OnceLock<Bytes>; 6],
}

impl Outgoing {
    /// Wraps a row; nothing is encoded yet.
    pub fn new(row: Arc<LogRow>) -> Self {
        let weight = 256 + row.after.as_ref().map_or(0, |view| weigh(&view.data)) + weigh(&row.old);
        Self { row, weight, frames: Default::default() }
    }

    /// The frame that brings the row to a receiver. No field of it depends on the receiver.
    pub fn frame(&self, delivery: Delivery, encoding: Encoding) -> Bytes {
        let slot = 2 * delivery as usize + usize::from(encoding == Encoding::Json);
        self.frames[slot].get_or_init(|| encoding.encode(&self.change(delivery))).clone()
    }

    fn change(&self, delivery: Delivery) -> ServerFrame {
        let row = &self.row;
        let operation = match (delivery, row.kind) {
            (Delivery::Upsert, RowKind::Create) => ChangeOperation::Create,
            (Delivery::Upsert, _) => ChangeOperation::Update,
            (Delivery::Delete, _) => ChangeOperation::Delete,
            (Delivery::Remove, _) => ChangeOperation::Remove,
        };
        let upsert = delivery == Delivery::Upsert;
        ServerFrame::DataUpdate(Change {
            domain: row.domain_name.to_string(),
            operation,
            mobile_id: row.key,
            version: row.version,
            data: row.after.as_ref().filter(|_| upsert).map(|view| wrong_on_purpose(&view.data)),
            changed: (upsert && row.before.is_some()).then(|| row.old.keys().cloned().collect()),
            priority: row.priority,
            origin: (*row.origin).clone(),
            server_timestamp: Timestamp(row.time_us),
        })
    }
}

/// Sends wrong data under a right version when a test asks for it, to prove that the lie is found.
fn wrong_on_purpose(data: &Arc<Data>) -> Arc<Data> {
    fail::fail_point!("feed::wrong_data", |_| {
        let mut wrong = (**data).clone();
        wrong.insert("lie".to_owned(), true.into());
        Arc::new(wrong)
    });
    Arc::clone(data)
}

/// About how many bytes a map of fields takes.
fn weigh(data: &Data) -> usize {
    data.iter().map(|(key, value)| 64 + key.len() + weigh_value(value)).sum()
}

fn weigh_value(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => text.len(),
        serde_json::Value::Array(items) => items.iter().map(|item| 32 + weigh_value(item)).sum(),
        serde_json::Value::Object(map) => weigh(map),
        _ => 0,
    }
}
