//! The frames beside the main job survive both encodings unchanged, and frames survive gzip.

use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use synchub_protocol::client::{
    AppState, Choice, Conflicts, Digest, Presence, Publish, Pull, Push, PushKind, Resolve, Settings,
    SubscriptionPriority, Target, Token,
};
use synchub_protocol::entry::PublishedChange;
use synchub_protocol::server::{
    ConflictAlert, ConflictsResult, DigestResult, DigestSum, DomainDigest, EntrySettled, Message, Outcome,
    PresenceResult, PresentDevice, Resolution, Resolved, Strategy as Rule, TokenAccepted,
};
use synchub_protocol::{
    ClientFrame, Data, DeviceKind, Encoding, MAX_SAFE_INTEGER, Operation, Priority, ServerFrame, Timestamp,
    codec, gzip,
};
use uuid::Uuid;

fn text() -> impl Strategy<Value = String> {
    "[a-zé\"\\\\ ]{0,12}"
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..3)
}

fn uint() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_u64, 0..=MAX_SAFE_INTEGER]
}

fn id() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..253_402_300_799_999_999_i64).prop_map(Timestamp)
}

fn data() -> impl Strategy<Value = Data> {
    vec((text(), uint()), 0..4)
        .prop_map(|fields| fields.into_iter().map(|(key, value)| (key, value.into())).collect())
}

fn priority() -> impl Strategy<Value = Option<Priority>> {
    option::of(prop_oneof![Just(Priority::Low), Just(Priority::Critical)])
}

prop_compose! {
    fn published()(
        (domain, mobile_id, version) in (text(), id(), option::of(uint())),
        operation in prop_oneof![Just(Operation::Upsert), Just(Operation::Delete)],
        (data, delta, client_timestamp) in (data(), any::<bool>(), option::of(time())),
        (priority, corrects) in (priority(), option::of(uint())),
        (unit, owner, key) in (option::of(text()), option::of(text()), option::of(text())),
    ) -> PublishedChange {
        PublishedChange {
            domain, mobile_id, version, operation, data: data.into(), delta, client_timestamp, priority, corrects, unit, owner, key,
        }
    }
}

fn target() -> impl Strategy<Value = Target> {
    let user = (text(), option::of(text())).prop_map(|(user, device)| Target::User { user, device });
    prop_oneof![Just(Target::Tenant), user]
}

prop_compose! {
    fn push()(
        kind in prop_oneof![Just(PushKind::Message), Just(PushKind::SyncTrigger), Just(PushKind::ConflictAlert)],
        (to, priority, topic) in (target(), priority(), option::of(text())),
        (data, domains) in (option::of(data()), option::of(texts())),
        (conflict_id, ttl_secs) in (option::of(id()), option::of(uint())),
    ) -> Push {
        Push { kind, to, priority, topic, data, domains, conflict_id, ttl_secs }
    }
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    let quality = "[a-z]{1,32}".prop_map(|word| word.parse().expect("a word"));
    let state = prop_oneof![Just(AppState::Foreground), Just(AppState::Background)];
    let choice = prop_oneof![Just(Choice::Client), Just(Choice::Server), Just(Choice::Merged)];
    let least = prop_oneof![Just(SubscriptionPriority::All), Just(SubscriptionPriority::High)];
    prop_oneof![
        (uint(), any::<Option<bool>>(), option::of(quality), option::of(state)).prop_map(
            |(id, battery_saver, network_quality, app_state)| ClientFrame::Settings(Settings {
                id,
                battery_saver,
                network_quality,
                app_state
            })
        ),
        (uint(), option::of(texts())).prop_map(|(id, domains)| ClientFrame::Digest(Digest { id, domains })),
        (
            uint(),
            option::of(text()),
            option::of(texts()),
            option::of(uint()),
            option::of(least),
            option::of(data())
        )
            .prop_map(|(id, cursor, domains, limit, priority, filter)| ClientFrame::Pull(Pull {
                id,
                cursor,
                domains,
                limit,
                priority,
                filter
            })),
        (uint(), id(), choice, uint(), option::of(data())).prop_map(
            |(id, conflict_id, resolution, server_version, data)| ClientFrame::Resolve(Resolve {
                id,
                conflict_id,
                resolution,
                server_version,
                data
            })
        ),
        (uint(), option::of(text()), option::of(uint()))
            .prop_map(|(id, after, limit)| ClientFrame::Conflicts(Conflicts { id, after, limit })),
        (uint(), id(), vec(published(), 0..3), vec(push(), 0..3)).prop_map(
            |(id, request_id, changes, pushes)| {
                let changes = changes.into_iter().map(Into::into).collect();
                ClientFrame::Publish(Publish { id, request_id, changes, pushes })
            }
        ),
        (uint(), texts()).prop_map(|(id, users)| ClientFrame::Presence(Presence { id, users })),
        (uint(), text()).prop_map(|(id, token)| ClientFrame::Token(Token { id, token })),
    ]
}

