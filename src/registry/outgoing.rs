//! A log row on its way out: encoded once for each encoding and delivery, shared by all receivers.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use synchub_protocol::server::{Change, ChangeOperation};
use synchub_protocol::{Data, Encoding, ServerFrame, Timestamp, gzip};
use synchub_rules::record::{LogRow, RowKind, weight};
use synchub_rules::route::Delivery;

/// A log row with its frames, made when somebody first needs them (invariant 10).
#[derive(Debug)]
pub struct Outgoing {
    /// The row.
    pub row: Arc<LogRow>,
    /// About how many bytes it keeps in memory.
    pub weight: usize,
    frames: [OnceLock<Bytes>; 6],
    /// The compressed frames of an upsert; none where that does not pay. Others are never large.
    compressed: [OnceLock<Option<Bytes>>; 2],
}

impl Outgoing {
    /// Wraps a row; nothing is encoded yet.
    pub fn new(row: Arc<LogRow>) -> Self {
        let weight = 336 + row.after.as_ref().map_or(0, |view| weight(&view.data)) + weight(&row.old);
        Self { row, weight, frames: Default::default(), compressed: Default::default() }
    }

    /// The frame that brings the row to a receiver, compressed for who takes that and where it pays. No
    /// field of it depends on the receiver.
    pub fn frame(&self, delivery: Delivery, encoding: Encoding, compressed: bool) -> Bytes {
        let plain = self.plain(delivery, encoding);
        if !compressed || delivery != Delivery::Upsert {
            return plain;
        }
        let slot = &self.compressed[usize::from(encoding == Encoding::Json)];
        slot.get_or_init(|| gzip::deflate(&plain)).clone().unwrap_or(plain)
    }

    fn plain(&self, delivery: Delivery, encoding: Encoding) -> Bytes {
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use synchub_protocol::server::Origin;
    use synchub_protocol::{Data, Priority};
    use synchub_rules::record::{Scope, View};
    use uuid::Uuid;

    use super::*;

    impl Outgoing {
        /// A row that weighs this much.
        pub(crate) fn sample(seq: u64, weight: usize) -> Arc<Self> {
            Arc::new(Self { weight, ..Self::new(Arc::new(LogRow { seq, ..row() })) })
        }
    }

    fn row() -> LogRow {
        let data: Data = serde_json::from_value(json!({"subject": "fire", "status": "NEW"})).unwrap();
        let view = View { data: Arc::new(data), scope: Scope::Tenant };
        LogRow {
            seq: 1,
            time_us: 1,
            scope: Scope::Tenant,
            kind: RowKind::Update,
            domain: 1,
            domain_name: "ticket".into(),
            record: 1,
            key: Uuid::nil(),
            version: 2,
            prev: 0,
            origin: Arc::new(Origin { user: "alice".to_owned(), device: None }),
            priority: Priority::Normal,
            install: 0,
            old: Data::new(),
            before: Some(view.clone()),
            after: Some(view),
        }
    }

    #[test]
    fn inv10_a_change_is_encoded_once_for_each_encoding_and_delivery() {
        let outgoing = Outgoing::new(Arc::new(row()));
        assert!(outgoing.frames.iter().all(|frame| frame.get().is_none()), "not before somebody needs it");
        let mut places = Vec::new();
        for delivery in [Delivery::Upsert, Delivery::Remove, Delivery::Delete] {
            for encoding in [Encoding::Json, Encoding::MessagePack] {
                let frame = outgoing.frame(delivery, encoding, false);
                assert_eq!(
                    frame.as_ptr(),
                    outgoing.frame(delivery, encoding, true).as_ptr(),
                    "the same bytes"
                );
                places.push(frame.as_ptr());
            }
        }
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 6);
    }

    #[test]
    fn inv10_a_large_change_is_compressed_once_for_each_encoding() {
        let data: Data = serde_json::from_value(json!({"subject": "fire ".repeat(300)})).unwrap();
        let view = View { data: Arc::new(data), scope: Scope::Tenant };
        let outgoing = Outgoing::new(Arc::new(LogRow { after: Some(view), ..row() }));
        for encoding in [Encoding::Json, Encoding::MessagePack] {
            let frame = outgoing.frame(Delivery::Upsert, encoding, true);
            assert!(gzip::is_gzip(&frame), "small enough to pay");
            assert_eq!(frame.as_ptr(), outgoing.frame(Delivery::Upsert, encoding, true).as_ptr());
            let plain = outgoing.frame(Delivery::Upsert, encoding, false);
            assert_eq!(gzip::inflate(&frame, plain.len()).unwrap(), plain);
        }
    }
}
