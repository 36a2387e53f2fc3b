//! Moves records to the scopes that a changed visibility gives them.
//!
//! What was moved for is remembered, so that a start without a change reads one row a domain.

use rusqlite::{OptionalExtension as _, Transaction, params};
use synchub_rules::domain::Visibility;

use super::digests;
use super::fault::Fault;
use super::writer::Writer;
use crate::store::Visible;

pub(super) fn rescope(writer: &mut Writer, domains: &[Visible]) -> Result<u64, Fault> {
    writer.transact(|transaction| {
        let mut moved = 0;
        for visible in domains {
            moved += rescope_one(transaction, visible)?;
        }
        Ok(moved)
    })
}

fn rescope_one(transaction: &Transaction<'_>, visible: &Visible) -> Result<u64, Fault> {
    let (key, told) = (format!("visibility:{}", visible.domain), describe(visible));
    let known: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([&key], |row| row.get(0))
        .optional()?;
    if known.as_deref() == Some(told.as_bytes()) {
        return Ok(0);
    }
    let mut moved = 0;
    if let Some(visibility) = visible.shared {
        let own: Vec<&String> = visible.own.keys().collect();
        moved += move_records(transaction, visible.domain, visibility, ("NOT IN", &own))?;
    }
    for (tenant, visibility) in &visible.own {
        moved += move_records(transaction, visible.domain, *visibility, ("IN", &[tenant]))?;
    }
    if moved > 0 {
        digests::count(transaction, Some(visible.domain))?;
    }
    transaction
        .prepare_cached("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2")?
        .execute(params![key, told.as_bytes()])?;
    Ok(moved)
}

/// The same text for the same visibilities.
fn describe(visible: &Visible) -> String {
    let own = visible.own.iter().map(|(tenant, visibility)| format!(" {tenant}={visibility:?}"));
    format!("{:?}{}", visible.shared, own.collect::<String>())
}

fn move_records(
    transaction: &Transaction<'_>,
    domain: i64,
    visibility: Visibility,
    (which, tenants): (&str, &[&String]),
) -> Result<u64, Fault> {
    let scope = match visibility {
        Visibility::Tenant => "0",
        Visibility::Unit => "coalesce(unit, 0)",
        Visibility::Owner => "coalesce(owner, 0)",
    };
    let sql = format!(
        "UPDATE record SET scope = {scope} WHERE domain = ?1 AND scope <> {scope}
         AND tenant {which} (SELECT no FROM tenant WHERE name IN (SELECT value FROM json_each(?2)))"
    );
    let tenants = serde_json::Value::from(tenants.iter().map(|name| name.as_str()).collect::<Vec<_>>());
    let moved = transaction.prepare(&sql)?.execute(params![domain, tenants.to_string()])?;
    Ok(moved as u64)
}
