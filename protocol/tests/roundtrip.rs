//! Any frame survives both encodings unchanged.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use synchub_protocol::client::{
    Ack, Device, Hello, NetworkQuality, Ping, Subscribe, Subscription, SubscriptionPriority, Sync,
    Unsubscribe,
};
use synchub_protocol::server::{
    CaughtUp, Change, ChangeOperation, ConflictInfo, EntryError, EntryResult, ErrorFrame, Fresh, FreshReason,
    Goaway, Limits, Origin, Pong, Position, Resolution, Snapshot, SnapshotRecord, Status, Strategy as Rule,
    Subscribed, SyncResult, Welcome,
};
use synchub_protocol::{
    ClientFrame, Data, DeviceKind, Encoding, Entry, ErrorCode, MAX_SAFE_INTEGER, Operation, Priority,
    ServerFrame, Timestamp, codec,
};
use uuid::Uuid;

/// Years 0001 to 9999.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.replace('\0', ""))
}

fn uint() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_u64, 0..=MAX_SAFE_INTEGER, Just(MAX_SAFE_INTEGER)]
}

fn id() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn time() -> impl Strategy<Value = Timestamp> {
    TIMES.prop_map(Timestamp)
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        uint().prop_map(serde_json::Value::from),
        uint()
            .prop_filter("zero has no sign", |n| *n > 0)
            .prop_map(|n| serde_json::Value::from(-n.cast_signed())),
        any::<f64>()
            .prop_filter("a fraction", |n| n.fract() != 0.0 && n.is_finite())
            .prop_map(serde_json::Value::from),
        text().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            vec((text(), inner), 0..4).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

fn data() -> impl Strategy<Value = Data> {
    vec((text(), value()), 0..5).prop_map(|fields| fields.into_iter().collect())
}

fn one_of<T: Clone + std::fmt::Debug + 'static>(values: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(values)
}

fn priority() -> impl Strategy<Value = Priority> {
    one_of(&[Priority::Low, Priority::Normal, Priority::High, Priority::Critical])
}

prop_compose! {
    fn entry()(
        (domain, mobile_id, version) in (text(), id(), uint()),
        operation in one_of(&[Operation::Upsert, Operation::Delete]),
        (data, delta) in (data(), any::<bool>()),
        client_timestamp in option::of(time()),
        priority in option::of(priority()),
        corrects in option::of(uint()),
    ) -> Entry {
        Entry { domain, mobile_id, version, operation, data: data.into(), delta, client_timestamp, priority, corrects }
    }
}

prop_compose! {
    fn subscription()(
        domain in text(),
        filter in option::of(data()),
        priority in option::of(one_of(&[
            SubscriptionPriority::All, SubscriptionPriority::High, SubscriptionPriority::Critical,
        ])),
    ) -> Subscription {
        Subscription { domain, filter, priority }
    }
}

prop_compose! {
    fn device()(
        id in text(),
        kind in one_of(&[DeviceKind::Desktop, DeviceKind::Laptop, DeviceKind::Tablet, DeviceKind::Phone]),
        install_id in option::of(id()),
        (name, os, app_version) in (option::of(text()), option::of(text()), option::of(text())),
    ) -> Device {
        Device { id, kind, install_id, name, os, app_version }
    }
}

fn quality() -> impl Strategy<Value = NetworkQuality> {
    "[a-z]{1,32}".prop_map(|word| word.parse().expect("a word"))
}

prop_compose! {
    fn hello()(
        (id, token, device, attempt) in (uint(), option::of(text()), option::of(device()), option::of(uint())),
        (cursor, subscriptions) in (option::of(text()), vec(subscription(), 0..4)),
        (compression, features) in (vec(text(), 0..3), vec(text(), 0..3)),
        (network_quality, heartbeat_secs) in (option::of(quality()), option::of(uint())),
        (max_frame_bytes, client_time) in (option::of(uint()), option::of(time())),
    ) -> Hello {
        Hello {
            id, token, device, attempt, cursor, subscriptions, compression, features, network_quality, heartbeat_secs,
            max_frame_bytes, client_time,
        }
    }
}

