//! A push on its way out, encoded once for each encoding, and what stands at a place of the log, on its way
//! out.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use synchub_protocol::server::{EntrySettled, Message, SyncTrigger};
use synchub_protocol::{Encoding, ServerFrame, Timestamp, gzip};
use synchub_rules::push::{Logged, PushBody, PushRow};
use synchub_rules::record::{Head, Scope, weight};

use super::outgoing::Outgoing;
use crate::observe::Trail;

/// A push with its frames, made when somebody first needs them (invariant 10).
#[derive(Debug)]
pub struct OutgoingPush {
    /// The row.
    pub row: PushRow,
    /// About how many bytes it keeps in memory.
    pub weight: usize,
    frames: [OnceLock<Bytes>; 2],
    /// The compressed frames; none where that does not pay.
    compressed: [OnceLock<Option<Bytes>>; 2],
}

impl OutgoingPush {
    /// Wraps a push; nothing is encoded yet.
    pub fn new(row: PushRow) -> Self {
        let said = match &row.body {
            PushBody::Message { data, .. } => weight(data),
            PushBody::SyncTrigger { domains, .. } => domains.iter().map(|name| 32 + name.len()).sum(),
            PushBody::ConflictAlert { .. } | PushBody::EntrySettled { .. } => 0,
        };
        Self { row, weight: 288 + said, frames: Default::default(), compressed: Default::default() }
    }

    /// The frame that brings the push, compressed for who takes that and where it pays; none for an alert,
    /// whose frame depends on what its receiver may see.
    pub fn frame(&self, encoding: Encoding, compressed: bool) -> Option<Bytes> {
        let slot = usize::from(encoding == Encoding::Json);
        if self.frames[slot].get().is_none() {
            let frame = encoding.encode(&push_frame(&self.row)?);
            self.frames[slot].get_or_init(|| frame);
        }
        let plain = self.frames[slot].get()?;
        let smaller = compressed.then(|| self.compressed[slot].get_or_init(|| gzip::deflate(plain)).clone());
        Some(smaller.flatten().unwrap_or_else(|| plain.clone()))
    }
}

fn push_frame(row: &PushRow) -> Option<ServerFrame> {
    let (push_id, server_timestamp) = (row.id.to_string(), Timestamp(row.time_us));
    Some(match &row.body {
        PushBody::Message { topic, data } => ServerFrame::Message(Message {
            push_id,
            priority: row.priority,
            topic: topic.clone(),
            data: Arc::clone(data),
            server_timestamp,
        }),
        PushBody::SyncTrigger { domains, reason } => ServerFrame::SyncTrigger(SyncTrigger {
            push_id,
            domains: domains.clone(),
            reason: *reason,
            server_timestamp,
        }),
        PushBody::EntrySettled { client_seq, mobile_id, outcome, server_version } => {
            ServerFrame::EntrySettled(EntrySettled {
                push_id,
                client_seq: *client_seq,
                mobile_id: *mobile_id,
                outcome: *outcome,
                server_version: *server_version,
            })
        }
        PushBody::ConflictAlert { .. } => return None,
    })
}

/// What stands at a place of the log, on its way out.
#[derive(Debug, Clone)]
pub enum OutgoingRow {
    /// A change.
    Change(Arc<Outgoing>),
    /// A push.
    Push(Arc<OutgoingPush>),
}

impl OutgoingRow {
    /// Wraps what a commit logged; `trail` is that of a traced batch.
    pub fn new(logged: &Logged, trail: Option<Arc<Trail>>) -> Self {
        match logged {
            Logged::Change(row) => Self::Change(Arc::new(Outgoing::new(Arc::clone(row)).on_trail(trail))),
            Logged::Push(row) => Self::Push(Arc::new(OutgoingPush::new((**row).clone()))),
        }
    }

    /// Its place and time.
    pub fn place(&self) -> Head {
        match self {
            Self::Change(outgoing) => Head { seq: outgoing.row.seq, time_us: outgoing.row.time_us },
            Self::Push(outgoing) => Head { seq: outgoing.row.seq, time_us: outgoing.row.time_us },
        }
    }

    /// Whose view it concerns.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Change(outgoing) => outgoing.row.scope,
            Self::Push(outgoing) => outgoing.row.scope,
        }
    }

    /// About how many bytes it keeps in memory.
    pub fn weight(&self) -> usize {
        match self {
            Self::Change(outgoing) => outgoing.weight,
            Self::Push(outgoing) => outgoing.weight,
        }
    }
}

#[cfg(test)]
mod tests {
    use synchub_protocol::{Data, Priority};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn inv10_a_push_is_encoded_once_for_each_encoding() {
        let data: Data = [("text".to_owned(), "fire ".repeat(400).into())].into_iter().collect();
        let outgoing = OutgoingPush::new(PushRow {
            seq: 1,
            time_us: 1,
            scope: Scope::Tenant,
            id: Uuid::nil(),
            priority: Priority::Normal,
            install: 0,
            expires_us: 2,
            body: PushBody::Message { topic: None, data: Arc::new(data) },
        });
        for encoding in [Encoding::Json, Encoding::MessagePack] {
            for compressed in [false, true] {
                let frames = [(); 2].map(|()| outgoing.frame(encoding, compressed).unwrap());
                assert_eq!(gzip::is_gzip(&frames[0]), compressed);
                assert_eq!(frames[0].as_ptr(), frames[1].as_ptr());
            }
        }
    }
}
