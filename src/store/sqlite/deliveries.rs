//! The delivery log (P4): what happened to pushes is noted in groups, the rest is computed from the places of
//! log and devices when somebody asks.

use rusqlite::params;
use serde_json::{Value, json};
use synchub_protocol::Timestamp;
use synchub_protocol::server::{Outcome, TriggerReason};
use synchub_rules::push::PushBody;
use uuid::Uuid;

use super::codec;
use super::fault::Fault;
use super::reader::{Read, Reader};
use super::writer::Writer;
use crate::store::{DeliveryEvent, DeliveryNote, DeliveryQuery, StoreError};

/// How many pushes are looked up at once.
const PUSHES: i64 = 100;

/// A tenant's (?1) pushes after a place (?2).
const PUSHES_AFTER: &str = "SELECT seq, time_us, scope, version, flags, old FROM log
    WHERE tenant = ?1 AND kind = 5 AND seq > ?2 ORDER BY seq LIMIT ?3";

/// The devices that a push at a place (?2) of a scope (?3) is for.
const DEVICES: &str = "SELECT device.no, party.name AS user, device.id, device.acked, device.pushed
    FROM device INDEXED BY device_alive CROSS JOIN party ON party.no = device.user
    WHERE device.tenant = ?1 AND device.deactivated_us IS NULL AND device.id <> '' AND device.first < ?2
      AND (?3 = 0 OR device.user = ?3 OR device.no = -?3)
      AND (?4 IS NULL OR party.name = ?4) AND (?5 IS NULL OR device.id = ?5)
    ORDER BY device.user, device.no LIMIT ?6";

/// What happened to a device's (?1) push at a place (?2).
const EVENTS: &str = "SELECT what, at_us FROM push_exception
    WHERE device = ?1 AND seq <= ?2 AND upto >= ?2 ORDER BY at_us, what";

/// Of a device's (?1) pushes from one place (?2) to another (?3), those that waited were sent (?4: when), but for
/// those whose time was over when the device came.
const RELEASE: &str = "INSERT INTO push_exception (device, seq, what, upto, at_us)
    SELECT held.device, held.seq, 2, held.upto, ?4 FROM push_exception AS held
      CROSS JOIN device ON device.no = held.device
      CROSS JOIN log ON log.tenant = device.tenant AND log.seq = held.seq
    WHERE held.device = ?1 AND held.seq BETWEEN ?2 AND ?3 AND held.what IN (1, 6)
      AND NOT EXISTS (SELECT 1 FROM push_exception AS ended
        WHERE ended.device = ?1 AND ended.seq <= held.seq AND held.seq <= ended.upto AND ended.what = 5
          AND log.version <= ended.at_us)
    ON CONFLICT DO NOTHING";

/// They were sent, so they are not dropped, even if more had waited once: not those of which that was noted one by
/// one, and not from the first of them (?2) on where it was noted of a range.
const NOT_DROPPED: [&str; 2] = [
    "DELETE FROM push_exception WHERE device = ?1 AND seq BETWEEN ?2 AND ?3 AND what = 4",
    "UPDATE push_exception SET upto = ?2 - 1
     WHERE device = ?1 AND seq < ?2 AND ?2 <= min(?3, upto) AND what = 4",
];

pub(super) fn note(writer: &mut Writer, notes: &[DeliveryNote]) -> Result<(), Fault> {
    writer.transact(|transaction| {
        let mut reach =
            transaction.prepare_cached("UPDATE device SET pushed = ?2 WHERE no = ?1 AND pushed < ?2")?;
        let mut insert = transaction.prepare_cached(
            "INSERT INTO push_exception (device, seq, what, upto, at_us) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET upto = max(upto, excluded.upto), at_us = excluded.at_us",
        )?;
        let mut release = transaction.prepare_cached(RELEASE)?;
        let [delete, cut] = NOT_DROPPED;
        let (mut delete, mut cut) = (transaction.prepare_cached(delete)?, transaction.prepare_cached(cut)?);
        for note in notes {
            let (seq, upto) = (codec::to_db(note.seq)?, codec::to_db(note.upto)?);
            match note.event.number() {
                Some(what) => insert.execute(params![note.device, seq, what, upto, note.at_us])?,
                None if note.event == DeliveryEvent::Owed => {
                    delete.execute([note.device, seq, upto])?;
                    cut.execute([note.device, seq, upto])?;
                    release.execute(params![note.device, seq, upto, note.at_us])?
                }
                None => reach.execute([note.device, upto])?,
            };
        }
        Ok(())
    })
}

impl Reader {
    pub(super) async fn find_deliveries(&self, query: DeliveryQuery) -> Result<Vec<Value>, StoreError> {
        let mut read = self.pool.begin().await?;
        let tenant: Option<i64> = sqlx::query_scalar("SELECT no FROM tenant WHERE name = ?1")
            .bind(&query.tenant)
            .fetch_optional(&mut *read)
            .await?;
        let (mut lines, mut after) = (Vec::new(), codec::to_db(query.after)?);
        let Some(tenant) = tenant else { return Ok(lines) };
        let most = usize::try_from(query.limit).unwrap_or(usize::MAX);
        while lines.len() < most {
            let found = sqlx::query_as(PUSHES_AFTER).bind(tenant).bind(after).bind(PUSHES);
            let pushes: Vec<PushFound> = found.fetch_all(&mut *read).await?;
            let Some(last) = pushes.last() else { break };
            after = last.seq;
            for push in pushes {
                let (id, body) = codec::decode_push(&push.old)?;
                if query.push_id.is_none_or(|wanted| wanted == id) && lines.len() < most {
                    push.lines(&mut read, (tenant, &query), (id, &body), &mut lines).await?;
                }
            }
        }
        read.commit().await?;
        Ok(lines)
    }
}