prop_compose! {
    fn sync()(
        (id, batch_id, entries) in (uint(), id(), vec(entry(), 0..4)),
        first_client_seq in option::of(uint()),
        (atomic, cross_device, predict) in (any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<bool>>()),
        client_time in option::of(time()),
    ) -> Sync {
        let entries = entries.into_iter().map(Into::into).collect();
        Sync { id, batch_id, entries, first_client_seq, atomic, cross_device, predict, client_time }
    }
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    prop_oneof![
        hello().prop_map(ClientFrame::Hello),
        (uint(), vec(subscription(), 0..4))
            .prop_map(|(id, subscriptions)| ClientFrame::Subscribe(Subscribe { id, subscriptions })),
        (uint(), vec(text(), 0..4))
            .prop_map(|(id, domains)| ClientFrame::Unsubscribe(Unsubscribe { id, domains })),
        sync().prop_map(ClientFrame::Sync),
        text().prop_map(|cursor| ClientFrame::Ack(Ack { cursor })),
        (uint(), option::of(time()))
            .prop_map(|(id, client_time)| ClientFrame::Ping(Ping { id, client_time })),
    ]
}

fn fresh() -> impl Strategy<Value = Vec<Fresh>> {
    use FreshReason::{Changed, CursorExpired, CursorInvalid, EpochChanged, New};
    let reason = one_of(&[New, Changed, CursorExpired, CursorInvalid, EpochChanged]);
    vec((text(), reason).prop_map(|(domain, reason)| Fresh { domain, reason }), 0..4)
}

prop_compose! {
    fn welcome()(
        (id, session_id, server_time) in (uint(), text(), time()),
        (epoch, last_client_seq, fresh) in (uint(), uint(), fresh()),
        (compression, features) in (option::of(vec(text(), 0..3)), vec(text(), 0..3)),
        (heartbeat_secs, limits) in (uint(), proptest::array::uniform5(uint())),
    ) -> Welcome {
        let [max_frame_bytes, max_entry_bytes, max_batch_entries, max_in_flight, recommended_batch] = limits;
        let limits = Limits { max_frame_bytes, max_entry_bytes, max_batch_entries, max_in_flight, recommended_batch };
        Welcome {
            id, session_id, server_time, epoch, last_client_seq, fresh, compression, features, heartbeat_secs, limits,
        }
    }
}

prop_compose! {
    fn record()(
        (mobile_id, version, data) in (id(), uint(), data()),
        (priority, server_timestamp) in (priority(), time()),
    ) -> SnapshotRecord {
        SnapshotRecord { mobile_id, version, data: Arc::new(data), priority, server_timestamp }
    }
}

prop_compose! {
    fn snapshot()(
        (domain, first, last) in (text(), any::<bool>(), any::<bool>()),
        (records, total, cursor) in (vec(record(), 0..4), option::of(uint()), text()),
    ) -> Snapshot {
        Snapshot { domain, first, last, records, total, cursor }
    }
}

prop_compose! {
    fn change()(
        domain in text(),
        operation in one_of(&[
            ChangeOperation::Create, ChangeOperation::Update, ChangeOperation::Delete, ChangeOperation::Remove,
        ]),
        (mobile_id, version, data) in (id(), uint(), option::of(data().prop_map(Arc::new))),
        (base_version, changed, priority) in (option::of(uint()), option::of(vec(text(), 0..3)), priority()),
        (user, device, server_timestamp) in (text(), option::of(text()), time()),
    ) -> Change {
        let origin = Origin { user, device };
        Change {
            domain, operation, mobile_id, version, base_version, data, changed, priority, origin, server_timestamp,
        }
    }
}

fn code() -> impl Strategy<Value = ErrorCode> {
    (1..=23_i64).prop_map(ErrorCode::from_number)
}

prop_compose! {
    fn conflict()(
        conflict_id in id(),
        strategy in one_of(&[
            Rule::ClientWins, Rule::ServerWins, Rule::MostRecentWins, Rule::PreserveEscalation, Rule::DevicePriority,
            Rule::Manual,
        ]),
        resolution in one_of(&[
            Resolution::Client, Resolution::Server, Resolution::Merged, Resolution::ManualRequired,
        ]),
    ) -> ConflictInfo {
        ConflictInfo { conflict_id, strategy, resolution }
    }
}