prop_compose! {
    fn alert()(
        (push_id, conflict_id, domain, mobile_id) in (option::of(text()), id(), text(), id()),
        (action_required, reason, server_version) in (any::<bool>(), text(), uint()),
        (server_data, client_data) in (option::of(data()), option::of(data())),
        server_timestamp in time(),
    ) -> ConflictAlert {
        ConflictAlert {
            push_id, conflict_id, domain, mobile_id, action_required, strategy: Rule::Manual,
            resolution: Resolution::ManualRequired, reason, server_version, server_data: server_data.map(Arc::new),
            client_data: client_data.map(Arc::new), server_timestamp,
        }
    }
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let digest =
        (uint(), any::<u64>()).prop_map(|(count, sum)| DomainDigest { count, digest: DigestSum(sum) });
    let present = (text(), time()).prop_map(|(device, since)| PresentDevice {
        device,
        kind: DeviceKind::Tablet,
        since,
    });
    prop_oneof![
        alert().prop_map(ServerFrame::ConflictAlert),
        (uint(), vec(alert(), 0..3), option::of(text())).prop_map(|(id, conflicts, next)| {
            ServerFrame::ConflictsResult(ConflictsResult { id, conflicts, next })
        }),
        (text(), option::of(text()), data(), time()).prop_map(|(push_id, topic, data, server_timestamp)| {
            let data = Arc::new(data);
            ServerFrame::Message(Message { push_id, priority: Priority::High, topic, data, server_timestamp })
        }),
        (text(), option::of(uint()), id(), option::of(uint())).prop_map(
            |(push_id, client_seq, mobile_id, server_version)| {
                let outcome = Outcome::Applied;
                ServerFrame::EntrySettled(EntrySettled {
                    push_id,
                    client_seq,
                    mobile_id,
                    outcome,
                    server_version,
                })
            }
        ),
        (uint(), uint(), btree_map(text(), digest, 0..3))
            .prop_map(|(id, seq, domains)| ServerFrame::DigestResult(DigestResult { id, seq, domains })),
        (uint(), btree_map(text(), vec(present, 0..3), 0..3))
            .prop_map(|(id, users)| ServerFrame::PresenceResult(PresenceResult { id, users })),
        (uint(), id(), uint(), option::of(data())).prop_map(|(id, conflict_id, server_version, data)| {
            let server_data = data.map(Arc::new);
            ServerFrame::Resolved(Resolved { id, conflict_id, server_version, server_data })
        }),
        (uint(), time())
            .prop_map(|(id, expires_at)| ServerFrame::TokenAccepted(TokenAccepted { id, expires_at })),
    ]
}

proptest! {
    #[test]
    fn requests_survive_both_encodings(frame in client_frame()) {
        for encoding in [Encoding::MessagePack, Encoding::Json] {
            let decoded = codec::decode_client(encoding, &encoding.encode(&frame));
            prop_assert_eq!(decoded.as_ref(), Ok(&frame));
        }
    }

    #[test]
    fn answers_and_pushes_survive_both_encodings(frame in server_frame()) {
        for encoding in [Encoding::MessagePack, Encoding::Json] {
            let decoded = codec::decode_server(encoding, &encoding.encode(&frame));
            prop_assert_eq!(decoded.as_ref(), Ok(&frame));
        }
    }

    #[test]
    fn any_bytes_survive_gzip_and_any_message_is_inflated_or_refused(
        part in vec(any::<u8>(), 1..200), times in 1..40_usize, cut in any::<u16>(),
    ) {
        let frame = part.repeat(times);
        if let Some(message) = gzip::deflate(&frame) {
            prop_assert!(message.len() < frame.len());
            prop_assert!(gzip::inflate(&message, frame.len()).is_ok_and(|inflated| inflated == frame));
            prop_assert!(gzip::inflate(&message[..usize::from(cut) % message.len()], 1 << 20).is_err());
        }
        let mut hostile = vec![0x1f, 0x8b, 8, 0];
        hostile.extend_from_slice(&frame);
        if let Ok(inflated) = gzip::inflate(&hostile, 5000) {
            prop_assert!(inflated.len() <= 5000);
        }
    }
}
