//! A log row on its way out: encoded once for each form in which it is sent, shared by all receivers.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use synchub_protocol::server::{Change, ChangeOperation};
use synchub_protocol::{Data, Encoding, ServerFrame, Timestamp, gzip};
use synchub_rules::record::{LogRow, RowKind, weight};
use synchub_rules::route::Delivery;

use crate::observe::Trail;

/// A log row with its frames, made when somebody first needs them (invariant 10).
#[derive(Debug)]
pub struct Outgoing {
    /// The row.
    pub row: Arc<LogRow>,
    /// About how many bytes it keeps in memory.
    pub weight: usize,
    /// Where its deliveries are noted, if it is of a traced batch.
    pub trail: Option<Arc<Trail>>,
    /// Made with the first of them: nobody asks for those of most rows.
    frames: OnceLock<Box<Frames>>,
}

#[derive(Debug, Default)]
struct Frames {
    /// By [`Content`] and encoding.
    plain: [OnceLock<Bytes>; 8],
    /// The compressed frames of an upsert, whole or not; none where that does not pay. Others are never large.
    compressed: [OnceLock<Option<Bytes>>; 4],
}

/// How a receiver takes changes.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// How frames are written.
    pub encoding: Encoding,
    /// Whether frames may be compressed.
    pub compressed: bool,
    /// Whether the fields that changed are enough: the receiver holds the record as it was before.
    pub delta: bool,
}

/// What a frame says of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Whole,
    Changed,
    Deleted,
    Removed,
}

impl Content {
    fn of(delivery: Delivery, delta: bool) -> Self {
        match delivery {
            Delivery::Upsert if delta => Self::Changed,
            Delivery::Upsert => Self::Whole,
            Delivery::Delete => Self::Deleted,
            Delivery::Remove => Self::Removed,
        }
    }
}

impl Outgoing {
    /// Wraps a row; nothing is encoded yet.
    pub fn new(row: Arc<LogRow>) -> Self {
        let weight = 496 + weight(&row.data) + weight(&row.old);
        Self { row, weight, trail: None, frames: OnceLock::new() }
    }

    /// The same row, as one of a traced batch.
    #[must_use]
    pub fn on_trail(self, trail: Option<Arc<Trail>>) -> Self {
        Self { trail, ..self }
    }

    /// The frame that brings the row to a receiver, compressed or cut down to what changed for who takes that
    /// and where it pays. No field of it depends on the receiver.
    pub fn frame(&self, delivery: Delivery, form: Form) -> Bytes {
        let content = Content::of(delivery, form.delta && self.has_delta());
        let plain = self.plain(content, form.encoding);
        if !form.compressed || delivery != Delivery::Upsert {
            return plain;
        }
        let slot =
            &self.frames().compressed[2 * content as usize + usize::from(form.encoding == Encoding::Json)];
        slot.get_or_init(|| gzip::deflate(&plain)).clone().unwrap_or(plain)
    }

    /// Whether the fields that changed say less than all: the record lived before and kept some.
    fn has_delta(&self) -> bool {
        let row = &self.row;
        row.base > 0 && row.before.is_some() && row.old.len() < row.data.len()
    }

    fn frames(&self) -> &Frames {
        self.frames.get_or_init(Box::default)
    }

    fn plain(&self, content: Content, encoding: Encoding) -> Bytes {
        let slot = 2 * content as usize + usize::from(encoding == Encoding::Json);
        self.frames().plain[slot].get_or_init(|| encoding.encode(&self.change(content))).clone()
    }

    fn change(&self, content: Content) -> ServerFrame {
        let row = &self.row;
        let operation = match (content, row.kind) {
            (Content::Whole, RowKind::Create) => ChangeOperation::Create,
            (Content::Whole | Content::Changed, _) => ChangeOperation::Update,
            (Content::Deleted, _) => ChangeOperation::Delete,
            (Content::Removed, _) => ChangeOperation::Remove,
        };
        let data = match content {
            Content::Whole => Some(wrong_on_purpose(&row.data)),
            Content::Changed => Some(wrong_on_purpose(&Arc::new(changed(&row.data, &row.old)))),
            Content::Deleted | Content::Removed => None,
        };
        ServerFrame::DataUpdate(Change {
            domain: row.domain_name.to_string(),
            operation,
            mobile_id: row.key,
            version: row.version,
            base_version: (content == Content::Changed).then_some(row.base),
            changed: (data.is_some() && row.before.is_some()).then(|| row.old.keys().cloned().collect()),
            data,
            priority: row.priority,
            origin: (*row.origin).clone(),
            server_timestamp: Timestamp(row.time_us),
        })
    }
}