prop_compose! {
    fn entry_result()(
        mobile_id in option::of(id()),
        status in one_of(&[
            Status::Created, Status::Updated, Status::Unchanged, Status::Merged, Status::Duplicate, Status::Conflict,
            Status::Error, Status::ConflictRisk,
        ]),
        server_version in option::of(uint()),
        (server_data, deleted) in (option::of(data().prop_map(Arc::new)), any::<Option<bool>>()),
        conflict in option::of(conflict()),
        error in option::of((code(), text(), option::of(text()))
            .prop_map(|(code, message, field)| EntryError { code, message, field })),
    ) -> EntryResult {
        EntryResult { mobile_id, status, server_version, server_data, deleted, conflict, error }
    }
}

prop_compose! {
    fn sync_result()(
        (id, batch_id, results) in (uint(), id(), vec(entry_result(), 0..4)),
        (seq, server_timestamp, repeated, [backoff_ms, recommended_batch]) in
            (uint(), time(), any::<bool>(), [option::of(uint()), option::of(uint())]),
    ) -> SyncResult {
        SyncResult { id, batch_id, results, seq, server_timestamp, repeated, backoff_ms, recommended_batch }
    }
}

prop_compose! {
    fn error()(
        (id, code, message) in (option::of(uint()), code(), text()),
        (temporary, retry_after_ms) in (any::<bool>(), option::of(uint())),
    ) -> ErrorFrame {
        ErrorFrame { id, code, message, temporary, retry_after_ms }
    }
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    prop_oneof![
        welcome().prop_map(ServerFrame::Welcome),
        (uint(), vec(subscription(), 0..4), fresh()).prop_map(|(id, subscriptions, fresh)| {
            ServerFrame::Subscribed(Subscribed { id, subscriptions, fresh })
        }),
        snapshot().prop_map(ServerFrame::Snapshot),
        change().prop_map(ServerFrame::DataUpdate),
        (text(), uint()).prop_map(|(cursor, seq)| ServerFrame::Position(Position { cursor, seq })),
        (text(), uint(), option::of(uint())).prop_map(|(cursor, seq, id)| ServerFrame::CaughtUp(CaughtUp {
            cursor,
            seq,
            id
        })),
        sync_result().prop_map(ServerFrame::SyncResult),
        (uint(), time()).prop_map(|(id, server_time)| ServerFrame::Pong(Pong { id, server_time })),
        (text(), uint()).prop_map(|(reason, reconnect_after_ms)| ServerFrame::Goaway(Goaway {
            reason,
            reconnect_after_ms
        })),
        error().prop_map(ServerFrame::Error),
    ]
}

proptest! {
    #[test]
    fn client_frames_survive_both_encodings(frame in client_frame()) {
        for encoding in [Encoding::MessagePack, Encoding::Json] {
            let decoded = codec::decode_client(encoding, &encoding.encode(&frame));
            prop_assert_eq!(decoded.as_ref(), Ok(&frame));
        }
    }

    #[test]
    fn server_frames_survive_both_encodings(frame in server_frame()) {
        for encoding in [Encoding::MessagePack, Encoding::Json] {
            let decoded = codec::decode_server(encoding, &encoding.encode(&frame));
            prop_assert_eq!(decoded.as_ref(), Ok(&frame));
        }
    }

    #[test]
    fn an_entry_is_as_large_as_its_shortest_form(entry in entry()) {
        let frame = ClientFrame::Sync(Sync {
            id: 1, batch_id: Uuid::nil(), entries: vec![entry.clone().into()], first_client_seq: None, atomic: None,
            cross_device: None, predict: None, client_time: None,
        });
        let Ok(ClientFrame::Sync(decoded)) =
            codec::decode_client(Encoding::MessagePack, &Encoding::MessagePack.encode(&frame))
        else {
            panic!("{frame:?}");
        };
        prop_assert_eq!(decoded.entries[0].size, Encoding::MessagePack.encode(&entry).len());
    }
}
