//! Conflicts that people are alerted of: what an alert says, and that it shows a record to nobody who may not
//! see it (V3, P5).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use synchub_protocol::Timestamp;

use crate::host::{Host, id};
use crate::ledger::Ledger;
use crate::model::{Key, definition, sees};
use crate::world::World;

/// A conflict as the tables have it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Conflict {
    pub(crate) id: String,
    pub(crate) key: Key,
    /// Whose device sent the entry; none: a service.
    pub(crate) user: Option<String>,
    /// Whether somebody has to decide.
    pub(crate) awaits: bool,
    resolution: &'static str,
    /// The version that the entry met.
    met: u64,
    at_us: i64,
    /// The fields that were sent.
    sent: Value,
}

/// What an alert showed of a record.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    by: String,
    user: String,
    unit: Option<String>,
    conflict: Conflict,
    version: u64,
    /// The record, and what was sent.
    server: Value,
    client: Value,
}

impl Host {
    /// The conflicts of a tenant.
    pub(crate) fn conflicts(&self, tenant: &str) -> Vec<Conflict> {
        let sql = "SELECT review.id, domain.name, review.key, party.name, device.id,
                     review.kind = 2 AND review.state = 1, resolution, server_version, at_us, entry
                   FROM review JOIN tenant ON tenant.no = review.tenant
                     JOIN domain ON domain.no = review.domain JOIN device ON device.no = review.device
                     JOIN party ON party.no = device.user
                   WHERE tenant.name = ?1 AND review.kind < 3 AND review.key IS NOT NULL ORDER BY review.no";
        let mut query = self.tables().prepare_cached(sql).unwrap();
        let rows = query.query_map([tenant], |row| {
            let entry: Value = rmp_serde::from_slice(&row.get::<_, Vec<u8>>(9)?).unwrap();
            let is_device = !row.get::<_, String>(4)?.is_empty();
            let resolution = usize::try_from(row.get::<_, i64>(6)?).unwrap();
            Ok(Conflict {
                id: id(&row.get::<_, Vec<u8>>(0)?),
                key: (row.get(1)?, id(&row.get::<_, Vec<u8>>(2)?)),
                user: Some(row.get(3)?).filter(|_| is_device),
                awaits: row.get(5)?,
                resolution: ["client", "server", "merged", "manual_required"][resolution - 1],
                met: u64::try_from(row.get::<_, i64>(7)?).unwrap(),
                at_us: row.get(8)?,
                sent: entry.get("data").filter(|data| data.is_object()).cloned().unwrap_or_else(|| json!({})),
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }
}

impl World {
    /// The conflicts that await a device's user (P5).
    pub(crate) fn awaiting(&self, at: usize) -> BTreeSet<String> {
        let device = &self.devices[at];
        let conflicts = self.host.conflicts(&self.ledgers[device.tenant].tenant).into_iter();
        let own = conflicts.filter(|one| one.awaits && one.user.as_deref() == Some(device.user));
        own.map(|conflict| conflict.id).collect()
    }

    /// After a hello the device is alerted of what awaits its user: each once, of no other (P5).
    pub(crate) fn alerted_again(&mut self, at: usize, frame: &Value) {
        let (tenant, name) = (self.devices[at].tenant, self.devices[at].name());
        let conflicts = self.host.conflicts(&self.ledgers[tenant].tenant);
        let found = conflicts.into_iter().find(|conflict| frame["conflict_id"] == conflict.id);
        let conflict = found.unwrap_or_else(|| panic!("P5: {name} is alerted of no conflict: {frame}"));
        let is_own = conflict.user.as_deref() == Some(self.devices[at].user);
        assert!(conflict.awaits && is_own, "P5: {name} is alerted of what does not await it: {frame}");
        let link = self.devices[at].link.as_mut().unwrap();
        assert!(link.alerted.insert(conflict.id.clone()), "P5: {name} is alerted twice: {frame}");
        self.note(format!("    {tenant} {name} is alerted again of {}", conflict.id));
        self.ledgers[tenant].count("conflict alerted again");
        self.check_alert(at, &conflict, frame);
    }

    /// Nothing of snapshots and replay comes before the alerts of what awaits the user (P5).
    pub(crate) fn check_awaiting(&self, at: usize, kind: &str) {
        let (device, link) = (&self.devices[at], self.devices[at].link.as_ref().unwrap());
        if ["snapshot", "data_update", "caught_up"].contains(&kind) {
            let missing: Vec<_> = link.awaiting.difference(&link.alerted).collect();
            assert!(missing.is_empty(), "P5: {} is not alerted of {missing:?}", device.name());
        }
    }

    /// An alert says what its conflict is; what it shows of the record is looked at later.
    pub(crate) fn check_alert(&mut self, at: usize, conflict: &Conflict, frame: &Value) {
        let (device, link) = (&self.devices[at], self.devices[at].link.as_ref().unwrap());
        let ours = json!({
            "conflict_id": conflict.id,
            "domain": conflict.key.0,
            "mobile_id": conflict.key.1,
            "action_required": conflict.awaits,
            "strategy": definition(&conflict.key.0).strategy.name(),
            "resolution": conflict.resolution,
            "server_timestamp": Timestamp(conflict.at_us),
        });
        for (field, value) in ours.as_object().unwrap() {
            assert_eq!(frame[field], *value, "P1: `{field}` of an alert of {conflict:?}: {frame}");
        }
        let reason = frame["reason"].as_str().unwrap();
        assert_eq!(reason.ends_with("somebody has to decide."), conflict.awaits, "P1: {frame}");
        let shown = Shown {
            by: device.name(),
            user: device.user.to_owned(),
            unit: link.unit.clone(),
            conflict: conflict.clone(),
            version: frame["server_version"].as_u64().unwrap(),
            server: frame["server_data"].clone(),
            client: frame["client_data"].clone(),
        };
        self.ledgers[device.tenant].shown.push(shown);
    }
}

impl Ledger {
    /// Looks at what alerts showed since the last time: a version of the record, to who might see it then, and
    /// hidden only from who might not (V3).
    pub(crate) fn look_at_alerts(&mut self) {
        for shown in std::mem::take(&mut self.shown) {
            self.look_at(&shown);
        }
    }

    fn look_at(&mut self, shown: &Shown) {
        let Shown { by, user, unit, conflict, version, server, client } = shown;
        let images = self.model.images(&conflict.key);
        if client.is_null() {
            assert!(server.is_null(), "V3: {by} is shown half of a conflict: {shown:?}");
            assert_eq!(*version, conflict.met, "V3: {by} is told a version that it may not see: {shown:?}");
            let mut since = images.range(conflict.met..).map(|(_, image)| image).peekable();
            let is_visible = since.peek().is_some()
                && since.all(|image| sees(&image.scope, user, unit.as_deref()))
                && !self.model.was_purged(&conflict.key);
            assert!(!is_visible, "V3: {by} may see the record, and is not shown it: {shown:?}");
            return self.count("alert that hides the record");
        }
        let image = images.get(version);
        let image = image.unwrap_or_else(|| panic!("{by} is shown a version that never was: {shown:?}"));
        assert!(
            sees(&image.scope, user, unit.as_deref()),
            "V3: {by} is shown what it may not see: {shown:?}"
        );
        assert_eq!(*client, conflict.sent, "P1: not what was sent: {shown:?}");
        let due = if image.deleted { Value::Null } else { Value::Object(image.data.clone()) };
        assert_eq!(*server, due, "P1: not what that version was: {shown:?}");
        self.count("alert that shows the record");
    }
}