/// The fields that a change touched, as they are now.
fn changed(data: &Data, old: &Data) -> Data {
    old.keys()
        .filter_map(|name| data.get_key_value(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
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
    use synchub_rules::record::Scope;
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
            base: 1,
            prev: 0,
            origin: Arc::new(Origin { user: "alice".to_owned(), device: None }),
            priority: Priority::Normal,
            install: 0,
            old: Arc::default(),
            data: Arc::new(data),
            before: Some(Scope::Tenant),
            after: Some(Scope::Tenant),
        }
    }

    fn form(encoding: Encoding, delta: bool) -> Form {
        Form { encoding, compressed: true, delta }
    }

    /// What a delta frame of a row says: its base, and its data.
    fn delta(row: LogRow) -> (Option<u64>, serde_json::Value) {
        let frame = Outgoing::new(Arc::new(row)).frame(Delivery::Upsert, form(Encoding::Json, true));
        let frame: serde_json::Value = serde_json::from_slice(&frame).unwrap();
        (frame["base_version"].as_u64(), json!([frame["data"], frame["changed"]]))
    }

    #[test]
    fn bw2_a_delta_has_the_fields_that_changed_and_names_those_that_are_gone() {
        let old: Data = serde_json::from_value(json!({"gone": 1, "status": "OLD"})).unwrap();
        let three = json!({"subject": "fire", "status": "NEW", "place": "roof"});
        let data: Arc<Data> = Arc::new(serde_json::from_value(three).unwrap());
        let row = LogRow { old: Arc::new(old), data, ..row() };
        assert_eq!(delta(row.clone()), (Some(1), json!([{"status": "NEW"}, ["gone", "status"]])));
        let whole = json!([{"subject": "fire", "status": "NEW", "place": "roof"}, ["gone", "status"]]);
        assert_eq!(delta(LogRow { base: 0, ..row.clone() }), (None, whole.clone()), "no version before");
        let all: Data = serde_json::from_value(whole[0].clone()).unwrap();
        assert_eq!(delta(LogRow { old: Arc::new(all), ..row.clone() }).0, None, "everything changed");
        assert_eq!(delta(LogRow { before: None, ..row }).0, None, "it was deleted before");
    }

    #[test]
    fn inv10_a_change_is_encoded_once_for_each_encoding_and_delivery() {
        let outgoing = Outgoing::new(Arc::new(row()));
        assert!(outgoing.frames.get().is_none(), "not before somebody needs it");
        let mut places = Vec::new();
        for delivery in [Delivery::Upsert, Delivery::Remove, Delivery::Delete] {
            for encoding in [Encoding::Json, Encoding::MessagePack] {
                for delta in [false, true] {
                    let frame = outgoing.frame(delivery, Form { compressed: false, ..form(encoding, delta) });
                    let again = outgoing.frame(delivery, form(encoding, delta));
                    assert_eq!(frame.as_ptr(), again.as_ptr(), "the same bytes");
                    places.push(frame.as_ptr());
                }
            }
        }
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 8, "only an upsert can be less than whole");
    }

    #[test]
    fn inv10_a_large_change_is_compressed_once_for_each_encoding() {
        let data: Data = serde_json::from_value(json!({"subject": "fire ".repeat(300)})).unwrap();
        let outgoing = Outgoing::new(Arc::new(LogRow { data: Arc::new(data), ..row() }));
        for encoding in [Encoding::Json, Encoding::MessagePack] {
            let frame = outgoing.frame(Delivery::Upsert, form(encoding, false));
            assert!(gzip::is_gzip(&frame), "small enough to pay");
            assert_eq!(frame.as_ptr(), outgoing.frame(Delivery::Upsert, form(encoding, false)).as_ptr());
            let plain = Form { compressed: false, ..form(encoding, false) };
            let plain = outgoing.frame(Delivery::Upsert, plain);
            assert_eq!(gzip::inflate(&frame, plain.len()).unwrap(), plain);
        }
    }
}