#[derive(sqlx::FromRow)]
struct PushFound {
    seq: i64,
    time_us: i64,
    scope: i64,
    version: i64,
    flags: i64,
    old: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct DeviceFound {
    no: i64,
    user: String,
    id: String,
    acked: i64,
    pushed: i64,
}

impl PushFound {
    /// Adds a line for each device that the push is for.
    async fn lines(
        &self,
        read: &mut Read,
        (tenant, query): (i64, &DeliveryQuery),
        (id, body): (Uuid, &PushBody),
        lines: &mut Vec<Value>,
    ) -> Result<(), StoreError> {
        let room = i64::from(query.limit) - i64::try_from(lines.len()).unwrap_or(i64::MAX);
        let devices: Vec<DeviceFound> = sqlx::query_as(DEVICES)
            .bind(tenant)
            .bind(self.seq)
            .bind(self.scope)
            .bind(&query.user)
            .bind(&query.device)
            .bind(room)
            .fetch_all(&mut **read)
            .await?;
        let (kind, about) = describe(body);
        for device in devices {
            let events: Vec<(i64, i64)> =
                sqlx::query_as(EVENTS).bind(device.no).bind(self.seq).fetch_all(&mut **read).await?;
            let events: Vec<_> = events.into_iter().filter_map(|event| self.event(event)).collect();
            let named =
                events.iter().map(|(event, at_us)| json!({"what": name(*event), "at": Timestamp(*at_us)}));
            lines.push(json!({
                "seq": self.seq,
                "push_id": id,
                "kind": kind,
                "about": about,
                "priority": codec::from_flags(self.flags)?.0,
                "time": Timestamp(self.time_us),
                "expires": Timestamp(self.version),
                "user": device.user,
                "device": device.id,
                "status": self.status(&device, &events, query.now_us),
                "events": named.collect::<Vec<_>>(),
            }));
        }
        Ok(())
    }

    /// Those events of a range of places are this push's that fit its time.
    fn event(&self, (what, at_us): (i64, i64)) -> Option<(DeliveryEvent, i64)> {
        let event = EVENT_KINDS.into_iter().find(|event| event.number() == Some(what))?;
        let fits = match event {
            DeliveryEvent::Overflowed => self.version > at_us,
            DeliveryEvent::Expired => self.version <= at_us,
            _ => true,
        };
        fits.then_some((event, at_us))
    }

    /// What became of the push, as far as the hub knows.
    fn status(&self, device: &DeviceFound, events: &[(DeliveryEvent, i64)], now_us: i64) -> &'static str {
        let has = |wanted| events.iter().any(|(event, _)| *event == wanted);
        let has_waited = has(DeliveryEvent::Held) || has(DeliveryEvent::Saved);
        let was_sent = has(DeliveryEvent::Released) || device.pushed >= self.seq && !has_waited;
        if has(DeliveryEvent::Overflowed) {
            "dropped"
        } else if has(DeliveryEvent::Expired) {
            "expired"
        } else if has(DeliveryEvent::Merged) {
            "merged"
        } else if device.acked >= self.seq {
            "acknowledged"
        } else if was_sent {
            "delivered"
        } else if now_us >= self.version {
            "expired"
        } else if has_waited {
            "held"
        } else {
            "queued"
        }
    }
}

const EVENT_KINDS: [DeliveryEvent; 6] = [
    DeliveryEvent::Held,
    DeliveryEvent::Saved,
    DeliveryEvent::Released,
    DeliveryEvent::Merged,
    DeliveryEvent::Overflowed,
    DeliveryEvent::Expired,
];

fn name(event: DeliveryEvent) -> &'static str {
    match event {
        DeliveryEvent::Delivered | DeliveryEvent::Released | DeliveryEvent::Owed => "delivered",
        DeliveryEvent::Held => "held: the user had the most of a minute",
        DeliveryEvent::Saved => "held: the device saves battery",
        DeliveryEvent::Merged => "merged: a later trigger said the same",
        DeliveryEvent::Overflowed => "dropped: too many were queued",
        DeliveryEvent::Expired => "dropped: its time was over",
    }
}

/// What a push is, and what it is about, without its contents.
fn describe(body: &PushBody) -> (&'static str, Value) {
    match body {
        PushBody::Message { topic, .. } => ("message", json!({"topic": topic})),
        PushBody::SyncTrigger { domains, reason } => {
            let reason = if *reason == TriggerReason::Operator { "operator" } else { "server_update" };
            ("sync_trigger", json!({"domains": domains, "reason": reason}))
        }
        PushBody::ConflictAlert { conflict_id } => ("conflict_alert", json!({"conflict_id": conflict_id})),
        PushBody::EntrySettled { mobile_id, outcome, .. } => {
            let outcome = if *outcome == Outcome::Applied { "applied" } else { "discarded" };
            ("entry_settled", json!({"mobile_id": mobile_id, "outcome": outcome}))
        }
    }
}
